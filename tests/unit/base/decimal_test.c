/* SPDX-License-Identifier: Apache-2.0
 * Goal: decimal text is Python's repr: it reads back as the same bits, no shorter text does, and among the shortest it
 * is the closest. Method: known vectors, random bit patterns and edges of every binary exponent against strtod and
 * printf. PIL_SEED=n replays. */
#include "base/decimal.h"
#include "base/bytes.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

static uint64_t random_state;

/* splitmix64 */
static uint64_t random_u64(void) {
    uint64_t z = random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static int seed(void **state) {
    (void)state;
    const char *text = getenv("PIL_SEED");
    random_state = text != NULL ? strtoull(text, NULL, 10) : (uint64_t)time(NULL);
    print_message("PIL_SEED=%llu\n", (unsigned long long)random_state);
    return 0;
}

static void assert_f64(double value, const char *expected) {
    char text[PIL_DECIMAL_BYTES];
    int len = pil_decimal_f64(value, text);
    assert_int_equal(len, (int)strlen(expected));
    assert_memory_equal(text, expected, (size_t)len);
}
static void assert_f32(float value, const char *expected) {
    char text[PIL_DECIMAL_BYTES];
    int len = pil_decimal_f32(value, text);
    assert_int_equal(len, (int)strlen(expected));
    assert_memory_equal(text, expected, (size_t)len);
}

static void writes_doubles_as_python_does(void **state) {
    (void)state;
    assert_f64(0.0, "0.0");
    assert_f64(-0.0, "-0.0");
    assert_f64(1.0, "1.0");
    assert_f64(-1.5, "-1.5");
    assert_f64(100.0, "100.0");
    assert_f64(0.1, "0.1");
    assert_f64(0.1 + 0.2, "0.30000000000000004");
    assert_f64(0.0001, "0.0001");
    assert_f64(0.00001, "1e-05");
    assert_f64(0.00012345, "0.00012345");
    assert_f64(1e15, "1000000000000000.0");
    assert_f64(1e16, "1e+16");
    assert_f64(1.2345e16, "1.2345e+16");
    assert_f64(9999999999999998.0, "9999999999999998.0");
    assert_f64(9007199254740993.0, "9007199254740992.0");
    assert_f64(123456789012345680.0, "1.2345678901234568e+17");
    assert_f64(1e22, "1e+22");
    assert_f64(1e23, "1e+23");
    assert_f64(9.5367431640625e-07, "9.5367431640625e-07");
    assert_f64(5e-324, "5e-324");
    assert_f64(2.2250738585072014e-308, "2.2250738585072014e-308");
    assert_f64(1.7976931348623157e308, "1.7976931348623157e+308");
    assert_f64(-1.7976931348623157e308, "-1.7976931348623157e+308");
    assert_f64(2.0e-44, "2e-44");
    assert_f64(9007199254740991.0 * 4, "3.6028797018963964e+16");
    assert_f64((double)0.023668857f, "0.023668857291340828");
    assert_f64((double)0.1f, "0.10000000149011612");
    assert_f64((double)-3.40282347e38f, "-3.4028234663852886e+38");
    assert_f64((double)1e-30f, "1.0000000031710769e-30");
    assert_f64((double)NAN, "nan");
    assert_f64(-(double)NAN, "nan");
    assert_f64((double)INFINITY, "inf");
    assert_f64(-(double)INFINITY, "-inf");
}

static void writes_floats_with_their_own_digits(void **state) {
    (void)state;
    assert_f32(0.0f, "0.0");
    assert_f32(-0.0f, "-0.0");
    assert_f32(0.1f, "0.1");
    assert_f32(0.023668857f, "0.023668857");
    assert_f32(16777216.0f, "16777216.0");
    assert_f32(33554432.0f, "33554432.0");
    assert_f32(1e10f, "10000000000.0");
    assert_f32(3.4028235e38f, "3.4028235e+38");
    assert_f32(1e-45f, "1e-45");
    assert_f32(1.17549435e-38f, "1.1754944e-38");
    assert_f32(1.5f, "1.5");
    assert_f32(NAN, "nan");
    assert_f32(-INFINITY, "-inf");
}

static int digits_of(const char *text) {
    int count = 0, zeros = 0;
    bool begun = false;
    for (; *text != '\0' && *text != 'e'; text++) {
        if (*text >= '0' && *text <= '9' && (begun || *text != '0')) {
            begun = true;
            zeros = *text == '0' ? zeros + 1 : 0;
            count++;
        }
    }
    return count - zeros;
}

static double f64_from_bits(uint64_t bits) {
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}
static float f32_from_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* printf with one digit after another finds the shortest length, and rounds to the closest of that length. */
static void check_f64(double value, bool with_printf) {
    char text[PIL_DECIMAL_BYTES + 1];
    text[pil_decimal_f64(value, text)] = '\0';
    double back = strtod(text, NULL);
    if (pil_load_u64(&back) != pil_load_u64(&value)) {
        fail_msg("%a became %s", value, text);
    }
    if (!with_printf || value == 0) {
        return;
    }
    for (int precision = 0; precision < 17; precision++) {
        char reference[64];
        snprintf(reference, sizeof reference, "%.*e", precision, value);
        if (strtod(reference, NULL) == value) {
            /* Ours may be shorter: at powers of two printf's closest decimal is not always the shortest inside the
             * interval. */
            if (digits_of(text) > digits_of(reference)) {
                fail_msg("%a became %s, but %s is enough", value, text, reference);
            }
            if (digits_of(text) == digits_of(reference) && strtod(text, NULL) != strtod(reference, NULL)) {
                fail_msg("%a became %s, not %s", value, text, reference);
            }
            return;
        }
    }
}
static void check_f32(float value, bool with_printf) {
    char text[PIL_DECIMAL_BYTES + 1];
    text[pil_decimal_f32(value, text)] = '\0';
    float back = strtof(text, NULL);
    if (pil_load_u32(&back) != pil_load_u32(&value)) {
        fail_msg("%a became %s", (double)value, text);
    }
    for (int precision = 0; with_printf && value != 0 && precision < 9; precision++) {
        char reference[64];
        snprintf(reference, sizeof reference, "%.*e", precision, (double)value);
        if (strtof(reference, NULL) == value) {
            if (digits_of(text) > digits_of(reference)) {
                fail_msg("%a became %s, but %s is enough", (double)value, text, reference);
            }
            return;
        }
    }
}

static void random_doubles_round_trip_and_are_shortest(void **state) {
    (void)state;
    for (int i = 0; i < 1000000; i++) {
        double value = f64_from_bits(random_u64());
        if (isfinite(value)) {
            check_f64(value, i % 20 == 0);
        }
    }
}

static void random_floats_round_trip_and_are_shortest(void **state) {
    (void)state;
    for (int i = 0; i < 1000000; i++) {
        float value = f32_from_bits((uint32_t)random_u64());
        if (isfinite(value)) {
            check_f32(value, i % 20 == 0);
        }
    }
}

static void feature_like_numbers_round_trip(void **state) {
    (void)state;
    for (int i = 0; i < 200000; i++) {
        uint64_t bits = random_u64();
        check_f64((double)(int64_t)(bits % 2000000000) / 1000.0, i % 20 == 0);
        check_f64((double)((float)(bits % 1000003) / 1000003.0f), i % 20 == 0);
        check_f64((double)(bits >> (bits & 63)), i % 20 == 0);
        check_f32((float)(bits % 100000) / 1000.0f, i % 20 == 0);
    }
}

static void edges_of_every_binary_exponent_are_shortest(void **state) {
    (void)state;
    for (uint64_t exponent = 0; exponent < 0x7ff; exponent++) {
        const uint64_t significands[] = {0, 1, 2, (UINT64_C(1) << 51), (UINT64_C(1) << 52) - 1};
        for (size_t i = 0; i < sizeof significands / sizeof *significands; i++) {
            check_f64(f64_from_bits(exponent << 52 | significands[i]), true);
        }
    }
    for (uint32_t exponent = 0; exponent < 0xff; exponent++) {
        const uint32_t significands[] = {0, 1, 2, UINT32_C(1) << 22, (UINT32_C(1) << 23) - 1};
        for (size_t i = 0; i < sizeof significands / sizeof *significands; i++) {
            check_f32(f32_from_bits(exponent << 23 | significands[i]), true);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_doubles_as_python_does),
        cmocka_unit_test(writes_floats_with_their_own_digits),
        cmocka_unit_test(random_doubles_round_trip_and_are_shortest),
        cmocka_unit_test(random_floats_round_trip_and_are_shortest),
        cmocka_unit_test(feature_like_numbers_round_trip),
        cmocka_unit_test(edges_of_every_binary_exponent_are_shortest),
    };
    return cmocka_run_group_tests(tests, seed, NULL);
}
