/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/value.h"
#include "base/decimal.h"
#include "base/panic.h"
#include "base/utf8.h"

enum { SMALL_BYTES = 4096, NUMBER_BYTES = 40 };

typedef enum text_dialect { DIALECT_RESP, DIALECT_RESP_LIST, DIALECT_JSON } text_dialect;

/* IEEE 754 binary16, exact in float. */
static float from_float16(uint16_t bits) {
    uint32_t sign = (uint32_t)(bits & 0x8000u) << 16, exponent = bits >> 10 & 0x1f, fraction = bits & 0x3ffu;
    if (exponent == 0) {
        float magnitude = (float)fraction * 0x1p-24f;
        return sign != 0 ? -magnitude : magnitude;
    }
    uint32_t word = exponent == 0x1f ? sign | 0x7f800000u | fraction << 13 : sign | (exponent + 112) << 23 | fraction << 13;
    float value;
    memcpy(&value, &word, sizeof value);
    return value;
}

/* bfloat16 is the upper half of a float. */
static float from_bfloat16(uint16_t bits) {
    uint32_t word = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &word, sizeof value);
    return value;
}

static void put_base64(struct pil_sink *sink, struct pil_bytes bytes) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t left = bytes.len - i;
        uint32_t group = (uint32_t)bytes.data[i] << 16 | (left > 1 ? (uint32_t)bytes.data[i + 1] << 8 : 0) | (left > 2 ? bytes.data[i + 2] : 0u);
        uint8_t *to = pil_sink_reserve(sink, 4);
        to[0] = (uint8_t)digits[group >> 18];
        to[1] = (uint8_t)digits[group >> 12 & 63];
        to[2] = left > 1 ? (uint8_t)digits[group >> 6 & 63] : '=';
        to[3] = left > 2 ? (uint8_t)digits[group & 63] : '=';
        pil_sink_advance(sink, 4);
    }
}

/* A real number in the dialect: JSON and lists quote what JSON cannot say. float32 is widened in JSON, where readers know doubles
 * only, and keeps its own digits elsewhere. */
static void put_real(struct pil_sink *sink, double value, bool is_float32, text_dialect dialect) {
    bool is_finite = value - value == 0;
    if (!is_finite && dialect != DIALECT_RESP) {
        pil_sink_write_text(sink, value != value ? "\"NaN\"" : value > 0 ? "\"Infinity\"" : "\"-Infinity\"");
        return;
    }
    char *to = (char *)pil_sink_reserve(sink, PIL_DECIMAL_BYTES);
    int len = is_float32 && dialect != DIALECT_JSON ? pil_decimal_f32((float)value, to) : pil_decimal_f64(value, to);
    pil_sink_advance(sink, (size_t)len);
}

/* Microseconds as seconds: whole ones in JSON, with the fraction that is there elsewhere. */
static void put_timestamp(struct pil_sink *sink, int64_t value_us, text_dialect dialect) {
    int64_t seconds = value_us / 1000000, fraction = value_us % 1000000;
    if (dialect == DIALECT_JSON) {
        pil_sink_write_i64(sink, seconds - (fraction < 0));
        return;
    }
    if (value_us < 0) {
        pil_sink_put(sink, '-');
    }
    pil_sink_write_u64(sink, (uint64_t)(seconds < 0 ? -seconds : seconds));
    if (fraction != 0) {
        uint32_t digits = (uint32_t)(fraction < 0 ? -fraction : fraction);
        uint8_t text[7] = {'.'};
        size_t len = 7;
        for (size_t i = 6; i > 0; i--, digits /= 10) {
            text[i] = (uint8_t)('0' + digits % 10);
        }
        while (text[len - 1] == '0') {
            len--;
        }
        pil_sink_write(sink, text, len);
    }
}

/* One value of fixed width from its own bytes. */
static void put_fixed(struct pil_sink *sink, pil_scalar scalar, const uint8_t *raw, text_dialect dialect) {
    switch (scalar) {
    case PIL_SCALAR_BOOL:
        if (dialect == DIALECT_RESP) {
            pil_sink_put(sink, raw[0] != 0 ? '1' : '0');
        } else {
            pil_sink_write_text(sink, raw[0] != 0 ? "true" : "false");
        }
        break;
    case PIL_SCALAR_INT32: pil_sink_write_i64(sink, pil_load_i32(raw)); break;
    case PIL_SCALAR_INT64: pil_sink_write_i64(sink, pil_load_i64(raw)); break;
    case PIL_SCALAR_FLOAT32: put_real(sink, (double)pil_load_f32(raw), true, dialect); break;
    case PIL_SCALAR_FLOAT64: put_real(sink, pil_load_f64(raw), false, dialect); break;
    case PIL_SCALAR_UNIX_TIMESTAMP: put_timestamp(sink, pil_load_i64(raw), dialect); break;
    case PIL_SCALAR_FLOAT16: put_real(sink, (double)from_float16(pil_load_u16(raw)), true, dialect); break;
    case PIL_SCALAR_BFLOAT16: put_real(sink, (double)from_bfloat16(pil_load_u16(raw)), true, dialect); break;
    case PIL_SCALAR_INT8: pil_sink_write_i64(sink, (int8_t)raw[0]); break;
    case PIL_SCALAR_STRING:
    case PIL_SCALAR_BYTES:
    case PIL_SCALAR_COUNT: PIL_UNREACHABLE("not of fixed width");
    }
}

