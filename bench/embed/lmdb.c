/* SPDX-License-Identifier: Apache-2.0
 * LMDB as its authors advise for reads: integer keys, one read transaction that is renewed for each call, no copy but
 * the one to the tensor, no read-ahead, pages filled in order, page tables filled before measuring. Keys are looked up
 * in the order of the call: sorting gains nothing while they are few among many rows, a cursor that is kept costs 5 to
 * 10 % more than mdb_get, and MDB_NOLOCK saves nothing measurable. Its map is not aligned for huge pages
 * (MADV_COLLAPSE: EINVAL). */
#include "embed/embed.h"

#include <lmdb.h>
#include <stdlib.h>
#include <sys/mman.h>

struct lmdb {
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    struct embed_shape shape;
};

static void check(const char *what, int code) {
    if (code != 0) {
        embed_fail(what, mdb_strerror(code));
    }
}

static void check_row(const struct embed_options *options, struct lmdb *lmdb) {
    uint64_t first = 0;
    MDB_val key = {.mv_size = sizeof first, .mv_data = &first}, row;
    MDB_stat about;
    check(options->path, mdb_get(lmdb->txn, lmdb->dbi, &key, &row));
    check(options->path, mdb_stat(lmdb->txn, lmdb->dbi, &about));
    if (row.mv_size != lmdb->shape.row_bytes || about.ms_entries < options->keys) {
        char why[160];
        snprintf(why, sizeof why, "has %zu rows of %zu bytes; --keys and --width say %llu of %zu", about.ms_entries,
                 row.mv_size, (unsigned long long)options->keys, lmdb->shape.row_bytes);
        embed_fail(options->path, why);
    }
}

static void *open_lmdb(const struct embed_options *options) {
    struct lmdb *lmdb = calloc(1, sizeof *lmdb);
    MDB_envinfo info;
    MDB_stat about;
    if (lmdb == NULL || options->path == NULL) {
        embed_fail("lmdb", lmdb == NULL ? "no memory" : "needs --path of its folder");
    }
    lmdb->shape = embed_shape_of(options);
    check("lmdb", mdb_env_create(&lmdb->env));
    check(options->path, mdb_env_open(lmdb->env, options->path, MDB_RDONLY | MDB_NORDAHEAD | MDB_NOTLS, 0666));
    check(options->path, mdb_txn_begin(lmdb->env, NULL, MDB_RDONLY, &lmdb->txn));
    check(options->path, mdb_dbi_open(lmdb->txn, NULL, MDB_INTEGERKEY, &lmdb->dbi));
    check_row(options, lmdb);
    check(options->path, mdb_env_info(lmdb->env, &info));
    check(options->path, mdb_stat(lmdb->txn, lmdb->dbi, &about));
    embed_folder_touch(options->path, (info.me_last_pgno + 1) * about.ms_psize);
    mdb_txn_reset(lmdb->txn);
    return lmdb;
}

static bool get(void *context, const int64_t *keys, size_t count, float *values) {
    struct lmdb *lmdb = context;
    bool ok = mdb_txn_renew(lmdb->txn) == 0;
    for (size_t i = 0; i < count && ok; i++) {
        MDB_val key = {.mv_size = sizeof keys[i], .mv_data = (void *)(uintptr_t)&keys[i]}, row;
        ok = mdb_get(lmdb->txn, lmdb->dbi, &key, &row) == 0 && row.mv_size >= lmdb->shape.row_bytes;
        if (ok) {
            embed_row_unpack(&lmdb->shape, row.mv_data, values + i * lmdb->shape.features);
        }
    }
    mdb_txn_reset(lmdb->txn);
    return ok;
}

static void close_lmdb(void *context) {
    struct lmdb *lmdb = context;
    mdb_txn_abort(lmdb->txn);
    mdb_env_close(lmdb->env);
    free(lmdb);
}

/* One transaction with keys in order, so that pages are filled completely. */
static void fill(const struct embed_options *options) {
    struct lmdb lmdb = {.shape = embed_shape_of(options)};
    char partial[4096];
    embed_fill_begin(options, partial);
    size_t room = (options->keys * (lmdb.shape.row_bytes + 64) * 2 + (64u << 20)) / 4096 * 4096;
    check("lmdb", mdb_env_create(&lmdb.env));
    check("lmdb", mdb_env_set_mapsize(lmdb.env, room));
    check(partial, mdb_env_open(lmdb.env, partial, MDB_NOSYNC | MDB_WRITEMAP, 0666));
    check(partial, mdb_txn_begin(lmdb.env, NULL, 0, &lmdb.txn));
    check(partial, mdb_dbi_open(lmdb.txn, NULL, MDB_INTEGERKEY | MDB_CREATE, &lmdb.dbi));
    for (uint64_t id = 0; id < options->keys; id++) {
        MDB_val key = {.mv_size = sizeof id, .mv_data = &id}, row = {.mv_size = lmdb.shape.row_bytes};
        check(partial, mdb_put(lmdb.txn, lmdb.dbi, &key, &row, MDB_APPEND | MDB_RESERVE));
        embed_row_pack(options, id, row.mv_data);
        embed_fill_progress(options, id);
    }
    check(partial, mdb_txn_commit(lmdb.txn));
    check(partial, mdb_env_sync(lmdb.env, 1));
    mdb_env_close(lmdb.env);
    embed_fill_commit(options, partial);
}

const struct embed_reader embed_reader_lmdb = {
    .name = "lmdb", .open = open_lmdb, .get = get, .close = close_lmdb, .fill = fill};
