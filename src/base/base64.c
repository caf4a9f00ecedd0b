/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base64.h"

/* The digit that a character means, plus one; 0: it is none. */
static const uint8_t digits[256] = {
    ['A'] = 1,  ['B'] = 2,  ['C'] = 3,  ['D'] = 4,  ['E'] = 5,  ['F'] = 6,  ['G'] = 7,  ['H'] = 8,
    ['I'] = 9,  ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16,
    ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24,
    ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32,
    ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40,
    ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48,
    ['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
    ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['+'] = 63, ['/'] = 64,
};

static int digit_of(uint8_t c) {
    return digits[c] - 1;
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
