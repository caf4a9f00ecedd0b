/* SPDX-License-Identifier: Apache-2.0
 * Goal: each value has exactly one text, and only that text is read. Method: RFC 4648's vectors; every wrong form; in
 * place and into other memory. */
#include "base/base64.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void assert_decodes(const char *text, const char *want, size_t want_len) {
    uint8_t memory[32], own[32];
    struct pil_bytes given = pil_bytes_from_text(text);
    assert_true(pil_base64_is_valid(given));
    assert_int_equal(pil_base64_decode(given, memory), want_len);
    assert_memory_equal(memory, want, want_len);
    memcpy(own, text, given.len);
    assert_int_equal(pil_base64_decode(pil_bytes_from(own, given.len), own), want_len);
    assert_memory_equal(own, want, want_len);
}

static void reads_the_vectors_of_the_rfc(void **state) {
    (void)state;
    assert_decodes("", "", 0);
    assert_decodes("Zg==", "f", 1);
    assert_decodes("Zm8=", "fo", 2);
    assert_decodes("Zm9v", "foo", 3);
    assert_decodes("Zm9vYmE=", "fooba", 5);
    assert_decodes("Zm9vYmFy", "foobar", 6);
    assert_decodes("/+8A", "\xff\xef\0", 3);
}

static void refuses_every_other_text(void **state) {
    (void)state;
    static const char *const bad[] = {"Z",    "Zg",   "Zg=",   "Zh==",   "Zm9=", "=",       "====", "Zg==Zg==",
                                      "Zm9 ", "Zm9-", "Zm9_v", "Zm9v\n", "Z===", "Zm9vYmE", "Zm=v"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (pil_base64_is_valid(pil_bytes_from_text(bad[i]))) {
            fail_msg("'%s' was taken for base64", bad[i]);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_vectors_of_the_rfc),
        cmocka_unit_test(refuses_every_other_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
