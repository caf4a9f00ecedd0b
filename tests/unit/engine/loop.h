/* SPDX-License-Identifier: Apache-2.0
 * For the engine's tests: one loop of either back end, connections that echo, clients in the same thread. A test
 * written with BOTH runs on io_uring and on epoll; where io_uring is refused, its half is skipped and the program exits
 * with 77. */
#pragma once

#include "base/clock.h"
#include "engine/engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { LOOP_EVENTS = 256, SECOND_NS = 1000000000 };

struct loop {
    struct pil_engine *engine;
    struct pil_event events[LOOP_EVENTS];
    uint32_t capacity, count;
    uint32_t parked, unparked;
    uint32_t wakes, readables;
    int accepted[LOOP_EVENTS]; /* for the test to attach or to close */
    uint32_t accepted_count;
};

/* A connection as the server sees it. It collects what comes, and sends it back when `echoes` is set. */
struct peer {
    struct loop *loop;
    pil_engine_handle handle;
    int client; /* the other end, nobody's but the test's; -1: closed */
    bool echoes, is_sending, is_close_asked;
    uint8_t *bytes; /* does not move: sends point into it */
    size_t capacity, received, sent, sending;
    uint32_t receives, sents, sends_failed, ends, ends_failed, closes;
};

static pil_engine_kind loop_kinds[] = {PIL_ENGINE_IO_URING, PIL_ENGINE_EPOLL};
static char loop_reason[PIL_ENGINE_REASON_BYTES];
static bool loop_has_uring;

#define BOTH(test) \
    {#test "/io_uring", test, NULL, NULL, &loop_kinds[0]}, { \
#test "/epoll", test, NULL, NULL, &loop_kinds[1] \
    }

static inline void loop_park(void *context) {
    ((struct loop *)context)->parked++;
}

static inline void loop_unpark(void *context) {
    struct loop *loop = context;
    assert_int_equal(++loop->unparked, loop->parked);
}

static inline struct loop *loop_open_with(void **state, struct pil_engine_options options) {
    options.kind = *(const pil_engine_kind *)*state;
    if (options.kind == PIL_ENGINE_IO_URING && !loop_has_uring) {
        skip();
    }
    struct loop *loop = calloc(1, sizeof *loop);
    assert_non_null(loop);
    loop->capacity = LOOP_EVENTS;
    options.connections_max = options.connections_max != 0 ? options.connections_max : 128;
    options.on_park = loop_park;
    options.on_unpark = loop_unpark;
    options.context = loop;
    struct pil_error error = {0};
    if (pil_engine_create(&options, &loop->engine, &error) != PIL_STATUS_OK) {
        fail_msg("%s", error.text);
    }
    return loop;
}

static inline struct loop *loop_open(void **state) {
    return loop_open_with(state, (struct pil_engine_options){0});
}

static inline void loop_close(struct loop *loop) {
    assert_int_equal(loop->parked, loop->unparked);
    pil_engine_destroy(&loop->engine);
    assert_null(loop->engine);
    free(loop);
}

static inline struct pil_engine_stats loop_stats(const struct loop *loop) {
    struct pil_engine_stats stats;
    pil_engine_stats(loop->engine, &stats);
    return stats;
}

static inline void peer_flush(struct peer *peer) {
    if (!peer->echoes || peer->is_sending || peer->is_close_asked || peer->sends_failed > 0 ||
        peer->sent == peer->received) {
        return;
    }
    /* In three parts where that is possible, so that vectors are sent, too. */
    size_t len = peer->received - peer->sent, third = len / 3;
    uint8_t *from = peer->bytes + peer->sent;
    struct iovec parts[] = {{from, third}, {from + third, third}, {from + 2 * third, len - 2 * third}};
    peer->is_sending = true;
    peer->sending = len;
    pil_engine_send(peer->loop->engine, peer->handle, third == 0 ? parts + 2 : parts, third == 0 ? 1 : 3);
}

static inline void peer_close(struct peer *peer) {
    pil_engine_close(peer->loop->engine, peer->handle);
    peer->is_close_asked = true;
}

static inline void peer_event(struct peer *peer, const struct pil_event *event) {
    assert_int_equal(event->handle, peer->handle);
    assert_int_equal(peer->closes, 0);
    if (peer->is_close_asked && event->kind != PIL_EVENT_CLOSED) {
        return; /* handed out in the turn in which it was closed; later ones are caught by loop_turn */
    }
    if (event->kind == PIL_EVENT_RECEIVE) {
        assert_int_equal(peer->ends, 0);
        assert_in_range(event->data.len, 1, peer->capacity - peer->received);
        memcpy(peer->bytes + peer->received, event->data.data, event->data.len);
        peer->received += event->data.len;
        peer->receives++;
    } else if (event->kind == PIL_EVENT_END) {
        assert_int_equal(++peer->ends, 1);
        peer->ends_failed += event->failed;
    } else if (event->kind == PIL_EVENT_SENT) {
        assert_true(peer->is_sending);
        peer->is_sending = false;
        peer->sents++;
        peer->sends_failed += event->failed;
        assert_true(event->failed || event->bytes == peer->sending);
        peer->sent += event->bytes;
    } else {
        assert_int_equal(event->kind, PIL_EVENT_CLOSED);
        assert_true(peer->is_close_asked);
        peer->closes++;
        return;
    }
    peer_flush(peer);
}

