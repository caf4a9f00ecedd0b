/* SPDX-License-Identifier: Apache-2.0
 * The batch pipeline. A single dependent lookup costs two cache misses in series; here pilots are fetched some lookups
 * ahead and rows some ahead of their compare, so that misses of different keys overlap with each other and with the
 * work (asynchronous memory access chaining: Kocberber et al., VLDB 2015). */
#include "cache/cache.h"

enum { PILOTS_AHEAD = 16, ROWS_AHEAD = 8, LINE_BYTES = 64, MASK_LAST = 63 };

static void prefetch_pilot(struct pil_lookup *lookup) {
    struct pil_bytes key = pil_bytes_from(lookup->key, lookup->key_len);
    const struct pil_release *release = lookup->release;
    lookup->shard_index = release->shard_bits == 0 ? 0 : pil_shard_of(pil_hash_shard(key), release->shard_bits);
    const struct pil_shard *shard = &release->shards[lookup->shard_index];
    lookup->row = NULL;
    if (shard->slot_count == 0) {
        return;
    }
    lookup->hash = pil_shard_hash(shard, key);
    __builtin_prefetch(&shard->pilots[pil_index_bucket(lookup->hash, shard->bucket_count)]);
}

static void prefetch_row(struct pil_lookup *lookup) {
    const struct pil_shard *shard = pil_lookup_shard(lookup);
    if (shard->slot_count == 0) {
        return;
    }
    const uint8_t *row = pil_shard_candidate(shard, lookup->hash);
    lookup->row = row;
    /* Run by run of wanted lines. Rows need not start on a line: a run may reach into one line more. */
    for (uint64_t mask = lookup->line_mask; mask != 0;) {
        uint32_t first = (uint32_t)__builtin_ctzll(mask);
        uint64_t rest = ~(mask >> first);
        uint32_t count = rest == 0 ? 64 - first : (uint32_t)__builtin_ctzll(rest);
        const uint8_t *end = row + (size_t)(first + count) * LINE_BYTES;
        end = end < row + shard->stride ? end : row + shard->stride;
        for (const uint8_t *at = row + (size_t)first * LINE_BYTES; at < end; at += LINE_BYTES) {
            __builtin_prefetch(at);
        }
        __builtin_prefetch(end - 1);
        mask = first + count >= 64 ? 0 : mask >> (first + count) << (first + count);
    }
    if (lookup->line_mask >> MASK_LAST) {
        for (uint32_t offset = (MASK_LAST + 1) * LINE_BYTES; offset < shard->stride; offset += LINE_BYTES) {
            __builtin_prefetch(row + offset);
        }
    }
}

static void compare(struct pil_lookup *lookup) {
    struct pil_bytes key = pil_bytes_from(lookup->key, lookup->key_len);
    if (lookup->row != NULL && !pil_shard_row_matches(pil_lookup_shard(lookup), lookup->row, key)) {
        lookup->row = NULL;
    }
}

void pil_cache_lookup(struct pil_lookup *lookups, uint32_t count) {
    uint32_t hashed = 0, fetched = 0;
    for (uint32_t i = 0; i < count; i++) {
        for (; hashed < count && hashed <= i + PILOTS_AHEAD; hashed++) {
            prefetch_pilot(&lookups[hashed]);
        }
        for (; fetched < hashed && fetched <= i + ROWS_AHEAD; fetched++) {
            prefetch_row(&lookups[fetched]);
        }
        compare(&lookups[i]);
    }
}

void pil_cache_lookup_begin(struct pil_lookup *lookups, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        prefetch_pilot(&lookups[i]);
    }
    for (uint32_t i = 0; i < count; i++) {
        prefetch_row(&lookups[i]);
    }
}

void pil_cache_lookup_end(struct pil_lookup *lookups, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        compare(&lookups[i]);
    }
}

static uint64_t lines_of(uint32_t offset, uint32_t bytes) {
    uint32_t first = offset / LINE_BYTES, last = (offset + bytes - 1) / LINE_BYTES;
    uint64_t mask = 0;
    for (uint32_t line = first; line <= last && line < MASK_LAST; line++) {
        mask |= 1ull << line;
    }
    return last >= MASK_LAST ? mask | 1ull << MASK_LAST : mask;
}

uint64_t pil_cache_line_mask(const struct pil_view *view, const uint32_t *features, uint32_t feature_count) {
    uint64_t mask = lines_of(0, view->layout.event_ts_offset + 8);
    for (uint32_t i = 0; i < feature_count; i++) {
        const struct pil_feature *feature = &view->features[features[i]];
        mask |= lines_of(feature->offset, pil_type_row_bytes(feature->type));
        mask |= lines_of(view->layout.null_offset + feature->null_bit / 8, 1);
    }
    return mask;
}
