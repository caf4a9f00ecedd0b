/* SPDX-License-Identifier: Apache-2.0
 * Goal: what is written is what was given, at every edge that users reach, and what cannot be written is refused by
 * name. Method: naive tables go through the writer; the file must verify, hold exactly these rows, and be the same for
 * any order. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/text.h"
#include "support/shard_random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

static struct pil_error error;

/* Writes, verifies, opens, compares, closes; what remains is the result. */
static struct pil_writer_result write_and_check(struct fixture_table *table, const struct pil_writer_options *options) {
    struct pil_writer_result result;
    pil_status status = fixture_table_write(table, options, &result, &error);
    if (status != PIL_STATUS_OK) {
        fail_msg("%s", error.text);
    }
    struct pil_verify_options verify = {.id = &result.id, .view = table->view};
    status = pil_verify(fixture_result_bytes(&result), &verify, &error);
    if (status != PIL_STATUS_OK) {
        fail_msg("%s", error.text);
    }
    struct pil_shard shard;
    assert_int_equal(pil_shard_open(fixture_result_bytes(&result), &shard, &error), PIL_STATUS_OK);
    assert_true(fixture_table_agrees(&shard, table));
    pil_shard_close(&shard);
    return result;
}

static void check_and_forget(struct fixture_table *table) {
    struct pil_writer_options options = {0};
    struct pil_writer_result result = write_and_check(table, &options);
    pil_writer_result_deinit(&result);
    fixture_table_deinit(table);
}

/* The writer must refuse the table with this status and a sentence that has all of `words`. */
static void check_refused(struct fixture_table *table, pil_status expected, const char *words) {
    struct pil_writer_options options = {0};
    struct pil_writer_result result;
    assert_int_equal(fixture_table_write(table, &options, &result, &error), expected);
    if (strstr(error.text, words) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", error.text, words);
    }
    fixture_table_deinit(table);
}

static void keeps_every_row_of_every_sample(void **state) {
    (void)state;
    for (size_t i = 0; i < SAMPLE_COUNT; i++) {
        struct fixture_table table = sample_table(&samples[i]);
        struct pil_writer_options options = sample_options(&samples[i]);
        struct pil_writer_result result = write_and_check(&table, &options);
        pil_writer_result_deinit(&result);
        fixture_table_deinit(&table);
    }
}

static void empty_view_has_no_slots_and_finds_nothing(void **state) {
    (void)state;
    struct fixture_table table = fixture_table_make("int64", "float32");
    struct pil_writer_options options = {0};
    struct pil_writer_result result = write_and_check(&table, &options);
    assert_int_equal(result.row_count, 0);
    assert_int_equal(result.section_bytes[PIL_SECTION_PILOTS] + result.section_bytes[PIL_SECTION_ROWS], 0);
    assert_true(result.event_ts_us_min == INT64_MAX && result.event_ts_us_max == INT64_MIN);
    struct pil_shard shard;
    assert_int_equal(pil_shard_open(fixture_result_bytes(&result), &shard, &error), PIL_STATUS_OK);
    uint64_t key = 1;
    assert_null(pil_shard_find(&shard, pil_bytes_from(&key, sizeof key)));
    pil_shard_close(&shard);
    pil_writer_result_deinit(&result);
    fixture_table_deinit(&table);
}

static void other_keys_are_not_found(void **state) {
    (void)state;
    struct fixture_table table = fixture_table_make("string", "int32");
    for (int i = 0; i < 200; i++) {
        char key[32];
        int len = snprintf(key, sizeof key, "%s%d", i % 2 == 0 ? "k" : "a-rather-long-key-", i);
        fixture_table_add(&table, key, (size_t)len, i);
    }
    struct pil_writer_options options = {0};
    struct pil_writer_result result = write_and_check(&table, &options);
    struct pil_shard shard;
    assert_int_equal(pil_shard_open(fixture_result_bytes(&result), &shard, &error), PIL_STATUS_OK);
    for (int i = 200; i < 20000; i++) {
        char key[32];
        int len = snprintf(key, sizeof key, "%s%d", i % 2 == 0 ? "k" : "a-rather-long-key-", i);
        assert_null(pil_shard_find(&shard, pil_bytes_from(key, (size_t)len)));
    }
    assert_null(pil_shard_find(&shard, pil_bytes_from("", 0)));
    pil_shard_close(&shard);
    pil_writer_result_deinit(&result);
    fixture_table_deinit(&table);
}

