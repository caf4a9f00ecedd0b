/* SPDX-License-Identifier: Apache-2.0
 * JSON documents as text, whole or not at all. */
#pragma once

#include <jansson.h>

/* The document in jansson's `flags`. NULL: no memory, or no document. Owns: the caller (free). */
char *pil_json_text(const json_t *document, size_t flags);
