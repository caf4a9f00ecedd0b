/* SPDX-License-Identifier: Apache-2.0
 * Finds out whether io_uring works on this machine by using it. Container runtimes refuse the system calls, kernels
 * lack operations, sandboxes fake them; only completed operations count. */
#include "engine/options.h"
#include "engine/ring.h"

#include "base/sys.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { BUFFERS = 2, BUFFER_BYTES = 64, WAIT_S = 2 };
enum { TAG_NOP = 1, TAG_RECEIVE, TAG_SEND, TAG_CANCEL, TAG_ACCEPT, TAG_POLL };

struct probe {
    struct pil_ring ring;
    int listener, pair[2], client, accepted;
    uint8_t buffers[BUFFERS][BUFFER_BYTES];
    char *reason;
};

static bool __attribute__((format(printf, 2, 3))) refuse(struct probe *probe, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(probe->reason, PIL_ENGINE_REASON_BYTES, format, arguments);
    va_end(arguments);
    return false;
}

static const char *tag_text(uint64_t tag) {
    static const char *const texts[] = {[TAG_NOP] = "an empty operation",
                                        [TAG_RECEIVE] = "multishot receive",
                                        [TAG_ACCEPT] = "multishot accept",
                                        [TAG_POLL] = "poll"};
    return texts[tag];
}

/* Waits for the completion of `tag`, skipping others. Returns false, with the reason, if WAIT_S seconds pass without
 * one. */
static bool await(struct probe *probe, uint64_t tag, struct io_uring_cqe *ret_cqe) {
    for (;;) {
        struct io_uring_cqe cqe, *first;
        while (pil_ring_next(&probe->ring, &cqe)) {
            if (cqe.user_data == tag) {
                *ret_cqe = cqe;
                return true;
            }
        }
        struct __kernel_timespec timeout = {.tv_sec = WAIT_S};
        int result = io_uring_submit_and_wait_timeout(&probe->ring.uring, &first, 1, &timeout, NULL);
        if (result < 0 && result != -EINTR) {
            return refuse(probe, "io_uring: wait for %s: %s", tag_text(tag), strerror(-result));
        }
    }
}

static struct io_uring_sqe *next_sqe(struct probe *probe, uint64_t tag) {
    struct io_uring_sqe *sqe = io_uring_get_sqe(&probe->ring.uring); /* never NULL: at most 4 are queued */
    io_uring_prep_nop(sqe);
    sqe->user_data = tag; /* later io_uring_prep_* calls do not change it */
    return sqe;
}

static bool try_nop(struct probe *probe) {
    struct io_uring_cqe cqe;
    next_sqe(probe, TAG_NOP);
    return await(probe, TAG_NOP, &cqe);
}

/* Awaits a completion that is neither an error nor the last of its operation. */
static bool await_shot(struct probe *probe, uint64_t tag, struct io_uring_cqe *ret_cqe) {
    if (!await(probe, tag, ret_cqe)) {
        return false;
    }
    if (ret_cqe->res < 0) {
        return refuse(probe, "io_uring: %s: %s", tag_text(tag), strerror(-ret_cqe->res));
    }
    return (ret_cqe->flags & IORING_CQE_F_MORE) != 0 || refuse(probe, "io_uring: %s gives one shot", tag_text(tag));
}

