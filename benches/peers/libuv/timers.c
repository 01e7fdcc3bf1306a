/* uv_timer_t, each allocated and freed by its user: expire|fire|cancel|churn|reset|memory NUMBER... */
#include "measure.h"

struct timer {
    uv_timer_t timer;
    double due;
};

static uv_loop_t *loop;
static long fired;
static double *lates;
static size_t late_count;

static void freed(uv_handle_t *handle) { free(handle); }

static void ran(uv_timer_t *timer) {
    fired++;
    double due = ((struct timer *)timer)->due;
    if (due > 0) {
        double time = (seconds(CLOCK_MONOTONIC) - due) * 1e9;
        lates[late_count++] = time > 0 ? time : 0;
    }
    uv_close((uv_handle_t *)timer, freed);
}

static struct timer *later(double milliseconds) {
    struct timer *timer = malloc(sizeof *timer);
    timer->due = 0;
    uv_timer_init(loop, &timer->timer);
    uv_timer_start(&timer->timer, ran, (uint64_t)(milliseconds + 0.999), 0);
    return timer;
}

/* Closing gives the memory back in the next turn. */
static void cancel(struct timer *timer) { uv_close((uv_handle_t *)&timer->timer, freed); }

static double far_away(void) { return 3600e3 + at_random(3600e3); }

static double anonymous_memory(void) {
    FILE *file = fopen("/proc/self/smaps_rollup", "r");
    char line[200];
    double kilobytes = 0;
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "Anonymous: %lf", &kilobytes) == 1) break;
    }
    fclose(file);
    return kilobytes * 1024;
}

int main(int count, char **arguments) {
    const char *role = arguments[1];
    long numbers[4] = {0};
    for (int index = 2; index < count && index < 6; index++) numbers[index - 2] = atol(arguments[index]);
    long many = numbers[0];
    loop = uv_default_loop();
    struct timer **timers = calloc((size_t)many, sizeof *timers);
    if (strcmp(role, "expire") == 0) {
        lates = calloc((size_t)(many / 64 + 1) * (size_t)numbers[3], sizeof *lates);
        start_clock();
        for (long round = 0; round < numbers[3]; round++) {
            uv_update_time(loop);
            for (long index = 0; index < many; index++) {
                double delay = (double)numbers[1] + at_random((double)numbers[2]);
                struct timer *timer = later(delay);
                if (index % 64 == 0) timer->due = seconds(CLOCK_MONOTONIC) + delay / 1e3;
            }
            uv_run(loop, UV_RUN_DEFAULT);
        }
        stop_clock((double)(many * numbers[3]), late(lates, late_count, 99, "late99"));
    } else if (strcmp(role, "fire") == 0) {
        start_clock();
        for (long index = 0; index < many; index++) later((double)numbers[1] + at_random(1e3));
        usleep((useconds_t)(numbers[1] + 1010) * 1000);
        uv_run(loop, UV_RUN_DEFAULT);
        if (fired != many) return 1;
        stop_clock((double)many, "");
    } else if (strcmp(role, "cancel") == 0) {
        long batch = numbers[1], *order = calloc((size_t)batch, sizeof *order);
        for (long index = 0; index < batch; index++) {
            long other = (long)at_random((double)(index + 1));
            order[index] = order[other];
            order[other] = index;
        }
        start_clock();
        for (long round = 0; round < many / batch; round++) {
            for (long index = 0; index < batch; index++) timers[index] = later(far_away());
            for (long index = 0; index < batch; index++) cancel(timers[order[index]]);
            uv_run(loop, UV_RUN_NOWAIT);
        }
        stop_clock((double)many, "");
    } else if (strcmp(role, "churn") == 0 || strcmp(role, "reset") == 0) {
        for (long index = 0; index < many; index++) timers[index] = later(far_away());
        start_clock();
        for (long index = 0; index < numbers[1]; index++) {
            long place = (long)at_random((double)many);
            if (role[0] == 'c') {
                cancel(timers[place]);
                timers[place] = later(far_away());
                if (index % 1000 == 999) uv_run(loop, UV_RUN_NOWAIT);
            } else {
                uv_timer_start(&timers[place]->timer, ran, (uint64_t)far_away(), 0);
            }
        }
        stop_clock((double)numbers[1], "");
    } else {
        double before = anonymous_memory();
        for (long index = 0; index < many; index++) timers[index] = later(far_away());
        double pending = anonymous_memory();
        for (long index = 0; index < many; index++) cancel(timers[index]);
        uv_run(loop, UV_RUN_NOWAIT);
        double left = anonymous_memory() - before;
        printf("sample memory=%f left=%f\n", (pending - before) / (double)many, (left > 0 ? left : 0) / (double)many);
    }
}
