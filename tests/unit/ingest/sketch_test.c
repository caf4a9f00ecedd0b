/* SPDX-License-Identifier: Apache-2.0
 * Goal: the sketches keep their promises. Method: streams whose truth is known. */
#include "ingest/sketch.h"
#include "base/hash.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>

static uint64_t hash(uint64_t value) {
    return pil_hash_index(pil_bytes_from(&value, sizeof value), 0);
}

static void estimates_within_four_standard_errors(void **state) {
    (void)state;
    static const uint64_t counts[] = {0, 1, 2, 100, 4096, 10000, 20000, 1000000};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        struct pil_hll *hll = calloc(1, sizeof *hll);
        for (uint64_t value = 0; value < counts[i]; value++) {
            pil_hll_add(hll, hash(value));
            pil_hll_add(hll, hash(value)); /* once more changes nothing */
        }
        double error = fabs((double)pil_hll_estimate(hll) - (double)counts[i]);
        assert_true(error <= 0.064 * (double)counts[i]);
        free(hll);
    }
}

static void few_values_are_counted_exactly(void **state) {
    (void)state;
    struct pil_frequent *frequent = calloc(1, sizeof *frequent);
    for (uint64_t i = 0; i < 64 * 10; i++) {
        uint64_t value = i % 64;
        pil_frequent_add(frequent, hash(value), pil_bytes_from(&value, sizeof value));
    }
    assert_false(frequent->overflowed);
    for (uint64_t value = 0; value < 64; value++) {
        int at = pil_frequent_find(frequent, hash(value), pil_bytes_from(&value, sizeof value));
        assert_true(at >= 0);
        assert_int_equal(frequent->counts[at], 10);
    }
    free(frequent);
}

static void frequent_values_survive_many_others(void **state) {
    (void)state;
    struct pil_frequent *frequent = calloc(1, sizeof *frequent);
    for (uint64_t i = 0; i < 100000; i++) {
        uint64_t value = i % 50 == 0 ? 7 : 1000 + i; /* one in 50 is more than one in 65 */
        pil_frequent_add(frequent, hash(value), pil_bytes_from(&value, sizeof value));
    }
    uint64_t value = 7;
    assert_true(frequent->overflowed);
    assert_true(pil_frequent_find(frequent, hash(value), pil_bytes_from(&value, sizeof value)) >= 0);
    free(frequent);
}

static void long_values_are_not_followed(void **state) {
    (void)state;
    struct pil_frequent *frequent = calloc(1, sizeof *frequent);
    uint8_t value[PIL_FREQUENT_VALUE_BYTES + 1] = {0};
    pil_frequent_add(frequent, 1, pil_bytes_from(value, sizeof value));
    assert_true(frequent->overflowed);
    assert_int_equal(pil_frequent_find(frequent, 1, pil_bytes_from(value, sizeof value)), -1);
    pil_frequent_add(frequent, 1, pil_bytes_from(value, PIL_FREQUENT_VALUE_BYTES));
    assert_int_equal(pil_frequent_find(frequent, 1, pil_bytes_from(value, PIL_FREQUENT_VALUE_BYTES)), 0);
    /* The same hash is not the same value. */
    assert_int_equal(pil_frequent_find(frequent, 1, pil_bytes_from(value, 3)), -1);
    free(frequent);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(estimates_within_four_standard_errors),
        cmocka_unit_test(few_values_are_counted_exactly),
        cmocka_unit_test(frequent_values_survive_many_others),
        cmocka_unit_test(long_values_are_not_followed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
