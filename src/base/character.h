/* SPDX-License-Identifier: Apache-2.0
 * Characters of ASCII, for readers of text. */
#pragma once

#include "base/bytes.h"

/* Its value; -1 when the character is not a hexadecimal digit. */
static inline int pil_character_hex_digit(uint8_t byte) {
    return byte >= '0' && byte <= '9'   ? byte - '0'
           : byte >= 'a' && byte <= 'f' ? byte - 'a' + 10
           : byte >= 'A' && byte <= 'F' ? byte - 'A' + 10
                                        : -1;
}

static inline bool pil_character_is_digit(uint8_t byte) {
    return byte >= '0' && byte <= '9';
}
