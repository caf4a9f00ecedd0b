/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/feast_redis.h"

#include "base/half.h"
#include "base/panic.h"
#include "wire/resp.h"

#include <stdio.h>

enum { MICROSECONDS = 1000000 };

/* Numbers of feast.types.ValueType in keys. */
enum { TYPE_BYTES = 1, TYPE_STRING = 2, TYPE_INT32 = 3, TYPE_INT64 = 4, TYPE_UNIX_TIMESTAMP = 8 };

/* ---- Keys. Version 3: u32 count; for each join key u32 TYPE_STRING, u32 length, name; for each value u32 type, u32
 * length, bytes; the project. Version 2 is the same without the count and without the lengths of names. */

static bool take(struct pil_bytes *rest, size_t len, struct pil_bytes *ret_bytes) {
    if (len > rest->len) {
        return false;
    }
    *ret_bytes = pil_bytes_from(rest->data, len);
    *rest = pil_bytes_from(rest->data + len, rest->len - len);
    return true;
}

static bool take_u32(struct pil_bytes *rest, uint32_t *ret_number) {
    struct pil_bytes bytes;
    if (!take(rest, sizeof *ret_number, &bytes)) {
        return false;
    }
    *ret_number = pil_load_u32(bytes.data);
    return true;
}

/* Takes a name of version 3, or a value: a type, a length, bytes. */
static bool take_typed(struct pil_bytes *rest, uint32_t *ret_type, struct pil_bytes *ret_bytes) {
    uint32_t len = 0;
    return take_u32(rest, ret_type) && take_u32(rest, &len) && take(rest, len, ret_bytes);
}

/* A name begins with a letter or '_', so that the two versions differ behind their first number. */
static bool has_counts(struct pil_bytes key) {
    return key.len >= 8 && pil_load_u32(key.data + 4) == TYPE_STRING;
}

pil_status pil_feast_redis_project(struct pil_bytes key, struct pil_bytes *ret_project) {
    struct pil_bytes rest = key, bytes;
    uint32_t count = 0, type = 0;
    if (!has_counts(key)) {
        return key.len >= 8 && pil_load_u32(key.data) == TYPE_STRING ? PIL_STATUS_NOT_FOUND : PIL_STATUS_INVALID;
    }
    bool is_whole = take_u32(&rest, &count) && count <= UINT8_MAX;
    for (uint32_t i = 0; is_whole && i < 2 * count; i++) {
        is_whole = take_typed(&rest, &type, &bytes) && (i >= count || type == TYPE_STRING);
    }
    *ret_project = rest;
    return is_whole ? PIL_STATUS_OK : PIL_STATUS_INVALID;
}

/* The join key that Feast gives to a view without entities; its value is the empty text. */
static const char *const dummy_join_key = "__dummy_id";

/* Feast sorts join keys by code points, which is by bytes, too. */
static void sort_entities(const struct pil_view *view, uint32_t ret_order[PIL_ENTITIES_MAX]) {
    for (uint32_t i = 0; i < view->entity_count; i++) {
        uint32_t at = i;
        for (; at > 0 && strcmp(view->entities[i].join_key, view->entities[ret_order[at - 1]].join_key) < 0; at--) {
            ret_order[at] = ret_order[at - 1];
        }
        ret_order[at] = i;
    }
}

static pil_status take_name(struct pil_bytes *rest, bool has_lengths, const char *name) {
    struct pil_bytes bytes;
    uint32_t type = 0;
    if (has_lengths ? !take_typed(rest, &type, &bytes) : !take_u32(rest, &type)) {
        return PIL_STATUS_INVALID;
    }
    if (type != TYPE_STRING) {
        return has_lengths ? PIL_STATUS_INVALID : PIL_STATUS_CONFLICT;
    }
    if (!has_lengths && !take(rest, strlen(name), &bytes)) {
        return PIL_STATUS_CONFLICT;
    }
    return pil_bytes_equal_text(bytes, name) ? PIL_STATUS_OK : PIL_STATUS_CONFLICT;
}