static void keys_may_have_any_length_up_to_64_KiB(void **state) {
    (void)state;
    static const size_t lens[] = {0, 1, 2, 3, 4, 5, 11, 12, 13, 240, 241, 65535, 65536};
    struct fixture_table table = fixture_table_make("string", "string");
    char *key = fixture_alloc(PIL_KEY_BYTES_MAX + 1);
    memset(key, 'k', PIL_KEY_BYTES_MAX + 1);
    for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
        fixture_row_set(fixture_table_add(&table, key, lens[i], 7), 0, key, lens[i]);
    }
    check_and_forget(&table);
    table = fixture_table_make("string", "");
    fixture_table_add(&table, key, PIL_KEY_BYTES_MAX + 1, 7);
    check_refused(&table, PIL_STATUS_TOO_LARGE, "row 0: the key is longer than 65536 bytes");
    free(key);
}

static void static_views_take_rows_of_their_one_time(void **state) {
    (void)state;
    for (int64_t event_us = 0; event_us < 2; event_us++) {
        struct fixture_table table = fixture_table_make("int64", "int32");
        table.view->is_static = true;
        table.view->ttl_us = 0;
        fixture_table_add(&table, "8 bytes.", 8, event_us);
        if (event_us == PIL_STATIC_EVENT_US) {
            check_and_forget(&table);
        } else {
            check_refused(&table, PIL_STATUS_INVALID, "has an event timestamp, and the view is static");
        }
    }
}

static void a_view_without_entities_has_one_row(void **state) {
    (void)state;
    for (size_t rows = 1; rows <= 2; rows++) {
        struct fixture_table table = fixture_table_make("", "int32;string");
        for (size_t i = 0; i < rows; i++) {
            fixture_row_set_text(fixture_table_add(&table, "", 0, (int64_t)i), 1, "a text in the heap");
        }
        if (rows == 1) {
            check_and_forget(&table);
        } else {
            check_refused(&table, PIL_STATUS_EXISTS, "rows 0 and 1 have the same key");
        }
    }
}

static void views_may_have_0_or_4000_features(void **state) {
    (void)state;
    static const char *const types[] = {"float32", "bool", "string", "int64", "vector<int8,3>"};
    struct pil_text features = {0};
    for (int i = 0; i < 4000; i++) {
        pil_text_format(&features, "%s;", types[i % 5]);
    }
    struct fixture_table table = fixture_table_make("int64", features.data);
    pil_text_deinit(&features);
    assert_int_equal(table.view->feature_count, 4000);
    uint64_t random = 4000;
    random_rows(&random, &table, 9, 3);
    check_and_forget(&table);
    table = fixture_table_make("int64", "");
    random_rows(&random, &table, 9, 0);
    check_and_forget(&table);
}

static void floats_are_kept_bit_for_bit(void **state) {
    (void)state;
    static const uint64_t patterns[] = {0x7ff0000000000000, 0xfff0000000000000, 0x8000000000000000,
                                        0x7ff8000000000001, 0x7ff0000000000001, 0xfff8dead0000beef,
                                        0x7fc00001,         0x80000000ff800000, 1};
    struct fixture_table table = fixture_table_make("int64", "float64;float32;vector<float32,2>;list<float64>");
    for (uint64_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        struct fixture_row *row = fixture_table_add(&table, &i, sizeof i, 1);
        fixture_row_set(row, 0, &patterns[i], 8);
        fixture_row_set(row, 1, &patterns[i], 4);
        fixture_row_set(row, 2, &patterns[i], 8);
        fixture_row_set(row, 3, patterns, 8 * i);
    }
    check_and_forget(&table);
}

