/* SPDX-License-Identifier: Apache-2.0
 * The text of values. format_number renders every value of fixed width into a few bytes; the rest handles strings,
 * lists and framing. */
#include "wire/value.h"
#include "base/decimal.h"
#include "base/half.h"
#include "base/panic.h"
#include "base/utf8.h"
#include "base/character.h"
#include "wire/resp.h"

#include <math.h>

/* The text of a value depends slightly on where it appears. */
typedef enum text_style {
    STYLE_RESP,      /* the value itself */
    STYLE_RESP_LIST, /* an element of a JSON array, with the digits of RESP */
    STYLE_JSON,
} text_style;

enum { NUMBER_BYTES = 40 }; /* room to write one */
PIL_STATIC_ASSERT((int)NUMBER_BYTES >= (int)PIL_DECIMAL_BYTES);

/* ---- Numbers. */

static int format_text(char *at, const char *text) {
    size_t len = strlen(text);
    memcpy(at, text, len);
    return (int)len;
}

static int format_u64(char *at, uint64_t value) {
    char digits[20];
    int count = 0;
    do {
        digits[sizeof digits - (size_t)++count] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    memcpy(at, digits + sizeof digits - count, (size_t)count);
    return count;
}

static int format_i64(char *at, int64_t value) {
    if (value >= 0) {
        return format_u64(at, (uint64_t)value);
    }
    *at = '-';
    return 1 + format_u64(at + 1, 0 - (uint64_t)value);
}

static double load_double(pil_scalar scalar, const uint8_t *at) {
    switch (scalar) {
    case PIL_SCALAR_FLOAT16: return (double)pil_float_from_f16(pil_load_u16(at));
    case PIL_SCALAR_BFLOAT16: return (double)pil_float_from_bf16(pil_load_u16(at));
    case PIL_SCALAR_FLOAT32: return (double)pil_load_f32(at);
    case PIL_SCALAR_FLOAT64: return pil_load_f64(at);
    case PIL_SCALAR_BOOL:
    case PIL_SCALAR_INT8:
    case PIL_SCALAR_INT32:
    case PIL_SCALAR_INT64:
    case PIL_SCALAR_UNIX_TIMESTAMP:
    case PIL_SCALAR_STRING:
    case PIL_SCALAR_BYTES:
    case PIL_SCALAR_COUNT: break;
    }
    PIL_UNREACHABLE("not a float");
}

static int format_float(char *at, pil_scalar scalar, const uint8_t *from, text_style style) {
    double value = load_double(scalar, from);
    if (!isfinite(value) && style != STYLE_RESP) {
        return format_text(at, isnan(value) ? "\"NaN\"" : value > 0 ? "\"Infinity\"" : "\"-Infinity\"");
    }
    if (style == STYLE_JSON || scalar == PIL_SCALAR_FLOAT64) {
        return pil_decimal_f64(value, at);
    }
    return pil_decimal_f32((float)value, at);
}

/* Whole seconds (floor) in JSON; exact seconds in RESP. */
static int format_timestamp(char *at, int64_t us, text_style style) {
    if (style == STYLE_JSON) {
        return format_i64(at, us / 1000000 - (us % 1000000 < 0));
    }
    char *begin = at;
    uint64_t magnitude = us < 0 ? 0 - (uint64_t)us : (uint64_t)us;
    if (us < 0) {
        *at++ = '-';
    }
    at += format_u64(at, magnitude / 1000000);
    uint64_t fraction = magnitude % 1000000;
    if (fraction != 0) {
        *at = '.';
        int count = 6;
        for (; fraction % 10 == 0; count--) {
            fraction /= 10;
        }
        for (int i = count; i > 0; i--) {
            at[i] = (char)('0' + fraction % 10);
            fraction /= 10;
        }
        at += 1 + count;
    }
    return (int)(at - begin);
}

/* Formats one value of fixed width; returns the length, at most NUMBER_BYTES. */
static int format_number(char at[NUMBER_BYTES], pil_scalar scalar, const uint8_t *from, text_style style) {
    switch (scalar) {
    case PIL_SCALAR_BOOL:
        return format_text(at, style == STYLE_RESP ? (*from != 0 ? "1" : "0") : (*from != 0 ? "true" : "false"));
    case PIL_SCALAR_INT8: return format_i64(at, (int8_t)*from);
    case PIL_SCALAR_INT32: return format_i64(at, pil_load_i32(from));
    case PIL_SCALAR_INT64: return format_i64(at, pil_load_i64(from));
    case PIL_SCALAR_UNIX_TIMESTAMP: return format_timestamp(at, pil_load_i64(from), style);
    case PIL_SCALAR_FLOAT16:
    case PIL_SCALAR_BFLOAT16:
    case PIL_SCALAR_FLOAT32:
    case PIL_SCALAR_FLOAT64: return format_float(at, scalar, from, style);
    case PIL_SCALAR_STRING:
    case PIL_SCALAR_BYTES:
    case PIL_SCALAR_COUNT: break;
    }
    PIL_UNREACHABLE("not a number");
}

static void put_number(struct pil_sink *sink, pil_scalar scalar, const uint8_t *from, text_style style) {
    uint8_t *at = pil_sink_reserve(sink, NUMBER_BYTES);
    pil_sink_advance(sink, (size_t)format_number((char *)at, scalar, from, style));
}

/* ---- Strings. */

static void put_escaped(struct pil_sink *sink, uint8_t byte) {
    static const char hex[] = "0123456789abcdef", plain[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
    uint8_t *at = pil_sink_reserve(sink, 6);
    const char *found = memchr(plain, byte, sizeof plain - 1);
    if (found != NULL) {
        at[0] = '\\';
        at[1] = (uint8_t)letters[found - plain];
        pil_sink_advance(sink, 2);
        return;
    }
    const uint8_t text[] = {'\\', 'u', '0', '0', (uint8_t)hex[byte >> 4], (uint8_t)hex[byte & 15]};
    memcpy(at, text, sizeof text);
    pil_sink_advance(sink, sizeof text);
}

void pil_value_put_json_string(struct pil_sink *sink, struct pil_bytes text) {
    pil_sink_put(sink, '"');
    size_t begin = 0; /* start of the run that needs no escapes */
    for (size_t i = 0; i < text.len;) {
        uint8_t byte = text.data[i];
        if (byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\') {
            i++;
            continue;
        }
        size_t sequence = byte >= 0x80 ? pil_utf8_sequence(pil_bytes_from(text.data + i, text.len - i)) : 0;
        if (sequence > 0) {
            i += sequence;
            continue;
        }
        pil_sink_write(sink, text.data + begin, i - begin);
        if (byte >= 0x80) {
            pil_sink_write_text(sink, "\xef\xbf\xbd");
        } else {
            put_escaped(sink, byte);
        }
        begin = ++i;
    }
    if (begin < text.len) {
        pil_sink_write(sink, text.data + begin, text.len - begin);
    }
    pil_sink_put(sink, '"');
}

static void put_base64(struct pil_sink *sink, struct pil_bytes bytes) {
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    pil_sink_put(sink, '"');
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t left = bytes.len - i;
        uint32_t group = (uint32_t)bytes.data[i] << 16;
        group |= left > 1 ? (uint32_t)bytes.data[i + 1] << 8 : 0;
        group |= left > 2 ? (uint32_t)bytes.data[i + 2] : 0;
        uint8_t *at = pil_sink_reserve(sink, 4);
        at[0] = (uint8_t)alphabet[group >> 18];
        at[1] = (uint8_t)alphabet[group >> 12 & 63];
        at[2] = left > 1 ? (uint8_t)alphabet[group >> 6 & 63] : '=';
        at[3] = left > 2 ? (uint8_t)alphabet[group & 63] : '=';
        pil_sink_advance(sink, 4);
    }
    pil_sink_put(sink, '"');
}

static void put_json_text(struct pil_sink *sink, pil_scalar scalar, struct pil_bytes text) {
    if (pil_scalar_is_utf8(scalar)) {
        pil_value_put_json_string(sink, text);
    } else {
        put_base64(sink, text);
    }
}

/* ---- Lists and vectors. */

/* `raw`: u32 count, u32 end[count], bytes. */
static void put_text_list(struct pil_sink *sink, pil_scalar scalar, struct pil_bytes raw) {
    uint32_t count = raw.len >= 4 ? pil_load_u32(raw.data) : 0;
    size_t table_bytes = 4 + (size_t)count * 4;
    if (table_bytes > raw.len) {
        return;
    }
    uint32_t begin = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t end = pil_load_u32(raw.data + 4 + (size_t)i * 4);
        if (end < begin || end > raw.len - table_bytes) {
            return;
        }
        if (i > 0) {
            pil_sink_put(sink, ',');
        }
        put_json_text(sink, scalar, pil_bytes_from(raw.data + table_bytes + begin, end - begin));
        begin = end;
    }
}

