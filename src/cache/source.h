/* SPDX-License-Identifier: Apache-2.0
 * Rows, the lookups that ask for them, and the sources that answer. A source answers a block of lookups in three steps,
 * so that the cache misses of one block overlap with the work on others (chain.h runs them). */
#pragma once

#include "base/panic.h"
#include "schema/value_status.h"
#include "snapshot/reader.h"

/* Most lookups that a source gets at once: enough misses to overlap, few enough for the memory system. */
enum { PIL_SOURCE_BLOCK = 8 };

/* The kind of source that a row comes from. */
typedef enum __attribute__((packed)) pil_row_source { PIL_ROW_SOURCE_RELEASE } pil_row_source;

/* A row in its view's layout, from any source. Valid until the worker's next quiescent state. */
struct pil_row {
    const uint8_t *fields; /* NULL: missing */
    const struct pil_view *view;
    const struct pil_bytes *heap; /* the bytes that references of the row point into */
    pil_row_source source;
};

/* State of a lookup in a release's source between its steps. */
struct pil_release_probe {
    const struct pil_shard *shard;
    uint64_t hash;
    union {
        const uint8_t *pilot;     /* after hash; NULL: the shard is empty */
        const uint8_t *candidate; /* after fetch: the only row that can have the key; NULL: the shard is empty */
    };
};

struct pil_chain;

struct pil_lookup {
    const struct pil_chain *chain; /* answers the lookup */
    const uint8_t *key;            /* canonical bytes */
    uint64_t line_mask;            /* 64-byte lines of the row that the answer needs; bit 63: line 63 and all later ones
                                    */
    uint32_t key_len;
    uint16_t view_index; /* set and used by the caller only, for its counters */
    /* Status of the row: PRESENT or NOT_FOUND after settle; OUTSIDE_MAX_AGE when pil_freshness_judge finds it too old.
     */
    pil_value_status status;
    union {
        struct pil_release_probe release_probe; /* from hash to settle */
        struct pil_row row;                     /* the result, after settle */
    };
};
PIL_STATIC_ASSERT(sizeof(struct pil_lookup) == 64);

static inline struct pil_lookup pil_lookup_make(const struct pil_chain *chain, struct pil_bytes key,
                                                uint32_t view_index, uint64_t line_mask) {
    return (struct pil_lookup){.chain = chain,
                               .key = key.data,
                               .line_mask = line_mask,
                               .key_len = (uint32_t)key.len,
                               .view_index = (uint16_t)view_index};
}

/* The bytes of a feature's value: the field, or the payload of its reference. */
static inline struct pil_bytes pil_row_value(const struct pil_row *row, const struct pil_feature *feature) {
    const uint8_t *field = row->fields + feature->offset;
    return pil_type_is_reference(feature->type) ? pil_row_reference(row->heap, field)
                                                : pil_bytes_from(field, pil_type_row_bytes(feature->type));
}

/* Each step continues from the state that the step before left, for at most PIL_SOURCE_BLOCK lookups of one chain. */
struct pil_lookup_source_ops {
    void (*hash)(const void *data, struct pil_lookup *lookups, uint32_t count);  /* prefetches the pilot */
    void (*fetch)(const void *data, struct pil_lookup *lookups, uint32_t count); /* prefetches the row */
    /* Compares keys; sets `row` and `status`. */
    void (*settle)(const void *data, struct pil_lookup *lookups, uint32_t count);
};
struct pil_lookup_source {
    const struct pil_lookup_source_ops *ops;
    const void *data; /* passed to the ops */
};

struct pil_release;
/* A source that answers from the shards of a release, which must outlive the source. */
struct pil_lookup_source pil_source_release(const struct pil_release *release);
