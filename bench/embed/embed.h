/* SPDX-License-Identifier: Apache-2.0
 * In-process readers of the same rows: what one call costs inside of the model server's own process. A reader fills a
 * row-major float32 tensor for a batch of keys. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct embed_options {
    const char *reader;  /* "mapped", "socket", "array" */
    const char *address; /* of a daemon's listener; NULL where the reader needs none */
    const char *service;
    uint64_t keys; /* row numbers 0 .. keys - 1 */
    uint32_t features;
    uint32_t batch;
    double zipf, duration_s, warmup_s;
    int64_t seed; /* values are checked against this seed of make_release; -1: not */
    uint64_t random;
    bool is_json;
};

/* Exits with a message when it cannot be opened. */
struct embed_reader {
    const char *name;
    void *(*open)(const struct embed_options *options);
    /* false: a key was missing, or the reader failed. */
    bool (*get)(void *reader, const int64_t *keys, size_t count, float *values);
    void (*close)(void *reader);
};
extern const struct embed_reader embed_reader_mapped, embed_reader_socket, embed_reader_array;

/* Feature f of row k, as make_release writes it. */
static inline float embed_value(uint64_t key, uint32_t feature, uint64_t seed) {
    return (float)((key * 31 + feature * 7 + seed) % 1000003);
}
void embed_fail(const char *what, const char *why) __attribute__((noreturn));
