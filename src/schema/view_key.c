/* SPDX-License-Identifier: Apache-2.0
 * Entity keys: canonical bytes from components (key_part.c says what a component means), and those back into text. On
 * the hot path: no allocation. */
#include "schema/view.h"
#include "base/panic.h"
#include "schema/internal.h"

/* ---- Encoding */

/* The output of canonical bytes. `full`: some bytes did not fit, and nothing more is written. */
struct writer {
    uint8_t *at;
    size_t room;
    bool full;
};

static void put(struct writer *out, const void *data, size_t len) {
    if (len > out->room) {
        out->full = true;
        out->room = 0;
        return;
    }
    if (len > 0) {
        memcpy(out->at, data, len);
    }
    out->at += len;
    out->room -= len;
}

static void put_variable(struct writer *out, struct pil_bytes value, bool with_length) {
    if (value.len > PIL_KEY_BYTES_MAX) {
        out->full = true;
        return;
    }
    if (with_length) {
        uint32_t len = (uint32_t)value.len;
        put(out, &len, sizeof len);
    }
    put(out, value.data, value.len);
}

/* Returns false if the component cannot be converted to the entity's type. */
static bool put_part(struct writer *out, const struct pil_view *view, uint32_t index, const struct pil_key_part *part) {
    const struct pil_entity *entity = &view->entities[index];
    if (pil_entity_is_fixed(entity)) {
        int64_t value = 0;
        if (!pil_key_part_to_integer(part, entity->type, &value)) {
            return false;
        }
        put(out, &value, pil_scalar_bytes(entity->type)); /* little-endian: the low bytes come first */
        return true;
    }
    char digits[PIL_KEY_PART_DIGITS_BYTES];
    struct pil_bytes value;
    if (!pil_key_part_to_text(part, digits, &value)) {
        return false;
    }
    put_variable(out, value, view->entity_count > 1);
    return true;
}

static pil_status finish(const struct writer *out, const uint8_t *buffer, size_t *ret_len) {
    if (out->full) {
        return PIL_STATUS_TOO_LARGE;
    }
    *ret_len = (size_t)(out->at - buffer);
    return PIL_STATUS_OK;
}

static struct writer writer_to(uint8_t *buffer, size_t buffer_bytes) {
    return (struct writer){.at = buffer, .room = buffer_bytes < PIL_KEY_BYTES_MAX ? buffer_bytes : PIL_KEY_BYTES_MAX};
}

static pil_status fail_at(uint32_t entity, uint32_t *ret_entity) {
    *ret_entity = entity;
    return PIL_STATUS_INVALID;
}

pil_status pil_view_key_encode(const struct pil_view *view, const struct pil_key_part *parts, uint32_t part_count,
                               uint8_t *buffer, size_t buffer_bytes, size_t *ret_len, uint32_t *ret_entity) {
    if (part_count != view->entity_count) {
        return fail_at(part_count < view->entity_count ? part_count : view->entity_count, ret_entity);
    }
    struct writer out = writer_to(buffer, buffer_bytes);
    for (uint32_t i = 0; i < part_count; i++) {
        if (!put_part(&out, view, i, &parts[i])) {
            return fail_at(i, ret_entity);
        }
    }
    return finish(&out, buffer, ret_len);
}

/* Measures the component at the start of `text`, up to an unescaped '|' or the end: its length and the number of its
 * escapes. Returns false if a backslash precedes anything but '|' or '\\'. */
static bool measure_part(struct pil_bytes text, size_t *ret_len, size_t *ret_escapes) {
    size_t escapes = 0, at = 0;
    for (; at < text.len && text.data[at] != '|'; at++) {
        if (text.data[at] == '\\') {
            at++;
            escapes++;
            if (at == text.len || (text.data[at] != '|' && text.data[at] != '\\')) {
                return false;
            }
        }
    }
    *ret_len = at;
    *ret_escapes = escapes;
    return true;
}

static void put_unescaped(struct writer *out, struct pil_bytes text, size_t escapes) {
    uint32_t len = (uint32_t)(text.len - escapes);
    if (text.len - escapes > PIL_KEY_BYTES_MAX) {
        out->full = true;
        return;
    }
    put(out, &len, sizeof len);
    for (size_t i = 0; i < text.len && !out->full; i++) {
        i += text.data[i] == '\\';
        put(out, &text.data[i], 1);
    }
}

pil_status pil_view_key_encode_text(const struct pil_view *view, struct pil_bytes text, uint8_t *buffer,
                                    size_t buffer_bytes, size_t *ret_len, uint32_t *ret_entity) {
    struct pil_key_part part = {.kind = PIL_KEY_PART_TEXT, .text = text};
    if (view->entity_count == 1) {
        return pil_view_key_encode(view, &part, 1, buffer, buffer_bytes, ret_len, ret_entity);
    }
    if (view->entity_count == 0 && text.len > 0) {
        return fail_at(0, ret_entity);
    }
    struct writer out = writer_to(buffer, buffer_bytes);
    for (uint32_t i = 0; i < view->entity_count; i++) {
        size_t len, escapes;
        if (!measure_part(text, &len, &escapes)) {
            return fail_at(i, ret_entity);
        }
        part.text = pil_bytes_from(text.data, len);
        if (escapes > 0 && !pil_entity_is_fixed(&view->entities[i])) {
            put_unescaped(&out, part.text, escapes);
        } else if (!put_part(&out, view, i, &part)) {
            return fail_at(i, ret_entity);
        }
        bool is_last = i + 1 == view->entity_count;
        if (is_last != (len == text.len)) { /* one '|' too many or too few */
            return fail_at(i + 1, ret_entity);
        }
        text = is_last ? text : pil_bytes_from(text.data + len + 1, text.len - len - 1);
    }
    return finish(&out, buffer, ret_len);
}

