/* Shared by the peers on libuv: clocks, samples, random delays. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

static inline double seconds(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static double wall_start, cpu_start;

static inline void start_clock(void) {
    wall_start = seconds(CLOCK_MONOTONIC);
    cpu_start = seconds(CLOCK_PROCESS_CPUTIME_ID);
}

/* Prints the sample, with more values where there are some. */
static inline void stop_clock(double operations, const char *more) {
    double cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu_start, wall = seconds(CLOCK_MONOTONIC) - wall_start;
    printf("sample cpu=%f rate=%f%s\n", cpu * 1e9 / operations, operations / wall, more);
    fflush(stdout);
}

static inline void check(int result, const char *what) {
    if (result < 0) {
        fprintf(stderr, "%s: %s\n", what, uv_strerror(result));
        exit(1);
    }
}

static inline double at_random(double below) { return drand48() * below; }

static inline int by_size(const void *one, const void *other) {
    double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

/* The median of the times, in nanoseconds, and a higher percentile under the key. */
static inline const char *late(double *times, size_t count, int share, const char *key) {
    static char text[100];
    qsort(times, count, sizeof *times, by_size);
    snprintf(text, sizeof text, " late=%f %s=%f", times[count / 2], key, times[count * share / 100]);
    return text;
}
