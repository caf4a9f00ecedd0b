/* SPDX-License-Identifier: Apache-2.0
 * One feature view: its keys, its features, and their places in a row. Parsed and validated once, then immutable: any
 * thread may read it. The struct is public because the hot path reads row offsets. */
#pragma once

#include "base/bounds.h"
#include "schema/default.h"
#include "schema/key_part.h"
#include "schema/type.h"

struct pil_entity {
    char *name;        /* "driver" */
    char *join_key;    /* "driver_id" */
    pil_scalar type;   /* int32, int64, string, bytes or unix_timestamp */
    char *description; /* NULL when there is none */
};

struct pil_feature {
    char *name;
    char *description; /* never NULL */
    struct pil_type type;
    struct pil_default *default_value; /* NULL when there is none */
    char **tags;
    uint32_t tag_count;
    /* Layout (schemas/snapshot.md, "Row"). */
    uint32_t offset;   /* bytes from the start of the row */
    uint32_t null_bit; /* bit index in the null bitmap = position of the feature; set bit = null */
    uint32_t name_len; /* set with the table of names */
    /* pil_hash_field of "view:feature", set with the table of names. Of several features with one hash none can be
     * found by it. */
    uint32_t field;
    bool shares_field;
};

/* Keys: a fixed key (every component has a fixed width) is stored in the row, as its concatenated components; any other
 * key is a 16-byte reference to its canonical bytes. */
struct pil_row_layout {
    bool key_is_fixed;
    uint32_t key_bytes;       /* width of the key field: the sum of the components, or PIL_REF_BYTES */
    uint32_t event_ts_offset; /* of an int64 in µs; INT64_MIN = this slot holds no row */
    uint32_t null_offset;
    uint32_t null_bytes;
    uint32_t stride;
    bool has_references; /* the key or some feature is a reference: there is a heap */
};

/* How rows without references are packed: values in declared order, then the null bitmap. A run is a sequence of fields
 * that are adjacent both in the row and in that order. */
enum { PIL_PACKING_RUNS_MAX = 16 };
struct pil_row_packing {
    int32_t first_reference; /* the first feature that prevents packing; -1: none */
    uint32_t bytes;          /* of values and bitmap */
    uint32_t run_count;      /* 0: there are more than PIL_PACKING_RUNS_MAX */
    struct {
        uint32_t offset, bytes;
    } runs[PIL_PACKING_RUNS_MAX];
};

/* 1970-01-01T00:00:00Z, which Feast, too, answers where a value has no time (docs/adr/0040-no-time-no-key.md). */
#define PIL_STATIC_EVENT_US INT64_C(0)

struct pil_view {
    char *project;
    char *name;
    bool is_static;               /* its rows have no event time: each has PIL_STATIC_EVENT_US, and never expires */
    int64_t ttl_us;               /* 0 = for ever, as in each static view */
    struct pil_entity *entities;  /* in declared order, which is the order of key components everywhere */
    uint32_t entity_count;        /* 0: the view has one row, whose key is empty */
    struct pil_feature *features; /* in declared order, which is the order of every answer */
    uint32_t feature_count;
    struct pil_row_layout layout;
    struct pil_row_packing packing; /* computed from the layout */
    /* Open-addressed tables over names and fields, in one piece of memory: feature index + 1, 0 = empty; private. */
    uint32_t *feature_index_by_name, *feature_index_by_field;
    uint32_t index_mask;
};

/* Computes offsets, the null bitmap and the stride from types; fills view->layout, view->packing and the features'
 * offsets. TOO_LARGE: the stride would exceed PIL_ROW_STRIDE_MAX. schemas/snapshot.md specifies the algorithm. */
pil_status pil_view_layout(struct pil_view *view, struct pil_error *ret_error) PIL_CHECKED;

/* NULL when memory is short. */
struct pil_view *pil_view_clone(const struct pil_view *view);
void pil_view_destroy(struct pil_view **view);

/* Returns the index of the feature, or -1. Cost: about one hash and one compare; no allocation. The parsers and
 * pil_view_clone build the table for it; a view that was made by hand has no table and must be cloned first. */
int32_t pil_view_feature_find(const struct pil_view *view, struct pil_bytes name);
/* The same for names that often come in declared order: compares feature `guess` first; any number is allowed. */
static inline int32_t pil_view_feature_find_near(const struct pil_view *view, struct pil_bytes name, uint32_t guess) {
    return guess < view->feature_count &&
                   pil_bytes_equal(name, pil_bytes_from(view->features[guess].name, view->features[guess].name_len))
               ? (int32_t)guess
               : pil_view_feature_find(view, name);
}

/* Returns the index of the feature that has this field, or of one of those that share it; -1: none has. Cost: about one
 * compare. */
int32_t pil_view_feature_find_field(const struct pil_view *view, uint32_t field);
/* Whether the feature has the tag "pii": no report or message shows its values. */
bool pil_view_feature_is_pii(const struct pil_feature *feature);

/* ---- Keys. Canonical key bytes: for one entity the value itself (int32/int64/timestamp little-endian, string and
 * bytes as they are); for several, each component in declared order, fixed ones little-endian, variable ones after a
 * u32 length; for no entity, nothing. */

/* Encodes `part_count` components (must equal entity_count) into buffer; *ret_len is the canonical length. No
 * allocation. INVALID: a component cannot be converted to the entity's type, such as "12x" or 2^40 to an int32
 * (*ret_entity is its index; pil_key_part_explain says it); or there are too few or too many (*ret_entity is the first
 * missing one, or entity_count). TOO_LARGE: the buffer is too small or the key exceeds PIL_KEY_BYTES_MAX. */
pil_status pil_view_key_encode(const struct pil_view *view, const struct pil_key_part *parts, uint32_t part_count,
                               uint8_t *buffer, size_t buffer_bytes, size_t *ret_len, uint32_t *ret_entity) PIL_CHECKED;

/* Splits the key text of RESP ("k1|k2"; a backslash escapes '|' and '\\' and nothing else) and encodes it; results as
 * above. For a view of one entity the text is the value itself, without escapes; for a view without entities it is
 * empty. */
pil_status pil_view_key_encode_text(const struct pil_view *view, struct pil_bytes text, uint8_t *buffer,
                                    size_t buffer_bytes, size_t *ret_len, uint32_t *ret_entity) PIL_CHECKED;

/* Removes the first part, and the '|' after it, from such a text of several parts. *ret_part is the unescaped part: it
 * points into the text, or into the buffer if the part has escapes. *ret_is_last: no part follows. INVALID: a backslash
 * before any other character. TOO_LARGE: the buffer is too small (the text's length is always enough). */
pil_status pil_view_key_text_next(struct pil_bytes *text, uint8_t *buffer, size_t buffer_bytes,
                                  struct pil_bytes *ret_part, bool *ret_is_last) PIL_CHECKED;

/* The reverse: formats canonical bytes as the key text of RESP. Returns the length, which may exceed buffer_bytes (the
 * text is then truncated); adds no NUL. Timestamps are printed as seconds, with 6 fraction digits if they are not
 * whole. Hostile bytes give some text, never a read out of bounds. */
size_t pil_view_key_format(const struct pil_view *view, struct pil_bytes key, char *buffer, size_t buffer_bytes);