pil_status pil_view_key_text_next(struct pil_bytes *text, uint8_t *buffer, size_t buffer_bytes,
                                  struct pil_bytes *ret_part, bool *ret_is_last) {
    size_t len, escapes;
    if (!measure_part(*text, &len, &escapes)) {
        return PIL_STATUS_INVALID;
    }
    if (escapes > 0 && len - escapes > buffer_bytes) {
        return PIL_STATUS_TOO_LARGE;
    }
    size_t used = 0;
    for (size_t i = 0; escapes > 0 && i < len; i++) {
        i += text->data[i] == '\\';
        buffer[used++] = text->data[i];
    }
    *ret_part = escapes > 0 ? pil_bytes_from(buffer, used) : pil_bytes_from(text->data, len);
    *ret_is_last = len == text->len;
    if (!*ret_is_last) {
        *text = pil_bytes_from(text->data + len + 1, text->len - len - 1);
    }
    return PIL_STATUS_OK;
}

/* ---- Formatting */

/* Counts all characters and keeps those that fit. */
struct printer {
    char *buffer;
    size_t bytes;
    size_t len;
};

static void print(struct printer *out, struct pil_bytes text, bool escape) {
    for (size_t i = 0; i < text.len; i++) {
        bool special = escape && (text.data[i] == '|' || text.data[i] == '\\');
        if (special && out->len++ < out->bytes) {
            out->buffer[out->len - 1] = '\\';
        }
        if (out->len++ < out->bytes) {
            out->buffer[out->len - 1] = (char)text.data[i];
        }
    }
}

/* Removes the bytes of one component from *key; returns false if some of them are missing. */
static bool take_part(const struct pil_entity *entity, bool composite, struct pil_bytes *key,
                      struct pil_bytes *ret_part) {
    size_t len = key->len;
    if (pil_entity_is_fixed(entity)) {
        len = pil_scalar_bytes(entity->type);
    } else if (composite) {
        if (key->len < sizeof(uint32_t)) {
            return false;
        }
        len = pil_load_u32(key->data);
        *key = pil_bytes_from(key->data + sizeof(uint32_t), key->len - sizeof(uint32_t));
    }
    if (key->len < len) {
        return false;
    }
    *ret_part = pil_bytes_from(key->data, len);
    *key = pil_bytes_from(len > 0 ? key->data + len : key->data, key->len - len);
    return true;
}

/* The text of a component of fixed width; points into `digits`. */
static struct pil_bytes format_fixed(pil_scalar type, const uint8_t *part, char digits[PIL_KEY_PART_DIGITS_BYTES]) {
    switch (type) {
    case PIL_SCALAR_INT32: return pil_key_part_digits(pil_load_i32(part), false, digits);
    case PIL_SCALAR_INT64: return pil_key_part_digits(pil_load_i64(part), false, digits);
    case PIL_SCALAR_UNIX_TIMESTAMP: return pil_key_part_digits(pil_load_i64(part), true, digits);
    case PIL_SCALAR_BOOL:
    case PIL_SCALAR_INT8:
    case PIL_SCALAR_FLOAT16:
    case PIL_SCALAR_BFLOAT16:
    case PIL_SCALAR_FLOAT32:
    case PIL_SCALAR_FLOAT64:
    case PIL_SCALAR_STRING:
    case PIL_SCALAR_BYTES:
    case PIL_SCALAR_COUNT: break;
    }
    PIL_UNREACHABLE("not a key of fixed width");
}

size_t pil_view_key_format(const struct pil_view *view, struct pil_bytes key, char *buffer, size_t buffer_bytes) {
    struct printer out = {.buffer = buffer, .bytes = buffer_bytes};
    bool composite = view->entity_count > 1;
    for (uint32_t i = 0; i < view->entity_count; i++) {
        const struct pil_entity *entity = &view->entities[i];
        struct pil_bytes part;
        if (i > 0) {
            print(&out, pil_bytes_from_text("|"), false);
        }
        if (!take_part(entity, composite, &key, &part)) {
            print(&out, pil_bytes_from_text("?"), false);
            break;
        }
        if (pil_entity_is_fixed(entity)) {
            char digits[PIL_KEY_PART_DIGITS_BYTES];
            print(&out, format_fixed(entity->type, part.data, digits), false);
        } else {
            print(&out, part, composite);
        }
    }
    if (key.len > 0) { /* more bytes than the view's key has: not canonical */
        print(&out, pil_bytes_from_text("?"), false);
    }
    return out.len;
}