/* Returns false when the value has not the length of its type. */
static bool read_part(uint32_t type, struct pil_bytes bytes, struct pil_key_part *ret_part) {
    bool is_whole = true;
    struct pil_key_part part = {.kind = PIL_KEY_PART_TEXT, .text = bytes};
    switch (type) {
    case TYPE_STRING:
    case TYPE_BYTES: break;
    case TYPE_INT32:
        is_whole = bytes.len == 4;
        part = (struct pil_key_part){.kind = PIL_KEY_PART_INT, .integer = is_whole ? pil_load_i32(bytes.data) : 0};
        break;
    case TYPE_INT64:
        is_whole = bytes.len == 8;
        part = (struct pil_key_part){.kind = PIL_KEY_PART_INT, .integer = is_whole ? pil_load_i64(bytes.data) : 0};
        break;
    case TYPE_UNIX_TIMESTAMP:
        is_whole = bytes.len == 8;
        part.kind = PIL_KEY_PART_TIME;
        if (is_whole && __builtin_mul_overflow(pil_load_i64(bytes.data), (int64_t)MICROSECONDS, &part.integer)) {
            part =
                (struct pil_key_part){.kind = PIL_KEY_PART_OTHER, .text = pil_bytes_from_text("a time out of range")};
        }
        break;
    default:
        part = (struct pil_key_part){.kind = PIL_KEY_PART_OTHER,
                                     .text = pil_bytes_from_text("a value of a type that no key has")};
    }
    *ret_part = part;
    return is_whole;
}

pil_status pil_feast_redis_parts(struct pil_bytes key, const struct pil_view *view,
                                 struct pil_key_part ret_parts[PIL_ENTITIES_MAX], struct pil_bytes *ret_project) {
    struct pil_bytes rest = key, bytes;
    uint32_t order[PIL_ENTITIES_MAX] = {0}, wanted = view->entity_count > 0 ? view->entity_count : 1, count = wanted,
             type = 0;
    bool has_lengths = has_counts(key);
    if (has_lengths && !take_u32(&rest, &count)) {
        return PIL_STATUS_INVALID;
    }
    if (count != wanted) {
        return PIL_STATUS_CONFLICT;
    }
    sort_entities(view, order);
    for (uint32_t i = 0; i < count; i++) {
        PIL_TRY(
            take_name(&rest, has_lengths, view->entity_count > 0 ? view->entities[order[i]].join_key : dummy_join_key));
    }
    for (uint32_t i = 0; i < count; i++) {
        if (!take_typed(&rest, &type, &bytes) || !read_part(type, bytes, &ret_parts[order[i]])) {
            return PIL_STATUS_INVALID;
        }
    }
    if (view->entity_count == 0 && (type != TYPE_STRING || bytes.len > 0)) {
        return PIL_STATUS_INVALID;
    }
    *ret_project = rest;
    return PIL_STATUS_OK;
}

/* Appends a name to a list. Returns its new length, at most the room. */
static size_t list_name(char *text, size_t len, struct pil_bytes name) {
    enum { SHOWN = 40 };
    int shown = name.len < SHOWN ? (int)name.len : SHOWN;
    int added = snprintf(text + len, PIL_FEAST_REDIS_NAMES_BYTES - len, "%s%.*s", len > 0 ? ", " : "", shown,
                         (const char *)name.data);
    size_t end = len + (added > 0 ? (size_t)added : 0);
    return end < PIL_FEAST_REDIS_NAMES_BYTES ? end : PIL_FEAST_REDIS_NAMES_BYTES - 1;
}

void pil_feast_redis_key_names(struct pil_bytes key, char ret_text[PIL_FEAST_REDIS_NAMES_BYTES]) {
    struct pil_bytes rest = key, name;
    uint32_t count = 0, type = 0;
    size_t len = 0;
    ret_text[0] = '\0';
    bool is_more = has_counts(key) && take_u32(&rest, &count);
    for (uint32_t i = 0; is_more && i < count && take_typed(&rest, &type, &name); i++) {
        len = list_name(ret_text, len, name);
    }
}

