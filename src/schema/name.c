/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/name.h"
#include "base/bounds.h"

static bool is_letter(uint8_t c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

bool pil_name_is_valid(struct pil_bytes name) {
    if (name.len == 0 || name.len > PIL_NAME_BYTES_MAX || !is_letter(name.data[0])) {
        return false;
    }
    for (size_t i = 1; i < name.len; i++) {
        uint8_t c = name.data[i];
        if (!is_letter(c) && !(c >= '0' && c <= '9') && c != '-') {
            return false;
        }
    }
    return true;
}