/* One turn. No event but CLOSED may come for what was closed in an earlier one. */
static inline void loop_turn_for(struct loop *loop, uint64_t spin_ns, uint64_t timeout_ns) {
    loop->count = 0;
    assert_int_equal(pil_engine_wait(loop->engine, loop->events, loop->capacity, spin_ns, timeout_ns, &loop->count), 0);
    assert_in_range(loop->count, 0, loop->capacity);
    for (uint32_t i = 0; i < loop->count; i++) {
        const struct pil_event *event = &loop->events[i];
        const struct peer *peer = event->owner;
        bool is_peers =
            event->kind != PIL_EVENT_ACCEPT && event->kind != PIL_EVENT_WAKE && event->kind != PIL_EVENT_READABLE;
        assert_false(is_peers && peer != NULL && peer->is_close_asked && event->kind != PIL_EVENT_CLOSED);
    }
    for (uint32_t i = 0; i < loop->count; i++) {
        const struct pil_event *event = &loop->events[i];
        if (event->kind == PIL_EVENT_ACCEPT) {
            assert_in_range(loop->accepted_count, 0, LOOP_EVENTS - 1);
            loop->accepted[loop->accepted_count++] = event->fd;
        } else if (event->kind == PIL_EVENT_WAKE) {
            assert_int_equal(event->handle, 0);
            loop->wakes++;
        } else if (event->kind == PIL_EVENT_READABLE) {
            loop->readables++;
        } else if (event->owner != NULL) {
            peer_event(event->owner, event);
        }
    }
}

static inline void loop_turn(struct loop *loop) {
    loop_turn_for(loop, 0, SECOND_NS / 100);
}

/* Turns until `condition` holds; a test that waits in vain fails after ten seconds. */
#define LOOP_UNTIL(loop, condition) \
    do { \
        uint64_t loop_until_ = pil_clock_monotonic_ns() + 10 * (uint64_t)SECOND_NS; \
        while (!(condition)) { \
            if (pil_clock_monotonic_ns() > loop_until_) { \
                fail_msg("waited in vain for %s", #condition); \
            } \
            loop_turn(loop); \
        } \
    } while (0)

static inline struct peer *peer_attach(struct loop *loop, int server_fd, int client_fd, size_t capacity) {
    struct peer *peer = calloc(1, sizeof *peer);
    assert_non_null(peer);
    *peer = (struct peer){
        .loop = loop, .client = client_fd, .echoes = true, .capacity = capacity, .bytes = malloc(capacity)};
    assert_non_null(peer->bytes);
    assert_int_equal(pil_engine_attach(loop->engine, server_fd, peer, &peer->handle), PIL_STATUS_OK);
    return peer;
}

static inline struct peer *peer_open(struct loop *loop, size_t capacity) {
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    return peer_attach(loop, fds[0], fds[1], capacity);
}

/* Only after loop_close, or after CLOSED. */
static inline void peer_free(struct peer *peer) {
    if (peer->client >= 0) {
        close(peer->client);
    }
    free(peer->bytes);
    free(peer);
}

/* Closes, waits for CLOSED, frees. */
static inline void peer_finish(struct peer *peer) {
    peer_close(peer);
    LOOP_UNTIL(peer->loop, peer->closes == 1);
    peer_free(peer);
}

static inline void client_write(int client, const void *bytes, size_t len) {
    assert_int_equal(send(client, bytes, len, MSG_NOSIGNAL), len);
}

/* Reads what is there, without waiting; 0 at the end, -1 when there is nothing. */
static inline ssize_t client_read(int client, void *bytes, size_t len) {
    return recv(client, bytes, len, MSG_DONTWAIT);
}

/* Byte i of a stream in which no two short stretches are alike. */
static inline uint8_t pattern(uint64_t stream, uint64_t i) {
    return (uint8_t)((stream * 31 + i * 7 + (i >> 8) * 13 + (i >> 16)) & 0xff);
}

/* A listener on a Unix socket (its path in *ret_name) or on loopback TCP (its port). */
static inline int listen_at(int family, struct sockaddr_storage *ret_name, socklen_t *ret_len) {
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    struct sockaddr_storage name = {0};
    socklen_t len;
    if (family == AF_UNIX) {
        struct sockaddr_un *path = (struct sockaddr_un *)&name;
        path->sun_family = AF_UNIX; /* an abstract name of the kernel's choice */
        len = sizeof path->sun_family;
    } else {
        struct sockaddr_in *address = (struct sockaddr_in *)&name;
        address->sin_family = AF_INET;
        address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        len = sizeof *address;
    }
    assert_int_equal(bind(fd, (struct sockaddr *)&name, len), 0);
    assert_int_equal(listen(fd, 1024), 0);
    *ret_len = sizeof *ret_name;
    assert_int_equal(getsockname(fd, (struct sockaddr *)ret_name, ret_len), 0);
    return fd;
}

static inline int connect_to(const struct sockaddr_storage *name, socklen_t len) {
    int fd = socket(name->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)name, len), 0);
    return fd;
}

/* Runs the group; 77 when the io_uring half had to be skipped. */
#define LOOP_MAIN(tests) \
    int main(void) { \
        const struct pil_engine_options small = {.connections_max = 10}; \
        loop_has_uring = pil_engine_probe(&small, loop_reason) == PIL_ENGINE_IO_URING; \
        int failed = cmocka_run_group_tests(tests, NULL, NULL); \
        if (failed == 0 && !loop_has_uring) { \
            printf("skipped for io_uring: %s\n", loop_reason); \
            return 77; \
        } \
        return failed; \
    }