void pil_feast_redis_view_names(const struct pil_view *view, char ret_text[PIL_FEAST_REDIS_NAMES_BYTES]) {
    uint32_t order[PIL_ENTITIES_MAX] = {0};
    size_t len = 0;
    ret_text[0] = '\0';
    sort_entities(view, order);
    if (view->entity_count == 0) {
        (void)list_name(ret_text, len, pil_bytes_from_text(dummy_join_key));
    }
    for (uint32_t i = 0; i < view->entity_count; i++) {
        len = list_name(ret_text, len, pil_bytes_from_text(view->entities[order[i]].join_key));
    }
}

/* ---- Values: Protocol Buffers. */

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_LENGTH = 2, WIRE_FIXED32 = 5 };
enum {
    VARINT_BYTES = 10,
    SCALAR_BYTES = 1 + VARINT_BYTES, /* of a Value that holds a number */
    LIST_FIELDS = 10,                /* the field of a list is that of its element and this */
};

/* The field of feast.types.Value that holds such a scalar. */
static const struct value_field {
    uint8_t number, wire;
} value_fields[] = {
    [PIL_SCALAR_BOOL] = {7, WIRE_VARINT},     [PIL_SCALAR_INT32] = {3, WIRE_VARINT},
    [PIL_SCALAR_INT64] = {4, WIRE_VARINT},    [PIL_SCALAR_FLOAT32] = {6, WIRE_FIXED32},
    [PIL_SCALAR_FLOAT64] = {5, WIRE_FIXED64}, [PIL_SCALAR_STRING] = {2, WIRE_LENGTH},
    [PIL_SCALAR_BYTES] = {1, WIRE_LENGTH},    [PIL_SCALAR_UNIX_TIMESTAMP] = {8, WIRE_VARINT},
    [PIL_SCALAR_FLOAT16] = {6, WIRE_FIXED32}, [PIL_SCALAR_BFLOAT16] = {6, WIRE_FIXED32},
    [PIL_SCALAR_INT8] = {3, WIRE_VARINT},
};
PIL_STATIC_ASSERT(sizeof value_fields / sizeof value_fields[0] == PIL_SCALAR_COUNT);

static size_t varint_bytes(uint64_t value) {
    return 1 + (63 - (size_t)__builtin_clzll(value | 1)) / 7;
}

static size_t format_varint(uint8_t *at, uint64_t value) {
    size_t len = 0;
    for (; value >= 0x80; value >>= 7) {
        at[len++] = (uint8_t)(value | 0x80);
    }
    at[len++] = (uint8_t)value;
    return len;
}

static void put_varint(struct pil_sink *sink, uint64_t value) {
    pil_sink_advance(sink, format_varint(pil_sink_reserve(sink, VARINT_BYTES), value));
}

static int64_t seconds_of(int64_t us) {
    return us / MICROSECONDS - (us % MICROSECONDS < 0);
}

/* The number that a varint holds: signed ones in two's complement of 64 bits. */
static uint64_t load_varint(pil_scalar scalar, const uint8_t *from) {
    switch (scalar) {
    case PIL_SCALAR_BOOL: return *from != 0;
    case PIL_SCALAR_INT8: return (uint64_t)(int64_t)(int8_t)*from;
    case PIL_SCALAR_INT32: return (uint64_t)(int64_t)pil_load_i32(from);
    case PIL_SCALAR_INT64: return pil_load_u64(from);
    case PIL_SCALAR_UNIX_TIMESTAMP: return (uint64_t)seconds_of(pil_load_i64(from));
    case PIL_SCALAR_FLOAT16:
    case PIL_SCALAR_BFLOAT16:
    case PIL_SCALAR_FLOAT32:
    case PIL_SCALAR_FLOAT64:
    case PIL_SCALAR_STRING:
    case PIL_SCALAR_BYTES:
    case PIL_SCALAR_COUNT: break;
    }
    PIL_UNREACHABLE("not a varint");
}

