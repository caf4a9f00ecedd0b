/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base64.h"

static int digit_of(uint8_t c) {
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool pil_base64_is_valid(struct pil_bytes text) {
    size_t len = text.len;
    size_t pads = len > 0 && text.data[len - 1] == '=' ? (len > 1 && text.data[len - 2] == '=' ? 2 : 1) : 0;
    if (len % 4 != 0) {
        return false;
    }
    for (size_t i = 0; i < len - pads; i++) {
        if (digit_of(text.data[i]) < 0) {
            return false;
        }
    }
    int unused = pads == 2 ? 15 : pads == 1 ? 3 : 0;
    return pads == 0 || (digit_of(text.data[len - pads - 1]) & unused) == 0;
}

size_t pil_base64_decode(struct pil_bytes text, uint8_t *to) {
    uint32_t bits = 0, count = 0;
    size_t len = 0;
    for (size_t i = 0; i < text.len && text.data[i] != '='; i++) {
        bits = bits << 6 | (uint32_t)digit_of(text.data[i]);
        count += 6;
        if (count >= 8) {
            count -= 8;
            to[len++] = (uint8_t)(bits >> count);
        }
    }
    return len;
}
