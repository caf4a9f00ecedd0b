/* SPDX-License-Identifier: Apache-2.0
 * The batch pipeline. A lookup costs two dependent cache misses; here pilots are fetched a block of lookups ahead and
 * rows a block ahead of their compare, so that misses of different keys overlap with each other and with the work
 * (group prefetching: Chen et al., ICDE 2004). Small blocks keep the memory system busy evenly; a burst of more lines
 * than it can have under way (some tens) stalls until there is room, and what follows finds it idle. */
#include "cache/cache.h"

#include "base/hash_key.h"

enum { BLOCK = 8, LINE_BYTES = 64, MASK_LAST = 63 };

/* Run by run of wanted lines. Rows need not start on a line: a run may reach into one line more. */
static inline void prefetch_lines(const uint8_t *row, uint32_t stride, uint64_t mask) {
    const uint8_t *row_end = row + stride;
    bool has_rest = mask >> MASK_LAST;
    while (mask != 0) {
        uint32_t first = (uint32_t)__builtin_ctzll(mask);
        uint64_t rest = ~(mask >> first);
        uint32_t count = rest == 0 ? 64 - first : (uint32_t)__builtin_ctzll(rest);
        const uint8_t *end = row + (size_t)(first + count) * LINE_BYTES;
        end = end < row_end ? end : row_end;
        for (const uint8_t *at = row + (size_t)first * LINE_BYTES; at < end; at += LINE_BYTES) {
            __builtin_prefetch(at);
        }
        __builtin_prefetch(end - 1);
        mask = first + count >= 64 ? 0 : mask >> (first + count) << (first + count);
    }
    for (uint32_t offset = (MASK_LAST + 1) * LINE_BYTES; has_rest && offset < stride; offset += LINE_BYTES) {
        __builtin_prefetch(row + offset);
    }
}

/* Loop after loop: a chain of multiplications is long, and the processor overlaps only what is near. */
void pil_cache_lookup_hash(struct pil_lookup *lookups, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        struct pil_lookup *lookup = &lookups[i];
        uint32_t bits = lookup->release->shard_bits;
        struct pil_bytes key = pil_bytes_from(lookup->key, lookup->key_len);
        lookup->shard_index = bits == 0 ? 0 : pil_shard_of(pil_hash_shard_inline(key), bits);
    }
    for (uint32_t i = 0; i < count; i++) {
        struct pil_bytes key = pil_bytes_from(lookups[i].key, lookups[i].key_len);
        lookups[i].hash = pil_hash_index_inline(key, pil_lookup_shard(&lookups[i])->hash_seed);
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct pil_shard *shard = pil_lookup_shard(&lookups[i]);
        lookups[i].row =
            shard->slot_count == 0 ? NULL : shard->pilots + pil_index_bucket(lookups[i].hash, shard->bucket_count);
        __builtin_prefetch(lookups[i].row);
    }
}

void pil_cache_lookup_fetch(struct pil_lookup *lookups, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        struct pil_lookup *lookup = &lookups[i];
        const struct pil_shard *shard = pil_lookup_shard(lookup);
        if (lookup->row != NULL) {
            lookup->row = shard->rows + pil_index_slot(lookup->hash, *lookup->row, shard->slot_count) * shard->stride;
            prefetch_lines(lookup->row, shard->stride, lookup->line_mask);
        }
    }
}

void pil_cache_lookup_compare(struct pil_lookup *lookups, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        struct pil_lookup *lookup = &lookups[i];
        struct pil_bytes key = pil_bytes_from(lookup->key, lookup->key_len);
        if (lookup->row != NULL && !pil_shard_row_matches(pil_lookup_shard(lookup), lookup->row, key)) {
            lookup->row = NULL;
        }
    }
}

/* Outside of the lookups: nothing. */
static void run(void (*step)(struct pil_lookup *, uint32_t), struct pil_lookup *lookups, uint32_t count, uint32_t at) {
    if (at < count) {
        step(lookups + at, count - at < BLOCK ? count - at : BLOCK);
    }
}

void pil_cache_lookup(struct pil_lookup *lookups, uint32_t count) {
    for (uint32_t at = 0; at < count + 2 * BLOCK; at += BLOCK) {
        run(pil_cache_lookup_hash, lookups, count, at);
        run(pil_cache_lookup_fetch, lookups, count, at - BLOCK);
        run(pil_cache_lookup_compare, lookups, count, at - 2 * BLOCK);
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
