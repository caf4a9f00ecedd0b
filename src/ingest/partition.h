/* SPDX-License-Identifier: Apache-2.0
 * Records, distributed over partitions by the high bits of their shard hash. They are in a buffer until it is full, and
 * then in an unlinked file, so that a killed build leaves nothing behind. Appending and sealing: one thread. Reading
 * and walking: any thread. */
#pragma once

#include "base/bytes.h"
#include "base/status.h"
#include "ingest/budget.h"

enum {
    PIL_PARTITION_BITS = 10,
    PIL_PARTITION_COUNT = 1 << PIL_PARTITION_BITS,
    PIL_RECORD_DEAD = UINT32_MAX,
};

/* The header of a record. The row's bytes in the view's layout follow, then the bytes of its heap (its references are
 * offsets in this heap). */
struct pil_record {
    uint64_t hash;       /* shard hash of the key */
    int64_t created_us;  /* INT64_MIN when unknown */
    uint32_t bytes;      /* of the whole record, a multiple of 8 */
    uint32_t duplicates; /* equal rows that lost to it; PIL_RECORD_DEAD: it lost */
    uint32_t conflicts;  /* rows of the same key and times with other values that lost to it */
    uint16_t event_ns;   /* nanoseconds beyond the microsecond of the event timestamp, 0 to 999 */
    uint16_t created_ns; /* the same for created_us */
};

static inline uint8_t *pil_record_row(const struct pil_record *record) {
    return (uint8_t *)(uintptr_t)(record + 1);
}

struct pil_partitions;

/* The buffer's bytes are taken from the budget as they are used. */
pil_status pil_partitions_create(struct pil_budget *budget, size_t buffer_bytes, const char *temporary,
                                 struct pil_partitions **ret_partitions, struct pil_error *ret_error) PIL_CHECKED;
void pil_partitions_destroy(struct pil_partitions **partitions);

/* Adds a record of `bytes` to the partition of `hash`, with hash and bytes set; valid until the next append. TOO_LARGE:
 * over an eighth of the buffer; NO_SPACE, IO: errors of the file; NO_MEMORY. */
pil_status pil_partitions_append(struct pil_partitions *partitions, uint64_t hash, uint64_t bytes,
                                 struct pil_record **ret_record, struct pil_error *ret_error) PIL_CHECKED;
/* Ends appending. If some records are in the file, all are written to it, and the buffer is released. */
pil_status pil_partitions_seal(struct pil_partitions *partitions, struct pil_error *ret_error) PIL_CHECKED;

bool pil_partitions_in_memory(const struct pil_partitions *partitions);
uint64_t pil_partitions_bytes_spilled(const struct pil_partitions *partitions);
uint64_t pil_partition_bytes(const struct pil_partitions *partitions, uint32_t partition);
uint64_t pil_partition_records(const struct pil_partitions *partitions, uint32_t partition);

/* Walks a partition that is in memory, with a zero-initialised cursor; NULL at the end. */
struct pil_partition_cursor {
    void *block;
    size_t at;
};
struct pil_record *pil_partition_next(struct pil_partitions *partitions, uint32_t partition,
                                      struct pil_partition_cursor *cursor);

/* Reads bytes [offset, offset + len) of a partition that is in the file. */
pil_status pil_partition_read(const struct pil_partitions *partitions, uint32_t partition, uint64_t offset,
                              uint8_t *buffer, size_t len, struct pil_error *ret_error) PIL_CHECKED;
/* Replaces the partition's content; the old extents are returned to the file system, if it can punch holes. */
pil_status pil_partition_replace(struct pil_partitions *partitions, uint32_t partition, struct pil_bytes content,
                                 uint64_t records, struct pil_error *ret_error) PIL_CHECKED;