static void empty_values_are_not_null(void **state) {
    (void)state;
    struct fixture_table table = fixture_table_make("int64", "string;bytes;list<int32>;list<string>");
    for (uint64_t key = 0; key < 2; key++) {
        struct fixture_row *row = fixture_table_add(&table, &key, sizeof key, 1);
        for (uint32_t feature = 0; key == 0 && feature < 4; feature++) {
            fixture_row_set(row, feature, "\0\0\0", feature == 3 ? 4 : 0);
        }
    }
    check_and_forget(&table);
}

static void order_and_garbage_of_the_input_leave_no_trace(void **state) {
    (void)state;
    for (size_t i = 0; i < SAMPLE_COUNT; i++) {
        struct fixture_table table = sample_table(&samples[i]);
        struct pil_writer_options options = sample_options(&samples[i]);
        struct pil_writer_result first, second;
        assert_int_equal(fixture_table_write(&table, &options, &first, &error), PIL_STATUS_OK);
        uint64_t random = i + 1;
        for (size_t at = table.count; at > 1; at--) {
            size_t other = fixture_below(&random, at);
            struct fixture_row swap = table.rows[at - 1];
            table.rows[at - 1] = table.rows[other];
            table.rows[other] = swap;
        }
        fixture_table_encode(&table, 0x3c);
        assert_int_equal(pil_writer_finish(table.view, &options, table.encoded, table.count, &second, &error),
                         PIL_STATUS_OK);
        assert_int_equal(first.bytes, second.bytes);
        assert_memory_equal(first.data, second.data, first.bytes);
        assert_memory_equal(&first.id, &second.id, sizeof first.id);
        pil_writer_result_deinit(&first);
        pil_writer_result_deinit(&second);
        fixture_table_deinit(&table);
    }
}

/* XXH3-64 of 9 to 16 bytes multiplies its two halves after xoring them with secret and seed. When one half becomes zero
 * the product vanishes, and what is left is a sum that the other half decides: two keys for one hash. */
static void collide(uint64_t seed, uint64_t value, uint8_t ret_keys[2][16]) {
    uint64_t flip_low = (pil_load_u64(XXH3_kSecret + 24) ^ pil_load_u64(XXH3_kSecret + 32)) + seed;
    uint64_t flip_high = (pil_load_u64(XXH3_kSecret + 40) ^ pil_load_u64(XXH3_kSecret + 48)) - seed;
    pil_store_u64(ret_keys[0], flip_low);
    pil_store_u64(ret_keys[0] + 8, flip_high ^ value);
    pil_store_u64(ret_keys[1], flip_low ^ __builtin_bswap64(value));
    pil_store_u64(ret_keys[1] + 8, flip_high);
}

static void keys_that_collide_in_64_bits_change_the_seed(void **state) {
    (void)state;
    struct fixture_table table = fixture_table_make("bytes", "int64");
    struct pil_writer_options options = {.hash_seed = 0x1234567890abcdef};
    for (uint64_t i = 1; i <= 20; i++) {
        uint8_t keys[2][16];
        collide(options.hash_seed, i * 0x0102030405060708, keys);
        assert_memory_not_equal(keys[0], keys[1], 16);
        assert_true(pil_hash_index(pil_bytes_from(keys[0], 16), options.hash_seed) ==
                    pil_hash_index(pil_bytes_from(keys[1], 16), options.hash_seed));
        for (int side = 0; side < 2; side++) {
            fixture_row_set(fixture_table_add(&table, keys[side], 16, 1), 0, keys[side], 8);
        }
    }
    struct pil_writer_result result = write_and_check(&table, &options);
    assert_true(result.hash_attempts >= 1);
    struct pil_superblock block;
    memcpy(&block, result.data, sizeof block);
    assert_true(block.hash_seed != options.hash_seed);
    assert_int_equal(block.hash_attempts, result.hash_attempts);
    pil_writer_result_deinit(&result);
    fixture_table_deinit(&table);
}

static uint64_t seed_of_keys(uint64_t first, uint64_t count) {
    struct fixture_table table = fixture_table_make("int64", "");
    for (uint64_t i = 0; i < count; i++) {
        uint64_t key = first + i;
        fixture_table_add(&table, &key, sizeof key, 1);
    }
    struct pil_writer_options options = {0};
    struct pil_writer_result result = write_and_check(&table, &options);
    struct pil_superblock block;
    memcpy(&block, result.data, sizeof block);
    pil_writer_result_deinit(&result);
    fixture_table_deinit(&table);
    return block.hash_seed;
}

