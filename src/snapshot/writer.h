/* SPDX-License-Identifier: Apache-2.0
 * Rows to shard bytes. The same set of rows gives the same bytes, in any order. */
#pragma once

#include "schema/view.h"
#include "snapshot/format.h"

/* One row to write, in the layout of the view. References inside the row (and the key, when it is variable) whose len
 * is over 12 hold in `offset` an offset into `heap`; the writer moves the bytes. Null features: bit set; their field
 * bytes are ignored and written as zeros, so that equal rows are equal bytes. Padding is written as zeros, too. */
struct pil_writer_row {
    const uint8_t *row;  /* layout.stride bytes, borrowed until pil_writer_finish returns */
    const uint8_t *heap; /* what the offsets of this row's references are relative to; may be NULL when it has none over
                          * 12 bytes */
};

struct pil_writer_options {
    uint32_t shard_index;
    uint32_t shard_bits;
    uint64_t hash_seed; /* 0: derived from the keys, so that collisions cannot be prepared; else the first seed to try
                         * (tests) */
};

/* The file and its numbers, for logs and the manifest. */
struct pil_writer_result {
    uint8_t *data; /* the file; pil_writer_result_deinit unmaps it */
    size_t bytes;
    struct pil_sha256 id;
    uint64_t row_count;
    uint32_t hash_attempts; /* 0: the first seed was good */
    int64_t event_ts_us_min, event_ts_us_max;
    uint64_t section_bytes[PIL_SECTION_COUNT];
};

/* Writes one shard. Keys must be distinct. EXISTS: two rows have the same key, which the message names. INVALID for
 * event_ts INT64_MIN or, in a static view, any but PIL_STATIC_EVENT_US, or a key of another shard or a value that
 * breaks the rules of schemas/snapshot.md (text that is not UTF-8, a bool of 2); TOO_LARGE for a key or value over its
 * limit. NO_MEMORY. Cost: memory of the file plus about 42 bytes per row. Thread: any, re-entrant. The file lies in an
 * anonymous mapping, so that all of its memory returns to the system at deinit. */
pil_status pil_writer_finish(const struct pil_view *view, const struct pil_writer_options *options,
                             const struct pil_writer_row *rows, size_t row_count, struct pil_writer_result *ret_result,
                             struct pil_error *ret_error) PIL_CHECKED;
void pil_writer_result_deinit(struct pil_writer_result *result);
