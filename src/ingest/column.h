/* SPDX-License-Identifier: Apache-2.0
 * One Arrow column bound to its place in a row: checks formats once for each stream, then turns cells into row
 * bytes. */
#pragma once

#include "ingest/ingest.h"

/* Buffers of an array in the current batch, borrowed from it. Cell i of the batch is at index first + i. */
struct pil_cells {
    const uint8_t *validity; /* bit map, 1 = not null; NULL: no nulls */
    const uint8_t *offsets;  /* of strings, bytes and lists: length + 1 ends, 4 or 8 bytes wide */
    const uint8_t *values;   /* fixed-width values, bits of booleans, or the bytes that offsets point into */
    int64_t first;
    int64_t count; /* number of cells, starting at `first` */
};

struct pil_column {
    const char *name; /* borrowed from the view */
    struct pil_type type;
    int32_t child;        /* position in the record batch; -1: absent */
    bool wide;            /* 64-bit offsets */
    bool fixed_size;      /* "+w": no offsets, type.dimension elements each */
    bool item_wide;       /* elements are strings with 64-bit offsets */
    bool item_is_float32; /* elements must be narrowed to float16 or bfloat16 */
    struct pil_cells cells;
    struct pil_cells items; /* elements of lists and vectors; `first` is the index of element 0 */
};

/* The first flaw of each row of a chunk. */
struct pil_row_flaw {
    pil_ingest_flaw flaw;
    const struct pil_column *column;
    int64_t found; /* for the text: length, timestamp, index of the element */
};

/* Finds the column among the children of a record batch and checks its format. Sets the members above. */
pil_status pil_column_bind(struct pil_column *column, const struct ArrowSchema *batch,
                           struct pil_error *ret_error) PIL_CHECKED;
/* Points the column into a batch. CORRUPT when lengths contradict each other. */
pil_status pil_column_attach(struct pil_column *column, const struct ArrowArray *batch,
                             struct pil_error *ret_error) PIL_CHECKED;

static inline bool pil_bit_at(const uint8_t *bits, int64_t index) {
    return (bits[index / 8] >> (index % 8)) & 1;
}
static inline bool pil_column_is_null(const struct pil_column *column, int64_t row) {
    return column->cells.validity != NULL && !pil_bit_at(column->cells.validity, column->cells.first + row);
}

/* Finds the rows in [row, row + count) of the batch whose cell cannot be accepted; flaws[i] belongs to row + i and is
 * not changed if it is already set. Null cells are accepted. */
void pil_column_check(const struct pil_column *column, int64_t row, uint32_t count, struct pil_row_flaw *flaws);

/* Writes the cells of rows [row, row + count) to `to`, `to + stride`, …, only for fixed-width scalars and vectors.
 * Nothing is written for null cells and cells with a flaw. */
void pil_column_put_fixed(const struct pil_column *column, int64_t row, uint32_t count, uint8_t *to, uint32_t stride,
                          const struct pil_row_flaw *flaws);

/* Size of a string, bytes or list cell in the heap; the cell must have no flaw and not be null. */
uint64_t pil_column_payload_bytes(const struct pil_column *column, int64_t row);
void pil_column_payload_write(const struct pil_column *column, int64_t row, uint8_t *to);
/* The same cell without a copy; strings and bytes only. */
struct pil_bytes pil_column_text(const struct pil_column *column, int64_t row);

/* float32 to half precision, rounding to nearest even; ±Inf stays, overflow becomes ±Inf, NaN stays a NaN. */
uint16_t pil_float16_from(float value);
uint16_t pil_bfloat16_from(float value);

/* Whether the bytes are UTF-8 as in RFC 3629: shortest forms, no surrogates, at most U+10FFFF. */
bool pil_utf8_ok(struct pil_bytes text);
