/* SPDX-License-Identifier: Apache-2.0
 * RocksDB */
#include "embed/embed.h"

#include <rocksdb/c.h>
#include <stdlib.h>

enum { KEY_BYTES = 8 };

struct rocksdb {
    rocksdb_t *db;
    rocksdb_readoptions_t *read;
    rocksdb_column_family_handle_t *family;
    struct embed_shape shape;
    uint32_t batch;
    char (*keys)[KEY_BYTES];
    const char **key_at;
    size_t *key_len;
    rocksdb_pinnableslice_t **rows;
    char **errors;
};

static void check(const char *what, char *error) {
    if (error != NULL) {
        embed_fail(what, error);
    }
}

static const char *layout(void) {
    const char *l = getenv("LAYOUT");
    return l ? l : "cuckoo";
}

static rocksdb_options_t *make_options(const struct embed_options *options) {
    rocksdb_options_t *made = rocksdb_options_create();
    rocksdb_options_set_compression(made, rocksdb_no_compression);
    rocksdb_options_set_max_open_files(made, -1);
    rocksdb_options_set_target_file_size_base(made, (uint64_t)1 << 32);
    size_t raw = options->keys * (embed_row_bytes(options) + 64);
    const char *l = layout();
    if (strcmp(l, "cuckoo") == 0) {
        rocksdb_cuckoo_table_options_t *c = rocksdb_cuckoo_options_create();
        rocksdb_options_set_allow_mmap_reads(made, 1);
        rocksdb_options_set_cuckoo_table_factory(made, c);
    } else if (strcmp(l, "plain") == 0) {
        rocksdb_options_set_allow_mmap_reads(made, 1);
        rocksdb_options_set_prefix_extractor(made, rocksdb_slicetransform_create_fixed_prefix(KEY_BYTES));
        rocksdb_options_set_plain_table_factory(made, KEY_BYTES, 10, 0.75, 16);
    } else {
        rocksdb_block_based_table_options_t *b = rocksdb_block_based_options_create();
        rocksdb_block_based_options_set_format_version(b, 5);
        rocksdb_block_based_options_set_block_size(b, getenv("BLOCK") ? strtoull(getenv("BLOCK"), NULL, 10) : 4096);
        rocksdb_block_based_options_set_data_block_index_type(
            b, rocksdb_block_based_table_data_block_index_type_binary_search_and_hash);
        rocksdb_block_based_options_set_data_block_hash_ratio(b, 0.75);
        if (getenv("HASHIDX")) {
            rocksdb_options_set_prefix_extractor(made, rocksdb_slicetransform_create_fixed_prefix(KEY_BYTES));
            rocksdb_block_based_options_set_index_type(b, rocksdb_block_based_table_index_type_hash_search);
        }
        if (strcmp(l, "mmap") == 0) {
            rocksdb_options_set_allow_mmap_reads(made, 1);
            rocksdb_block_based_options_set_no_block_cache(b, 1);
        } else {
            rocksdb_block_based_options_set_block_cache(b, rocksdb_cache_create_lru(raw * 2));
        }
        rocksdb_options_set_block_based_table_factory(made, b);
    }
    return made;
}

static void *open_rocksdb(const struct embed_options *options) {
    struct rocksdb *r = calloc(1, sizeof *r);
    char *error = NULL;
    const char *name = "default";
    r->shape = embed_shape_of(options);
    rocksdb_options_t *made = make_options(options);
    const rocksdb_options_t *mades[] = {made};
    r->db = rocksdb_open_for_read_only_column_families(made, options->path, 1, &name, mades, &r->family, 0, &error);
    check(options->path, error);
    r->read = rocksdb_readoptions_create();
    rocksdb_readoptions_set_verify_checksums(r->read, 0);
    uint32_t n = r->batch = options->batch;
    r->keys = calloc(n, KEY_BYTES);
    r->key_at = calloc(n, sizeof(char *));
    r->key_len = calloc(n, sizeof(size_t));
    r->rows = calloc(n, sizeof(void *));
    r->errors = calloc(n, sizeof(char *));
    for (uint32_t i = 0; i < n; i++) {
        r->key_at[i] = r->keys[i];
        r->key_len[i] = KEY_BYTES;
    }
    return r;
}

static bool get(void *context, const int64_t *keys, size_t count, float *values) {
    struct rocksdb *r = context;
    for (size_t i = 0; i < count; i++) {
        uint64_t big = __builtin_bswap64((uint64_t)keys[i]);
        memcpy(r->keys[i], &big, 8);
    }
    if (count > 1 && !getenv("LOOP")) {
        rocksdb_batched_multi_get_cf(r->db, r->read, r->family, count, r->key_at, r->key_len, r->rows, r->errors,
                                     false);
    } else {
        for (size_t i = 0; i < count; i++) {
            r->rows[i] = rocksdb_get_pinned_cf(r->db, r->read, r->family, r->keys[i], KEY_BYTES, &r->errors[i]);
        }
    }
    bool ok = true;
    for (size_t i = 0; i < count; i++) {
        size_t len = 0;
        const char *row = r->rows[i] ? rocksdb_pinnableslice_value(r->rows[i], &len) : NULL;
        if (len >= r->shape.row_bytes) {
            embed_row_unpack(&r->shape, row, values + i * r->shape.features);
        } else {
            ok = false;
        }
        if (r->rows[i])
            rocksdb_pinnableslice_destroy(r->rows[i]);
    }
    return ok;
}

static void close_rocksdb(void *context) {
    (void)context;
}

static void fill(const struct embed_options *options) {
    char partial[4096], *error = NULL;
    embed_fill_begin(options, partial);
    rocksdb_options_t *made = make_options(options);
    rocksdb_options_set_create_if_missing(made, 1);
    rocksdb_options_prepare_for_bulk_load(made);
    rocksdb_options_set_memtable_vector_rep(made);
    rocksdb_options_set_allow_concurrent_memtable_write(made, 0);
    rocksdb_t *db = rocksdb_open(made, partial, &error);
    check(partial, error);
    rocksdb_writeoptions_t *w = rocksdb_writeoptions_create();
    rocksdb_writeoptions_disable_WAL(w, 1);
    char row[16384];
    for (uint64_t id = 0; id < options->keys; id++) {
        uint64_t big = __builtin_bswap64(id);
        embed_row_pack(options, id, row);
        rocksdb_put(db, w, (char *)&big, 8, row, embed_row_bytes(options), &error);
        check(partial, error);
        embed_fill_progress(options, id);
    }
    rocksdb_flushoptions_t *f = rocksdb_flushoptions_create();
    rocksdb_flush(db, f, &error);
    check(partial, error);
    rocksdb_compact_range(db, NULL, 0, NULL, 0);
    rocksdb_close(db);
    embed_fill_commit(options, partial);
}

const struct embed_reader embed_reader_rocksdb = {
    .name = "rocksdb", .open = open_rocksdb, .get = get, .close = close_rocksdb, .fill = fill};
