/* SPDX-License-Identifier: Apache-2.0
 * Goal: for any schema and any rows a shard answers exactly what was put into it, and nothing for any other key.
 * Method: random entities (one to three, fixed and variable) and features of every type, random rows with special
 * values and nulls, against the naive table they came from; half of the rows are looked for in a shard that was made
 * without them. */
#include "base/text.h"
#include "support/shard_random.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { ROUNDS = 300 };

static struct pil_error error;

static const char *const entity_types[] = {"int32", "int64", "string", "bytes", "unix_timestamp"};
static const char *const feature_types[] = {"bool",
                                            "int32",
                                            "int64",
                                            "float32",
                                            "float64",
                                            "string",
                                            "bytes",
                                            "unix_timestamp",
                                            "list<bool>",
                                            "list<int32>",
                                            "list<int64>",
                                            "list<float32>",
                                            "list<float64>",
                                            "list<string>",
                                            "list<bytes>",
                                            "list<unix_timestamp>",
                                            "vector<float32,",
                                            "vector<float16,",
                                            "vector<bfloat16,",
                                            "vector<int8,"};

static struct fixture_table random_table(uint64_t *random) {
    struct pil_text entities = {0}, features = {0};
    for (size_t i = 1 + fixture_below(random, 3); i > 0; i--) {
        pil_text_format(&entities, "%s;", entity_types[fixture_below(random, 5)]);
    }
    for (size_t i = fixture_below(random, 4) == 0 ? fixture_below(random, 80) : fixture_below(random, 9); i > 0; i--) {
        size_t type = fixture_below(random, sizeof feature_types / sizeof *feature_types);
        pil_text_format(&features, "%s", feature_types[type]);
        if (strncmp(feature_types[type], "vector", 6) == 0) {
            pil_text_format(&features, "%zu>", 1 + fixture_below(random, 33));
        }
        pil_text_format(&features, ";");
    }
    struct fixture_table table = fixture_table_make(pil_text_chars(&entities), pil_text_chars(&features));
    pil_text_deinit(&entities);
    pil_text_deinit(&features);
    random_rows(random, &table, fixture_below(random, 8) == 0 ? fixture_below(random, 1500) : fixture_below(random, 60),
                fixture_below(random, 6));
    return table;
}

static void check_shard(const struct fixture_table *table, size_t written) {
    struct pil_writer_options options = {0};
    struct pil_writer_result result;
    pil_status status = pil_writer_finish(table->view, &options, table->encoded, written, &result, &error);
    if (status != PIL_STATUS_OK) {
        fail_msg("%s", error.text);
    }
    struct pil_verify_options verify = {.id = &result.id, .view = table->view};
    uint8_t *copy = fixture_copy(fixture_result_bytes(&result));
    struct pil_bytes file = pil_bytes_from(copy, result.bytes);
    if (pil_verify(file, &verify, &error) != PIL_STATUS_OK) {
        fail_msg("%s", error.text);
    }
    struct pil_shard shard;
    assert_int_equal(pil_shard_open(file, &shard, &error), PIL_STATUS_OK);
    struct fixture_table held = *table;
    held.count = written;
    assert_true(fixture_table_agrees(&shard, &held));
    for (size_t i = written; i < table->count; i++) {
        assert_null(pil_shard_find(&shard, pil_bytes_from(table->rows[i].key, table->rows[i].key_len)));
    }
    pil_shard_close(&shard);
    pil_writer_result_deinit(&result);
    free(copy);
}

static void answers_what_the_table_holds(void **state) {
    (void)state;
    uint64_t random = fixture_seed(0x0123456789abcdef);
    for (int round = 0; round < ROUNDS; round++) {
        struct fixture_table table = random_table(&random);
        fixture_table_encode(&table, (uint8_t)fixture_random(&random));
        check_shard(&table, table.count);
        check_shard(&table, table.count / 2);
        fixture_table_deinit(&table);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(answers_what_the_table_holds)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
