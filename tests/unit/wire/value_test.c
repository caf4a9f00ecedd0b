/* SPDX-License-Identifier: Apache-2.0
 * Goal: each type's text is exactly what RESP clients and Feast's client read. Method: known vectors for every type and
 * shape, damaged payloads, bulk strings against the bare text. */
#include "wire/value.h"
#include "unit/wire/collect.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static struct pil_type scalar(pil_scalar scalar) {
    return (struct pil_type){.scalar = scalar, .shape = PIL_SHAPE_SCALAR};
}
static struct pil_type list(pil_scalar scalar) {
    return (struct pil_type){.scalar = scalar, .shape = PIL_SHAPE_LIST};
}
static struct pil_type vector(pil_scalar scalar, uint32_t dimension) {
    return (struct pil_type){.scalar = scalar, .shape = PIL_SHAPE_VECTOR, .dimension = dimension};
}

/* Checks all three forms of one value; the bulk string is checked against `resp`. */
static void check(struct pil_type type, const void *raw, size_t len, const char *resp, const char *json) {
    struct pil_bytes bytes = pil_bytes_from(raw, len);
    struct collect out;
    collect_init(&out);
    pil_value_put_resp(&out.sink, type, bytes);
    assert_string_equal(collect_text(&out), resp);
    collect_deinit(&out);

    collect_init(&out);
    pil_value_put_json(&out.sink, type, bytes);
    assert_string_equal(collect_text(&out), json);
    collect_deinit(&out);

    char *bulk = NULL;
    assert_true(asprintf(&bulk, "$%zu\r\n%s\r\n", strlen(resp), resp) > 0);
    collect_init(&out);
    pil_value_put_resp_bulk(&out.sink, type, bytes);
    assert_string_equal(collect_text(&out), bulk);
    collect_deinit(&out);
    free(bulk);
}
#define CHECK(type, value, resp, json) check(type, &(value), sizeof(value), resp, json)

static void integers_and_bools_are_plain(void **state) {
    (void)state;
    const uint8_t yes = 1, no = 0;
    CHECK(scalar(PIL_SCALAR_BOOL), yes, "1", "true");
    CHECK(scalar(PIL_SCALAR_BOOL), no, "0", "false");
    const int32_t low32 = INT32_MIN, zero32 = 0;
    CHECK(scalar(PIL_SCALAR_INT32), low32, "-2147483648", "-2147483648");
    CHECK(scalar(PIL_SCALAR_INT32), zero32, "0", "0");
    const int64_t low = INT64_MIN, high = INT64_MAX, odd = 9007199254740993;
    CHECK(scalar(PIL_SCALAR_INT64), low, "-9223372036854775808", "-9223372036854775808");
    CHECK(scalar(PIL_SCALAR_INT64), high, "9223372036854775807", "9223372036854775807");
    CHECK(scalar(PIL_SCALAR_INT64), odd, "9007199254740993", "9007199254740993");
}

static void floats_are_shortest_and_json_widens_float32(void **state) {
    (void)state;
    const float values[] = {0.1f, 1.0f, 0.023668857f, -3.4028235e38f, NAN, INFINITY, -INFINITY, -0.0f};
    const char *resp[] = {"0.1", "1.0", "0.023668857", "-3.4028235e+38", "nan", "inf", "-inf", "-0.0"};
    const char *json[] = {"0.10000000149011612",     "1.0",     "0.023668857291340828",
                          "-3.4028234663852886e+38", "\"NaN\"", "\"Infinity\"",
                          "\"-Infinity\"",           "-0.0"};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        CHECK(scalar(PIL_SCALAR_FLOAT32), values[i], resp[i], json[i]);
    }
    const double tenth = 0.1, large = 1.7976931348623157e308, nan = (double)NAN;
    CHECK(scalar(PIL_SCALAR_FLOAT64), tenth, "0.1", "0.1");
    CHECK(scalar(PIL_SCALAR_FLOAT64), large, "1.7976931348623157e+308", "1.7976931348623157e+308");
    CHECK(scalar(PIL_SCALAR_FLOAT64), nan, "nan", "\"NaN\"");
}

