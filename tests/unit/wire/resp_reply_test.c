/* SPDX-License-Identifier: Apache-2.0
 * Goal: clients read every form of reply, find its end however it arrives, and refuse what is not RESP. Method: values
 * known beforehand; each reply measured whole and byte by byte. */
#include "wire/resp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static void expect(const char *input, pil_resp_kind kind, int64_t integer, const char *text) {
    struct pil_bytes rest = pil_bytes_from_text(input);
    struct pil_resp_value value;
    assert_int_equal(pil_resp_value_next(&rest, &value), PIL_STATUS_OK);
    assert_int_equal(value.kind, kind);
    assert_int_equal(value.integer, integer);
    if (text != NULL) {
        assert_true(pil_bytes_equal_text(value.text, text));
    }
    assert_int_equal(rest.len, 0);
}

static void reads_every_kind(void **state) {
    (void)state;
    expect("+OK\r\n", PIL_RESP_KIND_SIMPLE, 0, "OK");
    expect("-ERR x\r\n", PIL_RESP_KIND_ERROR, 0, "ERR x");
    expect(":-9223372036854775808\r\n", PIL_RESP_KIND_INTEGER, INT64_MIN, NULL);
    expect(":9223372036854775807\r\n", PIL_RESP_KIND_INTEGER, INT64_MAX, NULL);
    expect(":+5\r\n", PIL_RESP_KIND_INTEGER, 5, NULL);
    expect("$5\r\na\r\nbc\r\n", PIL_RESP_KIND_BULK, 0, "a\r\nbc");
    expect("$0\r\n\r\n", PIL_RESP_KIND_BULK, 0, "");
    expect("$-1\r\n", PIL_RESP_KIND_NULL, 0, NULL);
    expect("*-1\r\n", PIL_RESP_KIND_NULL, 0, NULL);
    expect("_\r\n", PIL_RESP_KIND_NULL, 0, NULL);
    expect("#t\r\n", PIL_RESP_KIND_BOOLEAN, 1, NULL);
    expect("#f\r\n", PIL_RESP_KIND_BOOLEAN, 0, NULL);
    expect(",1.5\r\n", PIL_RESP_KIND_DOUBLE, 0, "1.5");
    expect("(123456789012345678901234567890\r\n", PIL_RESP_KIND_DOUBLE, 0, "123456789012345678901234567890");
    expect("=7\r\ntxt:abc\r\n", PIL_RESP_KIND_BULK, 0, "abc");
    expect("*3\r\n", PIL_RESP_KIND_ARRAY, 3, NULL);
    expect("~3\r\n", PIL_RESP_KIND_SET, 3, NULL);
    expect("%3\r\n", PIL_RESP_KIND_MAP, 6, NULL);
    expect(">3\r\n", PIL_RESP_KIND_ARRAY, 3, NULL);
}

static void refuses_what_is_not_resp(void **state) {
    (void)state;
    const char *const bad[] = {
        "x\r\n",   "\r\n",         ":\r\n",         ":1a\r\n", ":9223372036854775808\r\n", ":-9223372036854775809\r\n",
        "$-2\r\n", "$1\r\nab\r\n", "$x\r\n",        "*-2\r\n", "*99999999999\r\n",         "#x\r\n",
        "_x\r\n",  ",\r\n",        "=3\r\nabc\r\n", "+OK\n",   "$9999999999\r\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct pil_bytes rest = pil_bytes_from_text(bad[i]);
        struct pil_resp_value value;
        assert_int_equal(pil_resp_value_next(&rest, &value), PIL_STATUS_INVALID);
        assert_int_equal(rest.len, strlen(bad[i]));
    }
}

static void finds_the_end_of_nested_replies_however_they_arrive(void **state) {
    (void)state;
    const char *const replies[] = {"+OK\r\n",
                                   "*0\r\n",
                                   "*2\r\n*1\r\n:1\r\n$2\r\n\r\n\r\n",
                                   "%2\r\n+a\r\n*2\r\n_\r\n#t\r\n+b\r\n~0\r\n",
                                   "*-1\r\n",
                                   "*1\r\n*1\r\n*1\r\n*1\r\n*0\r\n"};
    for (size_t i = 0; i < sizeof replies / sizeof *replies; i++) {
        size_t len = strlen(replies[i]), found = 0;
        char *twice = malloc(len * 2);
        memcpy(twice, replies[i], len);
        memcpy(twice + len, replies[i], len);
        struct pil_resp_reply_cursor cursor = {0};
        assert_int_equal(pil_resp_reply_length(&cursor, pil_bytes_from(twice, len * 2), &found), PIL_STATUS_OK);
        assert_int_equal(found, len);
        for (size_t end = 0; end < len; end++) {
            char *copy = malloc(end > 0 ? end : 1);
            memcpy(copy, twice, end);
            assert_int_equal(pil_resp_reply_length(&cursor, pil_bytes_from(copy, end), &found), PIL_STATUS_AGAIN);
            free(copy);
        }
        assert_int_equal(pil_resp_reply_length(&cursor, pil_bytes_from(twice, len), &found), PIL_STATUS_OK);
        assert_int_equal(found, len);
        free(twice);
    }
}

static void announced_sizes_do_not_overflow(void **state) {
    (void)state;
    const char bomb[] = "*2147483648\r\n*2147483648\r\n*2147483648\r\n*2147483648\r\n"; /* each opens 2^31 more */
    struct pil_resp_reply_cursor cursor = {0};
    size_t found;
    assert_int_equal(pil_resp_reply_length(&cursor, pil_bytes_from_text(bomb), &found), PIL_STATUS_INVALID);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_kind),
        cmocka_unit_test(refuses_what_is_not_resp),
        cmocka_unit_test(finds_the_end_of_nested_replies_however_they_arrive),
        cmocka_unit_test(announced_sizes_do_not_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
