/* SPDX-License-Identifier: Apache-2.0
 * A request for vectors, whatever protocol it came by: a plan and rows of keys; keys into lookups, rows into statuses
 * and values. Thread: the worker; no allocation. */
#pragma once

#include "base/arena.h"
#include "base/sink.h"
#include "selection/prepared.h"
#include "wire/tensor.h"

struct pil_tensor_rows {
    struct pil_prepared *prepared;
    struct pil_lookup *lookups; /* row i of slot s is lookups[s * row_count + i] */
    uint32_t row_count;
    bool use_defaults;
};

static inline const struct pil_vector_plan *pil_tensor_plan(const struct pil_tensor_rows *rows) {
    return rows->prepared->plan;
}
static inline struct pil_lookup *pil_tensor_lookups(const struct pil_tensor_rows *rows, uint32_t slot) {
    return &rows->lookups[(size_t)slot * rows->row_count];
}

/* ---- Before the lookups. */

/* The canonical key of a slot, in the arena, from the parts of all join keys. INVALID: *ret_join_key cannot be read.
 * TOO_LARGE: the key is, or the arena has no room. */
pil_status pil_tensor_key(struct pil_arena *arena, const struct pil_vector_plan *plan, uint32_t slot,
                          const struct pil_key_part *parts, struct pil_bytes *ret_key,
                          uint32_t *ret_join_key) PIL_CHECKED;
/* A lookup of a slot; the key must live as long as the batch. */
void pil_tensor_lookup(const struct pil_tensor_rows *rows, uint32_t slot, struct pil_bytes key,
                       struct pil_lookup *ret_lookup);

/* ---- After the lookups, and after pil_freshness_judge. */

/* Release, worst age and misses of a slot. */
void pil_tensor_summarise(const struct pil_tensor_rows *rows, uint32_t slot, int64_t now_us,
                          struct pil_tensor_view *ret_summary);
/* Statuses of row i, [feature_count]. Counts them in counts[view][status]. */
void pil_tensor_put_statuses(const struct pil_tensor_rows *rows, uint32_t i, uint64_t (*counts)[PIL_VALUE_STATUS_COUNT],
                             uint8_t *statuses);
/* Values of row i, [width] of the plan's dtype. */
void pil_tensor_put_values(const struct pil_tensor_rows *rows, uint32_t i, uint8_t *values);

/* Where rows are put together: in the sink itself when they fit there whole. */
struct pil_tensor_place {
    uint8_t *buffer; /* NULL: in the sink */
    size_t bytes;    /* of a row */
};
/* false: the arena has no room. */
bool pil_tensor_place_init(struct pil_arena *arena, size_t bytes, struct pil_tensor_place *ret_place);
static inline uint8_t *pil_tensor_row_begin(const struct pil_tensor_place *place, struct pil_sink *sink) {
    return place->buffer != NULL ? place->buffer : pil_sink_reserve(sink, place->bytes);
}
static inline void pil_tensor_row_end(const struct pil_tensor_place *place, struct pil_sink *sink) {
    if (place->buffer != NULL) {
        pil_sink_write(sink, place->buffer, place->bytes);
    } else {
        pil_sink_advance(sink, place->bytes);
    }
}
