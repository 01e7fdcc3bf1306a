/* An echo server on libuv: one buffer for all connections. Unsent data is copied, and nothing is
   read until it is sent. */
#include "measure.h"

struct connection {
    uv_tcp_t tcp;
    unsigned long messages, bytes;
};

struct pending {
    uv_write_t write;
    char data[];
};

static char buffer[256 * 1024];

static void allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *to) {
    (void)handle, (void)suggested;
    *to = uv_buf_init(buffer, sizeof buffer);
}

static void closed(uv_handle_t *handle) { free(handle); }

static void received(uv_stream_t *stream, ssize_t count, const uv_buf_t *data);

static void sent(uv_write_t *write, int status) {
    uv_stream_t *stream = write->handle;
    free(write);
    if (status == 0) uv_read_start(stream, allocate, received);
}

static void received(uv_stream_t *stream, ssize_t count, const uv_buf_t *data) {
    if (count < 0) {
        uv_close((uv_handle_t *)stream, closed);
        return;
    }
    struct connection *connection = (struct connection *)stream;
    connection->messages += 1;
    connection->bytes += (unsigned long)count;
    uv_buf_t all = uv_buf_init(data->base, (unsigned)count);
    int written = count == 0 ? 0 : uv_try_write(stream, &all, 1);
    if (written == UV_EAGAIN) written = 0;
    if (written < 0) {
        uv_close((uv_handle_t *)stream, closed);
        return;
    }
    if (written < count) {
        size_t left = (size_t)(count - written);
        struct pending *pending = malloc(sizeof *pending + left);
        memcpy(pending->data, data->base + written, left);
        uv_buf_t rest = uv_buf_init(pending->data, (unsigned)left);
        uv_read_stop(stream);
        check(uv_write(&pending->write, stream, &rest, 1, sent), "write");
    }
}

static void accepted(uv_stream_t *listener, int status) {
    check(status, "accept");
    struct connection *connection = calloc(1, sizeof *connection);
    check(uv_tcp_init(listener->loop, &connection->tcp), "init");
    check(uv_accept(listener, (uv_stream_t *)&connection->tcp), "accept");
    check(uv_tcp_nodelay(&connection->tcp, 1), "nodelay");
    check(uv_read_start((uv_stream_t *)&connection->tcp, allocate, received), "read");
}

int main(void) {
    alarm(180);
    uv_loop_t *loop = uv_default_loop();
    uv_tcp_t listener;
    struct sockaddr_in address;
    int length = sizeof address;
    uv_ip4_addr("127.0.0.1", 0, &address);
    check(uv_tcp_init(loop, &listener), "init");
    check(uv_tcp_bind(&listener, (struct sockaddr *)&address, 0), "bind");
    check(uv_listen((uv_stream_t *)&listener, 1024, accepted), "listen");
    uv_tcp_getsockname(&listener, (struct sockaddr *)&address, &length);
    printf("listening 127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return uv_run(loop, UV_RUN_DEFAULT);
}
