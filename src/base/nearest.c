/* SPDX-License-Identifier: Apache-2.0 */
#include "base/nearest.h"
#include "base/panic.h"

#include <string.h>

enum { NEAREST_BYTES_MAX = 64 };

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

/* The number of letters that are missing, too many, wrong, or swapped with the next one. */
static size_t distance(const char *a, size_t a_len, const char *b, size_t b_len) {
    PIL_ASSERT(a_len <= NEAREST_BYTES_MAX && b_len <= NEAREST_BYTES_MAX);
    size_t rows[3][NEAREST_BYTES_MAX + 1]; /* by turns: the row, the one before, and the one before that */
    for (size_t i = 0; i <= a_len; i++) {
        size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *second = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t k = 1; k <= b_len; k++) {
            if (i == 0) {
                row[k] = k;
                continue;
            }
            row[k] = least(above[k - 1] + (a[i - 1] != b[k - 1]), least(above[k], row[k - 1]) + 1);
            if (i > 1 && k > 1 && a[i - 1] == b[k - 2] && a[i - 2] == b[k - 1]) {
                row[k] = least(row[k], second[k - 2] + 1);
            }
        }
    }
    return rows[a_len % 3][b_len];
}

const char *pil_nearest(const char *word, const char *const *candidates, uint32_t count) {
    size_t len = strlen(word);
    /* At most a third of the word's bytes, and at most 3, may be wrong. */
    size_t best = len / 3 < 3 ? len / 3 + 1 : 4;
    const char *nearest = NULL;
    for (uint32_t i = 0; i < count && len <= NEAREST_BYTES_MAX; i++) {
        size_t other = strlen(candidates[i]);
        size_t apart = other > len ? other - len : len - other;
        if (other > NEAREST_BYTES_MAX || apart >= best) {
            continue;
        }
        size_t found = distance(word, len, candidates[i], other);
        if (found < best) {
            best = found;
            nearest = candidates[i];
        }
    }
    return nearest;
}
