/* SPDX-License-Identifier: Apache-2.0
 * Goal: spans compare by content, loads and stores work from any address, alignment rounds up; texts grow.
 * Method: small values, odd addresses. */
#include "base/bytes.h"
#include "base/text.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>

/* Out of line: gcc 12 unrolls the loop over constants and then warns of what it never reads. */
__attribute__((noinline)) static bool equal_nocase(struct pil_bytes a, const char *text) {
    return pil_bytes_equal_nocase(a, text);
}

static void spans_compare_by_content(void **state) {
    (void)state;
    struct pil_bytes empty = pil_bytes_from(NULL, 0), text = pil_bytes_from_text("HeLLo");
    assert_true(pil_bytes_equal(empty, pil_bytes_from("x", 0)));
    assert_true(pil_bytes_equal_text(text, "HeLLo"));
    assert_false(pil_bytes_equal_text(text, "HeLL"));
    assert_false(pil_bytes_equal_text(text, "HeLLo!"));
    assert_true(pil_bytes_equal_text(empty, ""));
    assert_true(equal_nocase(text, "hEllO"));
    assert_false(equal_nocase(text, "hello!"));
    assert_false(equal_nocase(text, "hell"));
    assert_false(equal_nocase(pil_bytes_from_text("["), "{")); /* 32 apart, but no letters */
    assert_false(equal_nocase(pil_bytes_from("a\0b", 3), "a"));
    assert_true(equal_nocase(empty, ""));
}

static void loads_undo_stores_at_odd_addresses(void **state) {
    (void)state;
    uint8_t memory[17] = {0};
    pil_store_u16(memory + 1, 0xa1b2);
    assert_int_equal(memory[1], 0xb2);
    assert_int_equal(pil_load_u16(memory + 1), 0xa1b2);
    pil_store_u32(memory + 3, 0xdeadbeef);
    assert_int_equal(memory[3], 0xef);
    assert_int_equal(pil_load_u32(memory + 3), 0xdeadbeef);
    pil_store_i64(memory + 7, INT64_MIN + 5);
    assert_int_equal(pil_load_i64(memory + 7), INT64_MIN + 5);
    assert_int_equal(pil_load_u64(memory + 7), 0x8000000000000005u);
    pil_store_f32(memory + 5, -0.5f);
    assert_true(pil_load_f32(memory + 5) == -0.5f);
    pil_store_f64(memory + 9, 1e300);
    assert_true(pil_load_f64(memory + 9) == 1e300);
}

static void aligning_rounds_up(void **state) {
    (void)state;
    assert_int_equal(pil_align_up(0, 64), 0);
    assert_int_equal(pil_align_up(1, 64), 64);
    assert_int_equal(pil_align_up(64, 64), 64);
    assert_int_equal(pil_align_up(65, 8), 72);
    assert_int_equal(pil_align_up(7, 3), 9);
}

static void texts_grow_and_stay_terminated(void **state) {
    (void)state;
    struct pil_text text = {0};
    assert_string_equal(pil_text_chars(&text), "");
    pil_text_append(&text, NULL, 0);
    assert_string_equal(text.data, "");
    size_t want = 0;
    for (int i = 0; i < 1000; i++) {
        pil_text_format(&text, "%d,", i % 10);
        pil_text_append(&text, "\0x", 2);
        want += 4;
        assert_int_equal(text.len, want);
        assert_int_equal(text.data[text.len], '\0');
        assert_true(text.capacity > text.len);
    }
    assert_int_equal(pil_text_bytes(&text).len, want);
    assert_memory_equal(text.data + 4 * 7, "7,\0x", 4);
    pil_text_clear(&text);
    assert_int_equal(text.len, 0);
    assert_string_equal(pil_text_chars(&text), "");
    pil_text_deinit(&text);
    pil_text_deinit(&text);
    assert_null(text.data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spans_compare_by_content),
        cmocka_unit_test(loads_undo_stores_at_odd_addresses),
        cmocka_unit_test(aligning_rounds_up),
        cmocka_unit_test(texts_grow_and_stay_terminated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
