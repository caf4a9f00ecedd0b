/* SPDX-License-Identifier: Apache-2.0
 * A request for vectors in any protocol: a plan and rows of keys. Turns keys into lookups, and rows into statuses and
 * values. Thread: the worker; no allocation. */
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

/* The canonical key of a slot, in the arena, from the parts of all join keys. INVALID: the part of join key
 * *ret_join_key cannot be read. TOO_LARGE: the key is too long, or the arena has no room. */
pil_status pil_tensor_key(struct pil_arena *arena, const struct pil_vector_plan *plan, uint32_t slot,
                          const struct pil_key_part *parts, struct pil_bytes *ret_key,
                          uint32_t *ret_join_key) PIL_CHECKED;
/* Makes a lookup for a slot; the key must live as long as the batch. */
void pil_tensor_lookup(const struct pil_tensor_rows *rows, uint32_t slot, struct pil_bytes key,
                       struct pil_lookup *ret_lookup);

/* ---- After the lookups, and after pil_freshness_judge. */

/* Release, worst age and misses of a slot. */
void pil_tensor_summarise(const struct pil_tensor_rows *rows, uint32_t slot, int64_t now_us,
                          struct pil_tensor_view *ret_summary);
/* Writes the statuses of row i, [feature_count], and counts them in counts[view][status]. */
void pil_tensor_put_statuses(const struct pil_tensor_rows *rows, uint32_t i, uint64_t (*counts)[PIL_VALUE_STATUS_COUNT],
                             uint8_t *statuses);
/* Writes the values of row i, [width] of the plan's dtype. */
void pil_tensor_put_values(const struct pil_tensor_rows *rows, uint32_t i, uint8_t *values);

/* Where a row is assembled: in the sink itself if the sink can reserve a whole row, else in a buffer. */
struct pil_tensor_place {
    uint8_t *buffer; /* NULL: in the sink */
    size_t bytes;    /* length of a row */
};
/* Returns false if the arena has no room. */
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
