/* SPDX-License-Identifier: Apache-2.0
 * Goal: decimal text is a number only when it is one, exactly. */
#include "base/number.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void whole_numbers_are_read_exactly(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t value;
    } cases[] = {{"0", 0},
                 {"-0", 0},
                 {"7", 7},
                 {"-12", -12},
                 {"007", 7},
                 {"9223372036854775807", INT64_MAX},
                 {"-9223372036854775808", INT64_MIN}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t value = 99;
        assert_true(pil_number_parse_i64(pil_bytes_from_text(cases[i].text), &value));
        assert_true(value == cases[i].value);
    }
}

static void anything_else_is_refused(void **state) {
    (void)state;
    static const char *const texts[] = {"",
                                        "-",
                                        "+1",
                                        " 1",
                                        "1 ",
                                        "1.0",
                                        "1e3",
                                        "0x10",
                                        "--1",
                                        "1-1",
                                        "9223372036854775808",
                                        "-9223372036854775809",
                                        "000000000000000000001",
                                        "18446744073709551616"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        int64_t value = 99;
        assert_false(pil_number_parse_i64(pil_bytes_from_text(texts[i]), &value));
        assert_int_equal(value, 99);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_numbers_are_read_exactly),
        cmocka_unit_test(anything_else_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
