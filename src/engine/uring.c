/* SPDX-License-Identifier: Apache-2.0
 * The io_uring back end. An operation is in flight until its completion without IORING_CQE_F_MORE, whatever the result:
 * no other sign of its end is trusted. Multishot operations end for many reasons (no buffer, a full completion ring,
 * kernel internals) and are started again as long as the slot wants them. */
#include "engine/internal.h"
#include "engine/ring.h"

#include "base/clock.h"
#include "base/panic.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

typedef enum operation {
    OP_MAIN,   /* multishot receive or accept, or the poll of a watch */
    OP_HANGUP, /* a poll for the peer's half-close or hang-up */
    OP_ROOM,   /* a multishot poll for room to send */
    OP_SEND,
    OP_CANCEL,
    OP_WAKE,
} operation;

enum {
    SUBMIT_TRIES = 1000,
    SEND_BYTES_MAX = 1 << 30, /* the length of an operation has 32 bits */
    DESTROY_NS = 2000 * 1000 * 1000,
};

struct uring {
    struct pil_ring ring;
    uint32_t in_flight;    /* operations of all slots, and the poll of wake_fd */
    uint32_t buffers_free; /* provided to the kernel and not used by a completion since */
    bool is_wake_armed;
    bool is_broken;
    struct io_uring_sqe spare; /* filled in and ignored when the ring is broken */
};

static uint64_t user_data(uint64_t handle, operation op) {
    return handle | (uint64_t)op << PIL_SLOT_INDEX_BITS;
}

/* ---- entering the kernel ---- */

/* Evaluates the result of a call that entered the kernel. Transient errors are retried in the next turn; any other,
 * above all EBADR (a lost completion), leaves operations whose end is never reported, so the ring is broken. */
static void check_enter(struct pil_engine *engine, int result) {
    struct uring *uring = engine->back;
    engine->stats.enters++;
    if (result >= 0 || result == -EINTR || result == -ETIME) {
        return;
    }
    if (result == -EAGAIN || result == -EBUSY) {
        engine->has_more = true;
        return;
    }
    uring->is_broken = true;
}

static void submit(struct pil_engine *engine) {
    struct uring *uring = engine->back;
    check_enter(engine, io_uring_submit(&uring->ring.uring));
}

static struct io_uring_sqe *next_sqe(struct pil_engine *engine) {
    struct uring *uring = engine->back;
    for (int tries = 0; tries < SUBMIT_TRIES && !uring->is_broken; tries++) {
        struct io_uring_sqe *sqe = io_uring_get_sqe(&uring->ring.uring);
        if (sqe != NULL) {
            return sqe;
        }
        submit(engine);
    }
    uring->is_broken = true;
    return &uring->spare;
}

static void start(struct pil_engine *engine, struct pil_slot *slot, struct io_uring_sqe *sqe, operation op) {
    struct uring *uring = engine->back;
    sqe->user_data = user_data(slot != NULL ? pil_slot_handle(slot) : 0, op);
    uring->in_flight++;
    if (slot != NULL) {
        slot->in_flight++;
        slot->armed |= 1U << op;
    }
}

static void cancel(struct pil_engine *engine, struct pil_slot *slot, operation op) {
    struct io_uring_sqe *sqe = next_sqe(engine);
    io_uring_prep_cancel64(sqe, user_data(slot != NULL ? pil_slot_handle(slot) : 0, op), 0);
    start(engine, slot, sqe, OP_CANCEL);
}

static bool is_armed(const struct pil_slot *slot, operation op) {
    return (slot->armed & 1U << op) != 0;
}

static void stop(struct pil_engine *engine, struct pil_slot *slot, operation op) {
    if (is_armed(slot, op) && (slot->cancelling & 1U << op) == 0) {
        slot->cancelling |= 1U << op;
        cancel(engine, slot, op);
    }
}

/* ---- receiving, accepting, polling ---- */

