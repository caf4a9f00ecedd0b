/* SPDX-License-Identifier: Apache-2.0
 * What writer, reader and verifier share and nobody else needs: the rules for rows and values, and the construction of
 * the perfect hash. The rules are specified in schemas/snapshot.md. */
#pragma once

#include "snapshot/reader.h"

/* ---- superblock.c */

/* Checks everything that the first 4096 bytes say about a file of this length; nothing behind them is read. */
pil_status pil_superblock_read(struct pil_bytes file, struct pil_superblock *ret_superblock,
                               struct pil_error *ret_error) PIL_CHECKED;
const char *pil_section_text(pil_section section);

/* ---- row_plan.c */

/* A view as rows are checked and copied: which fields need a look, and where the fields lie as one run without gaps. */
struct pil_row_plan {
    const struct pil_view *view;
    uint32_t fields_begin, fields_end;
    uint32_t bool_count, reference_count;
    uint16_t bools[PIL_FEATURES_MAX];      /* indices of the bool features */
    uint16_t references[PIL_FEATURES_MAX]; /* and of the string, bytes and list features, in declared order */
};
void pil_row_plan_init(const struct pil_view *view, struct pil_row_plan *ret_plan);

/* A row's key or value that breaks a rule. */
struct pil_row_problem {
    pil_status status; /* INVALID or TOO_LARGE; OK: no problem */
    int32_t feature;   /* -1: the key */
    const char *text;  /* end of a sentence: "is not valid UTF-8" */
};
/* Checks key, bools and payloads of a row whose references are known to be in bounds of `heap`; null fields are not
 * looked at. */
struct pil_row_problem pil_row_plan_check(const struct pil_row_plan *plan, const uint8_t *row, const uint8_t *heap);

/* XXH3-128 of the row image: stride bytes with the offsets of its heap references as zeros, then the bytes of those
 * references. */
unsigned __int128 pil_row_plan_digest(const struct pil_row_plan *plan, const uint8_t *row, const uint8_t *heap);

bool pil_bytes_are_zero(const uint8_t *data, size_t len);

/* The bytes of a reference whose bounds were checked before. */
static inline struct pil_bytes pil_ref_payload(const uint8_t *field, const uint8_t *heap) {
    uint32_t len = pil_load_u32(field);
    return pil_bytes_from(len <= PIL_REF_INLINE_BYTES ? field + 4 : heap + pil_load_u64(field + 8), len);
}
/* The canonical key of a row whose references were checked before. */
static inline struct pil_bytes pil_row_key(const struct pil_view *view, const uint8_t *row, const uint8_t *heap) {
    return view->layout.key_is_fixed ? pil_bytes_from(row, view->layout.key_bytes) : pil_ref_payload(row, heap);
}

/* ---- index_build.c */

struct pil_index_entry {
    uint64_t hash;
    uint64_t row; /* whatever the caller wants to find in the slot; below UINT32_MAX */
};

/* Sorts by hash; `scratch` has room for `count`, too. Either array may hold the result, which is returned. */
struct pil_index_entry *pil_index_sort(struct pil_index_entry *entries, struct pil_index_entry *scratch, size_t count);

/* Sizes that the construction practically always succeeds with; 0 for no keys. */
uint64_t pil_index_slots_for(uint64_t key_count);
uint64_t pil_index_buckets_for(uint64_t key_count);

struct pil_index {
    uint64_t slot_count, bucket_count; /* in */
    uint8_t *pilots;                   /* out: bucket_count pilots, zero at the start */
    uint32_t *slot_rows;               /* out: row + 1 of each slot, 0 = empty; slot_count */
};
/* Finds a pilot for each bucket of `count` entries, sorted by hash and all different, such that no two entries share a
 * slot. AGAIN: this set of hashes does not work, take another seed. NO_MEMORY. Cost: about 200 ns a key. */
pil_status pil_index_build(const struct pil_index_entry *entries, size_t count, struct pil_index *index) PIL_CHECKED;
