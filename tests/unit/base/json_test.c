/* SPDX-License-Identifier: Apache-2.0
 * Goal: the reader takes exactly RFC 8259, says where and what a mistake is in the words of Python's json, and keeps
 * integers exact. Method: accepted and refused texts by chapter of the RFC, each from memory exactly as long as the
 * text. */
#include "base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

/* A text in memory of its own size, and as much scratch. */
struct fixture {
    struct pil_json json;
    uint8_t *text, *scratch;
};

static struct fixture begin(const char *text, size_t len) {
    struct fixture fixture = {.text = malloc(len > 0 ? len : 1), .scratch = malloc(len > 0 ? len : 1)};
    memcpy(fixture.text, text, len);
    pil_json_init(&fixture.json, pil_bytes_from(fixture.text, len), fixture.scratch, len);
    return fixture;
}
static void end(struct fixture *fixture) {
    free(fixture->text);
    free(fixture->scratch);
}

static pil_status check(struct pil_json *json) {
    struct pil_bytes raw;
    PIL_TRY(pil_json_skip(json, &raw));
    return pil_json_finish(json);
}

static void accept(const char *text, size_t len) {
    struct fixture fixture = begin(text, len);
    if (check(&fixture.json) != PIL_STATUS_OK) {
        fail_msg("%s: %s", text, fixture.json.error);
    }
    end(&fixture);
}
static void refuse(const char *text, const char *error, long at) {
    struct fixture fixture = begin(text, strlen(text));
    if (check(&fixture.json) != PIL_STATUS_INVALID) {
        fail_msg("%s was accepted", text);
    }
    assert_string_equal(fixture.json.error, error);
    if (fixture.json.at - fixture.json.begin != at) {
        fail_msg("%s: at %td, not %ld", text, fixture.json.at - fixture.json.begin, at);
    }
    end(&fixture);
}

static void accepts_what_the_rfc_allows(void **state) {
    (void)state;
    static const char *const texts[] = {"null",
                                        "true",
                                        "false",
                                        "0",
                                        "-0",
                                        "1",
                                        "-1",
                                        "10",
                                        "0.5",
                                        "-0.5",
                                        "1e5",
                                        "1E+5",
                                        "1e-5",
                                        "1.5e300",
                                        "123456789012345678901234567890",
                                        "\"\"",
                                        "\"a\"",
                                        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
                                        "\"\\u0000\\u00e9\\uD83D\\uDE00\"",
                                        "\"\x7f\xc3\xa9\xe2\x9c\x93\xf0\x9f\x98\x80\"",
                                        "[]",
                                        "[ ]",
                                        "[1]",
                                        "[1,2]",
                                        " [ 1 , 2 ] ",
                                        "[[],{}]",
                                        "{}",
                                        "{ }",
                                        "{\"a\":1}",
                                        "{\"a\":1,\"a\":2}",
                                        "{\"\":0}",
                                        "\t\r\n {\"a\" : [ null , true , {\"b\":\"c\"} ] }\n",
                                        "\xef\xbb\xbf{}",
                                        "[[[[[[[[1]]]]]]]]"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        accept(texts[i], strlen(texts[i]));
    }
}

