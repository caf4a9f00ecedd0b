/* SPDX-License-Identifier: Apache-2.0
 * The sources of one view. Today there is one, the release. Others (newer rows, written since) would be further
 * members: each answers the same block of lookups, and the newer row wins. */
#pragma once

#include "cache/source.h"

/* Immutable once it is published. */
struct pil_chain {
    const struct pil_view *view; /* layout of the rows of every source */
    struct pil_lookup_source release;
};

void pil_chain_init(struct pil_chain *chain, const struct pil_release *release);

/* The steps of a lookup, for at most PIL_SOURCE_BLOCK lookups of this chain: for callers that do other work while
 * memory is being fetched. */
static inline void pil_chain_hash(const struct pil_chain *chain, struct pil_lookup *lookups, uint32_t count) {
    chain->release.ops->hash(chain->release.data, lookups, count);
}
static inline void pil_chain_fetch(const struct pil_chain *chain, struct pil_lookup *lookups, uint32_t count) {
    chain->release.ops->fetch(chain->release.data, lookups, count);
}
static inline void pil_chain_settle(const struct pil_chain *chain, struct pil_lookup *lookups, uint32_t count) {
    chain->release.ops->settle(chain->release.data, lookups, count);
}

/* All steps, block by block, for lookups of any mix of chains. */
void pil_chain_lookup(struct pil_lookup *lookups, uint32_t count);

/* The value of pil_lookup.line_mask: the lines that hold the key, the timestamp, and the given features with their null
 * bits. */
uint64_t pil_chain_line_mask(const struct pil_view *view, const uint32_t *features, uint32_t feature_count);
