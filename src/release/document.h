/* SPDX-License-Identifier: Apache-2.0
 * The common part of a store's JSON documents: an object with "format": 1, read as hostile text. Used only in this
 * module. */
#pragma once

#include "store/store.h"

#include <jansson.h>

enum {
    PIL_DOCUMENT_FORMAT = 1,
    PIL_DOCUMENT_NONCE_CHARS = 16,
    PIL_DOCUMENT_BYTES_MAX = 64 << 20, /* a manifest of 65,536 shards and 4,096 column profiles is about 20 MiB */
};

/* Parses a JSON object without duplicate members and with "format": 1. CORRUPT, UNSUPPORTED, TOO_LARGE, NO_MEMORY.
 * Owns: caller. */
pil_status pil_document_parse(struct pil_bytes text, json_t **ret_document, struct pil_error *ret_error) PIL_CHECKED;
/* Reads a document from the store and parses it; ret_tag may be NULL. Messages begin with the object's name. */
pil_status pil_document_read(struct pil_store *store, const char *name, json_t **ret_document,
                             struct pil_store_tag *ret_tag, struct pil_error *ret_error) PIL_CHECKED;
/* Formats the document compactly, with sorted keys, and takes ownership of it. `document` NULL: memory ran out while it
 * was made. NO_MEMORY. Owns: caller (pil_text_deinit). */
pil_status pil_document_format(json_t *document, struct pil_text *ret_text, struct pil_error *ret_error) PIL_CHECKED;

/* Reads an integer in 0..max. All three functions: CORRUPT with a message that names the missing or invalid member. */
pil_status pil_document_u64(const json_t *object, const char *member, uint64_t max, uint64_t *ret_value,
                            struct pil_error *ret_error) PIL_CHECKED;
/* Reads a string, which must be shorter than ret_bytes. With `optional`, null or a missing member gives "". */
pil_status pil_document_string(const json_t *object, const char *member, bool optional, char *ret_text,
                               size_t ret_bytes, struct pil_error *ret_error) PIL_CHECKED;
/* Reads a string that is a release id. */
pil_status pil_document_release(const json_t *object, const char *member, bool optional, char *ret_release,
                                struct pil_error *ret_error) PIL_CHECKED;

/* Makes a random nonce. With it the bytes of each version of a document differ, so that tags derived from content never
 * repeat. */
void pil_document_nonce(char ret_nonce[PIL_DOCUMENT_NONCE_CHARS + 1]);
/* A JSON string, or null for "". NULL when memory is short. */
json_t *pil_document_optional(const char *text);
