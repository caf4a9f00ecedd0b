/* SPDX-License-Identifier: Apache-2.0
 * Shared by the phases of a build; for this module only. */
#pragma once

#include "ingest/budget.h"
#include "ingest/column.h"
#include "ingest/ingest.h"
#include "ingest/partition.h"
#include "ingest/profile.h"

enum {
    /* Winners are counted for each 2^16th of the hash range, so that the number of shards depends on the rows alone. */
    PIL_INGEST_CELLS = 1 << PIL_SHARD_BITS_MAX,
    /* Below the limits of the format: while a shard is written, its rows and its file take less than 200 MiB. */
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
    uint64_t reported_ns; /* when on_progress was last called */
};

/* progress.c. Calls on_progress when it is due or `now` is set. CLOSED when the callback cancels. */
pil_status pil_ingest_report(struct pil_ingest *ingest, pil_ingest_phase phase, uint64_t done, uint64_t total, bool now,
                             struct pil_error *ret_error) PIL_CHECKED;

static inline uint32_t pil_ingest_record_bytes(const struct pil_view *view, uint64_t heap_bytes) {
    return (uint32_t)pil_align_up(sizeof(struct pil_record) + view->layout.stride + heap_bytes, 8);
}
