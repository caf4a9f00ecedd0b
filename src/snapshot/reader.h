/* SPDX-License-Identifier: Apache-2.0
 * An open shard: bounds are checked once, after that rows are read by plain loads. `open` checks structure only
 * (superblock, sections, schema, layout), in microseconds; pil_verify (verify.h) checks every byte and must have passed
 * once, on this memory or on a sealed file, before values are served. */
#pragma once

#include "schema/view.h"
#include "snapshot/format.h"

/* The members are public because the batch lookup of the cache prefetches through them. Immutable after open; any
 * thread. */
struct pil_shard {
    struct pil_bytes file;
    const struct pil_superblock *superblock; /* points into `file` */
    const uint8_t *pilots;
    const uint8_t *rows;
    struct pil_bytes heap;
    uint64_t bucket_count, slot_count, hash_seed;
    uint32_t stride;
    uint32_t event_ts_offset;
    bool has_word_keys; /* all keys have 8 bytes */
    const struct pil_view *view;
    struct pil_view *own_view; /* NULL: `view` is borrowed */
};

/* A parsed schema, to be shared by shards of one release, whose schema sections are equal. `view` must outlive all
 * shards that share it. */
struct pil_shard_schema {
    struct pil_bytes text;
    const struct pil_view *view;
};

/* Opens a shard; `file` is aligned to 8 bytes and stays mapped and unchanged until close. CORRUPT, UNSUPPORTED (newer
 * major or unknown incompat bit) or TOO_LARGE (over our own bounds), with a message that names offset and field. */
pil_status pil_shard_open(struct pil_bytes file, struct pil_shard *ret_shard, struct pil_error *ret_error) PIL_CHECKED;
/* The same, but a schema section equal to that of `known` (may be NULL) is not parsed again. */
pil_status pil_shard_open_known(struct pil_bytes file, const struct pil_shard_schema *known,
                                struct pil_shard *ret_shard, struct pil_error *ret_error) PIL_CHECKED;
void pil_shard_close(struct pil_shard *shard);
/* The schema of an open shard, to open other shards of its release with. */
struct pil_shard_schema pil_shard_schema_of(const struct pil_shard *shard);

/* The three steps of a lookup. The candidate is the only row that can have the key; the last step compares the full
 * key. */
static inline uint64_t pil_shard_hash(const struct pil_shard *shard, struct pil_bytes key) {
    return pil_hash_index(key, shard->hash_seed);
}
static inline const uint8_t *pil_shard_candidate(const struct pil_shard *shard, uint64_t hash) {
    uint8_t pilot = shard->pilots[pil_index_bucket(hash, shard->bucket_count)];
    return shard->rows + pil_index_slot(hash, pilot, shard->slot_count) * shard->stride;
}
bool pil_shard_row_matches_any(const struct pil_shard *shard, const uint8_t *candidate, struct pil_bytes key);
/* Whether the slot at `candidate` holds a row with exactly this key. */
static inline bool pil_shard_row_matches(const struct pil_shard *shard, const uint8_t *candidate,
                                         struct pil_bytes key) {
    if (key.len == 8 && shard->has_word_keys) { /* by far the most frequent case */
        return pil_load_u64(candidate) == pil_load_u64(key.data) &&
               pil_load_i64(candidate + shard->event_ts_offset) != INT64_MIN;
    }
    return pil_shard_row_matches_any(shard, candidate, key);
}

/* All three steps; NULL when the shard has no such key. Also for an empty shard. */
const uint8_t *pil_shard_find(const struct pil_shard *shard, struct pil_bytes key);

/* The row in `slot`, NULL when the slot is empty: for scans, `inspect`, SCAN. */
const uint8_t *pil_shard_row_at(const struct pil_shard *shard, uint64_t slot);
/* The canonical key of a row, borrowed from the shard (or from the row itself). */
struct pil_bytes pil_shard_row_key(const struct pil_shard *shard, const uint8_t *row);

static inline int64_t pil_row_event_ts_us(const struct pil_view *view, const uint8_t *row) {
    return pil_load_i64(row + view->layout.event_ts_offset);
}
static inline bool pil_row_is_null(const struct pil_view *view, const uint8_t *row, uint32_t feature_index) {
    return (row[view->layout.null_offset + feature_index / 8] >> (feature_index % 8)) & 1;
}
/* The bytes of a reference field (string, bytes, list payload), borrowed from the row or from its heap; empty when the
 * reference points outside of the heap. */
struct pil_bytes pil_row_reference(const struct pil_bytes *heap, const uint8_t *field);
static inline struct pil_bytes pil_shard_reference(const struct pil_shard *shard, const uint8_t *field) {
    return pil_row_reference(&shard->heap, field);
}

/* Elements of a list<string>/list<bytes> payload; count 0 when the payload is malformed. */
uint32_t pil_list_strings_count(struct pil_bytes payload);
struct pil_bytes pil_list_strings_at(struct pil_bytes payload, uint32_t index);
