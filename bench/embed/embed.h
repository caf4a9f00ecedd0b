/* SPDX-License-Identifier: Apache-2.0
 * In-process readers of the same rows: the cost of a call inside the model server's own process. A reader fills a
 * row-major float32 tensor for a batch of keys. Tour: options.c; run.c (calls and their clock), counters.c, report.c;
 * row.c (the packed row that peers store); link.c (servers); fill.c; one file for each reader. */
#pragma once

#include "load/load.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { EMBED_PROCESSES_MAX = 64, EMBED_WIDTH_MAX = 4096, EMBED_KEY_BYTES = 200 };

typedef enum embed_type { EMBED_FLOAT32, EMBED_FLOAT16, EMBED_INT8 } embed_type;

struct embed_reader;

struct embed_options {
    const struct embed_reader *reader;
    const char *address; /* "unix:PATH" of a server; NULL when the reader needs none */
    const char *path;    /* folder of a database, or for "null" the file of --fill */
    const char *service, *view, *key_prefix;
    uint64_t keys;     /* row numbers 0 .. keys - 1 */
    uint32_t width;    /* values of a stored row */
    uint32_t features; /* requested values, evenly spread over the row */
    embed_type type;   /* of stored values */
    uint32_t batch, processes;
    double zipf, duration_s, warmup_s;
    double rate; /* calls per second at fixed distances; 0: one after another */
    const char *samples_path;
    uint64_t fill_seed;
    int64_t seed; /* values are checked against this seed of make_release; -1: no check */
    uint64_t random;
    bool is_fill, is_json;
};
/* Exits with a message and status 2 if the command line is wrong. */
struct embed_options embed_options_parse(int argc, char **argv);
const char *embed_type_name(embed_type type);

/* All functions exit with a message if the reader, its server or its database is not available. */
struct embed_reader {
    const char *name;
    bool is_shared; /* opened once for all processes, before they are forked */
    void *(*open)(const struct embed_options *options);
    /* Returns false if a key was missing or the reader failed. */
    bool (*get)(void *reader, const int64_t *keys, size_t count, float *values);
    void (*close)(void *reader);
    void (*fill)(const struct embed_options *options); /* NULL: filled in another way */
    const char *missing;                               /* the library that this build lacks; NULL: none */
};
extern const struct embed_reader embed_reader_mapped, embed_reader_socket, embed_reader_array, embed_reader_lmdb,
    embed_reader_rocksdb, embed_reader_redis, embed_reader_memcached, embed_reader_null;
extern const struct embed_reader *const embed_readers[];
extern const size_t embed_reader_count;

/* ---- Rows: `width` values of `type`, packed, little-endian. */

/* The index in the row of feature f of a call. */
static inline uint32_t embed_pick(const struct embed_options *options, uint32_t feature) {
    return (uint32_t)((uint64_t)feature * options->width / options->features);
}
/* Value `at` of row `key`, as make_release writes it: float32 features, or a single vector<float16|int8,width>. */
float embed_value(const struct embed_options *options, uint64_t key, uint32_t at, uint64_t seed);
size_t embed_row_bytes(const struct embed_options *options);
void embed_row_pack(const struct embed_options *options, uint64_t key, void *row);

struct embed_shape {
    embed_type type;
    bool is_whole; /* all values of the row are requested, in order */
    bool has_lanes;
    uint32_t features;
    size_t row_bytes;
    uint16_t picks[EMBED_WIDTH_MAX];
};
struct embed_shape embed_shape_of(const struct embed_options *options);
/* What a caller does with a packed row: writes the requested values to its tensor, as float32. */
void embed_row_unpack(const struct embed_shape *shape, const void *row, float *values);

/* ---- Servers: one blocking connection. */

struct embed_link {
    int fd;
    const char *address;
    struct pil_text out;
    uint8_t *in;
    size_t in_capacity, in_begin, in_end;
};
void embed_link_open(struct embed_link *link, const struct embed_options *options);
void embed_link_close(struct embed_link *link);
/* Sends `out` and empties it. */
void embed_link_send(struct embed_link *link);
/* The next `bytes` bytes of the answer, valid until the next call. */
const uint8_t *embed_link_take(struct embed_link *link, size_t bytes);
/* The next line without its end, and its length. */
const char *embed_link_line(struct embed_link *link, size_t *ret_len);
/* Writes the prefix and the decimal row number; returns the length. */
size_t embed_key_text(const struct embed_options *options, uint64_t key, char ret_text[EMBED_KEY_BYTES]);
/* PSS of the server process. */
uint64_t embed_link_server_bytes(const struct embed_link *link);

/* Reads every page of all mapped files whose names begin with `prefix`, or of all files in a folder; at most
 * `bytes_max` of each. */
void embed_pages_touch(const char *prefix, uint64_t bytes_max);
void embed_folder_touch(const char *path, uint64_t bytes_max);

/* ---- Filling */

/* Shows the progress: on a terminal continuously, elsewhere every few seconds. */
void embed_fill_progress(const struct embed_options *options, uint64_t done);
void embed_fill_report(const struct embed_options *options, const char *what, uint64_t bytes);
/* For databases: begin makes a folder beside options->path, which must not exist; commit renames it to options->path
 * when it is complete. */
void embed_fill_begin(const struct embed_options *options, char ret_partial[4096]);
void embed_fill_commit(const struct embed_options *options, const char *partial);

void embed_fail(const char *what, const char *why) __attribute__((noreturn));