static void timestamps_are_seconds(void **state) {
    (void)state;
    const int64_t us[] = {0, 1767323045000000, 1767323045123456, 1767323045120000, -1, -1500000, INT64_MIN};
    const char *resp[] = {"0",         "1767323045", "1767323045.123456",    "1767323045.12",
                          "-0.000001", "-1.5",       "-9223372036854.775808"};
    const char *json[] = {"0", "1767323045", "1767323045", "1767323045", "-1", "-2", "-9223372036855"};
    for (size_t i = 0; i < sizeof us / sizeof *us; i++) {
        CHECK(scalar(PIL_SCALAR_UNIX_TIMESTAMP), us[i], resp[i], json[i]);
    }
}

static void strings_are_raw_in_resp_and_escaped_in_json(void **state) {
    (void)state;
    const char *text[] = {"", "plain", "h\xc3\xa9llo \"q\" \\ \xe2\x9c\x93 \xf0\x9f\x98\x80",
                          "x\ny\t\x01\x1f\x7f\xe2\x80\xa8/\b\f\r"};
    const char *json[] = {"\"\"", "\"plain\"", "\"h\xc3\xa9llo \\\"q\\\" \\\\ \xe2\x9c\x93 \xf0\x9f\x98\x80\"",
                          "\"x\\ny\\t\\u0001\\u001f\x7f\xe2\x80\xa8/\\b\\f\\r\""};
    for (size_t i = 0; i < sizeof text / sizeof *text; i++) {
        check(scalar(PIL_SCALAR_STRING), text[i], strlen(text[i]), text[i], json[i]);
    }
}

static void what_is_not_utf8_becomes_the_replacement_character(void **state) {
    (void)state;
    const char *bad[] = {"a\x80z", "a\xc0\xafz", "a\xed\xa0\x80z", "a\xf4\x90\x80\x80z", "a\xe2\x82", "\xff"};
    const char *json[] = {"\"a\xef\xbf\xbdz\"",
                          "\"a\xef\xbf\xbd\xef\xbf\xbdz\"",
                          "\"a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdz\"",
                          "\"a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdz\"",
                          "\"a\xef\xbf\xbd\xef\xbf\xbd\"",
                          "\"\xef\xbf\xbd\""};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        check(scalar(PIL_SCALAR_STRING), bad[i], strlen(bad[i]), bad[i], json[i]);
    }
}

static void bytes_are_base64_in_json(void **state) {
    (void)state;
    const char *raw[] = {"", "a", "ab", "abc", "\xff\xfe\xfd\xfc"};
    const char *json[] = {"\"\"", "\"YQ==\"", "\"YWI=\"", "\"YWJj\"", "\"//79/A==\""};
    for (size_t i = 0; i < sizeof raw / sizeof *raw; i++) {
        check(scalar(PIL_SCALAR_BYTES), raw[i], strlen(raw[i]), raw[i], json[i]);
    }
    const uint8_t zeros[] = {0, 1, 254, 255};
    struct collect out;
    collect_init(&out);
    pil_value_put_json(&out.sink, scalar(PIL_SCALAR_BYTES), pil_bytes_from(zeros, sizeof zeros));
    assert_string_equal(collect_text(&out), "\"AAH+/w==\"");
    collect_deinit(&out);
}

static void lists_are_json_arrays(void **state) {
    (void)state;
    const int64_t integers[] = {1, -2};
    CHECK(list(PIL_SCALAR_INT64), integers, "[1,-2]", "[1,-2]");
    const uint8_t bools[] = {1, 0};
    CHECK(list(PIL_SCALAR_BOOL), bools, "[true,false]", "[true,false]");
    const float floats[] = {0.1f, 1.0f};
    CHECK(list(PIL_SCALAR_FLOAT32), floats, "[0.1,1.0]", "[0.10000000149011612,1.0]");
    const int64_t times[] = {1500000, 2000000};
    CHECK(list(PIL_SCALAR_UNIX_TIMESTAMP), times, "[1.5,2]", "[1,2]");
    const double broken[] = {1.0, (double)NAN, -(double)INFINITY};
    CHECK(list(PIL_SCALAR_FLOAT64), broken, "[1.0,\"NaN\",\"-Infinity\"]", "[1.0,\"NaN\",\"-Infinity\"]");
    const float broken32[] = {0.1f, INFINITY, NAN};
    CHECK(list(PIL_SCALAR_FLOAT32), broken32, "[0.1,\"Infinity\",\"NaN\"]",
          "[0.10000000149011612,\"Infinity\",\"NaN\"]");
    check(list(PIL_SCALAR_INT32), "", 0, "[]", "[]");
}