static void put_text(struct pil_sink *sink, pil_scalar scalar, struct pil_bytes text, text_dialect dialect) {
    if (dialect == DIALECT_RESP) {
        pil_sink_write_bytes(sink, text);
    } else if (scalar == PIL_SCALAR_STRING) {
        pil_value_put_json_string(sink, text);
    } else {
        pil_sink_put(sink, '"');
        put_base64(sink, text);
        pil_sink_put(sink, '"');
    }
}

static bool is_text(pil_scalar scalar) {
    return scalar == PIL_SCALAR_STRING || scalar == PIL_SCALAR_BYTES;
}

/* u32 count, u32 end[count], bytes: the elements that fit. */
static void put_text_list(struct pil_sink *sink, pil_scalar scalar, struct pil_bytes raw, text_dialect dialect) {
    uint64_t count = raw.len >= 4 ? pil_load_u32(raw.data) : 0;
    uint64_t base = 4 + 4 * count, begin = 0;
    pil_sink_put(sink, '[');
    for (uint64_t i = 0; i < count && base <= raw.len; i++) {
        uint64_t end = pil_load_u32(raw.data + 4 + 4 * i);
        if (end < begin || end > raw.len - base) {
            break;
        }
        if (i > 0) {
            pil_sink_put(sink, ',');
        }
        put_text(sink, scalar, pil_bytes_from(raw.data + base + begin, (size_t)(end - begin)), dialect);
        begin = end;
    }
    pil_sink_put(sink, ']');
}

static void put_elements(struct pil_sink *sink, pil_scalar scalar, struct pil_bytes raw, text_dialect dialect) {
    size_t width = pil_scalar_bytes(scalar);
    pil_sink_put(sink, '[');
    for (size_t at = 0; at + width <= raw.len; at += width) {
        if (at > 0) {
            pil_sink_put(sink, ',');
        }
        put_fixed(sink, scalar, raw.data + at, dialect);
    }
    pil_sink_put(sink, ']');
}

static void put_value(struct pil_sink *sink, struct pil_type type, struct pil_bytes raw, text_dialect dialect) {
    if (type.shape == PIL_SHAPE_SCALAR) {
        if (is_text(type.scalar)) {
            put_text(sink, type.scalar, raw, dialect);
        } else {
            put_fixed(sink, type.scalar, raw.data, dialect);
        }
        return;
    }
    dialect = dialect == DIALECT_RESP ? DIALECT_RESP_LIST : dialect;
    if (is_text(type.scalar)) {
        put_text_list(sink, type.scalar, raw, dialect);
    } else {
        put_elements(sink, type.scalar, raw, dialect);
    }
}

void pil_value_put_resp(struct pil_sink *sink, struct pil_type type, struct pil_bytes raw) {
    put_value(sink, type, raw, DIALECT_RESP);
}

/* ---- A sink that keeps the first bytes and counts all: how bulk strings learn their length. */

struct small_sink {
    struct pil_sink sink;
    uint64_t passed; /* bytes of runs that are gone */
    uint8_t *run;    /* start of the current run */
    uint8_t kept[SMALL_BYTES];
    uint8_t rest[PIL_SINK_RESERVE_MAX];
};

static bool grow_small(struct pil_sink *base) {
    struct small_sink *small = (struct small_sink *)(void *)base;
    small->passed += (uint64_t)(base->at - small->run);
    small->run = base->at = small->rest;
    base->end = small->rest + sizeof small->rest;
    return true;
}

static void put_bulk_head(struct pil_sink *sink, uint64_t len) {
    pil_sink_put(sink, '$');
    pil_sink_write_u64(sink, len);
    pil_sink_write(sink, "\r\n", 2);
}

