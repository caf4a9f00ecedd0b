/* SPDX-License-Identifier: Apache-2.0
 * Goal: series are found, made, dropped and given again; sums over shards are right and monotone while owners add and
 * the control thread makes more series. Method: direct calls, then real threads. */
#include "support/fail_alloc.h"

#include "metric/exposition.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct pil_metric_registry *make_registry(uint32_t shards, uint32_t views) {
    struct pil_metric_registry *registry = NULL;
    struct pil_metric_bounds bounds = {.views = views, .workers = shards};
    assert_int_equal(pil_metric_registry_create(shards, &bounds, &registry), PIL_STATUS_OK);
    return registry;
}

static pil_metric_series get(struct pil_metric_registry *registry, pil_metric metric, const char *const *values) {
    pil_metric_series series = PIL_METRIC_SERIES_NONE;
    assert_int_equal(pil_metric_series_get(registry, metric, values, &series), PIL_STATUS_OK);
    return series;
}

static void sums_over_the_shards(void **state) {
    (void)state;
    struct pil_metric_registry *registry = make_registry(3, 1);
    pil_metric_series turns = get(registry, PIL_METRIC_engine_turns_total, NULL);
    pil_metric_series batch = get(registry, PIL_METRIC_batch_size, NULL);
    for (uint32_t shard = 0; shard < 3; shard++) {
        pil_metric_add_owner(registry, shard, turns, shard + 1);
        pil_metric_record_owner(registry, shard, batch, 7, 2);
    }
    assert_int_equal(pil_metric_read(registry, turns), 6);
    static struct pil_histogram_view view;
    pil_metric_read_histogram(registry, batch, &view);
    assert_int_equal(view.count, 6);
    assert_int_equal(view.sum, 42);
    pil_metric_registry_destroy(&registry);
    assert_null(registry);
}

static void finds_the_series_with_the_same_labels(void **state) {
    (void)state;
    struct pil_metric_registry *registry = make_registry(1, 2);
    pil_metric_series a = get(registry, PIL_METRIC_lookups_total, (const char *const[]){"rides", "hit", NULL});
    pil_metric_series b = get(registry, PIL_METRIC_lookups_total, (const char *const[]){"rides", "not_found", NULL});
    assert_int_not_equal(a, b);
    assert_int_equal(get(registry, PIL_METRIC_lookups_total, (const char *const[]){"rides", "hit", NULL}), a);
    /* A value that holds another's syntax is another series. */
    assert_int_not_equal(
        get(registry, PIL_METRIC_lookups_total, (const char *const[]){"rides\",status=\"hit", "hit", NULL}), a);
    assert_int_not_equal(get(registry, PIL_METRIC_values_total, (const char *const[]){"rides", "hit", NULL}), a);
    pil_metric_registry_destroy(&registry);
}

static void a_family_has_room_for_what_its_labels_allow_and_no_more(void **state) {
    (void)state;
    struct pil_metric_registry *registry = make_registry(1, 2);
    pil_metric_series untouched = 99;
    assert_int_equal(pil_metric_family_max(registry, PIL_METRIC_ready), 1);
    assert_int_equal(pil_metric_family_max(registry, PIL_METRIC_releases_published_total), 3); /* 2 views and "-" */
    assert_int_equal(pil_metric_family_max(registry, PIL_METRIC_worker_lag_seconds), 1);
    for (int i = 0; i < 3; i++) {
        get(registry, PIL_METRIC_releases_published_total, PIL_METRIC_LABELS(i == 0 ? "a" : i == 1 ? "b" : "c"));
    }
    assert_int_equal(
        pil_metric_series_get(registry, PIL_METRIC_releases_published_total, PIL_METRIC_LABELS("d"), &untouched),
        PIL_STATUS_TOO_LARGE);
    assert_int_equal(untouched, 99);
    get(registry, PIL_METRIC_ready, NULL); /* a full family takes nothing from the others */
    pil_metric_forget(registry, PIL_METRIC_releases_published_total, PIL_METRIC_LABELS("b"));
    pil_metric_forget(registry, PIL_METRIC_releases_published_total, PIL_METRIC_LABELS("b")); /* is gone already */
    get(registry, PIL_METRIC_releases_published_total, PIL_METRIC_LABELS("d"));
    pil_metric_registry_destroy(&registry);
}

static void every_series_that_the_table_allows_can_be_made(void **state) {
    (void)state;
    struct pil_metric_registry *registry = make_registry(1, 3);
    for (uint32_t f = 0; f < PIL_METRIC_FAMILY_COUNT; f++) {
        for (uint32_t i = 0; i < pil_metric_family_max(registry, (pil_metric)f); i++) {
            char number[16];
            snprintf(number, sizeof number, "%u", i);
            get(registry, (pil_metric)f, PIL_METRIC_LABELS(number, number, number));
        }
    }
    pil_metric_registry_destroy(&registry);
}

