/* SPDX-License-Identifier: Apache-2.0
 * JSON documents, read in place: a value is its text, members and elements are found by walking it, each time anew. For
 * documents that are read seldom. No allocation. */
#pragma once

#include "base/json.h"

/* A value and where its strings with escapes are decoded to. An empty text: there is no such value. */
struct pil_json_value {
    struct pil_bytes text;
    uint8_t *scratch; /* as many bytes as the whole document; what was decoded before is overwritten */
    size_t scratch_bytes;
    bool is_twice; /* as pil_json_value_members found it: the object has several members of this name */
};

/* Checks all of the document, once, before any other function sees it. CORRUPT, with a sentence that says where. */
pil_status pil_json_value_check(const struct pil_json_value *document, struct pil_error *ret_error) PIL_CHECKED;
/* The first member of each name, in one walk; an empty text where the object has none, or the value is not an object.
 */
void pil_json_value_members(const struct pil_json_value *object, const char *const *names, size_t count,
                            struct pil_json_value *ret_members);
struct pil_json_value pil_json_value_member(const struct pil_json_value *object, const char *name);
bool pil_json_value_is(const struct pil_json_value *value, pil_json_kind kind);

/* Walks an array; anything else has no elements. */
struct pil_json_value_cursor {
    struct pil_json json;
    struct pil_json_value array;
    bool is_first, is_over;
};
struct pil_json_value_cursor pil_json_value_elements(const struct pil_json_value *array);
bool pil_json_value_next(struct pil_json_value_cursor *cursor, struct pil_json_value *ret_element);
size_t pil_json_value_count(const struct pil_json_value *array);

/* A string, borrowed until the next call with this scratch; empty when the value is none. */
struct pil_bytes pil_json_value_text(const struct pil_json_value *value);
/* Copies a string as far as there is room for it and a NUL. */
void pil_json_value_copy(const struct pil_json_value *value, char *to, size_t bytes);
/* A whole number within int64, written without point and exponent. false: the value is none. */
bool pil_json_value_integer(const struct pil_json_value *value, int64_t *ret_integer);
/* A whole number from 0 to UINT32_MAX, however written; 0 when the value is none. */
uint32_t pil_json_value_number(const struct pil_json_value *value);
