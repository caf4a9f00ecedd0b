/* SPDX-License-Identifier: Apache-2.0
 * Goal: a key part is exactly a value of the wanted type or none, and the message says which part it was. Method: each
 * kind of part by each type of key, at the ends of the types; messages of values that are long, foreign or not text.
 * The table in schemas/wire.md is tried through every protocol by tests/system/test_keys.py. */
#include "schema/key_part.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct pil_key_part number(const char *text) {
    return (struct pil_key_part){.kind = PIL_KEY_PART_NUMBER, .text = pil_bytes_from_text(text)};
}

static struct pil_key_part text_part(const char *text) {
    return (struct pil_key_part){.kind = PIL_KEY_PART_TEXT, .text = pil_bytes_from_text(text)};
}

static void assert_is(struct pil_key_part part, pil_scalar type, int64_t want) {
    int64_t value = 77;
    assert_true(pil_key_part_to_integer(&part, type, &value));
    assert_int_equal(value, want);
}

static void assert_is_not(struct pil_key_part part, pil_scalar type) {
    int64_t value = 77;
    assert_false(pil_key_part_to_integer(&part, type, &value));
    assert_int_equal(value, 77);
}

static void numbers_are_whole_or_refused(void **state) {
    (void)state;
    assert_is(number("1e3"), PIL_SCALAR_INT64, 1000);
    assert_is(number("-9223372036854775808.0"), PIL_SCALAR_INT64, INT64_MIN);
    assert_is_not(number("9223372036854775808"), PIL_SCALAR_INT64);
    assert_is_not(number("1e400"), PIL_SCALAR_INT64);
    assert_is_not(number("1.5"), PIL_SCALAR_INT64);
    assert_is_not(number("2147483648.0"), PIL_SCALAR_INT32);
    assert_is(number("1.5"), PIL_SCALAR_UNIX_TIMESTAMP, 1500000);
    assert_is(number("15e-1"), PIL_SCALAR_UNIX_TIMESTAMP, 1500000);
    assert_is(number("-0.000001"), PIL_SCALAR_UNIX_TIMESTAMP, -1);
    assert_is(number("9223372036854.775807"), PIL_SCALAR_UNIX_TIMESTAMP, INT64_MAX);
    assert_is_not(number("9223372036854.775808"), PIL_SCALAR_UNIX_TIMESTAMP);
    assert_is_not(number("0.0000001"), PIL_SCALAR_UNIX_TIMESTAMP);
}

static void plain_numbers_are_integers_and_others_are_no_text(void **state) {
    (void)state;
    char digits[PIL_KEY_PART_DIGITS_BYTES];
    struct pil_bytes text;
    struct pil_key_part plain = pil_key_part_of_number(pil_bytes_from_text("-12"), true, -12);
    assert_int_equal(plain.kind, PIL_KEY_PART_INT);
    assert_true(pil_key_part_to_text(&plain, digits, &text));
    assert_true(pil_bytes_equal_text(text, "-12"));
    static const char *const others[] = {"12.0", "1.2e1", "-0"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        struct pil_key_part part = pil_key_part_of_number(pil_bytes_from_text(others[i]), true, i < 2 ? 12 : 0);
        assert_int_equal(part.kind, PIL_KEY_PART_NUMBER);
        assert_false(pil_key_part_to_text(&part, digits, &text));
        assert_is(part, PIL_SCALAR_INT64, i < 2 ? 12 : 0);
    }
}

static void times_are_times_only(void **state) {
    (void)state;
    const struct pil_key_part time = {.kind = PIL_KEY_PART_TIME, .integer = -5};
    char digits[PIL_KEY_PART_DIGITS_BYTES];
    struct pil_bytes text;
    assert_is(time, PIL_SCALAR_UNIX_TIMESTAMP, -5);
    assert_is_not(time, PIL_SCALAR_INT64);
    assert_is_not(time, PIL_SCALAR_INT32);
    assert_false(pil_key_part_to_text(&time, digits, &text));
    assert_is(text_part("1970-01-01T01:00:00.25+01:00"), PIL_SCALAR_UNIX_TIMESTAMP, 250000);
    assert_is_not(text_part("1970-01-01T00:00:00"), PIL_SCALAR_UNIX_TIMESTAMP);
    assert_is_not((struct pil_key_part){.kind = PIL_KEY_PART_OTHER, .text = pil_bytes_from_text("5")},
                  PIL_SCALAR_INT64);
}

static void assert_explained(struct pil_key_part part, pil_scalar type, uint64_t row, const char *want) {
    char problem[PIL_KEY_PROBLEM_BYTES];
    assert_string_equal(pil_key_part_explain(&part, (struct pil_key_place){"uid", type, row}, problem), want);
}

static void messages_name_key_row_value_and_type(void **state) {
    (void)state;
    assert_explained(text_part("abc"), PIL_SCALAR_INT64, 3, "join key uid, row 3: 'abc' is not int64");
    assert_explained(text_part("k\xc3\xb6ln\r\n\xff"), PIL_SCALAR_INT32, PIL_KEY_PART_ONE_ROW,
                     "join key uid: 'k\xc3\xb6ln\\x0d\\x0a\\xff' is not int32");
    assert_explained(number("1.5"), PIL_SCALAR_INT64, 0, "join key uid, row 0: 1.5 is not int64");
    assert_explained((struct pil_key_part){.kind = PIL_KEY_PART_INT, .integer = INT64_MIN}, PIL_SCALAR_INT32, 0,
                     "join key uid, row 0: -9223372036854775808 is not int32");
    assert_explained((struct pil_key_part){.kind = PIL_KEY_PART_TIME, .integer = 500000}, PIL_SCALAR_STRING, 1,
                     "join key uid, row 1: the time 1970-01-01T00:00:00.500Z is not string");
    assert_explained(text_part("x"), PIL_SCALAR_UNIX_TIMESTAMP, 1,
                     "join key uid, row 1: 'x' is not unix_timestamp (seconds, or a time with its zone)");
}

static void long_values_are_cut_between_characters(void **state) {
    (void)state;
    char given[1001] = {0}, problem[PIL_KEY_PROBLEM_BYTES];
    for (size_t i = 0; i < 1000; i += 2) {
        memcpy(given + i, i == 62 ? "a\xc3" : "\xc3\xb6", 2);
    }
    struct pil_key_part part = text_part(given);
    pil_key_part_explain(&part, (struct pil_key_place){"uid", PIL_SCALAR_INT64, 1}, problem);
    assert_non_null(strstr(problem, "\xb6"
                                    "a\\xc3...' is not int64"));
    memset(given, 1, 1000);
    part = text_part(given);
    pil_key_part_explain(&part, (struct pil_key_place){"uid", PIL_SCALAR_INT64, 1}, problem);
    assert_non_null(strstr(problem, "\\x01...' is not int64"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_whole_or_refused),
        cmocka_unit_test(plain_numbers_are_integers_and_others_are_no_text),
        cmocka_unit_test(times_are_times_only),
        cmocka_unit_test(messages_name_key_row_value_and_type),
        cmocka_unit_test(long_values_are_cut_between_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