static bool try_receive(struct probe *probe) {
    static const char text[] = "pillion";
    struct io_uring_cqe cqe;
    pil_ring_prepare_receive(next_sqe(probe, TAG_RECEIVE), probe->pair[0]);
    io_uring_prep_send(next_sqe(probe, TAG_SEND), probe->pair[1], text, sizeof text, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (!await_shot(probe, TAG_RECEIVE, &cqe)) {
        return false;
    }
    uint32_t number = cqe.flags >> IORING_CQE_BUFFER_SHIFT;
    if (cqe.res != sizeof text || (cqe.flags & IORING_CQE_F_BUFFER) == 0 || number >= BUFFERS ||
        memcmp(probe->buffers[number], text, sizeof text) != 0) {
        return refuse(probe, "io_uring: a receive with a buffer ring gives wrong bytes");
    }
    io_uring_prep_cancel64(next_sqe(probe, TAG_CANCEL), TAG_RECEIVE, 0);
    if (!await(probe, TAG_RECEIVE, &cqe)) {
        return false;
    }
    return cqe.res == -ECANCELED || refuse(probe, "io_uring: a receive cannot be cancelled");
}

static bool try_accept(struct probe *probe) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    socklen_t name_bytes = sizeof name;
    /* An abstract name that the kernel chooses. */
    if (bind(probe->listener, (struct sockaddr *)&name, sizeof name.sun_family) != 0 ||
        listen(probe->listener, 1) != 0 || getsockname(probe->listener, (struct sockaddr *)&name, &name_bytes) != 0 ||
        connect(probe->client, (struct sockaddr *)&name, name_bytes) != 0) {
        return refuse(probe, "probe of io_uring: connect a socket: %s", strerror(errno));
    }
    struct io_uring_cqe cqe;
    io_uring_prep_poll_add(next_sqe(probe, TAG_POLL), probe->listener, POLLIN);
    if (!await(probe, TAG_POLL, &cqe)) {
        return false;
    }
    if (cqe.res < 0) {
        return refuse(probe, "io_uring: poll: %s", strerror(-cqe.res));
    }
    io_uring_prep_multishot_accept(next_sqe(probe, TAG_ACCEPT), probe->listener, NULL, NULL,
                                   SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (!await_shot(probe, TAG_ACCEPT, &cqe)) {
        return false;
    }
    probe->accepted = cqe.res;
    return true;
}

static bool use_ring(struct probe *probe) {
    for (uint32_t i = 0; i < BUFFERS; i++) {
        pil_ring_provide(&probe->ring, probe->buffers[i], BUFFER_BYTES, (uint16_t)i);
    }
    return try_nop(probe) && try_receive(probe) && try_accept(probe);
}

static bool open_sockets(struct probe *probe) {
    probe->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    probe->client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return (probe->listener >= 0 && probe->client >= 0 &&
            socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, probe->pair) == 0) ||
           refuse(probe, "probe of io_uring: open sockets: %s", strerror(errno));
}

pil_engine_kind pil_engine_probe(const struct pil_engine_options *options, char ret_reason[PIL_ENGINE_REASON_BYTES]) {
    struct probe probe = {.listener = -1, .pair = {-1, -1}, .client = -1, .accepted = -1, .reason = ret_reason};
    struct pil_engine_options filled;
    struct pil_error error;
    if (pil_engine_options_fill(options, &filled, &error) != PIL_STATUS_OK) {
        snprintf(ret_reason, PIL_ENGINE_REASON_BYTES, "%.*s", PIL_ENGINE_REASON_BYTES - 1, error.text);
        return PIL_ENGINE_EPOLL;
    }
    int result = pil_ring_init(&probe.ring, filled.submit_entries, filled.complete_entries, filled.buffer_count);
    if (result < 0) {
        snprintf(ret_reason, PIL_ENGINE_REASON_BYTES, "io_uring set-up: %s%s", strerror(-result),
                 pil_ring_hint(-result));
        return PIL_ENGINE_EPOLL;
    }
    bool is_good = open_sockets(&probe) && use_ring(&probe);
    pil_ring_deinit(&probe.ring);
    int *fds[] = {&probe.listener, &probe.client, &probe.accepted, &probe.pair[0], &probe.pair[1]};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) {
        pil_sys_close(fds[i]);
    }
    if (!is_good) {
        return PIL_ENGINE_EPOLL;
    }
    snprintf(ret_reason, PIL_ENGINE_REASON_BYTES, "all required operations available");
    return PIL_ENGINE_IO_URING;
}
