/* SPDX-License-Identifier: Apache-2.0
 * Shared by the common part of the engine and its two back ends. The common part decides what a connection waits for
 * and which events the owner sees (order, shares, pauses, limits); a back end moves bytes and reports what happened. */
#pragma once

#include "engine/slot.h"

#include <pthread.h>

struct pil_engine;

/* A back end. All functions are called on the owner thread. */
struct pil_engine_ops {
    pil_status (*create)(struct pil_engine *engine, struct pil_error *ret_error);
    /* Called when every slot is closing: waits for operations in flight, then frees the back end. */
    void (*destroy)(struct pil_engine *engine);
    /* Called before each turn, after the buffers of the last turn were given back. Returns true if there is work, so
     * that the turn must not block. */
    bool (*begin)(struct pil_engine *engine);
    /* Submits queued operations and handles completions as long as there is room for events; when there are none,
     * blocks up to timeout_ns (UINT64_MAX: no limit). Sets has_more when it stopped early. */
    pil_status (*turn)(struct pil_engine *engine, uint64_t timeout_ns);
    /* Starts or stops receiving, accepting or polling, as pil_engine_wants says now. Returns false if the kernel
     * refused. */
    bool (*update)(struct pil_engine *engine, struct pil_slot *slot);
    void (*send)(struct pil_engine *engine, struct pil_slot *slot);
    /* Stops all operations; calls pil_engine_closed when none refers to the slot any more. */
    void (*close)(struct pil_engine *engine, struct pil_slot *slot);
    void (*give_back)(struct pil_engine *engine, struct pil_piece *piece); /* the piece's buffer is free again */
    void (*flush)(struct pil_engine *engine);
};
extern const struct pil_engine_ops pil_epoll_ops, pil_uring_ops;

struct pil_engine {
    const struct pil_engine_ops *ops;
    struct pil_engine_options options; /* defaults filled in */
    void *back;                        /* private to the back end */
    pthread_t thread;
    struct pil_slot_table table;
    struct pil_slot_list ready;    /* linked through `ready` */
    struct pil_slot_list rearm[4]; /* linked through `rearm`, by slot kind: starved connections, resting listeners,
                                    * watches */
    uint32_t others;               /* listeners and watches */

    uint8_t *pool;            /* buffer_count x buffer_bytes */
    struct pil_piece *pieces; /* one per buffer */
    struct pil_piece *lent;   /* the owner reads them until the next wait */

    struct pil_event *events; /* the owner's array of this turn */
    uint32_t capacity, count;
    uint32_t accepted; /* accepted in this turn; the owner may not have attached them yet */
    uint64_t turn;
    bool has_more;
    bool has_sends; /* sends were queued but not submitted: a turn without blocking may complete them */

    int wake_fd;
    int reserve_fd; /* closed for a moment when descriptors run out, to accept and close clients; -1: could not be
                     * reopened */
    struct pil_engine_stats stats;
};

static inline bool pil_engine_has_room(const struct pil_engine *engine) {
    return engine->count < engine->capacity;
}

/* Whether the slot wants to receive, accept or be polled now. */
bool pil_engine_wants(const struct pil_slot *slot);
/* How many more bytes the connection may have in this turn. */
uint64_t pil_engine_share(const struct pil_engine *engine, const struct pil_slot *slot);

/* Reports of the back ends. */
void pil_engine_woken(struct pil_engine *engine);                                   /* needs room */
void pil_engine_readable(struct pil_engine *engine, struct pil_slot *slot);         /* needs room */
void pil_engine_accepted(struct pil_engine *engine, struct pil_slot *slot, int fd); /* needs room */
/* Sheds waiting connections when descriptors have run out, and lets the listener rest when an immediate retry would not
 * help. */
void pil_engine_accept_failed(struct pil_engine *engine, struct pil_slot *slot, int error_number);
/* Hands the piece out, or holds it for a later turn when there is no room for the event, the connection is paused, or
 * it has used up its share. */
void pil_engine_received(struct pil_engine *engine, struct pil_slot *slot, struct pil_piece *piece);
void pil_engine_ended(struct pil_engine *engine, struct pil_slot *slot, bool failed);
/* Advances the send by `bytes`; returns true if it is complete, so that SENT follows. */
bool pil_engine_sent(struct pil_engine *engine, struct pil_slot *slot, size_t bytes);
void pil_engine_send_failed(struct pil_engine *engine, struct pil_slot *slot);
void pil_engine_closed(struct pil_engine *engine, struct pil_slot *slot);
