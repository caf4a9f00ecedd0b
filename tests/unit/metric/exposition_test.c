/* SPDX-License-Identifier: Apache-2.0
 * Goal: the pages are what Prometheus and OpenMetrics specify, and the reference page is the table.
 * Method: a registry with one series of every family; exact lines; the generated reference against docs/. */
#include "metric/exposition.h"

#include "base/sys.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct pil_metric_registry *make_registry(void) {
    struct pil_metric_registry *registry = NULL;
    assert_int_equal(pil_metric_registry_create(2, &(struct pil_metric_bounds){4, 2}, &registry), PIL_STATUS_OK);
    return registry;
}

static pil_metric_series get(struct pil_metric_registry *registry, pil_metric metric, const char *const *values) {
    pil_metric_series series = PIL_METRIC_SERIES_NONE;
    assert_int_equal(pil_metric_series_get(registry, metric, values, &series), PIL_STATUS_OK);
    return series;
}

static struct pil_text expose(const struct pil_metric_registry *registry, pil_exposition exposition) {
    struct pil_text page = {0};
    pil_metric_expose(registry, exposition, &page);
    return page;
}

static void has_line(const struct pil_text *page, const char *line) {
    char wanted[256];
    snprintf(wanted, sizeof wanted, "\n%s\n", line);
    bool first = strncmp(page->data, wanted + 1, strlen(wanted) - 1) == 0;
    if (!first && strstr(page->data, wanted) == NULL) {
        fail_msg("no line: %s\nin:\n%s", line, page->data);
    }
}

static void text_counters_gauges_and_infos(void **state) {
    (void)state;
    struct pil_metric_registry *registry = make_registry();
    pil_metric_set(registry, get(registry, PIL_METRIC_release_rows, (const char *const[]){"r", NULL}), 2000000);
    pil_metric_series age = get(registry, PIL_METRIC_release_age_seconds, (const char *const[]){"r", NULL});
    pil_metric_set(registry, age, 0.1);
    pil_metric_set(registry, get(registry, PIL_METRIC_ready, NULL), NAN);
    pil_metric_set(registry, get(registry, PIL_METRIC_reclaim_pending, NULL), -INFINITY);
    get(registry, PIL_METRIC_build_info, (const char *const[]){"0.1.0", NULL});
    pil_metric_add_owner(registry, 1,
                         get(registry, PIL_METRIC_requests_total, (const char *const[]){"resp", "ok", NULL}), 3);
    struct pil_text page = expose(registry, PIL_EXPOSITION_TEXT);
    has_line(&page, "# TYPE pillion_build_info gauge");
    has_line(&page, "pillion_build_info{version=\"0.1.0\"} 1");
    has_line(&page, "# TYPE pillion_requests_total counter");
    has_line(&page, "pillion_requests_total{protocol=\"resp\",code=\"ok\"} 3");
    has_line(&page, "pillion_release_rows{view=\"r\"} 2000000");
    has_line(&page, "pillion_release_age_seconds{view=\"r\"} 0.1");
    has_line(&page, "pillion_ready NaN");
    has_line(&page, "pillion_reclaim_pending -Inf");
    assert_null(strstr(page.data, "# EOF"));
    assert_null(strstr(page.data, "# UNIT"));
    pil_text_deinit(&page);
    pil_metric_registry_destroy(&registry);
}

static void openmetrics_takes_suffixes_off_families_and_ends_with_eof(void **state) {
    (void)state;
    struct pil_metric_registry *registry = make_registry();
    get(registry, PIL_METRIC_build_info, (const char *const[]){"0.1.0", NULL});
    get(registry, PIL_METRIC_sent_bytes_total, (const char *const[]){"resp", NULL});
    get(registry, PIL_METRIC_turn_duration_seconds, NULL);
    struct pil_text page = expose(registry, PIL_EXPOSITION_OPENMETRICS);
    has_line(&page, "# TYPE pillion_build info");
    has_line(&page, "pillion_build_info{version=\"0.1.0\"} 1");
    has_line(&page, "# TYPE pillion_sent_bytes counter");
    has_line(&page, "# UNIT pillion_sent_bytes bytes");
    has_line(&page, "pillion_sent_bytes_total{protocol=\"resp\"} 0");
    has_line(&page, "pillion_turn_duration_seconds_bucket{le=\"10.0\"} 0");
    assert_string_equal(page.data + page.len - 6, "# EOF\n");
    pil_text_deinit(&page);
    pil_metric_registry_destroy(&registry);
}

static void histograms_are_cumulative_in_seconds(void **state) {
    (void)state;
    struct pil_metric_registry *registry = make_registry();
    pil_metric_series series =
        get(registry, PIL_METRIC_fetch_duration_seconds, (const char *const[]){"v", "copy", NULL});
    pil_metric_record_owner(registry, 0, series, 900, 1);
    pil_metric_record_owner(registry, 1, series, 1500, 2);
    pil_metric_record_owner(registry, 0, series, 3000000000, 1);
    pil_metric_record_owner(registry, 0, series, 60000000000, 1);
    struct pil_text page = expose(registry, PIL_EXPOSITION_TEXT);
    has_line(&page, "pillion_fetch_duration_seconds_bucket{view=\"v\",phase=\"copy\",le=\"1e-06\"} 1");
    has_line(&page, "pillion_fetch_duration_seconds_bucket{view=\"v\",phase=\"copy\",le=\"2e-06\"} 3");
    has_line(&page, "pillion_fetch_duration_seconds_bucket{view=\"v\",phase=\"copy\",le=\"2\"} 3");
    has_line(&page, "pillion_fetch_duration_seconds_bucket{view=\"v\",phase=\"copy\",le=\"5\"} 4");
    has_line(&page, "pillion_fetch_duration_seconds_bucket{view=\"v\",phase=\"copy\",le=\"10\"} 4");
    has_line(&page, "pillion_fetch_duration_seconds_bucket{view=\"v\",phase=\"copy\",le=\"+Inf\"} 5");
    has_line(&page, "pillion_fetch_duration_seconds_sum{view=\"v\",phase=\"copy\"} 63.000003900");
    has_line(&page, "pillion_fetch_duration_seconds_count{view=\"v\",phase=\"copy\"} 5");
    pil_text_deinit(&page);
    pil_metric_registry_destroy(&registry);
}