/* Writes a scalar of fixed width without its field; returns the length, at most VARINT_BYTES. */
static size_t format_scalar(uint8_t *at, pil_scalar scalar, const uint8_t *from) {
    switch (scalar) {
    case PIL_SCALAR_FLOAT64: memcpy(at, from, 8); return 8;
    case PIL_SCALAR_FLOAT32: memcpy(at, from, 4); return 4;
    case PIL_SCALAR_FLOAT16: pil_store_f32(at, pil_float_from_f16(pil_load_u16(from))); return 4;
    case PIL_SCALAR_BFLOAT16: pil_store_f32(at, pil_float_from_bf16(pil_load_u16(from))); return 4;
    case PIL_SCALAR_BOOL:
    case PIL_SCALAR_INT8:
    case PIL_SCALAR_INT32:
    case PIL_SCALAR_INT64:
    case PIL_SCALAR_UNIX_TIMESTAMP: return format_varint(at, load_varint(scalar, from));
    case PIL_SCALAR_STRING:
    case PIL_SCALAR_BYTES:
    case PIL_SCALAR_COUNT: break;
    }
    PIL_UNREACHABLE("not a scalar of fixed width");
}

/* ---- Lists and vectors. */

static uint64_t delimited_bytes(uint64_t len) {
    return varint_bytes(len) + len;
}

/* The bytes of all elements of fixed width, which stand in one field. */
static uint64_t packed_bytes(pil_scalar scalar, const uint8_t *elements, size_t count) {
    switch (value_fields[scalar].wire) {
    case WIRE_FIXED32: return (uint64_t)count * 4;
    case WIRE_FIXED64: return (uint64_t)count * 8;
    default: break;
    }
    uint64_t bytes = 0;
    uint32_t width = pil_scalar_bytes(scalar);
    for (size_t i = 0; i < count; i++) {
        bytes += varint_bytes(load_varint(scalar, elements + i * width));
    }
    return bytes;
}

/* The texts of a list: u32 count, u32 end[count], bytes. */
struct texts {
    struct pil_bytes raw;
    uint32_t count, at, begin;
};

static struct texts texts_of(struct pil_bytes raw) {
    uint32_t count = raw.len >= 4 ? pil_load_u32(raw.data) : 0;
    return (struct texts){.raw = raw, .count = count <= (raw.len - (count > 0 ? 4 : 0)) / 4 ? count : 0};
}

static bool next_text(struct texts *texts, struct pil_bytes *ret_text) {
    if (texts->at == texts->count) {
        return false;
    }
    size_t table_bytes = 4 + (size_t)texts->count * 4;
    uint32_t end = pil_load_u32(texts->raw.data + 4 + (size_t)texts->at * 4);
    if (end < texts->begin || end > texts->raw.len - table_bytes) {
        return false;
    }
    *ret_text = pil_bytes_from(texts->raw.data + table_bytes + texts->begin, end - texts->begin);
    texts->begin = end;
    texts->at++;
    return true;
}

/* The bytes of the message that holds the elements in its field 1. */
static uint64_t elements_bytes(pil_scalar scalar, struct pil_bytes raw) {
    if (!pil_scalar_is_text(scalar)) {
        uint64_t packed = packed_bytes(scalar, raw.data, raw.len / pil_scalar_bytes(scalar));
        return packed > 0 ? 1 + delimited_bytes(packed) : 0;
    }
    struct texts texts = texts_of(raw);
    struct pil_bytes text;
    uint64_t bytes = 0;
    while (next_text(&texts, &text)) {
        bytes += 1 + delimited_bytes(text.len);
    }
    return bytes;
}

