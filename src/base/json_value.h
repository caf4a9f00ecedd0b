/* SPDX-License-Identifier: Apache-2.0
 * JSON documents, read in place: a value is its text, and each access to a member or element walks that text. For
 * documents that are read seldom. No allocation. */
#pragma once

#include "base/json.h"

/* A value, and the buffer for its strings with escapes. The text is empty if there is no such value. */
struct pil_json_value {
    struct pil_bytes text;
    uint8_t *scratch; /* as long as the whole document; each call overwrites strings decoded before */
    size_t scratch_bytes;
    bool is_twice; /* set by pil_json_value_members: the object has several members with this name */
};

/* Checks a whole document; to be called before all other functions. CORRUPT, with a message that says where. */
pil_status pil_json_value_check(const struct pil_json_value *document, struct pil_error *ret_error) PIL_CHECKED;
/* Finds the first member of each name in one walk; its text is empty if there is none, or the value is not an object.
 */
void pil_json_value_members(const struct pil_json_value *object, const char *const *names, size_t count,
                            struct pil_json_value *ret_members);
struct pil_json_value pil_json_value_member(const struct pil_json_value *object, const char *name);
bool pil_json_value_is(const struct pil_json_value *value, pil_json_kind kind);

/* Walks an array; a value of another kind has no elements. */
struct pil_json_value_cursor {
    struct pil_json json;
    struct pil_json_value array;
    bool is_first, is_over;
};
struct pil_json_value_cursor pil_json_value_elements(const struct pil_json_value *array);
bool pil_json_value_next(struct pil_json_value_cursor *cursor, struct pil_json_value *ret_element);
size_t pil_json_value_count(const struct pil_json_value *array);

/* A string, borrowed until the next call with this scratch; empty when the value is not a string. */
struct pil_bytes pil_json_value_text(const struct pil_json_value *value);
/* Copies a string with a NUL, cut to `bytes`. */
void pil_json_value_copy(const struct pil_json_value *value, char *to, size_t bytes);
/* A whole number within int64, written without point and exponent; returns false for any other value. */
bool pil_json_value_integer(const struct pil_json_value *value, int64_t *ret_integer);
/* A whole number from 0 to UINT32_MAX in any notation; 0 for any other value. */
uint32_t pil_json_value_number(const struct pil_json_value *value);
