/* cargo test --manifest-path examples/c_host/Cargo.toml builds and runs this program: main PAGE SILENT
 *
 * A loop around poll(2) with a reactor in it. It fetches the page PAGE, and twice SILENT, from which no answer comes: one
 * request is cancelled, and the other is pending when the reactor is freed.
 */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "twistor.h"

static twistor *reactor;
static int64_t silent;
/* The host's own descriptor, which the first callback writes to. */
static int own[2];

static void print_page(void *context, int status, const uint8_t *body, size_t length, const char *error) {
    if (error != NULL)
        printf("%s: %s\n", (const char *)context, error);
    else
        printf("%s: status %d, %zu bytes: %.*s\n", (const char *)context, status, length, (int)length, body);
}

static void first_page(void *context, int status, const uint8_t *body, size_t length, const char *error) {
    print_page(context, status, body, length, error);
    printf("inside a callback, turn returns %d and free returns %d\n", twistor_turn(reactor), twistor_free(reactor));
    printf("cancel returns %d\n", twistor_cancel(reactor, silent));
    printf("cancel again returns %d\n", twistor_cancel(reactor, silent));
    if (write(own[1], "x", 1) != 1)
        perror("write");
}

int main(int argc, char **argv) {
    if (argc != 3 || pipe(own) != 0)
        return 2;
    reactor = twistor_new();
    if (reactor == NULL)
        return 1;
    twistor_get_page(reactor, "not a url", print_page, "bad");
    twistor_get_page(reactor, argv[1], first_page, "page");
    silent = twistor_get_page(reactor, argv[2], print_page, "cancelled");
    twistor_get_page(reactor, argv[2], print_page, "pending");

    struct pollfd fds[] = {{.fd = own[0], .events = POLLIN}, {.fd = twistor_fd(reactor), .events = POLLIN}};
    while (poll(fds, 2, twistor_deadline_ms(reactor)) >= 0) {
        if (fds[0].revents != 0)
            break;
        int code = twistor_turn(reactor);
        if (code != TWISTOR_OK)
            return 1;
    }
    printf("free returns %d\n", twistor_free(reactor));
    close(own[0]);
    close(own[1]);
    return 0;
}
