/* SPDX-License-Identifier: Apache-2.0
 * memcached's text protocol: a packed row per key, and one `get` for many keys, which the server answers after a single
 * read of the socket (it would serve pipelined requests 20 at a time). */
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

static bool is_head_of(const struct memcached *memcached, const char *line, size_t len, uint64_t key) {
    char wanted[EMBED_KEY_BYTES + 8] = "VALUE ";
    size_t wanted_len = 6 + embed_key_text(memcached->options, key, wanted + 6);
    wanted[wanted_len++] = ' ';
    return len > wanted_len && memcmp(line, wanted, wanted_len) == 0;
}

/* Parses the last word of "VALUE <key> <flags> <bytes>". */
static size_t bytes_of(const char *line, size_t len) {
    size_t bytes = 0;
    for (const char *at = (const char *)memrchr(line, ' ', len) + 1; at < line + len; at++) {
        bytes = bytes * 10 + (size_t)(*at - '0');
    }
    return bytes;
}

static void take_row(struct memcached *memcached, size_t bytes, float *values) {
    const uint8_t *row = embed_link_take(&memcached->link, bytes + 2);
    if (bytes < memcached->shape.row_bytes) {
        char why[96];
        snprintf(why, sizeof why, "a row has %zu bytes, --width says %zu", bytes, memcached->shape.row_bytes);
        embed_fail(memcached->options->address, why);
    }
    embed_row_unpack(&memcached->shape, row, values);
}

/* Rows come in the order of the keys; missing ones are left out. */
static bool take_rows(struct memcached *memcached, const int64_t *keys, size_t count, float *values) {
    bool ok = true;
    for (size_t i = 0;; i++) {
        size_t len;
        const char *line = embed_link_line(&memcached->link, &len);
        if (len == 3 && memcmp(line, "END", 3) == 0) {
            return ok && i == count;
        }
        while (i < count && !is_head_of(memcached, line, len, (uint64_t)keys[i])) {
            ok = false;
            i++;
        }
        if (i == count) {
            fail_answer(memcached, line, len);
        }
        take_row(memcached, bytes_of(line, len), values + i * memcached->shape.features);
    }
}

static bool get(void *context, const int64_t *keys, size_t count, float *values) {
    struct memcached *memcached = context;
    char text[EMBED_KEY_BYTES + 1] = " ";
    pil_text_append(&memcached->link.out, "get", 3);
    for (size_t i = 0; i < count; i++) {
        size_t len = 1 + embed_key_text(memcached->options, (uint64_t)keys[i], text + 1);
        pil_text_append(&memcached->link.out, text, len);
    }
    pil_text_append(&memcached->link.out, "\r\n", 2);
    embed_link_send(&memcached->link);
    return take_rows(memcached, keys, count, values);
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
    size_t row_bytes = memcached->shape.row_bytes;
    uint8_t *row = malloc(row_bytes);
    uint64_t owed = 0;
    char text[EMBED_KEY_BYTES];
    if (row == NULL) {
        embed_fail("memcached", "no memory");
    }
    for (uint64_t key = 0; key < options->keys; key++) {
        struct pil_text *out = &memcached->link.out;
        size_t len = embed_key_text(options, key, text);
        embed_row_pack(options, key, row);
        pil_text_format(out, "set %.*s 0 0 %zu\r\n", (int)len, text, row_bytes);
        pil_text_append(out, row, row_bytes);
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
