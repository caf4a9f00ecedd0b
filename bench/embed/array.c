/* SPDX-License-Identifier: Apache-2.0
 * The limit: rows in a plain array, found by multiplication, prefetched and copied. */
#include "embed/embed.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { GROUP = 32, LINE = 64, HUGE_PAGE = 2 << 20 };

struct array {
    float *rows;
    size_t row_bytes, bytes;
    uint32_t features;
};

static void *open_array(const struct embed_options *options) {
    struct array *array = calloc(1, sizeof *array);
    if (array == NULL) {
        embed_fail("array", "no memory");
    }
    array->features = options->features;
    array->row_bytes = options->features * sizeof(float);
    array->bytes = (options->keys * array->row_bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    array->rows = aligned_alloc(HUGE_PAGE, array->bytes);
    if (array->rows == NULL) {
        embed_fail("array", "no memory");
    }
    (void)madvise(array->rows, array->bytes, MADV_HUGEPAGE);
    for (uint64_t key = 0; key < options->keys; key++) {
        for (uint32_t f = 0; f < options->features; f++) {
            array->rows[key * options->features + f] =
                embed_value(key, f, options->seed >= 0 ? (uint64_t)options->seed : 1);
        }
    }
    return array;
}

static bool get(void *context, const int64_t *keys, size_t count, float *values) {
    const struct array *array = context;
    for (size_t begin = 0; begin < count; begin += GROUP) {
        size_t end = begin + GROUP < count ? begin + GROUP : count;
        for (size_t i = begin; i < end; i++) {
            const char *row = (const char *)array->rows + (size_t)keys[i] * array->row_bytes;
            for (size_t at = 0; at < array->row_bytes + LINE - 1; at += LINE) {
                __builtin_prefetch(row + at);
            }
        }
        for (size_t i = begin; i < end; i++) {
            memcpy(values + i * array->features, (const char *)array->rows + (size_t)keys[i] * array->row_bytes,
                   array->row_bytes);
        }
    }
    return true;
}

static void close_array(void *context) {
    struct array *array = context;
    free(array->rows);
    free(array);
}

const struct embed_reader embed_reader_array = {"array", open_array, get, close_array};