/* Lists and vectors: rendered into a small buffer, and again into the sink when they outgrow it. */
static void put_bulk_list(struct pil_sink *sink, struct pil_type type, struct pil_bytes raw) {
    struct small_sink small;
    small.sink.grow = grow_small;
    small.sink.failed = false;
    small.passed = 0;
    small.run = small.sink.at = small.kept;
    small.sink.end = small.kept + sizeof small.kept;
    pil_value_put_resp(&small.sink, type, raw);
    uint64_t len = small.passed + (uint64_t)(small.sink.at - small.run);
    put_bulk_head(sink, len);
    if (small.run == small.kept) {
        pil_sink_write(sink, small.kept, (size_t)len);
    } else {
        pil_value_put_resp(sink, type, raw);
    }
    pil_sink_write(sink, "\r\n", 2);
}

void pil_value_put_resp_bulk(struct pil_sink *sink, struct pil_type type, struct pil_bytes raw) {
    if (type.shape != PIL_SHAPE_SCALAR) {
        put_bulk_list(sink, type, raw);
        return;
    }
    if (is_text(type.scalar)) {
        put_bulk_head(sink, raw.len);
        pil_sink_write_bytes(sink, raw);
        pil_sink_write(sink, "\r\n", 2);
        return;
    }
    /* A number has at most two digits of length: "$NN\r\n" in front of it, in one reservation. */
    uint8_t *to = pil_sink_reserve(sink, NUMBER_BYTES + 8);
    uint8_t number[NUMBER_BYTES];
    struct pil_sink digits = {.at = number, .end = number + sizeof number};
    put_fixed(&digits, type.scalar, raw.data, DIALECT_RESP);
    size_t len = (size_t)(digits.at - number), head = 0;
    to[head++] = '$';
    if (len >= 10) {
        to[head++] = (uint8_t)('0' + len / 10);
    }
    to[head++] = (uint8_t)('0' + len % 10);
    to[head++] = '\r';
    to[head++] = '\n';
    memcpy(to + head, number, len);
    to[head + len] = '\r';
    to[head + len + 1] = '\n';
    pil_sink_advance(sink, head + len + 2);
}

/* Whether Feast's client could read this list: not empty, no NaN, no infinity. */
static bool is_representable(struct pil_type type, struct pil_bytes raw) {
    size_t width = pil_scalar_bytes(type.scalar);
    if (is_text(type.scalar)) {
        return raw.len >= 4 && pil_load_u32(raw.data) > 0;
    }
    for (size_t at = 0; at + width <= raw.len; at += width) {
        double value = 0;
        if (type.scalar == PIL_SCALAR_FLOAT32) {
            value = (double)pil_load_f32(raw.data + at);
        } else if (type.scalar == PIL_SCALAR_FLOAT64) {
            value = pil_load_f64(raw.data + at);
        } else if (type.scalar == PIL_SCALAR_FLOAT16) {
            value = (double)from_float16(pil_load_u16(raw.data + at));
        } else if (type.scalar == PIL_SCALAR_BFLOAT16) {
            value = (double)from_bfloat16(pil_load_u16(raw.data + at));
        }
        if (value - value != 0) {
            return false;
        }
    }
    return raw.len >= width;
}

void pil_value_put_json(struct pil_sink *sink, struct pil_type type, struct pil_bytes raw) {
    if (type.shape != PIL_SHAPE_SCALAR && !is_representable(type, raw)) {
        pil_sink_write(sink, "null", 4);
        return;
    }
    put_value(sink, type, raw, DIALECT_JSON);
}

/* ---- Strings. */

static void put_escape(struct pil_sink *sink, uint8_t c) {
    static const char digits[] = "0123456789abcdef";
    const char *shorts = c == '"' ? "\\\"" : c == '\\' ? "\\\\" : c == '\n' ? "\\n" : c == '\r' ? "\\r" : c == '\t' ? "\\t" : c == '\b' ? "\\b" : c == '\f' ? "\\f" : NULL;
    if (shorts != NULL) {
        pil_sink_write(sink, shorts, 2);
        return;
    }
    uint8_t escape[6] = {'\\', 'u', '0', '0', (uint8_t)digits[c >> 4], (uint8_t)digits[c & 15]};
    pil_sink_write(sink, escape, sizeof escape);
}

void pil_value_put_json_string(struct pil_sink *sink, struct pil_bytes text) {
    size_t begin = 0;
    pil_sink_put(sink, '"');
    for (size_t i = 0; i < text.len;) {
        uint8_t c = text.data[i];
        size_t len = c < 0x80 ? 1 : pil_utf8_sequence(pil_bytes_from(text.data + i, text.len - i));
        if (len > 0 && c >= 0x20 && c != '"' && c != '\\') {
            i += len;
            continue;
        }
        pil_sink_write(sink, text.data + begin, i - begin);
        if (len == 0) {
            pil_sink_write(sink, "\xef\xbf\xbd", 3); /* U+FFFD */
        } else {
            put_escape(sink, c);
        }
        begin = ++i;
    }
    pil_sink_write(sink, text.data + begin, text.len - begin);
    pil_sink_put(sink, '"');
}
