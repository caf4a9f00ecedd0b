/* SPDX-License-Identifier: Apache-2.0
 * Goal: waits double from the first to the last and no further, and start again after success. Method: failures in a
 * row, at times chosen by the test. */
#include "base/backoff.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

enum { MS = 1000000 };

static void waits_double_up_to_the_bound(void **state) {
    (void)state;
    static const uint64_t waits_ms[] = {1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000, 60000};
    struct pil_backoff backoff = pil_backoff_make(1000, 60000);
    uint64_t now_ns = 12345;
    assert_false(pil_backoff_is_waiting(&backoff, now_ns));
    for (size_t i = 0; i < sizeof waits_ms / sizeof waits_ms[0]; i++) {
        pil_backoff_fail(&backoff, now_ns);
        assert_true(pil_backoff_is_waiting(&backoff, now_ns));
        assert_true(pil_backoff_is_waiting(&backoff, now_ns + waits_ms[i] * MS - 1));
        now_ns += waits_ms[i] * MS;
        assert_false(pil_backoff_is_waiting(&backoff, now_ns));
    }
}

static void success_starts_again_and_a_skip_does_not(void **state) {
    (void)state;
    struct pil_backoff backoff = pil_backoff_make(10, 1000);
    pil_backoff_fail(&backoff, 0);
    pil_backoff_fail(&backoff, 0);
    pil_backoff_skip(&backoff);
    assert_false(pil_backoff_is_waiting(&backoff, 0));
    pil_backoff_fail(&backoff, 0);
    assert_true(pil_backoff_is_waiting(&backoff, 40 * MS - 1));
    assert_false(pil_backoff_is_waiting(&backoff, 40 * MS));
    pil_backoff_reset(&backoff);
    assert_false(pil_backoff_is_waiting(&backoff, 0));
    pil_backoff_fail(&backoff, 0);
    assert_false(pil_backoff_is_waiting(&backoff, 10 * MS));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waits_double_up_to_the_bound),
        cmocka_unit_test(success_starts_again_and_a_skip_does_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
