/* SPDX-License-Identifier: Apache-2.0
 * The epoll back end: level-triggered, so that unread bytes are reported again; sends are tried at once. Events for
 * which there was no room are kept and come first in the next turn: the kernel would report them after those of busy
 * descriptors. */
#include "engine/internal.h"

#include "base/panic.h"
#include "base/sys.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/epoll.h>

enum {
    EVENTS_MAX = 512,         /* per epoll_wait */
    ACCEPTS_PER_TURN_MAX = 64 /* per listener, so that a burst of new connections does not starve the accepted ones */
};

struct epoll {
    int fd;
    uint32_t buffers_used; /* buffers of the pool that were used in this turn */
    uint32_t event_count, event_next;
    struct epoll_event events[EVENTS_MAX];
};

static uint32_t interest_of(const struct pil_slot *slot) {
    uint32_t interest = pil_engine_wants(slot) ? (uint32_t)EPOLLIN : 0;
    if (interest != 0 && slot->kind == PIL_SLOT_LISTENER) {
        interest |= EPOLLEXCLUSIVE; /* one worker is woken per connection, not all */
    }
    if (slot->is_sending && !slot->is_sent && !slot->is_closing) {
        interest |= EPOLLOUT;
    }
    return interest;
}

/* A descriptor without interest leaves the set: otherwise epoll would report its errors and hang-ups again and again.
 */
static bool update(struct pil_engine *engine, struct pil_slot *slot) {
    struct epoll *epoll = engine->back;
    uint32_t interest = interest_of(slot);
    if (interest == slot->interest) {
        return true;
    }
    int operation = interest == 0 ? EPOLL_CTL_DEL : slot->interest == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    struct epoll_event event = {.events = interest, .data.u64 = pil_slot_handle(slot)};
    slot->interest = interest;
    if (epoll_ctl(epoll->fd, operation, slot->fd, &event) != 0) {
        slot->interest = 0;
        return false;
    }
    return true;
}

static void send_now(struct pil_engine *engine, struct pil_slot *slot) {
    for (;;) {
        ssize_t sent = sendmsg(slot->fd, &slot->message, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent > 0) {
            if (pil_engine_sent(engine, slot, (size_t)sent)) {
                break;
            }
        } else if (sent < 0 && errno == EAGAIN) {
            break;
        } else if (sent == 0 || errno != EINTR) {
            pil_engine_send_failed(engine, slot);
            break;
        }
    }
    if (!update(engine, slot)) {
        pil_engine_send_failed(engine, slot);
    }
}

/* Buffers are used in the order of their numbers, but for those that the owner keeps. */
static void skip_kept(struct pil_engine *engine) {
    struct epoll *epoll = engine->back;
    while (epoll->buffers_used < engine->options.buffer_count && engine->pieces[epoll->buffers_used].is_kept) {
        epoll->buffers_used++;
    }
}

/* Returns false if there is no room for an event, or no buffer. */
static bool receive(struct pil_engine *engine, struct pil_slot *slot) {
    struct epoll *epoll = engine->back;
    while (pil_engine_wants(slot) && pil_engine_share(engine, slot) > 0) {
        skip_kept(engine);
        if (epoll->buffers_used == engine->options.buffer_count) {
            engine->stats.buffers_empty++;
            return false;
        }
        if (!pil_engine_has_room(engine)) {
            return false;
        }
        struct pil_piece *piece = &engine->pieces[epoll->buffers_used];
        uint8_t *buffer = engine->pool + (size_t)epoll->buffers_used * engine->options.buffer_bytes;
        ssize_t got = recv(slot->fd, buffer, engine->options.buffer_bytes, MSG_DONTWAIT);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0 && errno == EAGAIN) {
            return true;
        }
        if (got <= 0) {
            pil_engine_ended(engine, slot, got < 0);
            update(engine, slot);
            return true;
        }
        epoll->buffers_used++;
        piece->len = (uint32_t)got;
        pil_engine_received(engine, slot, piece);
        if ((size_t)got < engine->options.buffer_bytes) {
            return true;
        }
    }
    return true;
}

