/* SPDX-License-Identifier: Apache-2.0
 * The table of the scalars that feature values, elements and keys consist of. A scalar's properties are in its row;
 * code that handles scalars is a switch without default, or a table with an assertion of its length, so that the
 * compiler names every place that has to handle a new row. docs/hacking.md says which other places list scalars. */
#pragma once

#include "base/bytes.h"

/* The meaning of a value's bits. */
typedef enum pil_kind {
    PIL_KIND_BOOL,    /* a byte, 0 or 1; in all other kinds of fixed width every bit pattern is a value */
    PIL_KIND_INTEGER, /* two's complement */
    PIL_KIND_TIME,    /* int64, microseconds since 1970 */
    PIL_KIND_FLOAT,   /* binary; has NaN and infinities */
    PIL_KIND_TEXT,    /* of any length, well-formed UTF-8 */
    PIL_KIND_BYTES,   /* of any length */
} pil_kind;

/* Where a scalar may be used. */
enum {
    PIL_USE_VALUE = 1,  /* as a feature, and as the element of lists */
    PIL_USE_VECTOR = 2, /* as the element of vectors */
    PIL_USE_KEY = 4,    /* as the type of an entity */
};

/* clang-format off */
/* Add new rows at the end: the number of a scalar is part of answers (schemas/wire.md).
 *    name            text              bytes in the row, kind, uses */
#define PIL_SCALAR_TABLE(X) \
    X(BOOL,           "bool",           1,  BOOL,    PIL_USE_VALUE) \
    X(INT32,          "int32",          4,  INTEGER, PIL_USE_VALUE | PIL_USE_KEY) \
    X(INT64,          "int64",          8,  INTEGER, PIL_USE_VALUE | PIL_USE_KEY) \
    X(FLOAT32,        "float32",        4,  FLOAT,   PIL_USE_VALUE | PIL_USE_VECTOR) \
    X(FLOAT64,        "float64",        8,  FLOAT,   PIL_USE_VALUE) \
    X(STRING,         "string",         16, TEXT,    PIL_USE_VALUE | PIL_USE_KEY) \
    X(BYTES,          "bytes",          16, BYTES,   PIL_USE_VALUE | PIL_USE_KEY) \
    X(UNIX_TIMESTAMP, "unix_timestamp", 8,  TIME,    PIL_USE_VALUE | PIL_USE_KEY) \
    X(FLOAT16,        "float16",        2,  FLOAT,   PIL_USE_VECTOR) \
    X(BFLOAT16,       "bfloat16",       2,  FLOAT,   PIL_USE_VECTOR) \
    X(INT8,           "int8",           1,  INTEGER, PIL_USE_VECTOR)

typedef enum pil_scalar {
#define X(name, text, bytes, kind, uses) PIL_SCALAR_##name,
    PIL_SCALAR_TABLE(X)
#undef X
    PIL_SCALAR_COUNT
} pil_scalar;

/* Cost: one load. */
static inline pil_kind pil_scalar_kind(pil_scalar scalar) {
    static const uint8_t kinds[PIL_SCALAR_COUNT] = {
#define X(name, text, bytes, kind, uses) PIL_KIND_##kind,
        PIL_SCALAR_TABLE(X)
#undef X
    };
    return (pil_kind)kinds[scalar];
}
/* clang-format on */

/* Whether values have any length, UTF-8 or not: rows hold references to them, columns hold their ends and bytes. */
static inline bool pil_scalar_is_text(pil_scalar scalar) {
    switch (pil_scalar_kind(scalar)) {
    case PIL_KIND_TEXT:
    case PIL_KIND_BYTES: return true;
    case PIL_KIND_BOOL:
    case PIL_KIND_INTEGER:
    case PIL_KIND_TIME:
    case PIL_KIND_FLOAT: break;
    }
    return false;
}

/* Whether values must be UTF-8. */
static inline bool pil_scalar_is_utf8(pil_scalar scalar) {
    switch (pil_scalar_kind(scalar)) {
    case PIL_KIND_TEXT: return true;
    case PIL_KIND_BOOL:
    case PIL_KIND_INTEGER:
    case PIL_KIND_TIME:
    case PIL_KIND_FLOAT:
    case PIL_KIND_BYTES: break;
    }
    return false;
}

/* Whether a value is a byte that may only be 0 or 1. In all other scalars of fixed width every bit pattern is a value.
 */
static inline bool pil_scalar_is_bool(pil_scalar scalar) {
    switch (pil_scalar_kind(scalar)) {
    case PIL_KIND_BOOL: return true;
    case PIL_KIND_INTEGER:
    case PIL_KIND_TIME:
    case PIL_KIND_FLOAT:
    case PIL_KIND_TEXT:
    case PIL_KIND_BYTES: break;
    }
    return false;
}

/* Whether values can be NaN or infinite. */
static inline bool pil_scalar_is_float(pil_scalar scalar) {
    switch (pil_scalar_kind(scalar)) {
    case PIL_KIND_FLOAT: return true;
    case PIL_KIND_BOOL:
    case PIL_KIND_INTEGER:
    case PIL_KIND_TIME:
    case PIL_KIND_TEXT:
    case PIL_KIND_BYTES: break;
    }
    return false;
}

enum { PIL_SCALAR_NAMES_BYTES = 200 };

uint32_t pil_scalar_bytes(pil_scalar scalar);
const char *pil_scalar_text(pil_scalar scalar);
/* The PIL_USE_ bits. */
uint32_t pil_scalar_uses(pil_scalar scalar);
/* For messages: the names of all scalars with this use, joined by ", ", the last one by `last`. */
void pil_scalar_names(uint32_t use, const char *last, char ret_names[PIL_SCALAR_NAMES_BYTES]);
