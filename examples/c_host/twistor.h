/* A reactor that fetches pages, inside the loop of a C program.
 *
 * The host waits with poll(2), or whatever its loop uses, until twistor_fd() is readable, at most for
 * twistor_deadline_ms(), and then calls twistor_turn(). All callbacks run inside twistor_turn(), twistor_cancel() or
 * twistor_free(), in the thread that created the reactor.
 *
 * The library starts no thread, except to look up host names, and handles no signal. It raises no SIGPIPE. A panic of
 * the library does not leave it: the function returns TWISTOR_PANICKED.
 */
#ifndef TWISTOR_H
#define TWISTOR_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct twistor twistor;

enum {
    TWISTOR_OK = 0,
    TWISTOR_BUSY = -1,         /* called from inside a callback */
    TWISTOR_WRONG_THREAD = -2, /* called from another thread than twistor_new() */
    TWISTOR_INVALID = -3,      /* a null pointer, or text that is not UTF-8 */
    TWISTOR_NOT_PENDING = -4,  /* the request has completed, or does not exist */
    TWISTOR_FAILED = -5,       /* the operating system's selector failed */
    TWISTOR_PANICKED = -6      /* an error in the library */
};

/* Receives the outcome of a request: the status and body of a page, or an error message in English, with status 0.
 * `error` is NULL if there is a page. Body and message are valid until the callback returns. */
typedef void (*twistor_page_callback)(void *context, int status, const uint8_t *body, size_t length,
                                      const char *error);

/* Creates a reactor. Returns NULL if the operating system refuses the descriptors. */
twistor *twistor_new(void);

/* Returns the descriptor to watch for reading. The reactor owns it: do not read or close it. */
int twistor_fd(const twistor *reactor);

/* Returns the time until the next deadline in milliseconds, rounded up, as poll(2) expects it: -1 without a deadline.
 * Ask for it before each wait. */
int twistor_deadline_ms(const twistor *reactor);

/* Runs everything that is ready, without waiting. TWISTOR_BUSY inside a callback. */
int twistor_turn(twistor *reactor);

/* Fetches a page. Returns the number of the request, which is positive, or an error. The callback is called exactly
 * once, and never before this function has returned. It may start and cancel requests. */
int64_t twistor_get_page(twistor *reactor, const char *url, twistor_page_callback callback, void *context);

/* Cancels a request, whose callback is called with an error before this function returns. */
int twistor_cancel(twistor *reactor, int64_t request);

/* Closes the reactor. The callbacks of pending requests are called with an error before this function returns.
 * TWISTOR_BUSY inside a callback; the reactor then continues to exist. NULL is ignored. */
int twistor_free(twistor *reactor);

#ifdef __cplusplus
}
#endif

#endif
