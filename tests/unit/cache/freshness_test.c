/* SPDX-License-Identifier: Apache-2.0
 * Goal: a row is too old when it is older than the tighter of the view's ttl and the request's max_age, not a
 * microsecond before; no timestamp overflows; a hidden row is missing in every respect. Method: rows of a view whose
 * layout is made by hand; tables of boundaries. */
#include "cache/chain.h"
#include "cache/freshness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const int64_t now_us = 1700000000000000, second = 1000000, hour = 3600 * 1000000ll;

/* A row of nothing but its timestamp, as settle leaves it. */
static struct pil_lookup lookup_of(const struct pil_view *view, const uint8_t *row) {
    return (struct pil_lookup){.status = row != NULL ? PIL_VALUE_PRESENT : PIL_VALUE_NOT_FOUND,
                               .row = {.fields = row, .view = view}};
}

static pil_value_status judged(int64_t ttl_us, int64_t event_ts_us, struct pil_freshness freshness,
                               const uint8_t **ret_fields) {
    const struct pil_view view = {.ttl_us = ttl_us};
    uint8_t row[8];
    pil_store_i64(row, event_ts_us);
    struct pil_lookup lookup = lookup_of(&view, row);
    pil_freshness_judge(&lookup, 1, &freshness);
    *ret_fields = lookup.row.fields;
    return lookup.status;
}

