/* SPDX-License-Identifier: Apache-2.0
 * In place of json_dumps, which leaves out keys that its buffer cannot grow for, and says nothing (jansson 2.14): the
 * text is measured, then written into room of that size. */
#include "schema/json_text.h"

#include <stdlib.h>

char *pil_json_text(const json_t *document, size_t flags) {
    size_t len = json_dumpb(document, NULL, 0, flags);
    char *text = len > 0 ? malloc(len + 1) : NULL;
    if (text == NULL || json_dumpb(document, text, len, flags) != len) {
        free(text);
        return NULL;
    }
    text[len] = '\0';
    return text;
}
