/* SPDX-License-Identifier: Apache-2.0
 * Reads and writes the JSON documents of a store. */
#include "release/document.h"

#include "base/bounds.h"
#include "base/hash.h"
#include "base/panic.h"
#include "release/layout.h"
#include "schema/json_text.h"

#include <stdlib.h>
#include <sys/random.h>

pil_status pil_document_parse(struct pil_bytes text, json_t **ret_document, struct pil_error *ret_error) {
    json_t *document;
    uint64_t format;
    if (text.len > PIL_DOCUMENT_BYTES_MAX) {
        return pil_fail(ret_error, PIL_STATUS_TOO_LARGE, "%zu bytes, at most %d are read", text.len,
                        PIL_DOCUMENT_BYTES_MAX);
    }
    PIL_TRY(pil_json_load(text, JSON_REJECT_DUPLICATES, &document, ret_error));
    pil_status status = pil_document_u64(document, "format", INT32_MAX, &format, ret_error);
    if (status == PIL_STATUS_OK && format != PIL_DOCUMENT_FORMAT) {
        status = pil_fail(ret_error, format > PIL_DOCUMENT_FORMAT ? PIL_STATUS_UNSUPPORTED : PIL_STATUS_CORRUPT,
                          "\"format\" is %llu and this program knows %d%s", (unsigned long long)format,
                          PIL_DOCUMENT_FORMAT, format > PIL_DOCUMENT_FORMAT ? "; upgrade it" : "");
    }
    if (status != PIL_STATUS_OK) {
        json_decref(document);
        return status;
    }
    *ret_document = document;
    return PIL_STATUS_OK;
}

pil_status pil_document_read(struct pil_store *store, const char *name, json_t **ret_document,
                             struct pil_store_tag *ret_tag, struct pil_error *ret_error) {
    struct pil_text text = {0};
    PIL_TRY(pil_store_get(store, name, PIL_DOCUMENT_BYTES_MAX, &text, ret_tag, ret_error));
    pil_status status = pil_document_parse(pil_text_bytes(&text), ret_document, ret_error);
    pil_text_deinit(&text);
    return status == PIL_STATUS_OK ? status : pil_fail_in(ret_error, status, "%s", name);
}

pil_status pil_document_format(json_t *document, struct pil_text *ret_text, struct pil_error *ret_error) {
    char *text = pil_json_text(document, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(document);
    if (text == NULL) {
        return pil_fail(ret_error, PIL_STATUS_NO_MEMORY, "no memory for a document");
    }
    size_t len = strlen(text);
    *ret_text = (struct pil_text){.data = text, .len = len, .capacity = len + 1};
    return PIL_STATUS_OK;
}

pil_status pil_document_u64(const json_t *object, const char *member, uint64_t max, uint64_t *ret_value,
                            struct pil_error *ret_error) {
    const json_t *value = json_object_get(object, member);
    if (!json_is_integer(value) || json_integer_value(value) < 0 || (uint64_t)json_integer_value(value) > max) {
        return pil_fail(ret_error, PIL_STATUS_CORRUPT, "\"%s\" must be an integer in 0..%llu", member,
                        (unsigned long long)max);
    }
    *ret_value = (uint64_t)json_integer_value(value);
    return PIL_STATUS_OK;
}

pil_status pil_document_string(const json_t *object, const char *member, bool optional, char *ret_text,
                               size_t ret_bytes, struct pil_error *ret_error) {
    const json_t *value = json_object_get(object, member);
    if (optional && (value == NULL || json_is_null(value))) {
        ret_text[0] = '\0';
        return PIL_STATUS_OK;
    }
    if (!json_is_string(value) || json_string_length(value) >= ret_bytes) {
        return pil_fail(ret_error, PIL_STATUS_CORRUPT, "\"%s\" must be a string of at most %zu bytes", member,
                        ret_bytes - 1);
    }
    memcpy(ret_text, json_string_value(value), json_string_length(value) + 1);
    return PIL_STATUS_OK;
}

pil_status pil_document_release(const json_t *object, const char *member, bool optional, char *ret_release,
                                struct pil_error *ret_error) {
    char text[PIL_RELEASE_ID_CHARS + 1];
    PIL_TRY(pil_document_string(object, member, optional, text, sizeof text, ret_error));
    if (!pil_release_id_ok(text) && (!optional || text[0] != '\0')) {
        return pil_fail(ret_error, PIL_STATUS_CORRUPT, "\"%s\" must be a release id, %d hex digits", member,
                        PIL_RELEASE_ID_CHARS);
    }
    memcpy(ret_release, text, sizeof text);
    return PIL_STATUS_OK;
}

void pil_document_nonce(char ret_nonce[PIL_DOCUMENT_NONCE_CHARS + 1]) {
    uint8_t random[PIL_DOCUMENT_NONCE_CHARS / 2];
    PIL_ASSERT(getrandom(random, sizeof random, 0) == (ssize_t)sizeof random);
    pil_hex_encode(pil_bytes_from(random, sizeof random), ret_nonce);
}

json_t *pil_document_optional(const char *text) {
    return text[0] != '\0' ? json_string(text) : json_null();
}