/* u32 count, u32 end[count], bytes. */
static size_t text_list(uint8_t *raw, uint32_t count, const char *const *texts) {
    pil_store_u32(raw, count);
    size_t end = 0, table = 4 + 4 * (size_t)count;
    for (uint32_t i = 0; i < count; i++) {
        memcpy(raw + table + end, texts[i], strlen(texts[i]));
        end += strlen(texts[i]);
        pil_store_u32(raw + 4 + 4 * (size_t)i, (uint32_t)end);
    }
    return table + end;
}

static void lists_of_texts_are_json_arrays(void **state) {
    (void)state;
    uint8_t raw[256];
    size_t len = text_list(raw, 3, (const char *const[]){"a", "", "b\xc3\xa9\""});
    check(list(PIL_SCALAR_STRING), raw, len, "[\"a\",\"\",\"b\xc3\xa9\\\"\"]", "[\"a\",\"\",\"b\xc3\xa9\\\"\"]");
    len = text_list(raw, 2, (const char *const[]){"a", "abc"});
    check(list(PIL_SCALAR_BYTES), raw, len, "[\"YQ==\",\"YWJj\"]", "[\"YQ==\",\"YWJj\"]");
    len = text_list(raw, 0, NULL);
    check(list(PIL_SCALAR_STRING), raw, len, "[]", "[]");
    check(list(PIL_SCALAR_STRING), "", 0, "[]", "[]");
}

