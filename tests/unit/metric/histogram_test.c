/* SPDX-License-Identifier: Apache-2.0
 * Goal: a histogram places every value in the bucket that holds it, and its quantiles are within 6.25 % above the exact
 * ones. Method: bucket edges one by one; random data of several shapes against a sorted array (PIL_SEED= replays). */
#include "metric/metric.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static uint64_t random_state;

static uint64_t next_random(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static void buckets_cover_all_values_without_gaps(void **state) {
    (void)state;
    assert_int_equal(pil_histogram_bucket_low(0), 0);
    for (uint32_t bucket = 0; bucket < PIL_HISTOGRAM_BUCKETS; bucket++) {
        uint64_t low = pil_histogram_bucket_low(bucket), next = pil_histogram_bucket_low(bucket + 1);
        assert_true(next > low);
        assert_int_equal(pil_histogram_bucket(low), bucket);
        assert_int_equal(pil_histogram_bucket(next - 1), bucket);
        assert_true((next - low) * 16 <= low || low < 16 || next - low == 1);
    }
    assert_int_equal(pil_histogram_bucket_low(PIL_HISTOGRAM_BUCKETS), (uint64_t)1 << PIL_HISTOGRAM_OCTAVES);
}

static void clamps_values_beyond_the_last_octave(void **state) {
    (void)state;
    assert_int_equal(pil_histogram_bucket((uint64_t)1 << 40), PIL_HISTOGRAM_BUCKETS - 1);
    assert_int_equal(pil_histogram_bucket(UINT64_MAX), PIL_HISTOGRAM_BUCKETS - 1);
}

static void answers_zero_when_empty(void **state) {
    (void)state;
    static struct pil_histogram_view view;
    memset(&view, 0, sizeof view);
    assert_int_equal(pil_histogram_quantile(&view, 0.5), 0);
}

static int compare(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static uint64_t random_value(int shape) {
    uint64_t r = next_random();
    switch (shape) {
    case 0: return r % 100;
    case 1: return r % 1000000;
    default: return (r >> 24) >> (next_random() % 40); /* log-uniform over all octaves */
    }
}

static void quantiles_bound_the_exact_ones(void **state) {
    (void)state;
    enum { COUNT = 20000 };
    static uint64_t values[COUNT];
    static struct pil_histogram histogram;
    static struct pil_histogram_view view;
    const double quantiles[] = {0, 0.001, 0.25, 0.5, 0.9, 0.99, 0.999, 1};
    for (int shape = 0; shape < 3; shape++) {
        memset(&histogram, 0, sizeof histogram);
        memset(&view, 0, sizeof view);
        uint64_t sum = 0;
        for (size_t i = 0; i < COUNT; i++) {
            values[i] = random_value(shape);
            sum += values[i];
            pil_histogram_add_owner(&histogram, values[i], 1);
        }
        pil_histogram_merge(&view, &histogram);
        assert_int_equal(view.count, COUNT);
        assert_int_equal(view.sum, sum);
        qsort(values, COUNT, sizeof *values, compare);
        for (size_t q = 0; q < sizeof quantiles / sizeof *quantiles; q++) {
            double rank = quantiles[q] * COUNT;
            size_t index = (size_t)rank;
            index = index + ((double)index < rank);
            uint64_t exact = values[index == 0 ? 0 : index - 1], found = pil_histogram_quantile(&view, quantiles[q]);
            assert_true(found >= exact);
            assert_true(found <= exact + exact / 16);
        }
    }
}

static void merging_adds_counts_and_sums(void **state) {
    (void)state;
    static struct pil_histogram one, two;
    static struct pil_histogram_view view;
    pil_histogram_add_owner(&one, 10, 3);
    pil_histogram_add_owner(&two, 10, 1);
    pil_histogram_add_owner(&two, 5000, 2);
    pil_histogram_merge(&view, &one);
    pil_histogram_merge(&view, &two);
    assert_int_equal(view.count, 6);
    assert_int_equal(view.sum, 10040);
    assert_int_equal(view.counts[pil_histogram_bucket(10)], 4);
    assert_int_equal(view.counts[pil_histogram_bucket(5000)], 2);
}

int main(void) {
    const char *seed = getenv("PIL_SEED");
    random_state = seed != NULL ? strtoull(seed, NULL, 10) : pil_clock_monotonic_ns();
    random_state |= 1;
    printf("PIL_SEED=%llu\n", (unsigned long long)random_state);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buckets_cover_all_values_without_gaps),
        cmocka_unit_test(clamps_values_beyond_the_last_octave),
        cmocka_unit_test(answers_zero_when_empty),
        cmocka_unit_test(quantiles_bound_the_exact_ones),
        cmocka_unit_test(merging_adds_counts_and_sums),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
