/* SPDX-License-Identifier: Apache-2.0
 * Goal: the hashes are the ones that other programs compute: Spark's xxhash64 places keys alike, digests are
 * SHA-256. Method: published vectors. XXH64 and XXH3: xxHash's own specification and sanity tests; Spark: `SELECT
 * xxhash64(1L)`, `xxhash64('ABC')` of PySpark's documentation; SHA-256: FIPS 180-4 examples; MurmurHash3:
 * fields that Feast 0.67 wrote to Redis, of each length of the tail. */
#include "base/hash_key.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>

static void shards_are_placed_as_spark_does(void **state) {
    (void)state;
    uint8_t one[8] = {1};
    assert_int_equal((int64_t)pil_hash_shard(pil_bytes_from(one, 8)), INT64_C(-7001672635703045582));
    assert_int_equal((int64_t)pil_hash_shard(pil_bytes_from_text("ABC")), INT64_C(4105715581806190027));
}

static void index_hash_is_xxh3(void **state) {
    (void)state;
    assert_int_equal(pil_hash_block(pil_bytes_from("", 0)), 0x2d06800538d394c2u);
    assert_int_equal(pil_hash_block(pil_bytes_from(NULL, 0)), 0x2d06800538d394c2u);
    assert_int_equal(pil_hash_index(pil_bytes_from("", 0), 0x9e3779b185ebca8du), 0xa8a6b918b2f0364au);
    struct pil_bytes text = pil_bytes_from_text("driver");
    assert_int_equal(pil_hash_index(text, 0), pil_hash_block(text));
    assert_int_not_equal(pil_hash_index(text, 1), pil_hash_block(text));
}

static void keys_of_eight_bytes_hash_inline_as_by_the_library(void **state) {
    (void)state;
    uint64_t word = 0, seed = 0;
    for (int i = 0; i < 1000; i++) {
        struct pil_bytes key = pil_bytes_from(&word, sizeof word);
        assert_int_equal(pil_hash_shard_inline(key), pil_hash_shard(key));
        assert_int_equal(pil_hash_index_inline(key, seed), pil_hash_index(key, seed));
        key.len = (size_t)i % 8;
        assert_int_equal(pil_hash_shard_inline(key), pil_hash_shard(key));
        assert_int_equal(pil_hash_index_inline(key, seed), pil_hash_index(key, seed));
        word = pil_hash_shard(pil_bytes_from(&word, sizeof word));
        seed = i % 3 == 0 ? 0 : pil_hash_block(pil_bytes_from(&word, sizeof word));
    }
}

static void fields_are_those_of_feast(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint8_t field[4];
    } fields[] = {
        {"driver_hourly_stats:conv_rate", {0x61, 0x60, 0xe3, 0xda}},
        {"driver_hourly_stats:acc_rate", {0xfa, 0x5e, 0x58, 0xad}},
        {"driver_hourly_stats:avg_daily_trips", {0x18, 0xa5, 0xe5, 0xa3}},
        {"v:a", {0x56, 0x67, 0x7d, 0x19}},
        {"v:ab", {0x5d, 0x7f, 0x5f, 0xa0}},
        {"v:abc", {0xa8, 0xe5, 0x2e, 0x41}},
        {"v:abcd", {0x55, 0x86, 0x5e, 0x68}},
        {"", {0, 0, 0, 0}},
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        assert_int_equal(pil_hash_field(pil_bytes_from_text(fields[i].name)), pil_load_u32(fields[i].field));
    }
}

static void assert_sha256(struct pil_sha256 digest, const char *want) {
    char hex[PIL_SHA256_HEX_CHARS + 1];
    pil_hex_encode(pil_bytes_from(digest.bytes, PIL_SHA256_BYTES), hex);
    assert_string_equal(hex, want);
}

static void digests_are_sha256(void **state) {
    (void)state;
    assert_sha256(pil_hash_sha256(pil_bytes_from("", 0)),
                  "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_sha256(pil_hash_sha256(pil_bytes_from_text("abc")),
                  "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    struct pil_sha256_stream stream;
    pil_sha256_stream_init(&stream);
    for (int i = 0; i < 1000; i++) {
        char thousand[1000];
        memset(thousand, 'a', sizeof thousand);
        pil_sha256_stream_update(&stream, pil_bytes_from(thousand, sizeof thousand));
    }
    assert_sha256(pil_sha256_stream_finish(&stream),
                  "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

static void hex_goes_both_ways(void **state) {
    (void)state;
    uint8_t all[256], back[256];
    char hex[513];
    for (int i = 0; i < 256; i++) {
        all[i] = (uint8_t)i;
    }
    pil_hex_encode(pil_bytes_from(all, 256), hex);
    assert_memory_equal(hex, "000102", 6);
    assert_string_equal(hex + 506, "fdfeff");
    assert_true(pil_hex_decode(pil_bytes_from_text(hex), back, 256));
    assert_memory_equal(all, back, 256);
    assert_true(pil_hex_decode(pil_bytes_from_text("fFAb"), back, 2));
    assert_int_equal(back[0], 0xff);
    static const char *const bad[] = {"", "f", "fff", "ffffff", "fg00", "0x00", " f00", "@f00", "`f00", "/f00", ":f00"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(pil_hex_decode(pil_bytes_from_text(bad[i]), back, 2));
    }
    pil_hex_encode(pil_bytes_from(NULL, 0), hex);
    assert_string_equal(hex, "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shards_are_placed_as_spark_does),
        cmocka_unit_test(index_hash_is_xxh3),
        cmocka_unit_test(keys_of_eight_bytes_hash_inline_as_by_the_library),
        cmocka_unit_test(fields_are_those_of_feast),
        cmocka_unit_test(digests_are_sha256),
        cmocka_unit_test(hex_goes_both_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