/* What Feast 0.67's SDK does with each is in tests/system/test_feast.py. */
static void the_sdk_of_feast_reads_finite_numbers_and_lists_that_are_not_empty(void **state) {
    (void)state;
    const float f32[] = {1.0f, NAN};
    const double f64[] = {1.0, (double)INFINITY};
    const uint16_t f16[] = {0x3c00, 0x7c00};
    const int64_t integers[] = {INT64_MIN, 0};
    uint8_t raw[64];
    size_t len = text_list(raw, 1, (const char *const[]){""});
    const struct {
        struct pil_type type;
        struct pil_bytes raw;
        bool is_readable;
    } cases[] = {
        {scalar(PIL_SCALAR_FLOAT32), pil_bytes_from(f32, 4), true},
        {scalar(PIL_SCALAR_FLOAT32), pil_bytes_from(f32 + 1, 4), false},
        {scalar(PIL_SCALAR_FLOAT64), pil_bytes_from(f64 + 1, 8), false},
        {scalar(PIL_SCALAR_INT64), pil_bytes_from(integers, 8), true},
        {scalar(PIL_SCALAR_STRING), pil_bytes_from("", 0), true},
        {scalar(PIL_SCALAR_BYTES), pil_bytes_from("", 0), true},
        {list(PIL_SCALAR_FLOAT32), pil_bytes_from(f32, 4), true},
        {list(PIL_SCALAR_FLOAT32), pil_bytes_from(f32, 8), false},
        {list(PIL_SCALAR_FLOAT64), pil_bytes_from(f64, 16), false},
        {list(PIL_SCALAR_FLOAT64), pil_bytes_from(f64, 0), false},
        {list(PIL_SCALAR_INT64), pil_bytes_from(integers, 16), true},
        {list(PIL_SCALAR_BOOL), pil_bytes_from("", 0), false},
        {vector(PIL_SCALAR_FLOAT16, 1), pil_bytes_from(f16, 4), true},
        {vector(PIL_SCALAR_FLOAT16, 2), pil_bytes_from(f16, 4), false},
        {list(PIL_SCALAR_STRING), pil_bytes_from(raw, len), true},
        {list(PIL_SCALAR_STRING), pil_bytes_from("\0\0\0", 4), false},
        {list(PIL_SCALAR_BYTES), pil_bytes_from("", 0), false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(pil_value_is_readable_by_feast(cases[i].type, cases[i].raw), cases[i].is_readable);
    }
}

static void damaged_lists_end_early(void **state) {
    (void)state;
    uint8_t raw[64];
    size_t len = text_list(raw, 3, (const char *const[]){"aa", "bb", "cc"});
    for (size_t cut = 0; cut < len; cut++) { /* exactly as long as it is said to be: a read outside shows under ASan */
        uint8_t *copy = malloc(cut > 0 ? cut : 1);
        memcpy(copy, raw, cut);
        struct collect out;
        collect_init(&out);
        pil_value_put_resp(&out.sink, list(PIL_SCALAR_STRING), pil_bytes_from(copy, cut));
        const char *text = collect_text(&out);
        assert_int_equal(text[0], '[');
        assert_int_equal(text[strlen(text) - 1], ']');
        collect_deinit(&out);
        free(copy);
    }
    pil_store_u32(raw, UINT32_MAX);
    check(list(PIL_SCALAR_STRING), raw, len, "[]", "[]");
    text_list(raw, 3, (const char *const[]){"aa", "bb", "cc"});
    pil_store_u32(raw + 8, 1); /* the second ends before the first */
    check(list(PIL_SCALAR_STRING), raw, len, "[\"aa\"]", "[\"aa\"]");
}

static void vectors_have_their_dimension(void **state) {
    (void)state;
    const float floats[] = {1.0f, -2.5f, 0.1f};
    CHECK(vector(PIL_SCALAR_FLOAT32, 3), floats, "[1.0,-2.5,0.1]", "[1.0,-2.5,0.10000000149011612]");
    CHECK(vector(PIL_SCALAR_FLOAT32, 2), floats, "[1.0,-2.5]", "[1.0,-2.5]");
    const int8_t bytes[] = {-128, 127, 0};
    CHECK(vector(PIL_SCALAR_INT8, 3), bytes, "[-128,127,0]", "[-128,127,0]");
    const uint16_t halves[] = {0x3c00, 0xc000, 0x2e66, 0x0001, 0x7bff, 0x8000};
    CHECK(vector(PIL_SCALAR_FLOAT16, 6), halves, "[1.0,-2.0,0.099975586,5.9604645e-08,65504.0,-0.0]",
          "[1.0,-2.0,0.0999755859375,5.960464477539063e-08,65504.0,-0.0]");
    const uint16_t infinite[] = {0x7c00, 0xfc00, 0x7e00};
    CHECK(vector(PIL_SCALAR_FLOAT16, 3), infinite, "[\"Infinity\",\"-Infinity\",\"NaN\"]",
          "[\"Infinity\",\"-Infinity\",\"NaN\"]");
    const uint16_t brain[] = {0x3f80, 0x3dcc, 0xc2f7};
    CHECK(vector(PIL_SCALAR_BFLOAT16, 3), brain, "[1.0,0.099609375,-123.5]", "[1.0,0.099609375,-123.5]");
}

static void long_vectors_have_a_right_bulk_length(void **state) {
    (void)state;
    enum { DIMENSION = 16384 };
    float *raw = calloc(DIMENSION, sizeof *raw);
    char *expected = malloc(DIMENSION * 16), *at = expected;
    const uint32_t counts[] = {1, 511, 1023, 1024, 1025, DIMENSION}; /* around the 4 KiB that are buffered */
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        at = expected;
        for (uint32_t k = 0; k < counts[i]; k++) {
            raw[k] = (float)(k % 10);
            at += snprintf(at, 16, "%c%u.0", k == 0 ? '[' : ',', (unsigned)(k % 10));
        }
        memcpy(at, "]", 2);
        check(vector(PIL_SCALAR_FLOAT32, counts[i]), raw, counts[i] * sizeof *raw, expected, expected);
    }
    free(raw);
    free(expected);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_and_bools_are_plain),
        cmocka_unit_test(floats_are_shortest_and_json_widens_float32),
        cmocka_unit_test(timestamps_are_seconds),
        cmocka_unit_test(strings_are_raw_in_resp_and_escaped_in_json),
        cmocka_unit_test(what_is_not_utf8_becomes_the_replacement_character),
        cmocka_unit_test(bytes_are_base64_in_json),
        cmocka_unit_test(lists_are_json_arrays),
        cmocka_unit_test(lists_of_texts_are_json_arrays),
        cmocka_unit_test(the_sdk_of_feast_reads_finite_numbers_and_lists_that_are_not_empty),
        cmocka_unit_test(damaged_lists_end_early),
        cmocka_unit_test(vectors_have_their_dimension),
        cmocka_unit_test(long_vectors_have_a_right_bulk_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
