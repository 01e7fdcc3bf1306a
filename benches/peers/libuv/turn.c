/* One uv_poll_t that reads the byte and writes the next one: TURNS. */
#include "measure.h"
#include <sys/socket.h>

static int near, far;
static long left;

static void ready(uv_poll_t *poll, int status, int events) {
    char bytes[64];
    (void)events;
    check(status, "poll");
    if (read(near, bytes, sizeof bytes) != 1 || write(far, "x", 1) != 1) exit(1);
    if (--left == 0) uv_poll_stop(poll);
}

int main(int count, char **arguments) {
    (void)count;
    int pair[2];
    uv_poll_t poll;
    long turns = left = atol(arguments[1]);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) != 0) return 1;
    near = pair[0], far = pair[1];
    check(uv_poll_init(uv_default_loop(), &poll, near), "init");
    check(uv_poll_start(&poll, UV_READABLE, ready), "start");
    if (write(far, "x", 1) != 1) return 1;
    start_clock();
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    stop_clock((double)turns, "");
}
