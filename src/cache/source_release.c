/* SPDX-License-Identifier: Apache-2.0
 * Rows of a release: a perfect hash per shard. The key's bucket has a pilot, pilot and hash give the slot, and the row
 * in that slot is the only one that can have the key. */
#include "cache/release.h"
#include "cache/source.h"

#include "base/hash_key.h"

enum { LINE_BYTES = 64, MASK_LAST = 63 };

static inline struct pil_bytes key_of(const struct pil_lookup *lookup) {
    return pil_bytes_from(lookup->key, lookup->key_len);
}

/* Prefetches each run of wanted lines. A row need not start on a line boundary, so a run may reach into one more line.
 */
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

/* Three short loops instead of one: hashing is a long chain of multiplications, and the processor overlaps only
 * instructions that are near each other. */
static void hash(const void *data, struct pil_lookup *lookups, uint32_t count) {
    const struct pil_release *release = data;
    const struct pil_shard *shards = release->shards;
    uint32_t bits = release->shard_bits;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t index = bits == 0 ? 0 : pil_shard_of(pil_hash_shard_inline(key_of(&lookups[i])), bits);
        lookups[i].release_probe.shard = &shards[index];
    }
    for (uint32_t i = 0; i < count; i++) {
        struct pil_release_probe *probe = &lookups[i].release_probe;
        probe->hash = pil_hash_index_inline(key_of(&lookups[i]), probe->shard->hash_seed);
    }
    for (uint32_t i = 0; i < count; i++) {
        struct pil_release_probe *probe = &lookups[i].release_probe;
        const struct pil_shard *shard = probe->shard;
        probe->pilot =
            shard->slot_count == 0 ? NULL : shard->pilots + pil_index_bucket(probe->hash, shard->bucket_count);
        __builtin_prefetch(probe->pilot);
    }
}

static void fetch(const void *data, struct pil_lookup *lookups, uint32_t count) {
    (void)data;
    for (uint32_t i = 0; i < count; i++) {
        struct pil_release_probe *probe = &lookups[i].release_probe;
        const struct pil_shard *shard = probe->shard;
        if (probe->pilot == NULL) {
            probe->candidate = NULL;
            continue;
        }
        probe->candidate = shard->rows + pil_index_slot(probe->hash, *probe->pilot, shard->slot_count) * shard->stride;
        prefetch_lines(probe->candidate, shard->stride, lookups[i].line_mask);
    }
}

static void settle(const void *data, struct pil_lookup *lookups, uint32_t count) {
    const struct pil_view *view = ((const struct pil_release *)data)->view;
    for (uint32_t i = 0; i < count; i++) {
        const struct pil_shard *shard = lookups[i].release_probe.shard;
        const uint8_t *candidate = lookups[i].release_probe.candidate;
        bool is_found = candidate != NULL && pil_shard_row_matches(shard, candidate, key_of(&lookups[i]));
        struct pil_row *row = &lookups[i].row; /* shares its memory with the probe */
        lookups[i].status = is_found ? PIL_VALUE_PRESENT : PIL_VALUE_NOT_FOUND;
        row->fields = is_found ? candidate : NULL;
        row->view = view;
        row->heap = &shard->heap;
        row->source = PIL_ROW_SOURCE_RELEASE;
    }
}

static const struct pil_lookup_source_ops release_ops = {.hash = hash, .fetch = fetch, .settle = settle};

struct pil_lookup_source pil_source_release(const struct pil_release *release) {
    return (struct pil_lookup_source){.ops = &release_ops, .data = release};
}
