/* SPDX-License-Identifier: Apache-2.0
 * JSON documents that are whole or not at all: jansson leaves out what it has no memory for and says so at the call
 * alone, or not at all (2.14). Here a document that lacks a part becomes NULL, as a part does that could not be made,
 * so that whoever builds one looks once, at the end. */
#pragma once

#include "base/bytes.h"
#include "base/status.h"

#include <jansson.h>

/* Take `value`. When it is NULL, or there is no memory for it, *object is destroyed and NULL; NULL stays NULL. */
void pil_json_set(json_t **object, const char *key, json_t *value);
void pil_json_append(json_t **array, json_t *value);
/* A copy with the same values in it. NULL: no memory, or no object. Owns: the caller (json_decref). */
json_t *pil_json_copy(const json_t *object);
/* The document that a text is, in jansson's `flags`. CORRUPT, with a sentence that says where; NO_MEMORY. Owns: the
 * caller (json_decref). */
pil_status pil_json_load(struct pil_bytes text, size_t flags, json_t **ret_document,
                         struct pil_error *ret_error) PIL_CHECKED;
/* The document in jansson's `flags`. NULL: no memory, or no document. Owns: the caller (free). */
char *pil_json_text(const json_t *document, size_t flags);