static uint32_t element_count(struct pil_type type, struct pil_bytes raw) {
    size_t count = raw.len / pil_scalar_bytes(type.scalar);
    return (uint32_t)(type.shape == PIL_SHAPE_VECTOR && count > type.dimension ? type.dimension : count);
}

static void put_array(struct pil_sink *sink, struct pil_type type, struct pil_bytes raw, text_style style) {
    pil_sink_put(sink, '[');
    if (pil_scalar_is_text(type.scalar)) {
        put_text_list(sink, type.scalar, raw);
    } else {
        uint32_t width = pil_scalar_bytes(type.scalar), count = element_count(type, raw);
        for (uint32_t i = 0; i < count; i++) {
            if (i > 0) {
                pil_sink_put(sink, ',');
            }
            put_number(sink, type.scalar, raw.data + (size_t)i * width, style);
        }
    }
    pil_sink_put(sink, ']');
}

/* ---- Values. */

void pil_value_put_resp(struct pil_sink *sink, struct pil_type type, struct pil_bytes raw) {
    if (type.shape != PIL_SHAPE_SCALAR) {
        put_array(sink, type, raw, STYLE_RESP_LIST);
    } else if (pil_scalar_is_text(type.scalar)) {
        pil_sink_write_bytes(sink, raw);
    } else {
        put_number(sink, type.scalar, raw.data, STYLE_RESP);
    }
}