static void derived_seeds_depend_on_every_key(void **state) {
    (void)state;
    assert_true(seed_of_keys(0, 5) == seed_of_keys(0, 5));
    assert_true(seed_of_keys(0, 5) != seed_of_keys(0, 6));
    assert_true(seed_of_keys(0, 5) != seed_of_keys(1, 5));
}

static void equal_keys_are_refused_and_named(void **state) {
    (void)state;
    struct fixture_table table = fixture_table_make("string", "int32");
    for (int i = 0; i < 100; i++) {
        char key[32];
        int len = snprintf(key, sizeof key, "user-%d", i == 70 ? 30 : i);
        fixture_table_add(&table, key, (size_t)len, i);
    }
    check_refused(&table, PIL_STATUS_EXISTS, "rows 30 and 70 have the same key user-30");
    table = fixture_table_make("string", "");
    char *key = fixture_alloc(5000);
    memset(key, 'x', 5000);
    fixture_table_add(&table, key, 5000, 1);
    fixture_table_add(&table, key, 5000, 2);
    check_refused(&table, PIL_STATUS_EXISTS, "xxx...");
    free(key);
}

static void the_timestamp_of_empty_slots_is_refused(void **state) {
    (void)state;
    uint64_t key = 42;
    struct fixture_table table = fixture_table_make("int64", "");
    fixture_table_add(&table, &key, sizeof key, INT64_MIN);
    check_refused(&table, PIL_STATUS_INVALID, "row 0, key 42: the event timestamp");
    table = fixture_table_make("int64", "");
    fixture_table_add(&table, &key, sizeof key, INT64_MIN + 1);
    key++;
    fixture_table_add(&table, &key, sizeof key, INT64_MAX);
    check_and_forget(&table);
}

static void keys_of_other_shards_are_refused(void **state) {
    (void)state;
    struct fixture_table table = fixture_table_make("int64", "");
    uint64_t key = 42;
    fixture_table_add(&table, &key, sizeof key, 1);
    uint32_t right = (uint32_t)(pil_hash_shard(pil_bytes_from(&key, sizeof key)) >> 60);
    for (uint32_t shard = 0; shard < 17; shard++) {
        struct pil_writer_options options = {.shard_bits = 4, .shard_index = shard};
        struct pil_writer_result result;
        pil_status status = fixture_table_write(&table, &options, &result, &error);
        assert_int_equal(status, shard == right ? PIL_STATUS_OK : PIL_STATUS_INVALID);
        if (status == PIL_STATUS_OK) {
            pil_writer_result_deinit(&result);
        } else {
            assert_non_null(
                strstr(error.text, shard == 16 ? "there is no shard 16 of 2^4" : "key 42: belongs to shard"));
        }
    }
    fixture_table_deinit(&table);
}

struct bad_value {
    const char *type, *bytes;
    size_t len;
    const char *words;
};

