/* SPDX-License-Identifier: Apache-2.0
 * What the common part of the engine and its two back ends share. The common part knows what a connection wants and
 * what the owner gets to see (order, shares, pauses, limits); a back end moves bytes and says what happened. */
#pragma once

#include "engine/slot.h"

#include <pthread.h>

struct pil_engine;

/* A back end. All are called on the loop's thread. */
struct pil_engine_ops {
    pil_status (*create)(struct pil_engine *engine, struct pil_error *ret_error);
    /* Every slot is closing: waits for what is in flight, then frees. */
    void (*destroy)(struct pil_engine *engine);
    /* Before each turn, with the buffers of the last one given back. True: there is work, do not block. */
    bool (*begin)(struct pil_engine *engine);
    /* Submits what is queued and handles what happened, as far as there is room for events; blocks up to timeout_ns
     * (UINT64_MAX: for ever) when nothing has. Sets has_more when it stopped early. */
    pil_status (*turn)(struct pil_engine *engine, uint64_t timeout_ns);
    /* Starts or stops receiving, accepting, polling: whatever pil_engine_wants says now. False: the kernel refused. */
    bool (*update)(struct pil_engine *engine, struct pil_slot *slot);
    void (*send)(struct pil_engine *engine, struct pil_slot *slot);
    /* Stops everything; calls pil_engine_closed when no operation refers to the slot any more. */
    void (*close)(struct pil_engine *engine, struct pil_slot *slot);
    void (*give_back)(struct pil_engine *engine, struct pil_piece *piece); /* a buffer of the pool is free */
    void (*flush)(struct pil_engine *engine);
};
extern const struct pil_engine_ops pil_epoll_ops, pil_uring_ops;

struct pil_engine {
    const struct pil_engine_ops *ops;
    struct pil_engine_options options; /* defaults filled in */
    void *back;                        /* the back end's own */
    pthread_t thread;
    struct pil_slot_table table;
    struct pil_slot_list ready;    /* through `ready` */
    struct pil_slot_list rearm[4]; /* through `rearm`, by slot kind: starved connections, resting listeners, watches */
    uint32_t others;               /* listeners and watches */

    uint8_t *pool;            /* buffer_count x buffer_bytes */
    struct pil_piece *pieces; /* one per buffer */
    struct pil_piece *lent;   /* in the owner's hands until the next wait */

    struct pil_event *events; /* the owner's array of this turn */
    uint32_t capacity, count;
    uint32_t accepted; /* of this turn, perhaps not attached yet */
    uint64_t turn;
    bool has_more;
    bool has_sends; /* sends were queued and not submitted: their ends can be had without blocking */

    int wake_fd;
    int reserve_fd; /* given up for a moment to accept and close when descriptors run out; -1: lost */
    struct pil_engine_stats stats;
};

static inline bool pil_engine_has_room(const struct pil_engine *engine) {
    return engine->count < engine->capacity;
}

/* Whether the slot wants to receive, accept or be polled now. */
bool pil_engine_wants(const struct pil_slot *slot);
/* How many more bytes the connection may have in this turn. */
uint64_t pil_engine_share(const struct pil_engine *engine, const struct pil_slot *slot);

/* What happened, for the back ends to say. */
void pil_engine_woken(struct pil_engine *engine);                                   /* needs room */
void pil_engine_readable(struct pil_engine *engine, struct pil_slot *slot);         /* needs room */
void pil_engine_accepted(struct pil_engine *engine, struct pil_slot *slot, int fd); /* needs room */
/* Sheds waiting connections when descriptors have run out, lets the listener rest when trying again at once is no use.
 */
void pil_engine_accept_failed(struct pil_engine *engine, struct pil_slot *slot, int error_number);
/* Hands the piece out, or holds it for later turns: no room, paused, or the connection had its share. */
void pil_engine_received(struct pil_engine *engine, struct pil_slot *slot, struct pil_piece *piece);
void pil_engine_ended(struct pil_engine *engine, struct pil_slot *slot, bool failed);
/* Moves the send on; true when it is complete and SENT will be told. */
bool pil_engine_sent(struct pil_engine *engine, struct pil_slot *slot, size_t bytes);
void pil_engine_send_failed(struct pil_engine *engine, struct pil_slot *slot);
void pil_engine_closed(struct pil_engine *engine, struct pil_slot *slot);
