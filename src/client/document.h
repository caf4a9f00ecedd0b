/* SPDX-License-Identifier: Apache-2.0
 * JSON documents of the server, read in place: a value is its text, members and elements are found by walking it. Small
 * documents, read seldom; no allocation. For this module only. */
#pragma once

#include "base/json.h"

/* A value and where its strings with escapes are decoded to. An empty text: there is no such value. */
struct pil_document {
    struct pil_bytes text;
    uint8_t *scratch; /* as many bytes as the whole document; what was decoded before is overwritten */
    size_t scratch_bytes;
};

/* Checks all of the document, once, before any other function sees it. CORRUPT, with a sentence that says where. */
pil_status pil_document_check(const struct pil_document *document, struct pil_error *ret_error) PIL_CHECKED;
/* The member of an object; an empty text when it has none, or is no object. */
struct pil_document pil_document_member(const struct pil_document *object, const char *name);
bool pil_document_is(const struct pil_document *value, pil_json_kind kind);

/* Walks an array; anything else has no elements. */
struct pil_document_cursor {
    struct pil_json json;
    struct pil_document array;
    bool is_first, is_over;
};
struct pil_document_cursor pil_document_elements(const struct pil_document *array);
bool pil_document_next(struct pil_document_cursor *cursor, struct pil_document *ret_element);
size_t pil_document_count(const struct pil_document *array);

/* A string, borrowed until the next call with this scratch; empty when the value is none. */
struct pil_bytes pil_document_text(const struct pil_document *value);
/* Copies a string as far as there is room for it and a NUL. */
void pil_document_copy(const struct pil_document *value, char *to, size_t bytes);
/* A whole number from 0 to UINT32_MAX; 0 when the value is none. */
uint32_t pil_document_number(const struct pil_document *value);
