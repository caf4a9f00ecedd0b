/* SPDX-License-Identifier: Apache-2.0 */
#include "base/number.h"

enum { CHARS_MAX = 20 }; /* "-9223372036854775808" */

bool pil_number_parse_i64(struct pil_bytes text, int64_t *ret_value) {
    bool negative = text.len > 0 && text.data[0] == '-';
    int64_t value = 0;
    if (text.len == (negative ? 1u : 0u) || text.len > CHARS_MAX) {
        return false;
    }
    for (size_t i = negative; i < text.len; i++) {
        int digit = text.data[i] - '0';
        if (digit < 0 || digit > 9 || __builtin_mul_overflow(value, 10, &value) ||
            (negative ? __builtin_sub_overflow(value, digit, &value) : __builtin_add_overflow(value, digit, &value))) {
            return false;
        }
    }
    *ret_value = value;
    return true;
}