static void values_that_break_a_rule_are_refused(void **state) {
    (void)state;
#define BYTES(text) text, sizeof text - 1
    static const struct bad_value bad[] = {
        {"string", BYTES("\xff"), "row 0, key 9: the value of f1 is not valid UTF-8"},
        {"string", BYTES("a long text with \xc0\x80 in it"), "is not valid UTF-8"},
        {"string", BYTES("\xed\xa0\x80"), "is not valid UTF-8"},
        {"string", BYTES("\xf4\x90\x80\x80"), "is not valid UTF-8"},
        {"string", BYTES("\xe2\x82"), "is not valid UTF-8"},
        {"string", BYTES("\xe2\x82z"), "is not valid UTF-8"},
        {"string", BYTES("12345678\x80"), "is not valid UTF-8"},
        {"bool", BYTES("\2"), "the value of f1 is neither 0 nor 1"},
        {"list<bool>", BYTES("\0\1\2"), "neither 0 nor 1"},
        {"list<int32>", BYTES("12345"), "not a multiple"},
        {"list<float64>", BYTES("123456789012345678901234567890"), "not a multiple"},
        {"list<bytes>", BYTES("\0\0\0"), "no room for its count"},
        {"list<bytes>", BYTES("\2\0\0\0\1\0\0\0"), "no room for its count"},
        {"list<bytes>", BYTES("\xff\xff\xff\xff\1\0\0\0"), "no room for its count"},
        {"list<bytes>", BYTES("\1\0\0\0\2\0\0\0a"), "fall or leave"},
        {"list<bytes>", BYTES("\2\0\0\0\2\0\0\0\1\0\0\0ab"), "fall or leave"},
        {"list<bytes>", BYTES("\1\0\0\0\1\0\0\0ab"), "bytes after its last element"},
        {"list<string>", BYTES("\2\0\0\0\1\0\0\0\2\0\0\0\xc3\xa4"), "an element that is not valid UTF-8"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char types[64];
        snprintf(types, sizeof types, "int32;%s", bad[i].type);
        struct fixture_table table = fixture_table_make("int64", types);
        uint64_t key = 9;
        fixture_row_set(fixture_table_add(&table, &key, sizeof key, 1), 1, bad[i].bytes, bad[i].len);
        check_refused(&table, PIL_STATUS_INVALID, bad[i].words);
    }
}

static void keys_that_break_a_rule_are_refused(void **state) {
    (void)state;
    static const struct bad_value bad[] = {
        {"string", BYTES("\xff"), "row 0: the key is not valid UTF-8"},
        {"string;int32", BYTES("\1\0\0\0a123"), "the key ends inside a component"},
        {"string;int32", BYTES("\1\0\0"), "the key ends inside a component"},
        {"string;int32", BYTES("\7\0\0\0a1234"), "the key ends inside a component"},
        {"string;int32", BYTES("\1\0\0\0a12345"), "the key has bytes after its last component"},
        {"int64;string", BYTES("12345678\1\0\0\0\x80"), "the key is not valid UTF-8"},
    };
#undef BYTES
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct fixture_table table = fixture_table_make(bad[i].type, "");
        fixture_table_add(&table, bad[i].bytes, bad[i].len, 1);
        check_refused(&table, PIL_STATUS_INVALID, bad[i].words);
    }
}

static void what_is_over_a_limit_is_refused(void **state) {
    (void)state;
    uint8_t *value = fixture_alloc(PIL_VALUE_BYTES_MAX + 1);
    struct fixture_table table = fixture_table_make("int64", "bytes");
    uint64_t key = 9;
    fixture_row_set(fixture_table_add(&table, &key, sizeof key, 1), 0, value, PIL_VALUE_BYTES_MAX);
    check_and_forget(&table);
    table = fixture_table_make("int64", "bytes");
    fixture_row_set(fixture_table_add(&table, &key, sizeof key, 1), 0, value, PIL_VALUE_BYTES_MAX + 1);
    check_refused(&table, PIL_STATUS_TOO_LARGE, "key 9: the value of f0 is longer than 16 MiB");
    free(value);
    table = fixture_table_make("int64", "");
    struct pil_writer_options options = {0};
    struct pil_writer_result result;
    assert_int_equal(pil_writer_finish(table.view, &options, NULL, PIL_SHARD_ROWS_MAX + 1, &result, &error),
                     PIL_STATUS_TOO_LARGE);
    assert_non_null(strstr(error.text, "2000001 rows for one shard"));
    fixture_table_deinit(&table);
}

static void large_rows_start_on_2_MiB(void **state) {
    (void)state;
    struct fixture_table table = fixture_table_make("int64", "vector<float32,16384>");
    uint8_t *value = fixture_alloc(65536);
    for (uint64_t key = 0; key < 1030; key++) {
        pil_store_u64(value + key % 8000 * 8, key);
        fixture_row_set(fixture_table_add(&table, &key, sizeof key, (int64_t)key), 0, value, 65536);
    }
    free(value);
    struct pil_writer_options options = {0};
    struct pil_writer_result result = write_and_check(&table, &options);
    struct pil_superblock block;
    memcpy(&block, result.data, sizeof block);
    assert_int_equal(block.sections[PIL_SECTION_ROWS].offset, PIL_FORMAT_LARGE_ALIGNMENT);
    assert_true(block.sections[PIL_SECTION_RANGE_HASHES].bytes > 8 * PIL_SHA256_BYTES);
    pil_writer_result_deinit(&result);
    fixture_table_deinit(&table);
}

