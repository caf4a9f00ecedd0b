/* SPDX-License-Identifier: Apache-2.0
 * ASCII characters, for parsers. */
#pragma once

#include "base/bytes.h"

/* The value of a hexadecimal digit; -1 for any other character. */
static inline int pil_character_hex_digit(uint8_t byte) {
    return byte >= '0' && byte <= '9'   ? byte - '0'
           : byte >= 'a' && byte <= 'f' ? byte - 'a' + 10
           : byte >= 'A' && byte <= 'F' ? byte - 'A' + 10
                                        : -1;
}

static inline bool pil_character_is_digit(uint8_t byte) {
    return byte >= '0' && byte <= '9';
}
