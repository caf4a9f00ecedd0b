/* SPDX-License-Identifier: Apache-2.0
 * Shared by writer, reader and verifier only: the rules for rows and values, which schemas/snapshot.md specifies, and
 * the construction of the perfect hash. */
#pragma once

#include "snapshot/reader.h"

/* ---- superblock.c */

/* Checks the first 4096 bytes against the length of the file; reads no byte after them. */
pil_status pil_superblock_read(struct pil_bytes file, struct pil_superblock *ret_superblock,
                               struct pil_error *ret_error) PIL_CHECKED;
const char *pil_section_text(pil_section section);

/* ---- row_plan.c */

/* A view prepared for checking and copying rows: which fields must be checked, and where the run of all fields, which
 * has no gaps, begins and ends. */
struct pil_row_plan {
    const struct pil_view *view;
    uint32_t fields_begin, fields_end;
    uint32_t bool_count, reference_count;
    uint16_t bools[PIL_FEATURES_MAX];      /* indices of the bool features */
    uint16_t references[PIL_FEATURES_MAX]; /* indices of the string, bytes and list features, in declared order */
};
void pil_row_plan_init(const struct pil_view *view, struct pil_row_plan *ret_plan);

/* A key or value that breaks a rule. */
struct pil_row_problem {
    pil_status status; /* INVALID or TOO_LARGE; OK: no problem */
    int32_t feature;   /* -1: the key */
    const char *text;  /* end of a sentence: "is not valid UTF-8" */
};
/* Checks key, bools and payloads of a row whose references must lie within `heap`; skips null fields. */
struct pil_row_problem pil_row_plan_check(const struct pil_row_plan *plan, const uint8_t *row, const uint8_t *heap);

/* XXH3-128 of the row image: stride bytes with the offsets of heap references replaced by zeros, then the bytes of
 * those references. */
unsigned __int128 pil_row_plan_digest(const struct pil_row_plan *plan, const uint8_t *row, const uint8_t *heap);

/* The bytes of a reference; its bounds must have been checked. */
static inline struct pil_bytes pil_ref_payload(const uint8_t *field, const uint8_t *heap) {
    uint32_t len = pil_load_u32(field);
    return pil_bytes_from(len <= PIL_REF_INLINE_BYTES ? field + 4 : heap + pil_load_u64(field + 8), len);
}
/* The canonical key of a row; its references must have been checked. */
static inline struct pil_bytes pil_row_key(const struct pil_view *view, const uint8_t *row, const uint8_t *heap) {
    return view->layout.key_is_fixed ? pil_bytes_from(row, view->layout.key_bytes) : pil_ref_payload(row, heap);
}

/* ---- index_build.c */

struct pil_index_entry {
    uint64_t hash;
    uint64_t row; /* the caller's number for the row; below UINT32_MAX */
};

/* Sorts by hash; `scratch` also has room for `count` entries. Returns the sorted array, which may be either of the two.
 */
struct pil_index_entry *pil_index_sort(struct pil_index_entry *entries, struct pil_index_entry *scratch, size_t count);

/* Sizes with which the construction practically always succeeds; 0 for no keys. */
uint64_t pil_index_slots_for(uint64_t key_count);
uint64_t pil_index_buckets_for(uint64_t key_count);

struct pil_index {
    uint64_t slot_count, bucket_count; /* in */
    uint8_t *pilots;                   /* out: bucket_count pilots */
    uint32_t *slot_rows;               /* out: row + 1 of each of slot_count slots, 0 = empty */
};
/* Finds a pilot for each bucket of `count` entries, sorted by hash and all different, such that no two entries share a
 * slot. AGAIN: no such pilots were found, try another seed. NO_MEMORY. Cost: about 200 ns per key. */
pil_status pil_index_build(const struct pil_index_entry *entries, size_t count, struct pil_index *index) PIL_CHECKED;
