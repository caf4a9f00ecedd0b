/* SPDX-License-Identifier: Apache-2.0
 * Redis and servers with its protocol: a packed row per key, GET for one and MGET for many. */
#include "embed/embed.h"

#include <stdlib.h>

enum { PIPELINE = 256 };

struct redis {
    const struct embed_options *options;
    struct embed_link link;
    struct embed_shape shape;
};

static void put_key(struct redis *redis, uint64_t key) {
    char text[EMBED_KEY_BYTES], head[EMBED_KEY_BYTES + 16];
    size_t len = embed_key_text(redis->options, key, text);
    size_t at = 0;
    head[at++] = '$';
    if (len >= 100) {
        head[at++] = (char)('0' + len / 100);
    }
    if (len >= 10) {
        head[at++] = (char)('0' + len / 10 % 10);
    }
    head[at++] = (char)('0' + len % 10);
    memcpy(head + at, "\r\n", 2);
    memcpy(head + at + 2, text, len);
    memcpy(head + at + 2 + len, "\r\n", 2);
    pil_text_append(&redis->link.out, head, at + len + 4);
}

static void fail_reply(const struct redis *redis, const char *line, size_t len) {
    char text[256];
    snprintf(text, sizeof text, "unexpected answer: %.*s", (int)(len < 200 ? len : 200), line);
    embed_fail(redis->options->address, text);
}

/* The number after `kind`; −1 for null. */
static int64_t take_number(struct redis *redis, char kind) {
    size_t len;
    const char *line = embed_link_line(&redis->link, &len);
    int64_t value = 0;
    if (len < 2 || line[0] != kind) {
        fail_reply(redis, line, len);
    }
    for (size_t i = 1; i < len && line[i] != '-'; i++) {
        value = value * 10 + (line[i] - '0');
    }
    return line[1] == '-' ? -1 : value;
}

static void *open_redis(const struct embed_options *options) {
    struct redis *redis = calloc(1, sizeof *redis);
    if (redis == NULL) {
        embed_fail("redis", "no memory");
    }
    redis->options = options;
    redis->shape = embed_shape_of(options);
    embed_link_open(&redis->link, options);
    return redis;
}

static bool take_row(struct redis *redis, float *values) {
    int64_t len = take_number(redis, '$');
    if (len < 0) {
        return false;
    }
    const uint8_t *row = embed_link_take(&redis->link, (size_t)len + 2);
    if ((size_t)len < redis->shape.row_bytes) {
        char why[96];
        snprintf(why, sizeof why, "a row has %lld bytes, --width says %zu", (long long)len, redis->shape.row_bytes);
        embed_fail(redis->options->address, why);
    }
    embed_row_unpack(&redis->shape, row, values);
    return true;
}

static bool get(void *context, const int64_t *keys, size_t count, float *values) {
    struct redis *redis = context;
    bool ok = true;
    if (count == 1) {
        pil_text_append(&redis->link.out, "*2\r\n$3\r\nGET\r\n", 13);
    } else {
        pil_text_format(&redis->link.out, "*%zu\r\n$4\r\nMGET\r\n", count + 1);
    }
    for (size_t i = 0; i < count; i++) {
        put_key(redis, (uint64_t)keys[i]);
    }
    embed_link_send(&redis->link);
    if (count > 1 && take_number(redis, '*') != (int64_t)count) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        ok &= take_row(redis, values + i * redis->shape.features);
    }
    return ok;
}

static void close_redis(void *context) {
    struct redis *redis = context;
    embed_link_close(&redis->link);
    free(redis);
}

static void take_stored(struct redis *redis, uint64_t count) {
    embed_link_send(&redis->link);
    for (; count > 0; count--) {
        size_t len;
        const char *line = embed_link_line(&redis->link, &len);
        if (len != 3 || memcmp(line, "+OK", 3) != 0) {
            fail_reply(redis, line, len);
        }
    }
}

static void fill(const struct embed_options *options) {
    struct redis *redis = open_redis(options);
    uint8_t *row = malloc(redis->shape.row_bytes);
    uint64_t owed = 0;
    if (row == NULL) {
        embed_fail("redis", "no memory");
    }
    for (uint64_t key = 0; key < options->keys; key++) {
        pil_text_append(&redis->link.out, "*3\r\n$3\r\nSET\r\n", 13);
        put_key(redis, key);
        embed_row_pack(options, key, row);
        pil_text_format(&redis->link.out, "$%zu\r\n", redis->shape.row_bytes);
        pil_text_append(&redis->link.out, row, redis->shape.row_bytes);
        pil_text_append(&redis->link.out, "\r\n", 2);
        if (++owed == PIPELINE) {
            take_stored(redis, owed);
            owed = 0;
        }
        embed_fill_progress(options, key);
    }
    take_stored(redis, owed);
    embed_fill_report(options, "server", embed_link_server_bytes(&redis->link));
    free(row);
    close_redis(redis);
}

const struct embed_reader embed_reader_redis = {
    .name = "redis", .open = open_redis, .get = get, .close = close_redis, .fill = fill};