static void a_row_is_too_old_one_microsecond_past_the_tighter_limit(void **state) {
    const struct {
        int64_t ttl_us, max_age_us, age_us;
        bool is_expired;
    } cases[] = {
        {0, 0, 1000 * 1000 * hour, false}, /* no limit */
        {hour, 0, 0, false},
        {hour, 0, hour, false},
        {hour, 0, hour + 1, true},
        {hour, 2 * hour, hour + 1, true}, /* a request cannot loosen the ttl */
        {hour, second, second, false},
        {hour, second, second + 1, true},
        {0, hour, hour, false},
        {0, hour, hour + 1, true},
        {hour, second, -hour, false}, /* of the future: clocks differ */
        {1, 1, 1, false},
        {1, 1, 2, true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (int hide = 0; hide < 2; hide++) {
            const uint8_t *fields = NULL;
            const struct pil_freshness freshness = {
                .now_us = now_us, .max_age_us = cases[i].max_age_us, .hide_expired = hide};
            pil_value_status status = judged(cases[i].ttl_us, now_us - cases[i].age_us, freshness, &fields);
            assert_int_equal(status, !cases[i].is_expired ? PIL_VALUE_PRESENT
                                     : hide               ? PIL_VALUE_NOT_FOUND
                                                          : PIL_VALUE_OUTSIDE_MAX_AGE);
            assert_int_equal(fields == NULL, cases[i].is_expired && hide);
        }
    }
}

static void extreme_timestamps_do_not_overflow(void **state) {
    const uint8_t *fields = NULL;
    const struct pil_freshness freshness = {.now_us = now_us}, late = {.now_us = INT64_MAX};
    (void)state;
    assert_int_equal(judged(INT64_MAX - 1, INT64_MIN + 1, freshness, &fields), PIL_VALUE_OUTSIDE_MAX_AGE);
    assert_int_equal(judged(hour, INT64_MAX, freshness, &fields), PIL_VALUE_PRESENT);
    assert_int_equal(judged(INT64_MAX, 0, late, &fields), PIL_VALUE_PRESENT); /* exactly at the ttl */
    assert_int_equal(judged(INT64_MAX - 1, 0, late, &fields), PIL_VALUE_OUTSIDE_MAX_AGE);
    assert_int_equal(pil_freshness_age_us(INT64_MIN + 1, now_us), INT64_MAX);
    assert_int_equal(pil_freshness_age_us(now_us + 1, now_us), 0);
    assert_int_equal(pil_freshness_age_us(now_us, now_us), 0);
    assert_int_equal(pil_freshness_age_us(now_us - 1, now_us), 1);
    assert_int_equal(pil_freshness_age_us(INT64_MAX, INT64_MIN), 0);
}

static void each_row_of_a_batch_is_judged_by_its_own_view(void **state) {
    const struct pil_view forever = {.ttl_us = 0}, brief = {.ttl_us = second};
    uint8_t row[8];
    (void)state;
    pil_store_i64(row, now_us - hour);
    struct pil_lookup lookups[4] = {lookup_of(&forever, row), lookup_of(&brief, row), lookup_of(&brief, NULL),
                                    lookup_of(&forever, row)};
    const struct pil_freshness freshness = {.now_us = now_us};
    pil_freshness_judge(lookups, 3, &freshness);
    assert_int_equal(lookups[0].status, PIL_VALUE_PRESENT);
    assert_int_equal(lookups[1].status, PIL_VALUE_OUTSIDE_MAX_AGE);
    assert_int_equal(lookups[2].status, PIL_VALUE_NOT_FOUND);
    const struct pil_freshness tighter = {.now_us = now_us, .max_age_us = second, .hide_expired = true};
    pil_freshness_judge(&lookups[3], 1, &tighter); /* another request of the same batch */
    assert_int_equal(lookups[3].status, PIL_VALUE_NOT_FOUND);
    assert_null(lookups[3].row.fields);
    assert_ptr_equal(lookups[0].row.fields, row);
}

static void what_is_left_ends_at_zero_and_never_begins_without_a_ttl(void **state) {
    const struct pil_view forever = {.ttl_us = 0}, brief = {.ttl_us = hour};
    (void)state;
    assert_int_equal(pil_freshness_left_us(&forever, now_us, now_us), -1);
    assert_int_equal(pil_freshness_left_us(&brief, now_us, now_us), hour);
    assert_int_equal(pil_freshness_left_us(&brief, now_us + second, now_us), hour + second); /* of the future */
    assert_int_equal(pil_freshness_left_us(&brief, now_us - hour + 1, now_us), 1);
    assert_int_equal(pil_freshness_left_us(&brief, now_us - hour, now_us), 0);
    assert_int_equal(pil_freshness_left_us(&brief, now_us - hour - 1, now_us), 0);
    assert_int_equal(pil_freshness_left_us(&brief, INT64_MIN + 1, now_us), 0);
    assert_int_equal(pil_freshness_left_us(&brief, INT64_MAX, now_us), INT64_MAX - now_us); /* as the judge has it */
}

static void rows_of_static_views_have_no_age(void **state) {
    const struct pil_view lasting = {.is_static = true}, timed = {.ttl_us = 0};
    uint8_t row[8], old[8];
    (void)state;
    pil_store_i64(row, PIL_STATIC_EVENT_US);
    pil_store_i64(old, now_us - hour);
    struct pil_lookup lookups[2] = {lookup_of(&lasting, row), lookup_of(&timed, old)};
    const struct pil_freshness strict = {.now_us = now_us, .max_age_us = 1, .hide_expired = true};
    pil_freshness_judge(lookups, 1, &strict);
    assert_int_equal(lookups[0].status, PIL_VALUE_PRESENT);
    assert_ptr_equal(lookups[0].row.fields, row);
    assert_int_equal(pil_freshness_left_us(&lasting, PIL_STATIC_EVENT_US, now_us), -1);
    int64_t oldest_us = pil_freshness_oldest_us(&lookups[0].row, INT64_MAX);
    assert_int_equal(pil_freshness_worst_us(oldest_us, now_us), -1);
    oldest_us = pil_freshness_oldest_us(&lookups[1].row, oldest_us);
    oldest_us = pil_freshness_oldest_us(&lookups[0].row, oldest_us);
    assert_int_equal(pil_freshness_worst_us(oldest_us, now_us), hour);
}

/* A row's own judge is the measure: the oldest and the newest event of a release are judged as rows are. */
static void a_release_is_past_its_ttl_when_its_newest_row_is(void **state) {
    const struct {
        int64_t ttl_us, oldest_us, newest_us;
        uint64_t rows;
        const char *expected;
    } cases[] = {
        {0, INT64_MIN, INT64_MIN, 2, "none"},    /* no ttl */
        {hour, INT64_MAX, INT64_MIN, 0, "none"}, /* no rows */
        {hour, now_us - hour, now_us, 2, "none"},
        {hour, now_us - hour - 1, now_us - hour, 2, "some"},
        {hour, now_us - 2 * hour, now_us - hour - 1, 2, "all"},
        {hour, INT64_MIN, INT64_MIN, 1, "all"},
        {hour, now_us + hour, now_us + hour, 1, "none"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct pil_view view = {.ttl_us = cases[i].ttl_us};
        const struct pil_release release = {.view = &view,
                                            .row_count = cases[i].rows,
                                            .event_ts_us_min = cases[i].oldest_us,
                                            .event_ts_us_max = cases[i].newest_us};
        const uint8_t *fields;
        pil_expiry expiry = pil_freshness_expiry(&release, now_us);
        assert_string_equal(pil_freshness_expiry_text(expiry), cases[i].expected);
        if (cases[i].rows > 0) {
            pil_value_status newest =
                judged(cases[i].ttl_us, cases[i].newest_us, (struct pil_freshness){.now_us = now_us}, &fields);
            assert_int_equal(newest == PIL_VALUE_OUTSIDE_MAX_AGE, expiry == PIL_EXPIRY_ALL);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_is_too_old_one_microsecond_past_the_tighter_limit),
        cmocka_unit_test(extreme_timestamps_do_not_overflow),
        cmocka_unit_test(each_row_of_a_batch_is_judged_by_its_own_view),
        cmocka_unit_test(a_release_is_past_its_ttl_when_its_newest_row_is),
        cmocka_unit_test(what_is_left_ends_at_zero_and_never_begins_without_a_ttl),
        cmocka_unit_test(rows_of_static_views_have_no_age),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
