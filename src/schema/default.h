/* SPDX-License-Identifier: Apache-2.0
 * Defaults of features: checked against their type once, then kept in all forms that readers need. Immutable. */
#pragma once

#include "base/bytes.h"
#include "base/status.h"
#include "schema/type.h"

enum { PIL_DEFAULT_TEXT_BYTES_MAX = 65536 }; /* of one string: every shard contains the defaults */

/* One block of memory; payload and text follow the numbers. */
struct pil_default {
    size_t bytes;     /* of the block */
    uint32_t count;   /* number of elements: 1, the dimension of a vector, or the length of a list */
    uint32_t payload; /* its length in bytes */
    uint32_t text;    /* its length in bytes */
    double numbers[]; /* [count], as written: whole seconds for unix_timestamp, 0 and 1 for bool, 0 for text */
};

/* The default in the form of rows: the field of a fixed type, or the bytes that a reference points to. */
static inline struct pil_bytes pil_default_payload(const struct pil_default *value) {
    return pil_bytes_from(&value->numbers[value->count], value->payload);
}
/* The default as JSON. */
static inline struct pil_bytes pil_default_text(const struct pil_default *value) {
    return pil_bytes_from((const uint8_t *)&value->numbers[value->count] + value->payload, value->text);
}

/* Makes a default from a JSON value: true or false; whole numbers (seconds for unix_timestamp, as in keys); numbers for
 * floats; text for strings; base64 for bytes; arrays of these for lists and vectors. INVALID: the message says what the
 * value must be. NO_MEMORY. Owns: the caller (free). */
pil_status pil_default_parse(struct pil_type type, struct pil_bytes json, struct pil_default **ret_default,
                             struct pil_error *ret_error) PIL_CHECKED;
/* Copies a default; NULL gives NULL. NULL also when memory is short. Owns: the caller (free). */
struct pil_default *pil_default_copy(const struct pil_default *value);