static void arm(struct pil_engine *engine, struct pil_slot *slot) {
    struct io_uring_sqe *sqe = next_sqe(engine);
    switch (slot->kind) {
    case PIL_SLOT_CONNECTION:
        if (slot->saw_hangup) {
            pil_ring_prepare_receive_once(sqe, slot->fd, engine->options.buffer_bytes);
        } else {
            pil_ring_prepare_receive(sqe, slot->fd);
        }
        break;
    case PIL_SLOT_LISTENER:
        if (slot->accepts_once) {
            io_uring_prep_accept(sqe, slot->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        } else {
            io_uring_prep_multishot_accept(sqe, slot->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        }
        break;
    case PIL_SLOT_WATCH: io_uring_prep_poll_add(sqe, slot->fd, POLLIN); break;
    case PIL_SLOT_FREE: PIL_UNREACHABLE("a free slot is never armed");
    }
    start(engine, slot, sqe, OP_MAIN);
}

/* A multishot receive that takes the last bytes after the peer's end has arrived may not check again, and then waits
 * for ever (seen on Linux 6.18, docs/adr/0010). So a separate poll watches for the end; after it, one-shot receives are
 * used, which return at once. */
static void arm_hangup(struct pil_engine *engine, struct pil_slot *slot) {
    struct io_uring_sqe *sqe = next_sqe(engine);
    io_uring_prep_poll_add(sqe, slot->fd, POLLRDHUP);
    start(engine, slot, sqe, OP_HANGUP);
}

static bool update(struct pil_engine *engine, struct pil_slot *slot) {
    if (!pil_engine_wants(slot)) {
        stop(engine, slot, OP_MAIN);
        return true;
    }
    if (!is_armed(slot, OP_MAIN) && !slot->rearm.is_linked) {
        arm(engine, slot);
    }
    if (slot->kind == PIL_SLOT_CONNECTION && !slot->saw_hangup && !is_armed(slot, OP_HANGUP)) {
        arm_hangup(engine, slot);
    }
    return true;
}

/* Starts as many receives of starved connections as there are free buffers, in order of arrival; the rest waits for the
 * next turn. */
static bool begin(struct pil_engine *engine) {
    struct uring *uring = engine->back;
    struct pil_slot_list *starved = &engine->rearm[PIL_SLOT_CONNECTION], *watches = &engine->rearm[PIL_SLOT_WATCH];
    for (uint32_t left = uring->buffers_free; left > 0 && starved->count > 0; left--) {
        struct pil_slot *slot = starved->first;
        pil_slot_list_remove(starved, PIL_SLOT_LINK(rearm), slot);
        update(engine, slot);
    }
    while (watches->count > 0) {
        struct pil_slot *slot = watches->first;
        pil_slot_list_remove(watches, PIL_SLOT_LINK(rearm), slot);
        update(engine, slot);
    }
    if (!uring->is_wake_armed) {
        struct io_uring_sqe *sqe = next_sqe(engine);
        io_uring_prep_poll_add(sqe, engine->wake_fd, POLLIN);
        start(engine, NULL, sqe, OP_WAKE);
        uring->is_wake_armed = true;
    }
    return starved->count > 0 && uring->buffers_free > 0;
}

static void give_back(struct pil_engine *engine, struct pil_piece *piece) {
    struct uring *uring = engine->back;
    uint8_t *buffer = engine->pool + (size_t)piece->buffer * engine->options.buffer_bytes;
    pil_ring_provide(&uring->ring, buffer, engine->options.buffer_bytes, (uint16_t)piece->buffer);
    uring->buffers_free++;
}

/* ---- sending ----
 * A send never waits inside the kernel (MSG_DONTWAIT). The kernel's own wait also polls for hang-up: when the peer has
 * shut down its side and does not read, each poll reports "ready" at once, and after 128 tries the kernel moves the
 * send to a worker thread (docs/adr/0010). So the back end itself polls a full socket for room, edge-triggered: a
 * multishot poll reports the hang-up once and after that only room. */

static void queue_send(struct pil_engine *engine, struct pil_slot *slot) {
    const struct msghdr *message = &slot->message;
    struct io_uring_sqe *sqe = next_sqe(engine);
    if (message->msg_iovlen == 1) {
        size_t bytes = message->msg_iov->iov_len < SEND_BYTES_MAX ? message->msg_iov->iov_len : SEND_BYTES_MAX;
        io_uring_prep_send(sqe, slot->fd, message->msg_iov->iov_base, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
    } else {
        io_uring_prep_sendmsg(sqe, slot->fd, message, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    slot->is_blocked = slot->saw_room = false;
    start(engine, slot, sqe, OP_SEND);
    engine->has_sends = true;
}

static void await_room(struct pil_engine *engine, struct pil_slot *slot) {
    slot->is_blocked = true;
    if (!is_armed(slot, OP_ROOM)) {
        struct io_uring_sqe *sqe = next_sqe(engine);
        io_uring_prep_poll_multishot(sqe, slot->fd, POLLOUT);
        start(engine, slot, sqe, OP_ROOM);
    }
}

static void close_slot(struct pil_engine *engine, struct pil_slot *slot) {
    stop(engine, slot, OP_MAIN);
    stop(engine, slot, OP_HANGUP);
    stop(engine, slot, OP_ROOM);
    if (slot->in_flight == 0) { /* a send is never cancelled: it ends soon, because it does not wait */
        pil_engine_closed(engine, slot);
    }
}

static void flush(struct pil_engine *engine) {
    struct uring *uring = engine->back;
    if (io_uring_sq_ready(&uring->ring.uring) > 0) {
        submit(engine);
    }
}

/* ---- completions ---- */

/* `slot` is NULL when it was released; the buffer must be given back all the same. */
static void on_buffer(struct pil_engine *engine, struct pil_slot *slot, const struct io_uring_cqe *cqe) {
    struct uring *uring = engine->back;
    uint32_t number = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
    PIL_ASSERT(number < engine->options.buffer_count && uring->buffers_free > 0);
    struct pil_piece *piece = &engine->pieces[number];
    uring->buffers_free--;
    if (slot != NULL && cqe->res > 0) {
        piece->len = (uint32_t)cqe->res;
        pil_engine_received(engine, slot, piece);
    } else {
        give_back(engine, piece);
    }
}

/* Some kernels returned numbers from multishot accept that are not descriptors (Linux 6.6 to 6.8-rc, liburing issue
 * 1062). */
static void on_accept(struct pil_engine *engine, struct pil_slot *slot, int fd) {
    if (fcntl(fd, F_GETFD) < 0) {
        engine->stats.accept_failures++;
        slot->accepts_once = true;
    } else if (slot->is_closing) {
        close(fd);
    } else {
        pil_engine_accepted(engine, slot, fd);
    }
}

static void on_receive_end(struct pil_engine *engine, struct pil_slot *slot, int result) {
    if (result == -ENOBUFS) {
        engine->stats.buffers_empty++;
        if (pil_engine_wants(slot)) {
            pil_slot_list_add(&engine->rearm[PIL_SLOT_CONNECTION], PIL_SLOT_LINK(rearm), slot);
        }
    } else if (result <= 0 && result != -ECANCELED && result != -EINTR && result != -EAGAIN) {
        pil_engine_ended(engine, slot, result < 0);
    }
}

/* Handles the last completion of the operation that arm() started. */
static void on_end(struct pil_engine *engine, struct pil_slot *slot, int result, bool was_cancelling) {
    if (slot->is_closing) {
        return;
    }
    if (slot->kind == PIL_SLOT_CONNECTION) {
        on_receive_end(engine, slot, result);
    } else if (slot->kind == PIL_SLOT_WATCH) { /* re-armed in the next turn, after the owner has read: level-triggered
                                                */
        pil_slot_list_add(&engine->rearm[PIL_SLOT_WATCH], PIL_SLOT_LINK(rearm), slot);
    } else if (result < 0) {
        pil_engine_accept_failed(engine, slot, -result);
    }
    bool was_multishot = !slot->accepts_once && !slot->saw_hangup;
    if (was_multishot && !was_cancelling && pil_engine_wants(slot) && !slot->rearm.is_linked) {
        engine->stats.multishot_ended++;
    }
    update(engine, slot);
}

static void on_send_end(struct pil_engine *engine, struct pil_slot *slot, int result) {
    if (slot->is_closing) {
        return;
    }
    bool is_short = result > 0 && !pil_engine_sent(engine, slot, (size_t)result);
    if (is_short || result == -EINTR || (result == -EAGAIN && slot->saw_room)) {
        queue_send(engine, slot);
    } else if (result == -EAGAIN) {
        await_room(engine, slot);
    } else {
        if (result <= 0) {
            pil_engine_send_failed(engine, slot);
        }
        stop(engine, slot, OP_ROOM);
    }
}

static void on_room(struct pil_engine *engine, struct pil_slot *slot) {
    if (slot->is_closing) {
        return;
    }
    if (slot->is_blocked) {
        queue_send(engine, slot);
    } else {
        slot->saw_room = true;
    }
}

static void on_hangup(struct pil_engine *engine, struct pil_slot *slot) {
    slot->saw_hangup = true;
    stop(engine, slot, OP_MAIN);
}

static void on_main(struct pil_engine *engine, struct pil_slot *slot, const struct io_uring_cqe *cqe,
                    bool was_cancelling) {
    if (slot->kind == PIL_SLOT_LISTENER && cqe->res >= 0) {
        on_accept(engine, slot, cqe->res);
    } else if (slot->kind == PIL_SLOT_WATCH && !slot->is_closing) {
        pil_engine_readable(engine, slot);
    }
    if (!is_armed(slot, OP_MAIN)) {
        on_end(engine, slot, cqe->res, was_cancelling);
    } else {
        update(engine, slot); /* stops the operation when pieces are held */
    }
}

/* The kernel searches the waiting operations only: one that it is just retrying is not found (ENOENT) and stays in
 * flight. So an operation that has not ended is cancelled again. */
static void on_cancel_end(struct pil_engine *engine, struct pil_slot *slot, int result) {
    uint32_t missed = result < 0 ? slot->cancelling : 0;
    slot->cancelling &= ~missed;
    for (operation op = OP_MAIN; op <= OP_ROOM; op++) {
        if ((missed & 1U << op) != 0) {
            stop(engine, slot, op);
        }
    }
}

static void on_slot(struct pil_engine *engine, struct pil_slot *slot, operation op, const struct io_uring_cqe *cqe) {
    bool was_cancelling = (slot->cancelling & 1U << op) != 0;
    if ((cqe->flags & IORING_CQE_F_MORE) == 0) {
        PIL_ASSERT(slot->in_flight > 0);
        slot->in_flight--;
        slot->armed &= ~(1U << op);
        slot->cancelling &= ~(1U << op);
    }
    switch (op) {
    case OP_MAIN: on_main(engine, slot, cqe, was_cancelling); break;
    case OP_HANGUP: on_hangup(engine, slot); break;
    case OP_ROOM: on_room(engine, slot); break;
    case OP_SEND: on_send_end(engine, slot, cqe->res); break;
    case OP_CANCEL: on_cancel_end(engine, slot, cqe->res); break;
    case OP_WAKE: PIL_UNREACHABLE("the wake has no slot");
    }
    if (slot->is_closing && !slot->is_closed && slot->in_flight == 0) {
        pil_engine_closed(engine, slot);
    }
}

static void handle(struct pil_engine *engine, const struct io_uring_cqe *cqe) {
    struct uring *uring = engine->back;
    struct pil_slot *slot = pil_slot_find(&engine->table, cqe->user_data);
    operation op = (cqe->user_data >> PIL_SLOT_INDEX_BITS) & 0xff;
    uring->in_flight -= (cqe->flags & IORING_CQE_F_MORE) == 0;
    if ((cqe->flags & IORING_CQE_F_BUFFER) != 0) {
        on_buffer(engine, slot, cqe);
    }
    if (op == OP_WAKE) {
        uring->is_wake_armed = false;
        pil_engine_woken(engine);
    } else if (slot != NULL) {
        on_slot(engine, slot, op, cqe);
    }
}

/* ---- a turn ---- */

static void enter(struct pil_engine *engine, uint64_t timeout_ns) {
    struct uring *uring = engine->back;
    struct io_uring *ring = &uring->ring.uring;
    engine->stats.complete_overflows += pil_ring_has_overflowed(&uring->ring);
    if (timeout_ns == 0 || io_uring_cq_ready(ring) > 0) {
        if (io_uring_sq_ready(ring) > 0 || pil_ring_needs_enter(&uring->ring)) {
            check_enter(engine, io_uring_submit_and_get_events(ring));
        }
    } else if (timeout_ns == UINT64_MAX) {
        check_enter(engine, io_uring_submit_and_wait(ring, 1));
    } else {
        struct __kernel_timespec timeout = {
            .tv_sec = (long long)(timeout_ns / 1000000000),
            .tv_nsec = (long long)(timeout_ns % 1000000000),
        };
        struct io_uring_cqe *cqe;
        check_enter(engine, io_uring_submit_and_wait_timeout(ring, &cqe, 1, &timeout, NULL));
    }
}

/* Overflowed completions wait in the kernel, in order, until the ring is empty and the next enter. */
static void drain(struct pil_engine *engine) {
    struct uring *uring = engine->back;
    for (;;) {
        struct io_uring_cqe cqe;
        while (pil_engine_has_room(engine) && pil_ring_next(&uring->ring, &cqe)) {
            handle(engine, &cqe);
        }
        if (!pil_engine_has_room(engine) || uring->is_broken || !pil_ring_has_overflowed(&uring->ring)) {
            break;
        }
        engine->stats.complete_overflows++;
        check_enter(engine, io_uring_get_events(&uring->ring.uring));
    }
    if (io_uring_cq_ready(&uring->ring.uring) > 0 || pil_ring_has_overflowed(&uring->ring)) {
        engine->has_more = true;
    }
}

static pil_status turn(struct pil_engine *engine, uint64_t timeout_ns) {
    struct uring *uring = engine->back;
    engine->has_more = engine->has_sends = false;
    enter(engine, timeout_ns);
    drain(engine);
    if (IO_URING_READ_ONCE(*uring->ring.uring.cq.koverflow) != 0) {
        uring->is_broken = true; /* the kernel had no memory to keep a completion */
    }
    return uring->is_broken ? PIL_STATUS_SYSTEM : PIL_STATUS_OK;
}

/* ---- create and destroy ---- */

/* The kernel tears a ring down asynchronously: only operations that this function waits for are certain to have
 * released their sockets (so that the address can be bound again at once) and their buffers. */
static void destroy(struct pil_engine *engine) {
    struct uring *uring = engine->back;
    if (uring->is_wake_armed) {
        cancel(engine, NULL, OP_WAKE);
    }
    struct pil_event events[64];
    uint64_t start_ns = pil_clock_monotonic_ns();
    pil_status status = PIL_STATUS_OK;
    while (uring->in_flight > 0 && status == PIL_STATUS_OK && pil_clock_monotonic_ns() - start_ns < DESTROY_NS) {
        engine->events = events;
        engine->capacity = sizeof events / sizeof *events;
        engine->count = 0;
        status = turn(engine, 10 * 1000 * 1000);
    }
    if (uring->in_flight > 0) {
        engine->pool = NULL; /* leaked on purpose: the kernel may still write into the pool */
    }
    pil_ring_deinit(&uring->ring);
    free(uring);
}

static pil_status create(struct pil_engine *engine, struct pil_error *ret_error) {
    struct uring *uring = calloc(1, sizeof *uring);
    if (uring == NULL) {
        return pil_fail(ret_error, PIL_STATUS_NO_MEMORY, "no memory for an event loop");
    }
    const struct pil_engine_options *options = &engine->options;
    int result = pil_ring_init(&uring->ring, options->submit_entries, options->complete_entries, options->buffer_count);
    if (result < 0) {
        free(uring);
        return pil_fail(ret_error, pil_status_from_errno(-result), "io_uring set-up: %s%s", strerror(-result),
                        pil_ring_hint(-result));
    }
    engine->back = uring;
    for (uint32_t i = 0; i < options->buffer_count; i++) {
        give_back(engine, &engine->pieces[i]);
    }
    return PIL_STATUS_OK;
}

const struct pil_engine_ops pil_uring_ops = {
    .create = create,
    .destroy = destroy,
    .begin = begin,
    .turn = turn,
    .update = update,
    .send = queue_send,
    .close = close_slot,
    .give_back = give_back,
    .flush = flush,
};
