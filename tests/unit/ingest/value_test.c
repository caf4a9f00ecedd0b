/* SPDX-License-Identifier: Apache-2.0
 * Goal: values are ordered as people order them, whatever their bytes are. Method: pairs of values of each kind, in
 * both orders. */
#include "unit/schema/sample.h"
#include "ingest/value.h"

#include <math.h>

static void expect_order(const char *type, struct pil_bytes a, struct pil_bytes b, int order) {
    int found = pil_value_compare(sample_type(type), a, b), reverse = pil_value_compare(sample_type(type), b, a);
    if ((found > 0) - (found < 0) != order || (reverse > 0) - (reverse < 0) != -order) {
        fail_msg("%s: %d and %d instead of %d", type, found, reverse, order);
    }
}
#define BYTES_OF(type, ...) pil_bytes_from((type[]){__VA_ARGS__}, sizeof((type[]){__VA_ARGS__}))

static void numbers_are_ordered_by_value(void **state) {
    (void)state;
    expect_order("bool", BYTES_OF(uint8_t, 0), BYTES_OF(uint8_t, 1), -1);
    expect_order("int32", BYTES_OF(int32_t, 1), BYTES_OF(int32_t, 256), -1);
    expect_order("int32", BYTES_OF(int32_t, -1), BYTES_OF(int32_t, 0), -1);
    expect_order("int64", BYTES_OF(int64_t, (1LL << 53)), BYTES_OF(int64_t, (1LL << 53) + 1), -1);
    expect_order("int64", BYTES_OF(int64_t, 7), BYTES_OF(int64_t, 7), 0);
    expect_order("unix_timestamp", BYTES_OF(int64_t, INT64_MIN), BYTES_OF(int64_t, INT64_MAX), -1);
    expect_order("float32", BYTES_OF(float, -2), BYTES_OF(float, -1), -1);
    expect_order("float64", BYTES_OF(double, 2), BYTES_OF(double, 10), -1);
    expect_order("float64", BYTES_OF(double, NAN), BYTES_OF(double, -INFINITY), -1);
    expect_order("float64", BYTES_OF(double, NAN), BYTES_OF(double, NAN), 0);
    expect_order("float64", BYTES_OF(double, -0.0), BYTES_OF(double, 0.0), 0);
}

static void texts_and_lists_are_ordered_by_elements_then_by_length(void **state) {
    (void)state;
    expect_order("string", pil_bytes_from_text("b"), pil_bytes_from_text("ab"), 1);
    expect_order("string", pil_bytes_from_text("a"), pil_bytes_from_text("ab"), -1);
    expect_order("bytes", pil_bytes_from_text(""), pil_bytes_from_text("a"), -1);
    expect_order("list<int32>", BYTES_OF(int32_t, 1, 256), BYTES_OF(int32_t, 1, 2), 1);
    expect_order("list<int32>", BYTES_OF(int32_t, 1), BYTES_OF(int32_t, 1, 0), -1);
    expect_order("list<int32>", pil_bytes_from("", 0), BYTES_OF(int32_t, -5), -1);
    expect_order("vector<float16,2>", BYTES_OF(uint16_t, 0x3c00, 0xc000), BYTES_OF(uint16_t, 0x3c00, 0x0001), -1);
    expect_order("vector<bfloat16,1>", BYTES_OF(uint16_t, 0xbf80), BYTES_OF(uint16_t, 0x3f80), -1);
    expect_order("vector<int8,2>", BYTES_OF(int8_t, 1, -1), BYTES_OF(int8_t, 1, 1), -1);
    static const uint8_t long_then_b[] = {2, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 'a', 'z', 'b'};
    static const uint8_t b[] = {1, 0, 0, 0, 1, 0, 0, 0, 'b'}, none[] = {0, 0, 0, 0};
    expect_order("list<string>", pil_bytes_from(long_then_b, sizeof long_then_b), pil_bytes_from(b, sizeof b), -1);
    expect_order("list<string>", pil_bytes_from(none, sizeof none), pil_bytes_from(b, sizeof b), -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_ordered_by_value),
        cmocka_unit_test(texts_and_lists_are_ordered_by_elements_then_by_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
