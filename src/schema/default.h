/* SPDX-License-Identifier: Apache-2.0
 * Defaults of features: checked against their type once, then kept in every form that readers need. Immutable. */
#pragma once

#include "base/bytes.h"
#include "base/status.h"
#include "schema/type.h"

enum { PIL_DEFAULT_TEXT_BYTES_MAX = 65536 }; /* of one string: a default travels in every shard */

/* One block of memory; payload and text lie behind the numbers. */
struct pil_default {
    size_t bytes;     /* of the block */
    uint32_t count;   /* elements: 1, the dimension of a vector, or the length of a list */
    uint32_t payload; /* bytes */
    uint32_t text;    /* bytes */
    double numbers[]; /* [count], as written: whole seconds for unix_timestamp, 0 and 1 for bool, 0 for text */
};

/* As rows have it: the field of a fixed type, or the bytes that a reference points to. */
static inline struct pil_bytes pil_default_payload(const struct pil_default *value) {
    return pil_bytes_from(&value->numbers[value->count], value->payload);
}
/* As JSON. */
static inline struct pil_bytes pil_default_text(const struct pil_default *value) {
    return pil_bytes_from((const uint8_t *)&value->numbers[value->count] + value->payload, value->text);
}

/* From a JSON value: true or false; whole numbers (seconds for unix_timestamp, as in keys); numbers for floats; text
 * for strings; base64 for bytes; arrays of these for lists and vectors. INVALID, with a sentence; NO_MEMORY. Owns: the
 * caller (free). */
pil_status pil_default_parse(struct pil_type type, struct pil_bytes json, struct pil_default **ret_default,
                             struct pil_error *ret_error) PIL_CHECKED;
/* NULL stays NULL; otherwise NULL: no memory. Owns: the caller (free). */
struct pil_default *pil_default_copy(const struct pil_default *value);
