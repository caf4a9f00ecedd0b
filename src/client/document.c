/* SPDX-License-Identifier: Apache-2.0 */
#include "client/document.h"
#include "base/panic.h"

static struct pil_json begin(const struct pil_document *value) {
    struct pil_json json;
    pil_json_init(&json, value->text, value->scratch, value->scratch_bytes);
    return json;
}

static struct pil_document part(const struct pil_document *of, struct pil_bytes text) {
    return (struct pil_document){.text = text, .scratch = of->scratch, .scratch_bytes = of->scratch_bytes};
}

pil_status pil_document_check(const struct pil_document *document, struct pil_error *ret_error) {
    struct pil_json json = begin(document);
    struct pil_bytes raw;
    PIL_ASSERT(document->scratch_bytes >= document->text.len);
    if (pil_json_skip(&json, &raw) == PIL_STATUS_OK && pil_json_finish(&json) == PIL_STATUS_OK) {
        return PIL_STATUS_OK;
    }
    return pil_fail(ret_error, PIL_STATUS_CORRUPT, "at byte %zu: %s", (size_t)(json.at - document->text.data),
                    json.error);
}

bool pil_document_is(const struct pil_document *value, pil_json_kind kind) {
    struct pil_json json = begin(value);
    return value->text.len > 0 && pil_json_peek(&json) == kind;
}

struct pil_document pil_document_member(const struct pil_document *object, const char *name) {
    struct pil_json json = begin(object);
    bool is_first = true, has_more = true;
    if (!pil_document_is(object, PIL_JSON_OBJECT) || pil_json_enter(&json, PIL_JSON_OBJECT) != PIL_STATUS_OK) {
        return part(object, pil_bytes_from(NULL, 0));
    }
    for (;;) {
        struct pil_bytes found, raw;
        if (pil_json_next_member(&json, &is_first, &found, &has_more) != PIL_STATUS_OK || !has_more) {
            return part(object, pil_bytes_from(NULL, 0));
        }
        bool is_it = pil_bytes_equal_text(found, name); /* before skip uses the scratch */
        if (pil_json_skip(&json, &raw) != PIL_STATUS_OK || is_it) {
            return part(object, is_it ? raw : pil_bytes_from(NULL, 0));
        }
    }
}

struct pil_document_cursor pil_document_elements(const struct pil_document *array) {
    struct pil_document_cursor cursor = {.json = begin(array), .array = *array, .is_first = true};
    cursor.is_over =
        !pil_document_is(array, PIL_JSON_ARRAY) || pil_json_enter(&cursor.json, PIL_JSON_ARRAY) != PIL_STATUS_OK;
    return cursor;
}

bool pil_document_next(struct pil_document_cursor *cursor, struct pil_document *ret_element) {
    struct pil_bytes raw;
    bool has_more = false;
    if (cursor->is_over || pil_json_next_element(&cursor->json, &cursor->is_first, &has_more) != PIL_STATUS_OK ||
        !has_more || pil_json_skip(&cursor->json, &raw) != PIL_STATUS_OK) {
        cursor->is_over = true;
        return false;
    }
    *ret_element = part(&cursor->array, raw);
    return true;
}

size_t pil_document_count(const struct pil_document *array) {
    struct pil_document_cursor cursor = pil_document_elements(array);
    struct pil_document element;
    size_t count = 0;
    while (pil_document_next(&cursor, &element)) {
        count++;
    }
    return count;
}

struct pil_bytes pil_document_text(const struct pil_document *value) {
    struct pil_json json = begin(value);
    struct pil_bytes text;
    return pil_document_is(value, PIL_JSON_STRING) && pil_json_read_string(&json, &text) == PIL_STATUS_OK
               ? text
               : pil_bytes_from("", 0);
}

void pil_document_copy(const struct pil_document *value, char *to, size_t bytes) {
    struct pil_bytes text = pil_document_text(value);
    size_t len = text.len < bytes ? text.len : bytes - 1;
    PIL_ASSERT(bytes > 0);
    memcpy(to, text.data, len);
    to[len] = '\0';
}

uint32_t pil_document_number(const struct pil_document *value) {
    struct pil_json json = begin(value);
    struct pil_json_number number;
    bool is_there = pil_document_is(value, PIL_JSON_NUMBER) && pil_json_read_number(&json, &number) == PIL_STATUS_OK;
    return is_there && number.is_integral && number.integer >= 0 && number.integer <= UINT32_MAX
               ? (uint32_t)number.integer
               : 0;
}
