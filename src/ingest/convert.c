/* SPDX-License-Identifier: Apache-2.0
 * Value conversions that Arrow does not provide: half precisions, and the check for UTF-8. */
#include "ingest/column.h"

static uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* Shifts out `shift` bits, rounding to nearest, ties to even. */
static uint32_t round_shift(uint32_t value, uint32_t shift) {
    uint32_t half = 1u << (shift - 1), rest = value & ((1u << shift) - 1), kept = value >> shift;
    return kept + (rest > half || (rest == half && (kept & 1) != 0));
}

uint16_t pil_float16_from(float value) {
    uint32_t bits = bits_of(value), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000) { /* NaN: made quiet, with the high bits of its payload */
        return (uint16_t)(sign | 0x7e00 | (magnitude >> 13 & 0x3ff));
    }
    if (magnitude >= 0x47800000) { /* 2^16 and more */
        return (uint16_t)(sign | 0x7c00);
    }
    if (magnitude >=
        0x38800000) { /* normal: a carry from rounding moves into the exponent, up to infinity, as required */
        return (uint16_t)(sign | round_shift(magnitude - 0x38000000, 13));
    }
    uint32_t shift = 126 - (magnitude >> 23); /* subnormal: units of 2^-24 */
    if (shift > 24) {
        return (uint16_t)sign;
    }
    return (uint16_t)(sign | round_shift((magnitude & 0x7fffff) | 0x800000, shift));
}

uint16_t pil_bfloat16_from(float value) {
    uint32_t bits = bits_of(value);
    if ((bits & 0x7fffffff) > 0x7f800000) {
        return (uint16_t)(bits >> 16 | 0x40);
    }
    return (uint16_t)round_shift(bits, 16);
}

/* Length of the sequence that starts at text.data[at]; 0 when it is not valid (RFC 3629 §4). */
static size_t sequence_len(struct pil_bytes text, size_t at) {
    const uint8_t *byte = text.data + at;
    size_t len = byte[0] < 0x80   ? 1
                 : byte[0] < 0xc2 ? 0
                 : byte[0] < 0xe0 ? 2
                 : byte[0] < 0xf0 ? 3
                 : byte[0] < 0xf5 ? 4
                                  : 0;
    if (len == 0 || len > text.len - at) {
        return 0;
    }
    for (size_t i = 1; i < len; i++) {
        if ((byte[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool overlong = (byte[0] == 0xe0 && byte[1] < 0xa0) || (byte[0] == 0xf0 && byte[1] < 0x90);
    bool outside = (byte[0] == 0xed && byte[1] > 0x9f) || (byte[0] == 0xf4 && byte[1] > 0x8f);
    return overlong || outside ? 0 : len;
}

bool pil_utf8_ok(struct pil_bytes text) {
    for (size_t at = 0; at < text.len;) {
        if (text.len - at >= 8 && (pil_load_u64(text.data + at) & 0x8080808080808080u) == 0) {
            at += 8;
            continue;
        }
        size_t len = sequence_len(text, at);
        if (len == 0) {
            return false;
        }
        at += len;
    }
    return true;
}
