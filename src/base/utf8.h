/* SPDX-License-Identifier: Apache-2.0
 * UTF-8 by RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. */
#pragma once

#include "base/bytes.h"

/* Length of the well-formed sequence at the start of `text` (1..4), or 0 when there is none. */
static inline size_t pil_utf8_sequence(struct pil_bytes text) {
    const uint8_t *at = text.data;
    if (text.len == 0) {
        return 0;
    }
    if (at[0] < 0x80) {
        return 1;
    }
    size_t len = at[0] >= 0xc2 && at[0] < 0xe0   ? 2
                 : at[0] >= 0xe0 && at[0] < 0xf0 ? 3
                 : at[0] >= 0xf0 && at[0] < 0xf5 ? 4
                                                 : 0;
    if (len == 0 || text.len < len) {
        return 0;
    }
    uint8_t low = at[0] == 0xe0   ? 0xa0
                  : at[0] == 0xf0 ? 0x90
                                  : 0x80,
            high = at[0] == 0xed   ? 0x9f
                   : at[0] == 0xf4 ? 0x8f
                                   : 0xbf;
    if (at[1] < low || at[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < len; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return len;
}

static inline bool pil_utf8_is_valid(struct pil_bytes text) {
    while (text.len > 0) {
        size_t len = pil_utf8_sequence(text);
        if (len == 0) {
            return false;
        }
        text = pil_bytes_from(text.data + len, text.len - len);
    }
    return true;
}
