/* SPDX-License-Identifier: Apache-2.0
 * Writes shard files for readers in other languages, for the golden files and for the corpus of the fuzzer:
 *     shard_samples FOLDER            NAME.pilshard for each sample of shard_random.h; the same bytes on every run
 *     shard_samples FOLDER SEED       random tables as well, and the two largest shapes: many features, long keys */
#include "base/sys.h"
#include "support/shard_random.h"

#include <fcntl.h>
#include <unistd.h>

enum { RANDOM_TABLES = 12, WIDE_FEATURES = 4000 };

static const char *const random_entities[] = {"int64", "string", "bytes;int32", "int32;unix_timestamp;int64",
                                              "string;string"};

static void fail(const char *what, const char *why) {
    fprintf(stderr, "shard_samples: %s: %s\n", what, why);
    exit(1);
}

static void save(const char *folder, const char *name, struct fixture_table *table, struct pil_writer_options options) {
    struct pil_writer_result result;
    struct pil_error error;
    char path[4096];
    snprintf(path, sizeof path, "%s/%s.pilshard", folder, name);
    if (fixture_table_write(table, &options, &result, &error) != PIL_STATUS_OK) {
        fail(name, error.text);
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || pil_sys_write_all(fd, fixture_result_bytes(&result), &error) != PIL_STATUS_OK || close(fd) != 0) {
        fail(path, "cannot be written");
    }
    pil_writer_result_deinit(&result);
    fixture_table_deinit(table);
}

/* Features of every type in turn. */
static struct fixture_table table_of_all_types(const char *entities, size_t feature_count) {
    static const char *const types[] = {"bool",
                                        "int32",
                                        "list<bool>",
                                        "int64",
                                        "string",
                                        "float32",
                                        "list<int32>",
                                        "float64",
                                        "bytes",
                                        "list<int64>",
                                        "unix_timestamp",
                                        "list<float32>",
                                        "vector<float32,3>",
                                        "list<float64>",
                                        "vector<float16,5>",
                                        "list<string>",
                                        "vector<bfloat16,2>",
                                        "list<bytes>",
                                        "vector<int8,9>",
                                        "list<unix_timestamp>"};
    struct pil_text features = {0};
    for (size_t i = 0; i < feature_count; i++) {
        pil_text_format(&features, "%s;", types[i % (sizeof types / sizeof *types)]);
    }
    struct fixture_table table = fixture_table_make(entities, pil_text_chars(&features));
    pil_text_deinit(&features);
    return table;
}

static void save_random(const char *folder, uint64_t seed) {
    uint64_t random = seed | 1;
    for (size_t i = 0; i < RANDOM_TABLES; i++) {
        char name[32];
        snprintf(name, sizeof name, "random_%zu", i);
        size_t entities = i % (sizeof random_entities / sizeof *random_entities);
        struct fixture_table table = table_of_all_types(random_entities[entities], fixture_below(&random, 41));
        random_rows(&random, &table, 1 + fixture_below(&random, 150), fixture_below(&random, 6));
        save(folder, name, &table, (struct pil_writer_options){.hash_seed = fixture_random(&random)});
    }
    struct fixture_table wide = table_of_all_types("int64", WIDE_FEATURES);
    random_rows(&random, &wide, 4, 3);
    save(folder, "wide", &wide, (struct pil_writer_options){0});
    static const size_t lens[] = {1000, 32768, 65535, PIL_KEY_BYTES_MAX};
    struct fixture_table keys = fixture_table_make("string", "bytes");
    char *key = fixture_alloc(PIL_KEY_BYTES_MAX);
    memset(key, 'k', PIL_KEY_BYTES_MAX);
    for (size_t i = 0; i < 300 + sizeof lens / sizeof *lens; i++) {
        size_t len = i < 300 ? i : lens[i - 300];
        fixture_row_set(fixture_table_add(&keys, key, len, (int64_t)len), 0, key, len / 2);
    }
    free(key);
    save(folder, "long_keys", &keys, (struct pil_writer_options){0});
}

int main(int argc, char **argv) {
    if (argc != 2 && argc != 3) {
        fprintf(stderr, "usage: %s FOLDER [SEED]\n", argv[0]);
        return 2;
    }
    for (size_t i = 0; i < SAMPLE_COUNT; i++) {
        struct fixture_table table = sample_table(&samples[i]);
        save(argv[1], samples[i].name, &table, sample_options(&samples[i]));
    }
    if (argc == 3) {
        save_random(argv[1], strtoull(argv[2], NULL, 0));
    }
    return 0;
}