static void running_out_of_memory_is_a_status(void **state) {
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    puts("skipped: the sanitizer needs the address space");
    skip();
#else
    struct fixture_table table = fixture_table_make("int64", "vector<float32,16384>");
    uint8_t *row = fixture_alloc(1000ull * table.view->layout.stride);
    struct pil_writer_row *rows = fixture_alloc(1000 * sizeof *rows);
    for (uint64_t key = 0; key < 1000; key++) {
        rows[key].row = row + key * table.view->layout.stride;
        memcpy(row + key * table.view->layout.stride, &key, sizeof key);
    }
    unsigned long pages = 0;
    FILE *statm = fopen("/proc/self/statm", "r");
    assert_true(statm != NULL && fscanf(statm, "%lu", &pages) == 1 && fclose(statm) == 0);
    struct rlimit before, tight;
    assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
    tight = (struct rlimit){.rlim_cur = pages * (rlim_t)getpagesize() + (16 << 20), .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_AS, &tight), 0);
    struct pil_writer_options options = {0};
    struct pil_writer_result result;
    pil_status status = pil_writer_finish(table.view, &options, rows, 1000, &result, &error);
    assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
    assert_int_equal(status, PIL_STATUS_NO_MEMORY);
    assert_non_null(strstr(error.text, "no memory for a shard of"));
    free(row);
    free(rows);
    fixture_table_deinit(&table);
#endif
}

/* The promises about size that users can count on. */
static void files_are_small(void **state) {
    (void)state;
    for (int features = 10; features <= 50; features += 40) {
        size_t rows = features == 10 ? 1000 : 20000;
        struct pil_text types = {0};
        for (int i = 0; i < features; i++) {
            pil_text_format(&types, "float32;");
        }
        struct fixture_table table = fixture_table_make("int64", types.data);
        pil_text_deinit(&types);
        uint64_t random = 1;
        random_rows(&random, &table, rows, 0);
        struct pil_writer_options options = {0};
        struct pil_writer_result result = write_and_check(&table, &options);
        assert_true(features == 50 || result.bytes < 256 << 10);
        assert_true(features == 10 || (double)result.bytes <= 1.15 * (double)rows * (8 + 4 * 50));
        assert_true(8.0 * (double)result.section_bytes[PIL_SECTION_PILOTS] <= 3.0 * (double)rows);
        pil_writer_result_deinit(&result);
        fixture_table_deinit(&table);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_every_row_of_every_sample),
        cmocka_unit_test(empty_view_has_no_slots_and_finds_nothing),
        cmocka_unit_test(other_keys_are_not_found),
        cmocka_unit_test(keys_may_have_any_length_up_to_64_KiB),
        cmocka_unit_test(static_views_take_rows_of_their_one_time),
        cmocka_unit_test(a_view_without_entities_has_one_row),
        cmocka_unit_test(views_may_have_0_or_4000_features),
        cmocka_unit_test(floats_are_kept_bit_for_bit),
        cmocka_unit_test(empty_values_are_not_null),
        cmocka_unit_test(order_and_garbage_of_the_input_leave_no_trace),
        cmocka_unit_test(keys_that_collide_in_64_bits_change_the_seed),
        cmocka_unit_test(derived_seeds_depend_on_every_key),
        cmocka_unit_test(equal_keys_are_refused_and_named),
        cmocka_unit_test(the_timestamp_of_empty_slots_is_refused),
        cmocka_unit_test(keys_of_other_shards_are_refused),
        cmocka_unit_test(values_that_break_a_rule_are_refused),
        cmocka_unit_test(keys_that_break_a_rule_are_refused),
        cmocka_unit_test(what_is_over_a_limit_is_refused),
        cmocka_unit_test(large_rows_start_on_2_MiB),
        cmocka_unit_test(running_out_of_memory_is_a_status),
        cmocka_unit_test(files_are_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
