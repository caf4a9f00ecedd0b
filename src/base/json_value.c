/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json_value.h"
#include "base/panic.h"

static struct pil_json begin(const struct pil_json_value *value) {
    struct pil_json json;
    pil_json_init(&json, value->text, value->scratch, value->scratch_bytes);
    return json;
}

static struct pil_json_value part(const struct pil_json_value *of, struct pil_bytes text) {
    return (struct pil_json_value){.text = text, .scratch = of->scratch, .scratch_bytes = of->scratch_bytes};
}

pil_status pil_json_value_check(const struct pil_json_value *document, struct pil_error *ret_error) {
    struct pil_json json = begin(document);
    struct pil_bytes raw;
    PIL_ASSERT(document->scratch_bytes >= document->text.len);
    if (pil_json_skip(&json, &raw) == PIL_STATUS_OK && pil_json_finish(&json) == PIL_STATUS_OK) {
        return PIL_STATUS_OK;
    }
    return pil_fail(ret_error, PIL_STATUS_CORRUPT, "at byte %zu: %s", (size_t)(json.at - document->text.data),
                    json.error);
}

bool pil_json_value_is(const struct pil_json_value *value, pil_json_kind kind) {
    struct pil_json json = begin(value);
    return value->text.len > 0 && pil_json_peek(&json) == kind;
}

static void take(struct pil_bytes name, struct pil_bytes text, const char *const *names, size_t count,
                 struct pil_json_value *members) {
    for (size_t i = 0; i < count; i++) {
        if (pil_bytes_equal_text(name, names[i])) {
            members[i].is_twice = members[i].text.len > 0;
            members[i].text = members[i].is_twice ? members[i].text : text;
            return;
        }
    }
}

void pil_json_value_members(const struct pil_json_value *object, const char *const *names, size_t count,
                            struct pil_json_value *ret_members) {
    struct pil_json json = begin(object);
    bool is_first = true, has_more = true;
    for (size_t i = 0; i < count; i++) {
        ret_members[i] = part(object, pil_bytes_from(NULL, 0));
    }
    if (!pil_json_value_is(object, PIL_JSON_OBJECT) || pil_json_enter(&json, PIL_JSON_OBJECT) != PIL_STATUS_OK) {
        return;
    }
    for (;;) {
        struct pil_bytes name, text;
        uint8_t *scratch = json.scratch;
        if (pil_json_next_member(&json, &is_first, &name, &has_more) != PIL_STATUS_OK || !has_more) {
            return;
        }
        if (pil_json_skip(&json, &text) != PIL_STATUS_OK) {
            return;
        }
        take(name, text, names, count, ret_members);
        json.scratch = scratch; /* the decoded name is not kept */
    }
}

struct pil_json_value pil_json_value_member(const struct pil_json_value *object, const char *name) {
    struct pil_json_value member;
    pil_json_value_members(object, &name, 1, &member);
    return member;
}

struct pil_json_value_cursor pil_json_value_elements(const struct pil_json_value *array) {
    struct pil_json_value_cursor cursor = {.json = begin(array), .array = *array, .is_first = true};
    cursor.is_over =
        !pil_json_value_is(array, PIL_JSON_ARRAY) || pil_json_enter(&cursor.json, PIL_JSON_ARRAY) != PIL_STATUS_OK;
    return cursor;
}

bool pil_json_value_next(struct pil_json_value_cursor *cursor, struct pil_json_value *ret_element) {
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

size_t pil_json_value_count(const struct pil_json_value *array) {
    struct pil_json_value_cursor cursor = pil_json_value_elements(array);
    struct pil_json_value element;
    size_t count = 0;
    while (pil_json_value_next(&cursor, &element)) {
        count++;
    }
    return count;
}

struct pil_bytes pil_json_value_text(const struct pil_json_value *value) {
    struct pil_json json = begin(value);
    struct pil_bytes text;
    return pil_json_value_is(value, PIL_JSON_STRING) && pil_json_read_string(&json, &text) == PIL_STATUS_OK
               ? text
               : pil_bytes_from("", 0);
}

void pil_json_value_copy(const struct pil_json_value *value, char *to, size_t bytes) {
    struct pil_bytes text = pil_json_value_text(value);
    size_t len = text.len < bytes ? text.len : bytes - 1;
    PIL_ASSERT(bytes > 0);
    memcpy(to, text.data, len);
    to[len] = '\0';
}

static bool read_number(const struct pil_json_value *value, struct pil_json_number *ret_number) {
    struct pil_json json = begin(value);
    return pil_json_value_is(value, PIL_JSON_NUMBER) && pil_json_read_number(&json, ret_number) == PIL_STATUS_OK &&
           ret_number->is_integral;
}

bool pil_json_value_integer(const struct pil_json_value *value, int64_t *ret_integer) {
    struct pil_json_number number;
    if (!read_number(value, &number)) {
        return false;
    }
    for (size_t i = 0; i < number.text.len; i++) {
        uint8_t byte = number.text.data[i];
        if (byte == '.' || byte == 'e' || byte == 'E') {
            return false;
        }
    }
    *ret_integer = number.integer;
    return true;
}

uint32_t pil_json_value_number(const struct pil_json_value *value) {
    struct pil_json_number number;
    return read_number(value, &number) && number.integer >= 0 && number.integer <= UINT32_MAX ? (uint32_t)number.integer
                                                                                              : 0;
}
