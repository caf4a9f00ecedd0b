/* SPDX-License-Identifier: Apache-2.0
 * The limit of a socket: libpillion's request to a pillion-null that always answers with the same tensor. --fill writes
 * that answer to a file for `pillion-null --reply`. */
#include "embed/embed.h"

#include "wire/tensor.h"

#include <errno.h>
#include <stdlib.h>

struct null {
    const struct embed_options *options;
    struct embed_link link;
};

static void *open_null(const struct embed_options *options) {
    struct null *null = calloc(1, sizeof *null);
    if (null == NULL) {
        embed_fail("null", "no memory");
    }
    null->options = options;
    embed_link_open(&null->link, options);
    return null;
}

static bool get(void *context, const int64_t *keys, size_t count, float *values) {
    struct null *null = context;
    struct pil_tensor_head head;
    size_t len;
    pil_text_format(&null->link.out, "*3\r\n$12\r\nPIL.VECTOR64\r\n$1\r\n1\r\n$%zu\r\n", count * sizeof keys[0]);
    pil_text_append(&null->link.out, keys, count * sizeof keys[0]);
    pil_text_append(&null->link.out, "\r\n", 2);
    embed_link_send(&null->link);
    const char *line = embed_link_line(&null->link, &len);
    size_t bytes = len > 1 && line[0] == '$' ? strtoull(line + 1, NULL, 10) : 0;
    const uint8_t *answer = embed_link_take(&null->link, bytes + 2);
    if (pil_tensor_decode(pil_bytes_from(answer, bytes), &head, NULL) != PIL_STATUS_OK || head.rows != count ||
        head.width != null->options->features) {
        embed_fail(null->options->address, "answers something else than --fill wrote for this --batch and --features");
    }
    memcpy(values, answer + head.values_at, count * head.width * sizeof(float));
    return true;
}

static void close_null(void *context) {
    struct null *null = context;
    embed_link_close(&null->link);
    free(null);
}

static void fill(const struct embed_options *options) {
    uint32_t statuses = options->type == EMBED_FLOAT32 ? options->features : 1;
    struct pil_tensor_head head = {.element_bytes = sizeof(float),
                                   .rows = options->batch,
                                   .features = statuses,
                                   .width = options->features,
                                   .view_count = 1,
                                   .views = {{.release = "0000000000000000", .generation = 1}}};
    pil_tensor_layout(&head);
    uint8_t *answer = calloc(1, head.bytes);
    FILE *file = options->path == NULL ? NULL : fopen(options->path, "we");
    if (answer == NULL || file == NULL) {
        embed_fail("null --fill --path", options->path == NULL ? "is missing" : strerror(errno));
    }
    pil_tensor_put_head(&head, answer);
    memset(answer + head.statuses_at, 1, head.times_at - head.statuses_at);
    for (uint64_t i = 0; i < (uint64_t)head.rows * head.width; i++) {
        float value = embed_value(options, 0, embed_pick(options, (uint32_t)(i % head.width)), options->fill_seed);
        pil_store_f32(answer + head.values_at + i * sizeof value, value);
    }
    bool ok = fprintf(file, "$%llu\r\n", (unsigned long long)head.bytes) > 0 &&
              fwrite(answer, 1, head.bytes, file) == head.bytes && fputs("\r\n", file) >= 0;
    if (fclose(file) != 0 || !ok) {
        embed_fail(options->path, strerror(errno));
    }
    free(answer);
}

const struct embed_reader embed_reader_null = {
    .name = "null", .open = open_null, .get = get, .close = close_null, .fill = fill};
