/* SPDX-License-Identifier: Apache-2.0
 * Values of rows that are being built: found, read as numbers, and ordered. `heap` is what the row's references are
 * offsets in. Thread: any. */
#pragma once

#include "ingest/partition.h"
#include "schema/view.h"

/* The heap of a record's row, borrowed from the record. */
static inline struct pil_bytes pil_value_heap(const struct pil_view *view, const struct pil_record *record) {
    return pil_bytes_from(pil_record_row(record) + view->layout.stride,
                          record->bytes - sizeof *record - view->layout.stride);
}

/* The value's bytes; the payload of a reference. The value must not be null. */
struct pil_bytes pil_value_of(const struct pil_feature *feature, const uint8_t *row, const struct pil_bytes *heap);

/* For scalars that are no text. Integers beyond 2^53 are rounded. */
double pil_value_number_at(pil_scalar scalar, const uint8_t *at);
/* For integers and times. */
int64_t pil_value_integer_at(pil_scalar scalar, const uint8_t *at);
bool pil_value_is_integer(pil_scalar scalar);

/* Compares two values of one type, < 0 if a is smaller: numbers and times by value (NaN before all others, -0 equals
 * 0), texts and bytes byte by byte, lists and vectors element by element, then by length. */
int pil_value_compare(struct pil_type type, struct pil_bytes a, struct pil_bytes b);
/* Byte by byte, then by length. */
int pil_value_compare_bytes(struct pil_bytes a, struct pil_bytes b);
