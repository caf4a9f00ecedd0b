/* SPDX-License-Identifier: Apache-2.0
 * The lower bound: rows in a plain array, addressed by multiplication, prefetched and unpacked. */
#include "embed/embed.h"

#include <stdlib.h>
#include <sys/mman.h>

enum { GROUP = 32, LINE = 64, HUGE_PAGE = 2 << 20 };

struct array {
    uint8_t *rows;
    size_t bytes;
    struct embed_shape shape;
};

static void *open_array(const struct embed_options *options) {
    struct array *array = calloc(1, sizeof *array);
    if (array == NULL) {
        embed_fail("array", "no memory");
    }
    array->shape = embed_shape_of(options);
    array->bytes = (options->keys * array->shape.row_bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    array->rows = aligned_alloc(HUGE_PAGE, array->bytes);
    if (array->rows == NULL) {
        embed_fail("array", "no memory");
    }
    (void)madvise(array->rows, array->bytes, MADV_HUGEPAGE);
    for (uint64_t key = 0; key < options->keys; key++) {
        embed_row_pack(options, key, array->rows + key * array->shape.row_bytes);
    }
    return array;
}

static bool get(void *context, const int64_t *keys, size_t count, float *values) {
    const struct array *array = context;
    const struct embed_shape *shape = &array->shape;
    for (size_t begin = 0; begin < count; begin += GROUP) {
        size_t end = begin + GROUP < count ? begin + GROUP : count;
        for (size_t i = begin; i < end; i++) {
            const uint8_t *row = array->rows + (size_t)keys[i] * shape->row_bytes;
            for (size_t at = 0; at < shape->row_bytes + LINE - 1; at += LINE) {
                __builtin_prefetch(row + at);
            }
        }
        for (size_t i = begin; i < end; i++) {
            embed_row_unpack(shape, array->rows + (size_t)keys[i] * shape->row_bytes, values + i * shape->features);
        }
    }
    return true;
}

static void close_array(void *context) {
    struct array *array = context;
    free(array->rows);
    free(array);
}

const struct embed_reader embed_reader_array = {
    .name = "array", .is_shared = true, .open = open_array, .get = get, .close = close_array};