static void histograms_without_a_unit_count(void **state) {
    (void)state;
    struct pil_metric_registry *registry = make_registry();
    pil_metric_series series = get(registry, PIL_METRIC_batch_size, NULL);
    pil_metric_record_owner(registry, 0, series, 1, 4);
    pil_metric_record_owner(registry, 0, series, 10, 1);
    pil_metric_record_owner(registry, 0, series, 11, 1);
    struct pil_text page = expose(registry, PIL_EXPOSITION_TEXT);
    has_line(&page, "pillion_batch_size_bucket{le=\"1\"} 4");
    has_line(&page, "pillion_batch_size_bucket{le=\"10\"} 5");
    has_line(&page, "pillion_batch_size_bucket{le=\"20\"} 6");
    has_line(&page, "pillion_batch_size_bucket{le=\"1e+06\"} 6");
    has_line(&page, "pillion_batch_size_sum 25");
    has_line(&page, "pillion_batch_size_count 6");
    pil_text_deinit(&page);
    pil_metric_registry_destroy(&registry);
}

static void label_values_are_escaped(void **state) {
    (void)state;
    struct pil_metric_registry *registry = make_registry();
    get(registry, PIL_METRIC_release_rows, (const char *const[]){"a\"b\\c\nd", NULL});
    struct pil_text page = expose(registry, PIL_EXPOSITION_TEXT);
    has_line(&page, "pillion_release_rows{view=\"a\\\"b\\\\c\\nd\"} 0");
    pil_text_deinit(&page);
    pil_metric_registry_destroy(&registry);
}

static void families_come_in_table_order_with_one_head(void **state) {
    (void)state;
    struct pil_metric_registry *registry = make_registry();
    get(registry, PIL_METRIC_ready, NULL);
    get(registry, PIL_METRIC_release_rows, (const char *const[]){"a", NULL});
    get(registry, PIL_METRIC_engine_turns_total, NULL);
    get(registry, PIL_METRIC_release_rows, (const char *const[]){"b", NULL});
    struct pil_text page = expose(registry, PIL_EXPOSITION_TEXT);
    const char *turns = strstr(page.data, "# HELP pillion_engine_turns_total "),
               *ready = strstr(page.data, "# HELP pillion_ready ");
    const char *rows = strstr(page.data, "# HELP pillion_release_rows ");
    assert_true(turns != NULL && turns < rows && rows < ready);
    assert_null(strstr(rows + 1, "# HELP pillion_release_rows "));
    assert_null(strstr(page.data, "pillion_connections"));
    pil_text_deinit(&page);
    pil_metric_registry_destroy(&registry);
}

static void the_table_keeps_the_naming_rules(void **state) {
    (void)state;
    struct pil_text page = {0};
    pil_metric_describe(&page);
    for (uint32_t f = 0; f < PIL_METRIC_FAMILY_COUNT; f++) {
        const struct pil_metric_family *family = pil_metric_family((pil_metric)f);
        size_t len = strlen(family->id);
        bool total = len > 6 && strcmp(family->id + len - 6, "_total") == 0;
        bool info = len > 5 && strcmp(family->id + len - 5, "_info") == 0;
        assert_int_equal(total, family->type == PIL_METRIC_COUNTER);
        assert_int_equal(info, family->type == PIL_METRIC_INFO);
        assert_null(strpbrk(family->help, "\\\n|"));
        /* Base units are part of the name, just before _total. */
        assert_true(family->unit[0] == '\0' || strstr(family->id, family->unit) != NULL);
        /* Every label is documented with its bound. */
        for (const char *name = family->labels; name[0] != '\0';) {
            size_t name_len = strcspn(name, ",");
            char row[64];
            snprintf(row, sizeof row, "\n| `%.*s` |", (int)name_len, name);
            assert_non_null(strstr(page.data, row));
            name += name_len + (name[name_len] == ',');
        }
    }
    pil_text_deinit(&page);
}

static void the_reference_page_is_the_generated_one(void **state) {
    (void)state;
    struct pil_text page = {0}, file = {0};
    pil_metric_describe(&page);
    struct pil_error error;
    if (pil_sys_read_file("docs/reference/metrics.md", 1 << 20, &file, &error) != PIL_STATUS_OK) {
        fail_msg("%s", error.text);
    }
    assert_string_equal(pil_text_chars(&file), pil_text_chars(&page));
    pil_text_deinit(&file);
    pil_text_deinit(&page);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_counters_gauges_and_infos),
        cmocka_unit_test(openmetrics_takes_suffixes_off_families_and_ends_with_eof),
        cmocka_unit_test(histograms_are_cumulative_in_seconds),
        cmocka_unit_test(histograms_without_a_unit_count),
        cmocka_unit_test(label_values_are_escaped),
        cmocka_unit_test(families_come_in_table_order_with_one_head),
        cmocka_unit_test(the_table_keeps_the_naming_rules),
        cmocka_unit_test(the_reference_page_is_the_generated_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