static void put_array_bulk(struct pil_sink *sink, struct pil_type type, struct pil_bytes raw) {
    struct pil_sink_measure measure PIL_UNINITIALIZED;
    pil_sink_measure_begin(&measure);
    put_array(&measure.sink, type, raw, STYLE_RESP_LIST);
    size_t len = (size_t)pil_sink_measured(&measure);
    pil_resp_put_bulk_head(sink, len);
    if (measure.counted == 0) {
        pil_sink_write(sink, measure.bytes, len);
    } else {
        put_array(sink, type, raw, STYLE_RESP_LIST);
    }
    pil_sink_write(sink, "\r\n", 2);
}

void pil_value_put_resp_bulk(struct pil_sink *sink, struct pil_type type, struct pil_bytes raw) {
    if (type.shape != PIL_SHAPE_SCALAR) {
        put_array_bulk(sink, type, raw);
        return;
    }
    if (pil_scalar_is_text(type.scalar)) {
        pil_resp_put_bulk_head(sink, raw.len);
        pil_sink_write_bytes(sink, raw);
        pil_sink_write(sink, "\r\n", 2);
        return;
    }
    char text[NUMBER_BYTES];
    size_t len = (size_t)format_number(text, type.scalar, raw.data, STYLE_RESP);
    uint8_t *begin = pil_sink_reserve(sink, NUMBER_BYTES + 8), *at = begin;
    *at++ = '$';
    if (len >= 10) {
        *at++ = (uint8_t)('0' + len / 10);
    }
    *at++ = (uint8_t)('0' + len % 10);
    memcpy(at, "\r\n", 2);
    memcpy(at + 2, text, sizeof text); /* copies the whole array: a constant length takes a few moves */
    memcpy(at + 2 + len, "\r\n", 2);
    pil_sink_advance(sink, (size_t)(at + 4 + len - begin));
}

void pil_value_put_json(struct pil_sink *sink, struct pil_type type, struct pil_bytes raw) {
    if (type.shape == PIL_SHAPE_SCALAR) {
        if (pil_scalar_is_text(type.scalar)) {
            put_json_text(sink, type.scalar, raw);
        } else {
            put_number(sink, type.scalar, raw.data, STYLE_JSON);
        }
    } else {
        put_array(sink, type, raw, STYLE_JSON);
    }
}

bool pil_value_is_readable_by_feast(struct pil_type type, struct pil_bytes raw) {
    bool is_scalar = type.shape == PIL_SHAPE_SCALAR;
    if (pil_scalar_is_text(type.scalar)) {
        return is_scalar || (raw.len >= 4 && pil_load_u32(raw.data) > 0);
    }
    uint32_t width = pil_scalar_bytes(type.scalar), count = is_scalar ? 1 : element_count(type, raw);
    for (uint32_t i = 0; pil_scalar_is_float(type.scalar) && i < count; i++) {
        if (!isfinite(load_double(type.scalar, raw.data + (size_t)i * width))) {
            return false;
        }
    }
    return count > 0;
}