static void a_series_that_could_not_be_made_is_ignored(void **state) {
    (void)state;
    struct pil_metric_registry *registry = make_registry(1, 1);
    pil_metric_add_owner(registry, 0, PIL_METRIC_SERIES_NONE, 1);
    pil_metric_record_owner(registry, 0, PIL_METRIC_SERIES_NONE, 1, 1);
    pil_metric_set(registry, PIL_METRIC_SERIES_NONE, 1);
    pil_metric_series_drop(registry, PIL_METRIC_SERIES_NONE);
    assert_int_equal(pil_metric_read(registry, PIL_METRIC_SERIES_NONE), 0);
    pil_metric_registry_destroy(&registry);
}

static void values_are_set_and_counted_by_label_values(void **state) {
    (void)state;
    struct pil_metric_registry *registry = make_registry(2, 1);
    static struct pil_histogram_view view;
    struct pil_text page = {0};
    pil_metric_gauge(registry, PIL_METRIC_memory_bytes, PIL_METRIC_LABELS("p/v"), 5);
    pil_metric_gauge(registry, PIL_METRIC_memory_bytes, PIL_METRIC_LABELS("p/v"), 7);
    pil_metric_count(registry, 1, PIL_METRIC_fetches_total, PIL_METRIC_LABELS("p/v", "ok"), 2);
    pil_metric_count(registry, 0, PIL_METRIC_fetches_total, PIL_METRIC_LABELS("p/v", "ok"), 1);
    pil_metric_count_to(registry, 1, PIL_METRIC_process_restarts_total, PIL_METRIC_LABELS("server"), 4);
    pil_metric_count_to(registry, 1, PIL_METRIC_process_restarts_total, PIL_METRIC_LABELS("server"), 6);
    pil_metric_record(registry, 1, PIL_METRIC_fetch_duration_seconds, PIL_METRIC_LABELS("p/v", "copy"), 1000);
    pil_metric_expose(registry, PIL_EXPOSITION_TEXT, &page);
    assert_non_null(strstr(pil_text_chars(&page), "pillion_memory_bytes{view=\"p/v\"} 7\n"));
    assert_non_null(strstr(pil_text_chars(&page), "pillion_fetches_total{view=\"p/v\",result=\"ok\"} 3\n"));
    assert_non_null(strstr(pil_text_chars(&page), "pillion_process_restarts_total{process=\"server\"} 6\n"));
    pil_metric_read_histogram(
        registry, get(registry, PIL_METRIC_fetch_duration_seconds, PIL_METRIC_LABELS("p/v", "copy")), &view);
    assert_int_equal(view.count, 1);
    pil_text_deinit(&page);
    pil_metric_registry_destroy(&registry);
}

static void a_dropped_series_is_hidden_and_its_index_starts_at_zero_again(void **state) {
    (void)state;
    struct pil_metric_registry *registry = make_registry(2, 2);
    pil_metric_series counter = get(registry, PIL_METRIC_releases_published_total, (const char *const[]){"a", NULL});
    pil_metric_series phase =
        get(registry, PIL_METRIC_fetch_duration_seconds, (const char *const[]){"a", "copy", NULL});
    pil_metric_add_owner(registry, 1, counter, 5);
    pil_metric_record_owner(registry, 1, phase, 1000, 1);
    pil_metric_series_drop(registry, counter);
    pil_metric_series_drop(registry, phase);
    struct pil_text page = {0};
    pil_metric_expose(registry, PIL_EXPOSITION_TEXT, &page);
    assert_string_equal(pil_text_chars(&page), "");
    assert_int_equal(get(registry, PIL_METRIC_fetch_duration_seconds, (const char *const[]){"b", "copy", NULL}), phase);
    assert_int_equal(get(registry, PIL_METRIC_releases_published_total, (const char *const[]){"b", NULL}), counter);
    assert_int_equal(pil_metric_read(registry, counter), 0);
    static struct pil_histogram_view view;
    pil_metric_read_histogram(registry, phase, &view);
    assert_int_equal(view.count, 0);
    assert_int_equal(view.sum, 0);
    pil_metric_registry_destroy(&registry);
    pil_text_deinit(&page);
}

enum { WORKERS = 2, ADDS = 200000, MORE_SERIES = 60 };

