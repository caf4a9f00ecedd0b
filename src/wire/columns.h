/* SPDX-License-Identifier: Apache-2.0
 * The answer of PIL.COLUMNS: a head, a record for each column, event timestamps, then the columns one after another in
 * Arrow's memory layout, in one bulk string. Specified in schemas/wire.md. Pure. */
#pragma once

#include "schema/type.h"
#include "wire/tensor.h"

enum {
    PIL_COLUMNS_MAGIC = 0x31434c50, /* "PLC1" */
    PIL_COLUMNS_RECORD_BYTES = 56,
};

/* How a column stores values of a type. */
typedef enum pil_column_form {
    PIL_COLUMN_FIXED,
    PIL_COLUMN_TEXTS,   /* offsets point into the bytes */
    PIL_COLUMN_NUMBERS, /* lists of fixed values: offsets count elements */
    PIL_COLUMN_LISTS,   /* lists of texts: offsets are indices of child offsets, which point into the bytes */
} pil_column_form;
pil_column_form pil_column_form_of(struct pil_type type);

struct pil_column_record {
    struct pil_type type;
    uint64_t value_bytes;
    uint64_t child_count; /* number of child offsets of LISTS, one more than elements; else 0 */
    /* Set by place and load; bytes from the start of the answer. */
    uint64_t statuses_at; /* uint8[rows] */
    uint64_t offsets_at;  /* int32[rows + 1]; 0 when FIXED */
    uint64_t children_at; /* int32[child_count]; 0 when there are none */
    uint64_t values_at;
};

struct pil_columns_head {
    uint32_t rows, columns, view_count;
    int64_t now_us;
    struct pil_tensor_view views[PIL_TENSOR_VIEWS_MAX];
    /* Set by layout and decode; bytes from the start of the answer. */
    uint64_t records_at;
    uint64_t times_at; /* int64[rows][views] as in the answer of PIL.VECTOR */
    uint64_t data_at;
    uint64_t bytes; /* of the whole answer; set by the caller after placing the columns, and by decode */
};

/* ---- Writing: call layout; place the columns one after another from head->data_at on, the end of the last is
 * head->bytes; then put head and records. */
void pil_columns_layout(struct pil_columns_head *head);
/* Computes where the parts of the column begin, the first at `at`; returns the start of the next column. */
uint64_t pil_column_place(uint32_t rows, struct pil_column_record *record, uint64_t at);
/* Returns records_at. */
size_t pil_columns_put_head(const struct pil_columns_head *head, uint8_t to[PIL_TENSOR_HEAD_BYTES_MAX]);
void pil_columns_put_record(const struct pil_column_record *record, uint8_t to[PIL_COLUMNS_RECORD_BYTES]);

/* ---- Reading. */

/* Checks a whole answer: every part lies inside and has the right length, types and statuses are valid, offsets begin
 * at 0, never fall and end where the values do, bools are 0 or 1. CORRUPT with a message. Cost: reads all offsets,
 * statuses and bools. */
pil_status pil_columns_decode(struct pil_bytes answer, struct pil_columns_head *ret_head,
                              struct pil_error *ret_error) PIL_CHECKED;
/* A record of an answer that pil_columns_decode accepted. */
struct pil_column_record pil_columns_record(struct pil_bytes answer, const struct pil_columns_head *head,
                                            uint32_t index);
