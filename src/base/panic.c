/* SPDX-License-Identifier: Apache-2.0 */
#include "base/panic.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void pil_panic(const char *file, int line, const char *text) {
    fprintf(stderr, "pillion: %s:%d: assertion failed: %s\n", file, line, text);
    abort();
}
