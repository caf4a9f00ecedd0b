/* SPDX-License-Identifier: Apache-2.0
 * memcached's text protocol: a packed row per key, `get` of many keys at once, which one look at the socket answers
 * (pipelined requests would be served 20 at a time). */
#include "embed/embed.h"

#include <stdlib.h>

enum { PIPELINE = 256 };

struct memcached {
    const struct embed_options *options;
    struct embed_link link;
    struct embed_shape shape;
};

static void *open_memcached(const struct embed_options *options) {
    struct memcached *memcached = calloc(1, sizeof *memcached);
    if (memcached == NULL) {
        embed_fail("memcached", "no memory");
    }
    memcached->options = options;
    memcached->shape = embed_shape_of(options);
    embed_link_open(&memcached->link, options);
    return memcached;
}

static void fail_answer(const struct memcached *memcached, const char *line, size_t len) {
    char text[256];
    snprintf(text, sizeof text, "unexpected answer: %.*s", (int)(len < 200 ? len : 200), line);
    embed_fail(memcached->options->address, text);
}

/* "VALUE <key> <flags> <bytes>": whether it is this key; false at "END" too. */
static bool take_head(struct memcached *memcached, uint64_t key, size_t *ret_bytes) {
    char wanted[EMBED_KEY_BYTES + 8] = "VALUE ";
    size_t key_len = embed_key_text(memcached->options, key, wanted + 6), len;
    wanted[6 + key_len] = ' ';
    const char *line = embed_link_line(&memcached->link, &len);
    if (len == 3 && memcmp(line, "END", 3) == 0) {
        return false;
    }
    if (len < key_len + 10 || memcmp(line, wanted, key_len + 7) != 0) {
        fail_answer(memcached, line, len);
    }
    size_t bytes = 0;
    for (const char *at = memchr(line + key_len + 7, ' ', len - key_len - 7); at != NULL && ++at < line + len;) {
        bytes = bytes * 10 + (size_t)(*at - '0');
    }
    *ret_bytes = bytes;
    return true;
}

static bool get(void *context, const int64_t *keys, size_t count, float *values) {
    struct memcached *memcached = context;
    char text[EMBED_KEY_BYTES + 1];
    pil_text_append(&memcached->link.out, "get", 3);
    for (size_t i = 0; i < count; i++) {
        text[0] = ' ';
        pil_text_append(&memcached->link.out, text,
                        1 + embed_key_text(memcached->options, (uint64_t)keys[i], text + 1));
    }
    pil_text_append(&memcached->link.out, "\r\n", 2);
    embed_link_send(&memcached->link);
    for (size_t i = 0; i < count; i++) {
        size_t bytes;
        if (!take_head(memcached, (uint64_t)keys[i], &bytes)) {
            return false;
        }
        const uint8_t *row = embed_link_take(&memcached->link, bytes + 2);
        if (bytes < memcached->shape.row_bytes) {
            char why[96];
            snprintf(why, sizeof why, "a row has %zu bytes, --width says %zu", bytes, memcached->shape.row_bytes);
            embed_fail(memcached->options->address, why);
        }
        embed_row_unpack(&memcached->shape, row, values + i * memcached->shape.features);
    }
    return embed_link_is_line(&memcached->link, "END");
}

static void close_memcached(void *context) {
    struct memcached *memcached = context;
    embed_link_close(&memcached->link);
    free(memcached);
}

static void take_stored(struct memcached *memcached, uint64_t count) {
    embed_link_send(&memcached->link);
    for (; count > 0; count--) {
        size_t len;
        const char *line = embed_link_line(&memcached->link, &len);
        if (len != 6 || memcmp(line, "STORED", 6) != 0) {
            fail_answer(memcached, line, len);
        }
    }
}

static void fill(const struct embed_options *options) {
    struct memcached *memcached = open_memcached(options);
    uint8_t *row = malloc(memcached->shape.row_bytes);
    uint64_t owed = 0;
    char key_text[EMBED_KEY_BYTES];
    if (row == NULL) {
        embed_fail("memcached", "no memory");
    }
    for (uint64_t key = 0; key < options->keys; key++) {
        struct pil_text *out = &memcached->link.out;
        size_t len = embed_key_text(options, key, key_text);
        embed_row_pack(options, key, row);
        pil_text_format(out, "set %.*s 0 0 %zu\r\n", (int)len, key_text, memcached->shape.row_bytes);
        pil_text_append(out, row, memcached->shape.row_bytes);
        pil_text_append(out, "\r\n", 2);
        if (++owed == PIPELINE) {
            take_stored(memcached, owed);
            owed = 0;
        }
        embed_fill_progress(options, key);
    }
    take_stored(memcached, owed);
    embed_fill_report(options, "server", embed_link_server_bytes(&memcached->link));
    free(row);
    close_memcached(memcached);
}

const struct embed_reader embed_reader_memcached = {
    .name = "memcached", .open = open_memcached, .get = get, .close = close_memcached, .fill = fill};
