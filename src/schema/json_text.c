/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/json_text.h"

#include <stdint.h>
#include <stdlib.h>

/* ---- Reading. When jansson's reader cannot grow its buffer, it goes on with a text that lacks some characters, or it
 * reports some other error. Therefore its allocations are watched. */

static _Thread_local bool has_lacked_memory;

static void *take(size_t bytes) {
    void *memory = malloc(bytes);
    has_lacked_memory |= memory == NULL;
    return memory;
}

__attribute__((constructor)) static void watch_allocations(void) {
    json_set_alloc_funcs(take, free);
}

pil_status pil_json_load(struct pil_bytes text, size_t flags, json_t **ret_document, struct pil_error *ret_error) {
    json_error_t where;
    has_lacked_memory = false;
    json_t *document = json_loadb(text.len > 0 ? (const char *)text.data : "", text.len, flags, &where);
    if (has_lacked_memory) {
        json_decref(document);
        return pil_fail(ret_error, PIL_STATUS_NO_MEMORY, "no memory to read a document");
    }
    if (document == NULL) {
        return pil_fail(ret_error, PIL_STATUS_CORRUPT, "not JSON: line %d, column %d: %s", where.line, where.column,
                        where.text);
    }
    *ret_document = document;
    return PIL_STATUS_OK;
}

/* ---- Building */

/* Destroys the document if adding a part to it failed. */
static void drop_if(json_t **document, int failed) {
    if (failed != 0) {
        json_decref(*document);
        *document = NULL;
    }
}

void pil_json_set(json_t **object, const char *key, json_t *value) {
    drop_if(object, json_object_set_new(*object, key, value));
}

void pil_json_append(json_t **array, json_t *value) {
    drop_if(array, json_array_append_new(*array, value));
}

json_t *pil_json_copy(const json_t *object) {
    const char *key;
    json_t *copy = json_is_object(object) ? json_object() : NULL, *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value) {
        pil_json_set(&copy, key, json_incref(value));
    }
    return copy;
}

/* ---- Writing */

/* Replaces json_dumps, which leaves out keys when its buffer cannot grow: measures the text first, then writes it into
 * a buffer of that size. */
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