static void put_elements(struct pil_sink *sink, pil_scalar scalar, struct pil_bytes raw) {
    const uint8_t tag = 1 << 3 | WIRE_LENGTH;
    if (pil_scalar_is_text(scalar)) {
        struct texts texts = texts_of(raw);
        struct pil_bytes text;
        while (next_text(&texts, &text)) {
            pil_sink_put(sink, tag);
            put_varint(sink, text.len);
            pil_sink_write_bytes(sink, text);
        }
        return;
    }
    uint32_t width = pil_scalar_bytes(scalar);
    size_t count = raw.len / width;
    uint64_t packed = packed_bytes(scalar, raw.data, count);
    if (packed == 0) {
        return;
    }
    pil_sink_put(sink, tag);
    put_varint(sink, packed);
    for (size_t i = 0; i < count; i++) {
        uint8_t *at = pil_sink_reserve(sink, VARINT_BYTES);
        pil_sink_advance(sink, format_scalar(at, scalar, raw.data + i * width));
    }
}

static void put_list(struct pil_sink *sink, pil_scalar scalar, struct pil_bytes raw) {
    uint64_t tag = (uint64_t)(value_fields[scalar].number + LIST_FIELDS) << 3 | WIRE_LENGTH;
    uint64_t bytes = elements_bytes(scalar, raw);
    pil_resp_put_bulk_head(sink, varint_bytes(tag) + delimited_bytes(bytes));
    put_varint(sink, tag);
    put_varint(sink, bytes);
    put_elements(sink, scalar, raw);
    pil_sink_write(sink, "\r\n", 2);
}

/* ---- Whole values. */

static void put_text(struct pil_sink *sink, pil_scalar scalar, struct pil_bytes text) {
    pil_resp_put_bulk_head(sink, 1 + delimited_bytes(text.len));
    pil_sink_put(sink, (uint8_t)(value_fields[scalar].number << 3 | WIRE_LENGTH));
    put_varint(sink, text.len);
    pil_sink_write_bytes(sink, text);
    pil_sink_write(sink, "\r\n", 2);
}

void pil_feast_redis_put_value(struct pil_sink *sink, struct pil_type type, struct pil_bytes raw) {
    if (type.shape != PIL_SHAPE_SCALAR) {
        put_list(sink, type.scalar, raw);
    } else if (pil_scalar_is_text(type.scalar)) {
        put_text(sink, type.scalar, raw);
    } else {
        const struct value_field field = value_fields[type.scalar];
        uint8_t value[SCALAR_BYTES] = {(uint8_t)(field.number << 3 | field.wire)};
        pil_resp_put_bulk(sink, pil_bytes_from(value, 1 + format_scalar(value + 1, type.scalar, raw.data)));
    }
}

void pil_feast_redis_put_null(struct pil_sink *sink, struct pil_type type) {
    uint8_t value[SCALAR_BYTES] = {8 << 3 | WIRE_VARINT};
    bool is_time = type.shape == PIL_SHAPE_SCALAR && type.scalar == PIL_SCALAR_UNIX_TIMESTAMP;
    size_t len = is_time ? 1 + format_varint(value + 1, (uint64_t)INT64_MIN) : 0;
    pil_resp_put_bulk(sink, pil_bytes_from(value, len));
}

/* Fields that are 0 are left out, as Feast's writer does. */
void pil_feast_redis_put_time(struct pil_sink *sink, int64_t us) {
    uint8_t value[2 * SCALAR_BYTES];
    int64_t seconds = seconds_of(us);
    uint64_t nanoseconds = (uint64_t)(us - seconds * MICROSECONDS) * 1000;
    size_t len = 0;
    if (seconds != 0) {
        value[len++] = 1 << 3 | WIRE_VARINT;
        len += format_varint(value + len, (uint64_t)seconds);
    }
    if (nanoseconds != 0) {
        value[len++] = 2 << 3 | WIRE_VARINT;
        len += format_varint(value + len, nanoseconds);
    }
    pil_resp_put_bulk(sink, pil_bytes_from(value, len));
}
