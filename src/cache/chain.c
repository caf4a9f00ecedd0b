/* SPDX-License-Identifier: Apache-2.0
 * The batch pipeline. A lookup costs two dependent cache misses; here pilots are prefetched one block of lookups ahead
 * and rows one block ahead of the comparison, so that misses of different keys overlap with each other and with
 * computation (group prefetching: Chen et al., ICDE 2004). Small blocks keep the memory system evenly busy; a burst of
 * more lines than it can have in flight (some tens) stalls until there is room, and the memory system is idle
 * afterwards. */
#include "cache/chain.h"
#include "cache/release.h"

enum { BLOCK = PIL_SOURCE_BLOCK, LINE_BYTES = 64, MASK_LAST = 63 };

void pil_chain_init(struct pil_chain *chain, const struct pil_release *release) {
    *chain = (struct pil_chain){.view = release->view, .release = pil_source_release(release)};
}

typedef void chain_step(const struct pil_chain *chain, struct pil_lookup *lookups, uint32_t count);

/* Runs the step on the block that begins at `at`, once per run of lookups with the same chain. */
static inline void run(chain_step *step, struct pil_lookup *lookups, uint32_t count, uint32_t at) {
    uint32_t end = count - at < BLOCK ? count : at + BLOCK;
    while (at < end) {
        const struct pil_chain *chain = lookups[at].chain;
        uint32_t first = at++;
        while (at < end && lookups[at].chain == chain) {
            at++;
        }
        step(chain, lookups + first, at - first);
    }
}

void pil_chain_lookup(struct pil_lookup *lookups, uint32_t count) {
    PIL_ASSERT(count <= UINT32_MAX - 3 * BLOCK);
    for (uint32_t at = 0; at < count + 2 * BLOCK; at += BLOCK) {
        if (at < count) {
            run(pil_chain_hash, lookups, count, at);
        }
        if (at >= BLOCK && at - BLOCK < count) {
            run(pil_chain_fetch, lookups, count, at - BLOCK);
        }
        if (at >= 2 * BLOCK && at - 2 * BLOCK < count) {
            run(pil_chain_settle, lookups, count, at - 2 * BLOCK);
        }
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

uint64_t pil_chain_line_mask(const struct pil_view *view, const uint32_t *features, uint32_t feature_count) {
    uint64_t mask = lines_of(0, view->layout.event_ts_offset + 8);
    for (uint32_t i = 0; i < feature_count; i++) {
        const struct pil_feature *feature = &view->features[features[i]];
        mask |= lines_of(feature->offset, pil_type_row_bytes(feature->type));
        mask |= lines_of(view->layout.null_offset + feature->null_bit / 8, 1);
    }
    return mask;
}
