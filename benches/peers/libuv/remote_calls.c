/* uv_async_send beside a queue under a lock, since libuv merges wake-ups: flood|ping CALLS. */
#include "measure.h"

struct call {
    struct call *next;
    void (*function)(struct call *);
};

static uv_mutex_t lock;
static uv_sem_t answer;
static uv_async_t wake;
static struct call *first, **last = &first;
static long calls, done;
static int flood;

static void run(struct call *call) {
    free(call);
    done++;
    if (!flood) uv_sem_post(&answer);
    if (done == calls) uv_close((uv_handle_t *)&wake, NULL);
}

static void woken(uv_async_t *async) {
    (void)async;
    uv_mutex_lock(&lock);
    struct call *call = first;
    first = NULL, last = &first;
    uv_mutex_unlock(&lock);
    while (call) {
        struct call *next = call->next;
        call->function(call);
        call = next;
    }
}

static void other(void *nothing) {
    (void)nothing;
    for (long index = 0; index < calls; index++) {
        struct call *call = malloc(sizeof *call);
        call->next = NULL, call->function = run;
        uv_mutex_lock(&lock);
        *last = call, last = &call->next;
        uv_mutex_unlock(&lock);
        uv_async_send(&wake);
        if (!flood) uv_sem_wait(&answer);
    }
}

int main(int count, char **arguments) {
    (void)count;
    uv_thread_t thread;
    flood = strcmp(arguments[1], "flood") == 0, calls = atol(arguments[2]);
    check(uv_mutex_init(&lock), "lock");
    check(uv_sem_init(&answer, 0), "semaphore");
    check(uv_async_init(uv_default_loop(), &wake, woken), "async");
    start_clock();
    check(uv_thread_create(&thread, other, NULL), "thread");
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    uv_thread_join(&thread);
    stop_clock((double)calls, "");
}