/* Places and words are those of Python 3.11's json.loads where it refuses, too. */
static void refuses_what_it_does_not(void **state) {
    (void)state;
    refuse("", "Expecting value", 0);
    refuse("  ", "Expecting value", 2);
    refuse("nul", "Expecting value", 0);
    refuse("True", "Expecting value", 0);
    refuse("NaN", "Expecting value", 0);
    refuse("-Infinity", "Expecting value", 0);
    refuse("+1", "Expecting value", 0);
    refuse("-", "Expecting value", 0);
    refuse(".5", "Expecting value", 0);
    refuse("01", "Extra data", 1);
    refuse("0x1", "Extra data", 1);
    refuse("1.", "Expecting digits after the decimal point", 1);
    refuse("1.e5", "Expecting digits after the decimal point", 1);
    refuse("1e", "Expecting digits of the exponent", 1);
    refuse("1e+", "Expecting digits of the exponent", 1);
    refuse("1 2", "Extra data", 2);
    refuse("{}}", "Extra data", 2);
    refuse("[", "Expecting value", 1);
    refuse("[1", "Expecting ',' delimiter", 2);
    refuse("[1 2]", "Expecting ',' delimiter", 3);
    refuse("[1,]", "Expecting value", 3);
    refuse("[,1]", "Expecting value", 1);
    refuse("[1}", "Expecting ',' delimiter", 2);
    refuse("{", "Expecting property name enclosed in double quotes", 1);
    refuse("{\"a\"", "Expecting ':' delimiter", 4);
    refuse("{\"a\" 1}", "Expecting ':' delimiter", 5);
    refuse("{\"a\":}", "Expecting value", 5);
    refuse("{\"a\":1", "Expecting ',' delimiter", 6);
    refuse("{\"a\":1,}", "Expecting property name enclosed in double quotes", 7);
    refuse("{a:1}", "Expecting property name enclosed in double quotes", 1);
    refuse("{1:1}", "Expecting property name enclosed in double quotes", 1);
    refuse("{\"entities\":", "Expecting value", 12);
    refuse("'a'", "Expecting value", 0);
    refuse("\"a", "Unterminated string starting at", 0);
    refuse("[\"a\\\"]", "Unterminated string starting at", 1);
    refuse("\"a\nb\"", "Invalid control character at", 2);
    refuse("\"a\\x\"", "Invalid \\escape", 2);
    refuse("\"\\u12\"", "Invalid \\uXXXX escape", 2);
    refuse("\"\\u12g4\"", "Invalid \\uXXXX escape", 2);
    refuse("\"\\ud800\"", "Unpaired surrogate escape", 1);
    refuse("\"\\ud800\\u0041\"", "Unpaired surrogate escape", 1);
    refuse("\"\\udc00\\ud800\"", "Unpaired surrogate escape", 1);
    refuse("/*a*/1", "Expecting value", 0);
    refuse("\xc2\xa0"
           "1",
           "Expecting value", 0);
}

static void refuses_what_is_not_utf8(void **state) {
    (void)state;
    static const char *const texts[] = {"\"\x80\"",     "\"\xc0\xaf\"", "\"\xed\xa0\x80\"", "\"\xf4\x90\x80\x80\"",
                                        "\"\xe2\x82\"", "\"\xff\""};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        refuse(texts[i], "Invalid UTF-8", 1);
    }
}

static void truncation_anywhere_is_a_mistake(void **state) {
    (void)state;
    const char text[] = "{\"a\\n\":[1.5e3,\"\\ud83d\\ude00\",{\"b\":null}],\"c\":true}";
    for (size_t len = 0; len < sizeof text - 1; len++) {
        struct fixture fixture = begin(text, len);
        assert_int_equal(check(&fixture.json), PIL_STATUS_INVALID);
        end(&fixture);
    }
    accept(text, sizeof text - 1);
}

