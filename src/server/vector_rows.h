/* SPDX-License-Identifier: Apache-2.0
 * Requests for vectors, whatever protocol they came by: keys into lookups, rows into statuses and values. Of the
 * request these are set: planned, row_count, max_age_us, use_defaults. Its lookups lie view by view: row i of slot s is
 * lookup_first + s * row_count + i. Thread: the worker; no allocation. */
#pragma once

#include "server/internal.h"
#include "wire/tensor.h"

/* Adds the lookup of the next row of a slot; rows must come in order, slot by slot. TOO_LARGE: the key, or all keys of
 * the batch together, or (then request->error is set) the lookups of the request. INVALID: *ret_join_key cannot be
 * read. */
pil_status pil_vector_add_key(struct pil_worker *worker, struct pil_request *request, uint32_t slot,
                              const struct pil_key_part *parts, uint32_t *ret_join_key) PIL_CHECKED;
/* The same with canonical bytes, which must live as long as the batch. */
pil_status pil_vector_add_lookup(struct pil_worker *worker, struct pil_request *request, uint32_t slot,
                                 struct pil_bytes key) PIL_CHECKED;

/* ---- After the lookups. */

static inline struct pil_lookup *pil_vector_lookups(struct pil_worker *worker, const struct pil_request *request,
                                                    uint32_t slot) {
    return &worker->batch->lookups[request->lookup_first + slot * request->row_count];
}
/* Release, worst age and misses of a slot. Rows that the listener hides are misses from here on: call it before the
 * functions below. */
void pil_vector_summarise(struct pil_worker *worker, const struct pil_request *request, uint32_t slot,
                          struct pil_tensor_view *ret_summary);
/* Statuses of row i, [feature_count]; counts them. */
void pil_vector_put_row_statuses(struct pil_worker *worker, const struct pil_request *request, uint32_t i,
                                 uint8_t *statuses);
/* Values of row i, [width] of the plan's dtype. */
void pil_vector_put_row_values(struct pil_worker *worker, const struct pil_request *request, uint32_t i,
                               uint8_t *values);

/* Where rows are put together: in the sink itself when they fit there whole. */
struct pil_vector_place {
    uint8_t *scratch; /* NULL: in the sink */
    size_t bytes;     /* of a row */
};
/* false: there is no room. The scratch is the batch's: who is done with it may set scratch_used back. */
bool pil_vector_place_init(struct pil_worker *worker, size_t bytes, struct pil_vector_place *ret_place);
static inline uint8_t *pil_vector_row_begin(const struct pil_vector_place *place, struct pil_sink *sink) {
    return place->scratch != NULL ? place->scratch : pil_sink_reserve(sink, place->bytes);
}
static inline void pil_vector_row_end(const struct pil_vector_place *place, struct pil_sink *sink) {
    if (place->scratch != NULL) {
        pil_sink_write(sink, place->scratch, place->bytes);
    } else {
        pil_sink_advance(sink, place->bytes);
    }
}
