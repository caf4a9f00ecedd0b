/* SPDX-License-Identifier: Apache-2.0
 * What several files of this module need about characters. Private to src/wire. */
#pragma once

#include "base/bytes.h"

/* Length of the well-formed UTF-8 sequence at the start of `at`, whose first byte is not ASCII; 0 = none (RFC 3629). */
static inline size_t pil_utf8_sequence(const uint8_t *at, size_t len) {
    uint8_t first = at[0];
    size_t want = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || len < want) {
        return 0;
    }
    uint8_t second_min = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    uint8_t second_max = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (at[1] < second_min || at[1] > second_max) {
        return 0;
    }
    for (size_t i = 2; i < want; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return want;
}

/* -1 when it is none. */
static inline int pil_hex_digit(uint8_t byte) {
    return byte >= '0' && byte <= '9'   ? byte - '0'
           : byte >= 'a' && byte <= 'f' ? byte - 'a' + 10
           : byte >= 'A' && byte <= 'F' ? byte - 'A' + 10
                                        : -1;
}

static inline bool pil_is_digit(uint8_t byte) {
    return byte >= '0' && byte <= '9';
}
