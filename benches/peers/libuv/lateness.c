/* uv_timer_t, one after the other: MICROSECONDS TIMES. Its timers count in milliseconds. */
#include "measure.h"

static double asked, delay, lates[10000];
static int done, times;

static void ran(uv_timer_t *timer) {
    double time = seconds(CLOCK_MONOTONIC) - asked - delay / 1e6;
    lates[done++] = time > 0 ? time * 1e9 : 0;
    if (done == times) return;
    uv_update_time(timer->loop);
    asked = seconds(CLOCK_MONOTONIC);
    uv_timer_start(timer, ran, (uint64_t)((delay + 999) / 1000), 0);
}

int main(int count, char **arguments) {
    (void)count;
    uv_timer_t timer;
    delay = atof(arguments[1]), times = atoi(arguments[2]);
    uv_timer_init(uv_default_loop(), &timer);
    asked = seconds(CLOCK_MONOTONIC);
    uv_timer_start(&timer, ran, (uint64_t)((delay + 999) / 1000), 0);
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    printf("sample%s\n", late(lates, (size_t)done, 90, "late90"));
}
