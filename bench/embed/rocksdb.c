/* SPDX-License-Identifier: Apache-2.0
 * RocksDB in its fastest set-up for rows that are only read: cuckoo tables, which its documentation recommends for
 * point lookups (a hash of the key gives the place of the row in a mapped file), filled in order and compacted, opened
 * read-only, without block cache, compression and checksums at reads. Compared to its other set-ups on 1 M rows of 50
 * float32, one key: cuckoo 0.6 µs, plain table 1.0, block-based mapped 2.2, block-based with a cache for all rows 2.7.
 * A batch is a number of pinned gets: cuckoo and plain tables gain nothing from MultiGet, which sorts and allocates (71
 * µs against 82 for 100). */
#include "embed/embed.h"

#include <rocksdb/c.h>
#include <stdlib.h>

enum { KEY_BYTES = 8 };

struct rocksdb {
    rocksdb_options_t *options;
    rocksdb_readoptions_t *read;
    rocksdb_t *db;
    struct embed_shape shape;
};

static void check(const char *what, const char *error) {
    if (error != NULL) {
        embed_fail(what, error);
    }
}

/* Big-endian, so that the byte order of keys is their numeric order. */
static uint64_t key_of(uint64_t row) {
    return __builtin_bswap64(row);
}

static rocksdb_options_t *make_options(void) {
    rocksdb_options_t *options = rocksdb_options_create();
    rocksdb_cuckoo_table_options_t *cuckoo = rocksdb_cuckoo_options_create();
    rocksdb_options_set_cuckoo_table_factory(options, cuckoo);
    rocksdb_cuckoo_options_destroy(cuckoo);
    rocksdb_options_set_allow_mmap_reads(options, 1);
    rocksdb_options_set_compression(options, rocksdb_no_compression);
    rocksdb_options_set_max_open_files(options, -1);
    return options;
}

static void check_row(const struct embed_options *options, const struct rocksdb *rocksdb) {
    uint64_t last = key_of(options->keys - 1);
    size_t len = 0;
    char *error = NULL, why[160];
    rocksdb_pinnableslice_t *row =
        rocksdb_get_pinned(rocksdb->db, rocksdb->read, (const char *)&last, KEY_BYTES, &error);
    check(options->path, error);
    if (row != NULL) {
        (void)rocksdb_pinnableslice_value(row, &len);
        rocksdb_pinnableslice_destroy(row);
    }
    if (len != rocksdb->shape.row_bytes) {
        snprintf(why, sizeof why, "row %llu has %zu bytes; --keys and --width say it has %zu",
                 (unsigned long long)options->keys - 1, len, rocksdb->shape.row_bytes);
        embed_fail(options->path, why);
    }
}

static void *open_rocksdb(const struct embed_options *options) {
    struct rocksdb *rocksdb = calloc(1, sizeof *rocksdb);
    char *error = NULL;
    if (rocksdb == NULL || options->path == NULL) {
        embed_fail("rocksdb", rocksdb == NULL ? "no memory" : "needs --path of its folder");
    }
    rocksdb->shape = embed_shape_of(options);
    rocksdb->options = make_options();
    rocksdb->read = rocksdb_readoptions_create();
    rocksdb_readoptions_set_verify_checksums(rocksdb->read, 0);
    rocksdb->db = rocksdb_open_for_read_only(rocksdb->options, options->path, 0, &error);
    check(options->path, error);
    check_row(options, rocksdb);
    embed_folder_touch(options->path, UINT64_MAX);
    return rocksdb;
}

static bool get(void *context, const int64_t *keys, size_t count, float *values) {
    struct rocksdb *rocksdb = context;
    for (size_t i = 0; i < count; i++) {
        uint64_t key = key_of((uint64_t)keys[i]);
        size_t len = 0;
        char *error = NULL;
        rocksdb_pinnableslice_t *row =
            rocksdb_get_pinned(rocksdb->db, rocksdb->read, (const char *)&key, KEY_BYTES, &error);
        if (row == NULL) {
            free(error);
            return false;
        }
        embed_row_unpack(&rocksdb->shape, rocksdb_pinnableslice_value(row, &len), values + i * rocksdb->shape.features);
        rocksdb_pinnableslice_destroy(row);
    }
    return true;
}

static void close_rocksdb(void *context) {
    struct rocksdb *rocksdb = context;
    rocksdb_close(rocksdb->db);
    rocksdb_readoptions_destroy(rocksdb->read);
    rocksdb_options_destroy(rocksdb->options);
    free(rocksdb);
}

static void put_all(const struct embed_options *options, const char *partial, rocksdb_t *db) {
    rocksdb_writeoptions_t *write = rocksdb_writeoptions_create();
    rocksdb_flushoptions_t *flush = rocksdb_flushoptions_create();
    size_t bytes = embed_row_bytes(options);
    char *row = malloc(bytes), *error = NULL;
    if (row == NULL) {
        embed_fail("rocksdb", "no memory");
    }
    rocksdb_writeoptions_disable_WAL(write, 1);
    for (uint64_t id = 0; id < options->keys; id++) {
        uint64_t key = key_of(id);
        embed_row_pack(options, id, row);
        rocksdb_put(db, write, (const char *)&key, KEY_BYTES, row, bytes, &error);
        check(partial, error);
        embed_fill_progress(options, id);
    }
    rocksdb_flush(db, flush, &error);
    check(partial, error);
    rocksdb_compact_range(db, NULL, 0, NULL, 0);
    rocksdb_flushoptions_destroy(flush);
    rocksdb_writeoptions_destroy(write);
    free(row);
}

/* Uses big files: a lookup reads one file, and with fewer files it is found sooner. */
static void fill(const struct embed_options *options) {
    char partial[4096], *error = NULL;
    embed_fill_begin(options, partial);
    rocksdb_options_t *made = make_options();
    rocksdb_options_set_create_if_missing(made, 1);
    rocksdb_options_prepare_for_bulk_load(made);
    rocksdb_options_set_memtable_vector_rep(made);
    rocksdb_options_set_allow_concurrent_memtable_write(made, 0);
    rocksdb_options_set_write_buffer_size(made, (size_t)1 << 30);
    rocksdb_t *db = rocksdb_open(made, partial, &error);
    check(partial, error);
    put_all(options, partial, db);
    rocksdb_close(db);
    rocksdb_options_destroy(made);
    embed_fill_commit(options, partial);
}

const struct embed_reader embed_reader_rocksdb = {
    .name = "rocksdb", .open = open_rocksdb, .get = get, .close = close_rocksdb, .fill = fill};
