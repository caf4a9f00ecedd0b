/* SPDX-License-Identifier: Apache-2.0
 * What the phases of a build share and nobody else includes. */
#pragma once

#include "ingest/budget.h"
#include "ingest/column.h"
#include "ingest/ingest.h"
#include "ingest/partition.h"
#include "ingest/profile.h"

enum {
    /* Winners are counted per 2^16th of the hash range, so that the shard count follows from the rows alone. */
    PIL_INGEST_CELLS = 1 << PIL_SHARD_BITS_MAX,
    /* Below what the format allows: the rows and the file of one shard take less than 200 MiB while it is written. */
    PIL_INGEST_SHARD_ROWS = PIL_SHARD_ROWS_MAX / 2,
    PIL_INGEST_SHARD_BYTES = PIL_SHARD_BYTES_TARGET / 4,
};

struct pil_ingest_cell {
    uint64_t rows;
    uint64_t bytes; /* of row and heap */
};

typedef enum pil_ingest_state { PIL_INGEST_READING, PIL_INGEST_MERGED, PIL_INGEST_DONE } pil_ingest_state;

struct pil_ingest {
    struct pil_ingest_options options;
    struct pil_view *view;
    struct pil_budget budget;
    struct pil_partitions *partitions;
    struct pil_profile *profile;
    struct pil_ingest_cell *cells; /* PIL_INGEST_CELLS, of the winners */
    struct pil_ingest_counts counts;
    pil_ingest_state state;
    uint64_t phase_ns[PIL_INGEST_PHASE_COUNT];
    uint64_t reported_ns; /* when on_progress was called last */
};

/* progress.c. Calls on_progress when it is time or `now`. CLOSED when that cancelled. */
pil_status pil_ingest_report(struct pil_ingest *ingest, pil_ingest_phase phase, uint64_t done, uint64_t total, bool now,
                             struct pil_error *ret_error) PIL_CHECKED;

static inline uint32_t pil_ingest_record_bytes(const struct pil_view *view, uint64_t heap_bytes) {
    return (uint32_t)pil_align_up(sizeof(struct pil_record) + view->layout.stride + heap_bytes, 8);
}
