/* SPDX-License-Identifier: Apache-2.0
 * What the JSON documents of a store have in common: an object with "format": 1, read as hostile text. For this module.
 */
#pragma once

#include "store/store.h"

#include <jansson.h>

enum {
    PIL_DOCUMENT_FORMAT = 1,
    PIL_DOCUMENT_NONCE_CHARS = 16,
    PIL_DOCUMENT_BYTES_MAX = 64 << 20, /* a manifest of 65,536 shards and 4,096 column profiles is about 20 MiB */
};

/* A JSON object without duplicate members whose "format" we know. CORRUPT, UNSUPPORTED, NO_MEMORY. Owns: caller. */
pil_status pil_document_parse(struct pil_bytes text, json_t **ret_document, struct pil_error *ret_error) PIL_CHECKED;
/* The same from the store; ret_tag may be NULL. Errors begin with the object's name. */
pil_status pil_document_read(struct pil_store *store, const char *name, json_t **ret_document,
                             struct pil_store_tag *ret_tag, struct pil_error *ret_error) PIL_CHECKED;
/* Sorted keys, compact. Takes the document; NULL is one that there was no memory for. NO_MEMORY. Owns: caller
 * (pil_text_deinit). */
pil_status pil_document_format(json_t *document, struct pil_text *ret_text, struct pil_error *ret_error) PIL_CHECKED;

/* Members; CORRUPT names the one that is missing or out of bounds. */
pil_status pil_document_u64(const json_t *object, const char *member, uint64_t max, uint64_t *ret_value,
                            struct pil_error *ret_error) PIL_CHECKED;
/* The string must be shorter than ret_bytes. With `optional`, null and absence are "". */
pil_status pil_document_string(const json_t *object, const char *member, bool optional, char *ret_text,
                               size_t ret_bytes, struct pil_error *ret_error) PIL_CHECKED;
/* As above, and a release id. */
pil_status pil_document_release(const json_t *object, const char *member, bool optional, char *ret_release,
                                struct pil_error *ret_error) PIL_CHECKED;

/* Makes each version of a document different bytes, so that a tag that comes from content never comes back. */
void pil_document_nonce(char ret_nonce[PIL_DOCUMENT_NONCE_CHARS + 1]);
/* "" as null. NULL: no memory. */
json_t *pil_document_optional(const char *text);
