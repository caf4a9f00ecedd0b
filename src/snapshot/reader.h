/* SPDX-License-Identifier: Apache-2.0
 * An open shard: bounds-checked once, then plain loads. `open` checks structure only (superblock, sections, schema,
 * layout), in microseconds; pil_verify (verify.h) checks every byte and must have passed once, on this very memory or
 * on a sealed file, before values are handed to anybody. */
#pragma once

#include "schema/view.h"
#include "snapshot/format.h"

/* Visible because the batch lookup of the cache prefetches through it. Immutable after open; any thread. */
struct pil_shard {
    struct pil_bytes file;
    const struct pil_superblock *superblock; /* in the file */
    const uint8_t *pilots;
    const uint8_t *rows;
    struct pil_bytes heap;
    uint64_t bucket_count, slot_count, hash_seed;
    uint32_t stride;
    uint32_t event_ts_offset;
    bool has_word_keys; /* all of 8 bytes */
    const struct pil_view *view;
    struct pil_view *own_view; /* NULL: the view is somebody else's */
};

/* A schema that was parsed before: shards of one release have the same bytes there. `view` outlives whoever shares it.
 */
struct pil_shard_schema {
    struct pil_bytes text;
    const struct pil_view *view;
};

/* Opens bytes, aligned to 8, that stay mapped and unchanged until close. CORRUPT, UNSUPPORTED (newer major or unknown
 * incompat bit) or TOO_LARGE (over our own bounds), with a sentence that names offset and field. */
pil_status pil_shard_open(struct pil_bytes file, struct pil_shard *ret_shard, struct pil_error *ret_error) PIL_CHECKED;
/* The same; a schema section with the bytes of `known` is not parsed again. NULL: none is known. */
pil_status pil_shard_open_known(struct pil_bytes file, const struct pil_shard_schema *known,
                                struct pil_shard *ret_shard, struct pil_error *ret_error) PIL_CHECKED;
void pil_shard_close(struct pil_shard *shard);
/* Of an open shard, for its siblings. */
struct pil_shard_schema pil_shard_schema_of(const struct pil_shard *shard);

/* The three steps of a lookup. The row is NULL when the key is not there; the full key has been compared. */
static inline uint64_t pil_shard_hash(const struct pil_shard *shard, struct pil_bytes key) {
    return pil_hash_index(key, shard->hash_seed);
}
static inline const uint8_t *pil_shard_candidate(const struct pil_shard *shard, uint64_t hash) {
    uint8_t pilot = shard->pilots[pil_index_bucket(hash, shard->bucket_count)];
    return shard->rows + pil_index_slot(hash, pilot, shard->slot_count) * shard->stride;
}
bool pil_shard_row_matches_any(const struct pil_shard *shard, const uint8_t *candidate, struct pil_bytes key);
/* Whether the row at `candidate` is there and has exactly this key. */
static inline bool pil_shard_row_matches(const struct pil_shard *shard, const uint8_t *candidate,
                                         struct pil_bytes key) {
    if (key.len == 8 && shard->has_word_keys) { /* by far the most frequent */
        return pil_load_u64(candidate) == pil_load_u64(key.data) &&
               pil_load_i64(candidate + shard->event_ts_offset) != INT64_MIN;
    }
    return pil_shard_row_matches_any(shard, candidate, key);
}

/* All three; NULL when missing. Handles the empty shard. */
const uint8_t *pil_shard_find(const struct pil_shard *shard, struct pil_bytes key);

/* Row `slot` or NULL when that slot holds none: for scans, `inspect`, SCAN. */
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
 * reference leads out of the heap. */
struct pil_bytes pil_row_reference(const struct pil_bytes *heap, const uint8_t *field);
static inline struct pil_bytes pil_shard_reference(const struct pil_shard *shard, const uint8_t *field) {
    return pil_row_reference(&shard->heap, field);
}

/* Elements of a list<string>/list<bytes> payload; count 0 when the payload is malformed. */
uint32_t pil_list_strings_count(struct pil_bytes payload);
struct pil_bytes pil_list_strings_at(struct pil_bytes payload, uint32_t index);