static void integers_are_exact_however_they_are_written(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool is_integral;
        int64_t integer;
    } cases[] = {
        {"0", true, 0},
        {"-0", true, 0},
        {"-0.0e9", true, 0},
        {"0e99999999999", true, 0},
        {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775808", true, INT64_MIN},
        {"9223372036854775808", false, 0},
        {"-9223372036854775809", false, 0},
        {"18446744073709551616", false, 0}, /* 2^64 must not wrap to 0 */
        {"9007199254740993", true, 9007199254740993},
        {"9007199254740993.000", true, 9007199254740993},
        {"9.223372036854775807e18", true, INT64_MAX},
        {"9.2233720368547758075e18", false, 0},
        {"1002.0", true, 1002},
        {"1.002e3", true, 1002},
        {"1.002e2", false, 0},
        {"1002000e-3", true, 1002},
        {"1002000e-4", false, 0},
        {"1e18", true, 1000000000000000000},
        {"1e19", false, 0},
        {"1e999999999999999999999", false, 0},
        {"1e-999999999999999999999", false, 0},
        {"0.00000000000000000000000000000000000000000000000012e50", true, 12},
        {"1000000000000000000000000000000000e-33", true, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fixture fixture = begin(cases[i].text, strlen(cases[i].text));
        struct pil_json_number number;
        assert_int_equal(pil_json_read_number(&fixture.json, &number), PIL_STATUS_OK);
        if (number.is_integral != cases[i].is_integral || number.integer != cases[i].integer) {
            fail_msg("%s became %d, %lld", cases[i].text, number.is_integral, (long long)number.integer);
        }
        assert_true(pil_bytes_equal_text(number.text, cases[i].text));
        end(&fixture);
    }
}

static void strings_are_borrowed_unless_they_have_escapes(void **state) {
    (void)state;
    const char text[] = "[\"plain\",\"\\u00e9\\u4e2d\\ud83d\\ude00 \\/\\\"\",\"\",\"x\\ny\"]";
    static const char *const expected[] = {"plain", "\xc3\xa9\xe4\xb8\xad\xf0\x9f\x98\x80 /\"", "", "x\ny"};
    struct fixture fixture = begin(text, sizeof text - 1);
    struct pil_bytes strings[4];
    size_t count = 0;
    assert_int_equal(pil_json_enter(&fixture.json, PIL_JSON_ARRAY), PIL_STATUS_OK);
    for (bool first = true, more = true;;) {
        assert_int_equal(pil_json_next_element(&fixture.json, &first, &more), PIL_STATUS_OK);
        if (!more) {
            break;
        }
        assert_int_equal(pil_json_read_string(&fixture.json, &strings[count++]), PIL_STATUS_OK);
    }
    assert_int_equal(pil_json_finish(&fixture.json), PIL_STATUS_OK);
    assert_int_equal(count, 4);
    for (size_t i = 0; i < count; i++) {
        assert_true(pil_bytes_equal_text(strings[i], expected[i]));
        bool in_text = strings[i].data >= fixture.text && strings[i].data < fixture.text + sizeof text;
        assert_int_equal(in_text, i == 0 || i == 2);
    }
    end(&fixture);
}

static void too_little_scratch_is_told(void **state) {
    (void)state;
    const char text[] = "\"ab\\ncd\"";
    uint8_t scratch[5];
    struct pil_bytes string;
    for (size_t bytes = 0; bytes <= sizeof scratch; bytes++) {
        struct pil_json json;
        pil_json_init(&json, pil_bytes_from_text(text), scratch, bytes);
        assert_int_equal(pil_json_read_string(&json, &string), bytes < 5 ? PIL_STATUS_TOO_LARGE : PIL_STATUS_OK);
    }
}

static void depth_is_bounded(void **state) {
    (void)state;
    char text[2 * (PIL_JSON_DEPTH_MAX + 1)];
    for (size_t depth = PIL_JSON_DEPTH_MAX; depth <= PIL_JSON_DEPTH_MAX + 1; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        struct fixture fixture = begin(text, 2 * depth);
        assert_int_equal(check(&fixture.json), depth <= PIL_JSON_DEPTH_MAX ? PIL_STATUS_OK : PIL_STATUS_TOO_LARGE);
        end(&fixture);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts_what_the_rfc_allows),
        cmocka_unit_test(refuses_what_it_does_not),
        cmocka_unit_test(refuses_what_is_not_utf8),
        cmocka_unit_test(truncation_anywhere_is_a_mistake),
        cmocka_unit_test(integers_are_exact_however_they_are_written),
        cmocka_unit_test(strings_are_borrowed_unless_they_have_escapes),
        cmocka_unit_test(too_little_scratch_is_told),
        cmocka_unit_test(depth_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
