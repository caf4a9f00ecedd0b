/* SPDX-License-Identifier: Apache-2.0
 * Releases for tests of the cache and the server: rows 0 .. n-1 of float32 features in sealed memfds. Feature f of key
 * k has the value k * 31 + f * 7 + seed, so that every value tells which release it is from. */
#pragma once

#include "base/panic.h"
#include "base/sys.h"
#include "cache/cache.h"
#include "schema/project_read.h"
#include "snapshot/writer.h"

#include <stdlib.h>
#include <unistd.h>

static inline float fixture_value(uint64_t key, uint32_t feature, uint64_t seed) {
    return (float)((key * 31 + feature * 7 + seed) % 1000003);
}

/* Project p with view v (key id: int64) and service every. Owned by the caller. */
static inline struct pil_project *fixture_project(uint32_t feature_count) {
    struct pil_text yaml = {0}, problems = {0};
    struct pil_project *project = NULL;
    pil_text_format(
        &yaml, "project: p\nentities:\n  - {name: id, type: int64}\nfeature_views:\n  - name: v\n    entities: [id]\n"
               "    source: {type: parquet, path: x, timestamp_field: t}\n    features:\n");
    for (uint32_t i = 0; i < feature_count; i++) {
        pil_text_format(&yaml, "      - {name: f%u, type: float32}\n", i);
    }
    pil_text_format(&yaml, "feature_services:\n  - {name: every, features: [v]}\n");
    PIL_ASSERT(pil_project_parse_yaml(pil_text_bytes(&yaml), "fixture", &project, &problems) == PIL_STATUS_OK);
    pil_text_deinit(&yaml);
    pil_text_deinit(&problems);
    return project;
}

static inline void fixture_row(const struct pil_view *view, uint64_t key, uint64_t seed, uint8_t *row) {
    pil_store_i64(row, (int64_t)key);
    pil_store_i64(row + view->layout.event_ts_offset, 1700000000000000 + (int64_t)key);
    for (uint32_t f = 0; f < view->feature_count; f++) {
        pil_store_f32(row + view->features[f].offset, fixture_value(key, f, seed));
    }
}

/* A sealed memfd with the rows of one shard. */
static inline int fixture_shard(const struct pil_view *view, uint64_t row_count, uint64_t seed, uint32_t shard_index,
                                uint32_t shard_bits) {
    uint8_t *rows = calloc(row_count + 1, view->layout.stride);
    struct pil_writer_row *writer_rows = calloc(row_count + 1, sizeof *writer_rows);
    struct pil_writer_options options = {.shard_index = shard_index, .shard_bits = shard_bits};
    struct pil_writer_result result;
    struct pil_error error = {0};
    size_t count = 0;
    int fd = -1;
    PIL_ASSERT(rows != NULL && writer_rows != NULL);
    for (uint64_t key = 0; key < row_count; key++) {
        if (pil_shard_of(pil_hash_shard(pil_bytes_from(&key, sizeof key)), shard_bits) == shard_index) {
            uint8_t *row = rows + count * view->layout.stride;
            fixture_row(view, key, seed, row);
            writer_rows[count++].row = row;
        }
    }
    PIL_ASSERT(pil_writer_finish(view, &options, writer_rows, count, &result, &error) == PIL_STATUS_OK);
    PIL_ASSERT(pil_sys_memfd_create("fixture", &fd, &error) == PIL_STATUS_OK);
    PIL_ASSERT(pil_sys_write_all(fd, pil_bytes_from(result.data, result.bytes), &error) == PIL_STATUS_OK);
    PIL_ASSERT(pil_sys_memfd_seal(fd, &error) == PIL_STATUS_OK);
    pil_writer_result_deinit(&result);
    free(writer_rows);
    free(rows);
    return fd;
}

/* Takes the release. */
static inline void fixture_publish(struct pil_cache *cache, uint32_t view_index, struct pil_release *release) {
    struct pil_serving *serving = NULL;
    PIL_ASSERT(pil_serving_create(release, &serving) == PIL_STATUS_OK);
    pil_cache_publish(cache, pil_cache_view_at(cache, view_index), serving);
}

/* A mapped release of 2^shard_bits shards; its id is the seed in hex. */
static inline struct pil_release *fixture_release(const struct pil_view *view, uint64_t row_count, uint64_t seed,
                                                  uint32_t shard_bits) {
    int fds[64];
    char id[PIL_RELEASE_ID_CHARS + 1];
    struct pil_release *release = NULL;
    struct pil_error error = {0};
    uint32_t shard_count = 1u << shard_bits;
    PIL_ASSERT(shard_count <= 64);
    for (uint32_t i = 0; i < shard_count; i++) {
        fds[i] = fixture_shard(view, row_count, seed, i, shard_bits);
    }
    for (uint32_t i = 0; i < PIL_RELEASE_ID_CHARS; i++) {
        id[i] = "0123456789abcdef"[seed >> 4 * (PIL_RELEASE_ID_CHARS - 1 - i) & 15];
    }
    id[PIL_RELEASE_ID_CHARS] = '\0';
    PIL_ASSERT(pil_cache_release_map(id, fds, shard_count, &release, &error) == PIL_STATUS_OK);
    for (uint32_t i = 0; i < shard_count; i++) {
        pil_sys_close(&fds[i]);
    }
    return release;
}
