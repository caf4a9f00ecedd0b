/* SPDX-License-Identifier: Apache-2.0
 * Complete JSON documents, or none: when memory is short, jansson (2.14) leaves parts out and reports that only at the
 * call, or not at all. With these functions a document that lacks a part becomes NULL, and so does a part that could
 * not be made, so that the caller checks once, at the end. */
#pragma once

#include "base/bytes.h"
#include "base/status.h"

#include <jansson.h>

/* Both add `value` and take ownership of it. If `value` is NULL or memory is short, the document is destroyed and set
 * to NULL; a document that is NULL stays NULL. */
void pil_json_set(json_t **object, const char *key, json_t *value);
void pil_json_append(json_t **array, json_t *value);
/* A shallow copy, which shares the values. NULL: memory is short, or `object` is not an object. Owns: the caller
 * (json_decref). */
json_t *pil_json_copy(const json_t *object);
/* Parses a document, with jansson's `flags`. CORRUPT: the message says where. NO_MEMORY. Owns: the caller
 * (json_decref). */
pil_status pil_json_load(struct pil_bytes text, size_t flags, json_t **ret_document,
                         struct pil_error *ret_error) PIL_CHECKED;
/* Formats a document, with jansson's `flags`. NULL: memory is short, or `document` is NULL. Owns: the caller (free). */
char *pil_json_text(const json_t *document, size_t flags);