struct worker {
    struct pil_metric_registry *registry;
    pil_metric_series counter, histogram;
    _Atomic pil_metric_series *late; /* made while the worker runs */
    uint32_t shard;
};

static void *add_many(void *context) {
    struct worker *worker = context;
    for (uint64_t i = 0; i < ADDS; i++) {
        pil_metric_add_owner(worker->registry, worker->shard, worker->counter, 1);
        pil_metric_record_owner(worker->registry, worker->shard, worker->histogram, i % 100000, 1);
        pil_metric_series late = atomic_load_explicit(worker->late, memory_order_relaxed);
        pil_metric_record_owner(worker->registry, worker->shard, late, 1, 1);
    }
    return NULL;
}

/* The control thread and reader at once: sums only grow, pages are whole, new histograms are never seen half made. */
static void sums_are_monotone_while_owners_add_and_series_are_made(void **state) {
    (void)state;
    struct pil_metric_registry *registry = make_registry(WORKERS, MORE_SERIES);
    _Atomic pil_metric_series late = PIL_METRIC_SERIES_NONE;
    pil_metric_series counter = get(registry, PIL_METRIC_engine_turns_total, NULL);
    pil_metric_series histogram = get(registry, PIL_METRIC_batch_size, NULL);
    struct worker workers[WORKERS];
    pthread_t threads[WORKERS];
    for (uint32_t i = 0; i < WORKERS; i++) {
        workers[i] = (struct worker){registry, counter, histogram, &late, i};
        assert_int_equal(pthread_create(&threads[i], NULL, add_many, &workers[i]), 0);
    }
    static struct pil_histogram_view view;
    uint64_t count_before = 0, histogram_before = 0;
    for (int i = 0; i < MORE_SERIES; i++) {
        char name[16];
        snprintf(name, sizeof name, "view%d", i);
        pil_metric_series made =
            get(registry, PIL_METRIC_fetch_duration_seconds, (const char *const[]){name, "copy", NULL});
        /* relaxed on purpose: the registry's own release/acquire has to do */
        atomic_store_explicit(&late, made, memory_order_relaxed);
        uint64_t count = pil_metric_read(registry, counter);
        pil_metric_read_histogram(registry, histogram, &view);
        assert_true(count >= count_before && view.count >= histogram_before);
        count_before = count;
        histogram_before = view.count;
        struct pil_text page = {0};
        pil_metric_expose(registry, PIL_EXPOSITION_OPENMETRICS, &page);
        assert_string_equal(page.data + page.len - 6, "# EOF\n");
        pil_text_deinit(&page);
    }
    for (uint32_t i = 0; i < WORKERS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(pil_metric_read(registry, counter), (uint64_t)WORKERS * ADDS);
    pil_metric_read_histogram(registry, histogram, &view);
    assert_int_equal(view.count, (uint64_t)WORKERS * ADDS);
    pil_metric_registry_destroy(&registry);
}

/* Under LeakSanitizer: the registry frees what the failed attempt left, whether or not another one follows. */
static void a_series_without_memory_is_made_later_and_leaks_nothing(void **state) {
    enum { SHARDS = 3 };
    (void)state;
    bool has_fired = true;
    for (uint64_t nth = 1; has_fired; nth++) {
        struct pil_metric_registry *registry = make_registry(SHARDS, 1);
        pil_metric_series series = PIL_METRIC_SERIES_NONE;
        pil_fail_alloc_arm(nth);
        pil_status status = pil_metric_series_get(registry, PIL_METRIC_batch_size, NULL, &series);
        has_fired = pil_fail_alloc_disarm();
        assert_int_equal(status, has_fired ? PIL_STATUS_NO_MEMORY : PIL_STATUS_OK);
        assert_true(has_fired || nth > SHARDS);
        if (nth % 2 == 0) {
            pil_metric_record_owner(registry, 1, get(registry, PIL_METRIC_batch_size, NULL), 7, 2);
        }
        pil_metric_registry_destroy(&registry);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_over_the_shards),
        cmocka_unit_test(finds_the_series_with_the_same_labels),
        cmocka_unit_test(a_family_has_room_for_what_its_labels_allow_and_no_more),
        cmocka_unit_test(every_series_that_the_table_allows_can_be_made),
        cmocka_unit_test(a_series_that_could_not_be_made_is_ignored),
        cmocka_unit_test(values_are_set_and_counted_by_label_values),
        cmocka_unit_test(a_dropped_series_is_hidden_and_its_index_starts_at_zero_again),
        cmocka_unit_test(a_series_without_memory_is_made_later_and_leaks_nothing),
        cmocka_unit_test(sums_are_monotone_while_owners_add_and_series_are_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
