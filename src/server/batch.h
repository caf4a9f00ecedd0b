/* SPDX-License-Identifier: Apache-2.0
 * The batch of a turn: requests add their lookups here; then all lookups run together, and the answers are encoded in
 * order and sent. Everything that a request points to lies in one arena, which is emptied when the batch ends.
 * Arguments point into receive buffers, which stay valid until the turn ends. Thread: the worker. */
#pragma once

#include "base/arena.h"
#include "server/connection.h"
#include "server/protocol.h"

enum {
    PIL_BATCH_REQUESTS_MAX = 1024,
    PIL_BATCH_LOOKUPS_RUN = 1024,     /* a batch with this many lookups takes no more requests */
    PIL_BATCH_WEIGHT_RUN = 32768,     /* nor one with answers of this many values */
    PIL_BATCH_WEIGHT_LONG = 4096,     /* an answer of this many values comes after the shorter ones of its batch */
    PIL_BATCH_ARENA_BYTES = 16 << 20, /* for the default limits; wider ones make it larger */
    PIL_BATCH_ROOM_BYTES = 8 << 20,   /* each request that is added finds at least this much of the arena free */
};

struct pil_request {
    struct pil_connection *connection;
    void *body; /* private state of the protocol: request_bytes, zeroed */
    uint32_t lookup_first, lookup_count;
    uint64_t weight;                   /* values of its answer, about */
    const uint8_t *source;             /* where its bytes begin */
    uint64_t received_ns;              /* when they arrived; others of the connection may come before it is answered */
    const struct pil_cache_view *view; /* the view that labels its metrics; NULL: none */
    const struct pil_selection *selection; /* the features it reads; NULL: whole rows, or none */
    int64_t max_age_us;                    /* older rows are OUTSIDE_MAX_AGE; 0: only the views' ttl counts */
    uint32_t operation;                    /* below the protocol's operation_count */
    bool is_error;                         /* the answer says that the request failed */
    bool is_timed;                         /* `operation` is set */
    bool is_health;                        /* it asks whether the server is well: answered in a spare place, too */
    bool is_later;                         /* it is answered after the shorter ones */
    bool is_done;                          /* answered and measured */
    bool is_kept;                          /* its lane was left before it was done */
    bool is_slow;                          /* its lane was left while it was prepared */
    struct pil_refusal refusal;
};

struct pil_batch {
    uint64_t number;
    struct pil_request requests[PIL_BATCH_REQUESTS_MAX];
    uint32_t request_count;
    struct pil_lookup *lookups; /* lookup_max of them: one more whole request fits (limits.keys_per_request) */
    uint32_t lookup_count, lookup_max;
    uint64_t weight; /* of the first weighed_count requests; the others are being decoded */
    uint32_t weighed_count;
    struct pil_request *unprepared; /* the request that was added last is prepared when the batch is answered; NULL: it
                                       is prepared */
    struct pil_arena arena;
    size_t mapped_bytes; /* the batch, its lookups and its arena are one mapping */
};

/* ---- Protocols. */

/* Whether one more request, which needs at most arena_bytes, fits. If not, decode answers BUSY; when the batch is
 * empty, it refuses the request instead (PIL_REFUSAL_ROOM). */
bool pil_batch_has_room(const struct pil_batch *batch, size_t arena_bytes);
/* Adds a request; there must be room for it. */
struct pil_request *pil_batch_add(struct pil_turn *turn, struct pil_connection *connection);
/* The request that was added last takes long to prepare: the protocol's `prepare` does it when the batch is answered,
 * on the lane's stack. Until then the batch has room for no other request. */
void pil_batch_prepare_later(struct pil_turn *turn, struct pil_request *request);
/* Adds a lookup to the request that was added last. NULL when the request has too many; request->refusal says so. */
struct pil_lookup *pil_batch_lookup(struct pil_turn *turn, struct pil_request *request);
/* Removes the lookups of the request that was added last, because it turned out to be an error. */
void pil_batch_drop_lookups(struct pil_turn *turn, struct pil_request *request);
/* Formats into the arena, at most 511 bytes; returns a constant text when there is no room. */
const char *pil_batch_text(struct pil_batch *batch, const char *format, ...) __attribute__((format(printf, 2, 3)));

static inline struct pil_lookup *pil_request_lookups(const struct pil_turn *turn, const struct pil_request *request) {
    return &turn->batch->lookups[request->lookup_first];
}

/* ---- The worker. */

/* The sizes follow the limits. NULL when memory is short. */
struct pil_batch *pil_batch_create(const struct pil_limits *limits);
void pil_batch_destroy(struct pil_batch **batch);
/* Gives memory that an empty batch does not need back to the kernel. */
void pil_batch_trim(struct pil_batch *batch);
/* Weighs the requests that were added since the last call; all must have their lookups. */
void pil_batch_weigh(struct pil_turn *turn);
/* Checks the invariants; for PIL_ASSERT_SLOW and tests. */
bool pil_batch_validate(const struct pil_batch *batch);
