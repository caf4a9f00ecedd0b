/* SPDX-License-Identifier: Apache-2.0
 * Value types of features and entity keys, with their names in project files: "float32", "list<string>",
 * "vector<float16,64>". */
#pragma once

#include "base/status.h"
#include "schema/scalar.h"

typedef enum pil_shape {
    PIL_SHAPE_SCALAR,
    PIL_SHAPE_LIST,   /* any length; elements are never null; longer ones are in the heap */
    PIL_SHAPE_VECTOR, /* `dimension` elements, inline in the row */
} pil_shape;

struct pil_type {
    pil_scalar scalar; /* of the element, for lists and vectors */
    pil_shape shape;
    uint32_t dimension; /* 1..PIL_VECTOR_DIMENSION_MAX for vectors, else 0 */
};

enum { PIL_TYPE_TEXT_BYTES = 40, PIL_REF_BYTES = 16, PIL_REF_INLINE_BYTES = 12, PIL_TYPE_ADVICE_BYTES = 128 };

/* Parses a type's name. INVALID: the message says what to write for a name that other systems use or that has a typo
 * (type_alias.h), else it lists the possible types. */
pil_status pil_type_parse(struct pil_bytes text, struct pil_type *ret_type, struct pil_error *ret_error) PIL_CHECKED;
/* Writes what to do about a name that is no type for `use` (PIL_USE_VALUE or PIL_USE_KEY): "write float64", "write
 * int64, or int32 if its values have 32 bits", "did you mean float32?"; or "" when it resembles none. */
void pil_type_advise(struct pil_bytes name, uint32_t use, char ret_advice[PIL_TYPE_ADVICE_BYTES]);
/* Writes a type's canonical name ("vector<float32,32>"); returns its length. */
int pil_type_format(struct pil_type type, char ret_text[PIL_TYPE_TEXT_BYTES]);

bool pil_type_equal(struct pil_type a, struct pil_type b);
/* The bytes of one value in the row, and its alignment there (1, 2, 4 or 8). Strings, bytes and lists are 16-byte
 * references. */
uint32_t pil_type_row_bytes(struct pil_type type);
uint32_t pil_type_alignment(struct pil_type type);
/* Whether values are references (string, bytes, lists), whose bytes are in the heap if there are more than
 * PIL_REF_INLINE_BYTES. */
bool pil_type_is_reference(struct pil_type type);
