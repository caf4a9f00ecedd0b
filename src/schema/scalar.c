/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/scalar.h"
#include "base/panic.h"

#include <stdio.h>

/* clang-format off */
static const struct {
    const char *text;
    uint8_t bytes;
    uint8_t uses;
} rows[] = {
#define X(name, text, bytes, kind, uses) {text, bytes, uses},
    PIL_SCALAR_TABLE(X)
#undef X
};
/* clang-format on */

uint32_t pil_scalar_bytes(pil_scalar scalar) {
    PIL_ASSERT(scalar < PIL_SCALAR_COUNT);
    return rows[scalar].bytes;
}

const char *pil_scalar_text(pil_scalar scalar) {
    PIL_ASSERT(scalar < PIL_SCALAR_COUNT);
    return rows[scalar].text;
}

uint32_t pil_scalar_uses(pil_scalar scalar) {
    PIL_ASSERT(scalar < PIL_SCALAR_COUNT);
    return rows[scalar].uses;
}

void pil_scalar_names(uint32_t use, const char *last, char ret_names[PIL_SCALAR_NAMES_BYTES]) {
    uint32_t count = 0, written = 0;
    for (uint32_t i = 0; i < PIL_SCALAR_COUNT; i++) {
        count += (rows[i].uses & use) != 0;
    }
    size_t len = 0;
    for (uint32_t i = 0; i < PIL_SCALAR_COUNT; i++) {
        if ((rows[i].uses & use) != 0) {
            written++;
            const char *join = written == 1 ? "" : written < count ? ", " : last;
            len += (size_t)snprintf(ret_names + len, PIL_SCALAR_NAMES_BYTES - len, "%s%s", join, rows[i].text);
            PIL_ASSERT(len < PIL_SCALAR_NAMES_BYTES);
        }
    }
}
