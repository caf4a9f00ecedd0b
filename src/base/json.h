/* SPDX-License-Identifier: Apache-2.0
 * A pull reader for untrusted JSON: strict (RFC 8259, UTF-8), bounded depth, no recursion, no allocation, exact
 * numbers. Used for requests and for documents that libpillion reads; the control plane reads its documents with
 * jansson. */
#pragma once

#include "base/bytes.h"
#include "base/status.h"

enum { PIL_JSON_DEPTH_MAX = 64 };

typedef enum pil_json_kind {
    PIL_JSON_END, /* no value: the end of the text, or a syntax error that the next read reports */
    PIL_JSON_NULL,
    PIL_JSON_BOOL,
    PIL_JSON_NUMBER,
    PIL_JSON_STRING,
    PIL_JSON_ARRAY,
    PIL_JSON_OBJECT,
} pil_json_kind;

/* A long text takes milliseconds: `now` is called every so many values and escapes, and bytes of a string. NULL:
 * nothing is. */
enum { PIL_JSON_REST_STEPS = 1024, PIL_JSON_REST_BYTES = 32768 };
struct pil_json_rest {
    void (*now)(void *context);
    void *context;
};

/* Reader state. After INVALID or TOO_LARGE: `error` is a static phrase (Python's if it has one), `at` is the place of
 * the error, and the reader must not be used further. */
struct pil_json {
    const uint8_t *begin;
    const uint8_t *at;
    const uint8_t *end;
    uint8_t *scratch; /* strings with escapes are decoded into this buffer; the length of the text is enough */
    uint8_t *scratch_end;
    const char *error;
    bool is_not_utf8; /* the error is in the encoding, not in the JSON */
    uint32_t depth;
    uint32_t steps;            /* since the last rest */
    struct pil_json_rest rest; /* to be set after pil_json_init */
};

/* Starts reading `text`; a UTF-8 byte order mark is skipped. */
void pil_json_init(struct pil_json *json, struct pil_bytes text, uint8_t *scratch, size_t scratch_bytes);
/* The kind of the next value, by its first character. */
pil_json_kind pil_json_peek(struct pil_json *json);

struct pil_json_number {
    struct pil_bytes text; /* as written */
    bool is_integral;      /* a whole number within int64, however written: 1002, 1002.0, 1.002e3 */
    int64_t integer;       /* exact; 0 unless is_integral */
};
/* Whether `text`, a number as JSON writes it, times 10^decimals is a whole number within int64. */
bool pil_json_number_scaled(struct pil_bytes text, int64_t decimals, int64_t *ret_value);
/* Each function reads one value of its kind, or fails. */
pil_status pil_json_read_null(struct pil_json *json) PIL_CHECKED;
pil_status pil_json_read_bool(struct pil_json *json, bool *ret_value) PIL_CHECKED;
pil_status pil_json_read_number(struct pil_json *json, struct pil_json_number *ret_number) PIL_CHECKED;
/* *ret_string points into the text, or into scratch if the string has escapes. */
pil_status pil_json_read_string(struct pil_json *json, struct pil_bytes *ret_string) PIL_CHECKED;
/* Reads any value and checks all of it; *ret_raw is its text. */
pil_status pil_json_skip(struct pil_json *json, struct pil_bytes *ret_raw) PIL_CHECKED;

/* Enters an array or object; then call next_element or next_member until *ret_more is false, which leaves it. Each
 * element or member must be read or skipped before the next call. *first must be true before the first call. */
pil_status pil_json_enter(struct pil_json *json, pil_json_kind kind) PIL_CHECKED;
pil_status pil_json_next_element(struct pil_json *json, bool *first, bool *ret_more) PIL_CHECKED;
pil_status pil_json_next_member(struct pil_json *json, bool *first, struct pil_bytes *ret_name,
                                bool *ret_more) PIL_CHECKED;
/* For work on what was read, of so many bytes: rests when it is time. */
void pil_json_work(struct pil_json *json, size_t bytes);
/* Fails unless only white space follows. */
pil_status pil_json_finish(struct pil_json *json) PIL_CHECKED;