static bool accept_some(struct pil_engine *engine, struct pil_slot *slot) {
    for (uint32_t i = 0; i < ACCEPTS_PER_TURN_MAX; i++) {
        if (!pil_engine_has_room(engine)) {
            return false;
        }
        int fd = accept4(slot->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            pil_engine_accepted(engine, slot, fd);
            continue;
        }
        if (errno != EAGAIN) {
            pil_engine_accept_failed(engine, slot, errno);
            update(engine, slot);
        }
        return true;
    }
    return true;
}

/* Returns false if it must continue in the next turn: no room for an event, or no buffer. */
static bool handle(struct pil_engine *engine, const struct epoll_event *event) {
    if (event->data.u64 == 0) {
        if (!pil_engine_has_room(engine)) {
            return false;
        }
        pil_engine_woken(engine);
        return true;
    }
    struct pil_slot *slot = pil_slot_find(&engine->table, event->data.u64);
    if (slot == NULL || slot->is_closing) {
        return true; /* the event was kept from the last turn and the slot closed since */
    }
    if (slot->kind == PIL_SLOT_LISTENER) {
        return accept_some(engine, slot);
    }
    if (slot->kind == PIL_SLOT_WATCH) {
        if (!pil_engine_has_room(engine)) {
            return false;
        }
        pil_engine_readable(engine, slot);
        return true;
    }
    if ((event->events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0 && slot->is_sending && !slot->is_sent) {
        send_now(engine, slot);
    }
    return (event->events & (EPOLLIN | EPOLLERR | EPOLLHUP)) == 0 || receive(engine, slot);
}

static int timeout_ms(uint64_t timeout_ns) {
    uint64_t ms = timeout_ns / 1000000 + (timeout_ns % 1000000 != 0);
    return timeout_ns == UINT64_MAX ? -1 : ms < INT_MAX ? (int)ms : INT_MAX;
}

static pil_status turn(struct pil_engine *engine, uint64_t timeout_ns) {
    struct epoll *epoll = engine->back;
    engine->has_more = engine->has_sends = false;
    if (epoll->event_next == epoll->event_count) {
        engine->stats.enters++;
        int count = epoll_wait(epoll->fd, epoll->events, EVENTS_MAX, timeout_ms(timeout_ns));
        if (count < 0 && errno != EINTR) {
            return PIL_STATUS_SYSTEM;
        }
        epoll->event_next = 0;
        epoll->event_count = count > 0 ? (uint32_t)count : 0;
    }
    while (epoll->event_next < epoll->event_count) {
        if (!handle(engine, &epoll->events[epoll->event_next])) {
            engine->has_more = true;
            break;
        }
        epoll->event_next++;
    }
    return PIL_STATUS_OK;
}

static bool begin(struct pil_engine *engine) {
    struct epoll *epoll = engine->back;
    epoll->buffers_used = 0;
    return false;
}

static void close_slot(struct pil_engine *engine, struct pil_slot *slot) {
    update(engine, slot);
    pil_engine_closed(engine, slot);
}

/* Nothing to do: all buffers are free again at the next turn. */
static void give_back(struct pil_engine *engine, struct pil_piece *piece) {
    (void)engine;
    (void)piece;
}

static void flush(struct pil_engine *engine) {
    (void)engine; /* sends were tried at once */
}

static void destroy(struct pil_engine *engine) {
    struct epoll *epoll = engine->back;
    pil_sys_close(&epoll->fd);
    free(epoll);
}

static pil_status create(struct pil_engine *engine, struct pil_error *ret_error) {
    struct epoll *epoll = calloc(1, sizeof *epoll);
    if (epoll == NULL) {
        return pil_fail(ret_error, PIL_STATUS_NO_MEMORY, "no memory for an event loop");
    }
    engine->back = epoll;
    struct epoll_event wake = {.events = EPOLLIN, .data.u64 = 0};
    epoll->fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll->fd < 0 || epoll_ctl(epoll->fd, EPOLL_CTL_ADD, engine->wake_fd, &wake) != 0) {
        int number = errno;
        destroy(engine);
        return pil_fail(ret_error, pil_status_from_errno(number), "make an epoll set: %s", strerror(number));
    }
    return PIL_STATUS_OK;
}

const struct pil_engine_ops pil_epoll_ops = {
    .create = create,
    .destroy = destroy,
    .begin = begin,
    .turn = turn,
    .update = update,
    .send = send_now,
    .close = close_slot,
    .give_back = give_back,
    .flush = flush,
};
