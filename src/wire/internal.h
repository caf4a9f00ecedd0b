/* SPDX-License-Identifier: Apache-2.0
 * What several files of this module need about characters. Private to src/wire. */
#pragma once

#include "base/bytes.h"

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
