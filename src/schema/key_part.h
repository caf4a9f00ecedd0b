/* SPDX-License-Identifier: Apache-2.0
 * One join key as a caller gives it, and the one rule that makes the entity's type of it (schemas/wire.md, "Keys"; the
 * table there is a test). A protocol only says in which kind a key came. On the hot path: no allocation. */
#pragma once

#include "base/bytes.h"
#include "schema/scalar.h"

typedef enum pil_key_part_kind {
    PIL_KEY_PART_INT,    /* `integer`: itself; seconds for unix_timestamp; its decimal digits for string and bytes */
    PIL_KEY_PART_NUMBER, /* `text`, a number as JSON writes it, with a fraction or an exponent or outside int64 */
    PIL_KEY_PART_TEXT,   /* `text`: itself for string and bytes; digits for integers; digits or RFC 3339 for
                          * unix_timestamp */
    PIL_KEY_PART_TIME,   /* `integer`, microseconds since 1970: only for unix_timestamp */
    PIL_KEY_PART_OTHER,  /* `text`, such as true or null: never a key */
} pil_key_part_kind;

struct pil_key_part {
    pil_key_part_kind kind;
    int64_t integer;
    struct pil_bytes text;
};

/* The part of a JSON number that is written as `text`; `is_integral` and `integer` as in struct pil_json_number. */
struct pil_key_part pil_key_part_of_number(struct pil_bytes text, bool is_integral, int64_t integer);

enum { PIL_KEY_PART_DIGITS_BYTES = 24 }; /* "-9223372036854775808" and a NUL */

/* The key of an entity of fixed width (int32, int64; unix_timestamp as microseconds). Returns false if the part is not
 * exactly a value of that type. */
bool pil_key_part_to_integer(const struct pil_key_part *part, pil_scalar type, int64_t *ret_value);
/* The key of a string or bytes entity; points into the part or into `digits`. Returns false if the part has no such
 * value. */
bool pil_key_part_to_text(const struct pil_key_part *part, char digits[PIL_KEY_PART_DIGITS_BYTES],
                          struct pil_bytes *ret_text);
/* Decimal digits of an integer, or of a time as seconds with 6 fraction digits unless it is whole. Points into
 * `digits`. */
struct pil_bytes pil_key_part_digits(int64_t value, bool is_time, char digits[PIL_KEY_PART_DIGITS_BYTES]);

/* For messages. */
struct pil_key_place {
    const char *join_key;
    pil_scalar type;
    uint64_t row;
};
#define PIL_KEY_PART_ONE_ROW UINT64_MAX
enum { PIL_KEY_PROBLEM_BYTES = 512 };
/* "join key uid, row 3: 'abc' is not int64". Without the row for PIL_KEY_PART_ONE_ROW. Control characters and bytes
 * that are not UTF-8 become \xNN, and long texts are cut. */
const char *pil_key_part_explain(const struct pil_key_part *part, struct pil_key_place place,
                                 char ret_text[PIL_KEY_PROBLEM_BYTES]);
