/* SPDX-License-Identifier: Apache-2.0
 * The cost of a shard: rows written per second from memory (including hashing, index and checksums), bits per key of
 * the index, size relative to the raw payload (8-byte key and the values), verification, and lookups of random keys one
 * after another.
 *     snapshot_bench [ROWS]        one line per case; the last is a view of 1,000 rows */
#include "base/clock.h"
#include "snapshot/verify.h"
#include "snapshot/writer.h"

#include <stdio.h>
#include <stdlib.h>

enum { ROUNDS = 3, LOOKUPS = 2000000 };

struct table {
    struct pil_view *view;
    uint8_t *bytes;
    struct pil_writer_row *rows;
    size_t count;
};

static uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 31)) * 0x7fb5d329728ea185ull;
    x = (x ^ (x >> 27)) * 0x81dadef4bc2dd44dull;
    return x ^ (x >> 33);
}

static void check(pil_status status, const struct pil_error *error) {
    if (status != PIL_STATUS_OK) {
        fprintf(stderr, "snapshot_bench: %s: %s\n", pil_status_text(status), error->text);
        exit(1);
    }
}

static struct pil_view *make_view(uint32_t feature_count) {
    struct pil_view draft = {.project = "bench", .name = "floats", .entity_count = 1, .feature_count = feature_count};
    struct pil_entity entity = {.name = "id", .join_key = "id", .type = PIL_SCALAR_INT64};
    struct pil_feature *features = calloc(feature_count, sizeof *features);
    char(*names)[16] = calloc(feature_count, sizeof *names);
    PIL_ASSERT(features != NULL && names != NULL);
    for (uint32_t i = 0; i < feature_count; i++) {
        snprintf(names[i], sizeof names[i], "f%u", i);
        features[i] = (struct pil_feature){.name = names[i], .type = {.scalar = PIL_SCALAR_FLOAT32}};
    }
    draft.entities = &entity;
    draft.features = features;
    struct pil_error error;
    check(pil_view_layout(&draft, &error), &error);
    struct pil_view *view = pil_view_clone(&draft);
    free(features);
    free(names);
    return view;
}

static struct table make_table(uint32_t feature_count, size_t count) {
    struct table table = {.view = make_view(feature_count), .count = count};
    const struct pil_row_layout *layout = &table.view->layout;
    table.bytes = calloc(count, layout->stride);
    table.rows = calloc(count, sizeof *table.rows);
    PIL_ASSERT(table.bytes != NULL && table.rows != NULL);
    for (size_t i = 0; i < count; i++) {
        uint8_t *row = table.bytes + i * layout->stride;
        pil_store_u64(row, mix(i + 1));
        pil_store_i64(row + layout->event_ts_offset, 1700000000000000 + (int64_t)i);
        for (uint32_t feature = 0; feature < feature_count; feature++) {
            pil_store_f32(row + table.view->features[feature].offset, (float)(i * feature_count + feature));
        }
        table.rows[i] = (struct pil_writer_row){.row = row};
    }
    return table;
}

static double find_ns(const struct pil_shard *shard, size_t count) {
    uint64_t start = pil_clock_monotonic_ns(), key = 0;
    for (int i = 0; i < LOOKUPS; i++) {
        key = mix((key ^ (uint64_t)i) % count + 1); /* depends on the previous row: no overlap */
        const uint8_t *row = pil_shard_find(shard, pil_bytes_from(&key, sizeof key));
        PIL_ASSERT(row != NULL);
        key = pil_load_u64(row);
    }
    return (double)(pil_clock_monotonic_ns() - start) / LOOKUPS;
}

static void run(uint32_t feature_count, size_t count) {
    struct table table = make_table(feature_count, count);
    struct pil_writer_options options = {0};
    struct pil_writer_result best = {0};
    struct pil_error error;
    uint64_t write_ns = UINT64_MAX, verify_ns = UINT64_MAX;
    for (int round = 0; round < ROUNDS; round++) {
        pil_writer_result_deinit(&best);
        uint64_t start = pil_clock_monotonic_ns();
        check(pil_writer_finish(table.view, &options, table.rows, count, &best, &error), &error);
        uint64_t took = pil_clock_monotonic_ns() - start;
        write_ns = took < write_ns ? took : write_ns;
    }
    struct pil_bytes file = pil_bytes_from(best.data, best.bytes);
    struct pil_verify_options verify = {.id = &best.id};
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t start = pil_clock_monotonic_ns();
        check(pil_verify(file, &verify, &error), &error);
        uint64_t took = pil_clock_monotonic_ns() - start;
        verify_ns = took < verify_ns ? took : verify_ns;
    }
    struct pil_shard shard;
    check(pil_shard_open(file, &shard, &error), &error);
    double payload = (double)count * (8 + 4.0 * feature_count);
    printf("%u float32 x %zu: %.2f M rows/s, %.2f bits/key, seed %u, %zu bytes = %.3f x payload, verify %.2f GB/s, "
           "find %.0f ns\n",
           feature_count, count, (double)count * 1e3 / (double)write_ns,
           8.0 * (double)best.section_bytes[PIL_SECTION_PILOTS] / (double)count, best.hash_attempts, best.bytes,
           (double)best.bytes / payload, (double)best.bytes / (double)verify_ns, find_ns(&shard, count));
    pil_shard_close(&shard);
    pil_writer_result_deinit(&best);
    pil_view_destroy(&table.view);
    free(table.bytes);
    free(table.rows);
}

int main(int argc, char **argv) {
    size_t count = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000000;
    if (argc > 2 || count == 0 || count > PIL_SHARD_ROWS_MAX) {
        fprintf(stderr, "usage: %s [ROWS]   (1 to %d)\n", argv[0], PIL_SHARD_ROWS_MAX);
        return 2;
    }
    run(10, count);
    run(50, count);
    run(10, 1000);
    return 0;
}
