/* SPDX-License-Identifier: Apache-2.0
 * Goal: a text is whole or says that it failed, whichever allocation fails. Method: the same text is made with each of
 * its allocations failing in turn. */
#include "base/text.h"
#include "support/fail_alloc.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

enum { LINES = 100 };

static void fill(struct pil_text *text) {
    for (int i = 0; i < LINES; i++) {
        pil_text_format(text, "line %d of ", i);
        pil_text_append(text, "many\n", 5);
    }
}

static void what_is_added_is_there_and_ends_with_nul(void **state) {
    (void)state;
    struct pil_text text = {0};
    assert_string_equal(pil_text_chars(&text), "");
    pil_text_append(&text, "", 0);
    assert_string_equal(text.data, "");
    pil_text_format(&text, "%s %d", "a", 1);
    pil_text_append(&text, "\0b", 2);
    assert_int_equal(text.len, 5);
    assert_memory_equal(text.data, "a 1\0b", 6);
    pil_text_clear(&text);
    assert_int_equal(text.len, 0);
    assert_string_equal(pil_text_chars(&text), "");
    pil_text_deinit(&text);
    assert_null(text.data);
}

static void no_memory_leaves_nothing_that_looks_whole(void **state) {
    (void)state;
    struct pil_text whole = {0};
    fill(&whole);
    uint64_t nth = 1;
    for (;; nth++) {
        struct pil_text text = {0};
        pil_fail_alloc_arm(nth);
        fill(&text);
        bool has_fired = pil_fail_alloc_disarm();
        assert_int_equal(text.failed, has_fired);
        if (!has_fired) {
            assert_string_equal(text.data, whole.data);
            pil_text_deinit(&text);
            break;
        }
        assert_null(text.data);
        assert_int_equal(text.len, 0);
        assert_string_equal(pil_text_chars(&text), "no memory for this text");
        pil_text_append(&text, "more", 4); /* with memory: what is lost stays lost … */
        assert_true(text.failed && text.len == 0);
        pil_text_clear(&text); /* … until it begins anew */
        fill(&text);
        assert_false(text.failed);
        assert_string_equal(text.data, whole.data);
        pil_text_deinit(&text);
    }
    assert_true(nth > 3); /* it has grown several times */
    pil_text_deinit(&whole);
}

static void assert_printable(const char *from, size_t columns_max, const char *expected) {
    struct pil_text text = {0};
    pil_text_append_printable(&text, pil_bytes_from_text(from), columns_max);
    assert_string_equal(pil_text_chars(&text), expected);
    pil_text_deinit(&text);
}

static void foreign_text_cannot_steer_a_terminal(void **state) {
    (void)state;
    assert_printable("driver_stats é 漢 😀 \\", 0, "driver_stats é 漢 😀 \\");
    assert_printable("a\x1b[31m\x07\r\n\t\x7f", 0, "a\\x1b[31m\\x07\\x0d\\x0a\\x09\\x7f");
    assert_printable("\xc2\x9b|\xc2\xa0|\xc2\xad", 0, "\\xc2\\x9b|\xc2\xa0|\\xc2\\xad"); /* CSI as C1; soft hyphen */
    assert_printable("\xe2\x80\xae|\xe2\x81\xa6", 0, "\\xe2\\x80\\xae|\\xe2\\x81\\xa6"); /* RLO, LRI */
    assert_printable("\xef\xbb\xbf|\xd8\x9c", 0, "\\xef\\xbb\\xbf|\\xd8\\x9c");          /* BOM, ALM */
    assert_printable("\xf3\xa0\x81\x81", 0, "\\xf3\\xa0\\x81\\x81");                     /* a tag character */
    assert_printable("\xff\xc0\x9b\xe2\x80", 0, "\\xff\\xc0\\x9b\\xe2\\x80");            /* not UTF-8 */
    assert_printable("漢漢漢", 3, "漢漢漢");
    assert_printable("漢漢漢漢", 3, "漢漢…");
    assert_printable("a\x1b", 4, "a…"); /* an escape is shown whole, or not at all */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_added_is_there_and_ends_with_nul),
        cmocka_unit_test(foreign_text_cannot_steer_a_terminal),
        cmocka_unit_test(no_memory_leaves_nothing_that_looks_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
