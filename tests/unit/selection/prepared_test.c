/* SPDX-License-Identifier: Apache-2.0
 * Goal: a request gets the plan of its service for the releases of its batch, compiled once for each release and
 * project and never replaced while a request of the batch may use it. Method: batches are begun and ended by hand,
 * releases published and projects set in between. */
#include "support/cache_fixture.h"

#include "selection/prepared.h"
#include "schema/project_read.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { FEATURES = 4 };

static const struct pil_prepared_variant float32 = {.dtype = PIL_VECTOR_FLOAT32, .need_tensor = true};
static const struct pil_prepared_variant float64 = {.dtype = PIL_VECTOR_FLOAT64, .need_tensor = true};

struct fixture {
    struct pil_cache *cache;
    struct pil_projects *projects;
    struct pil_prepared_cache *prepared;
    struct pil_scope scope;
    struct pil_cache_view *view;
    struct pil_error error;
};

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    f->cache = pil_cache_create(2, 1);
    f->projects = pil_projects_create(4, pil_cache_qsbr(f->cache));
    f->prepared = pil_prepared_cache_create();
    f->scope =
        (struct pil_scope){.cache = f->cache, .projects = f->projects, .batch_number = 1, .readable = UINT64_MAX};
    assert_int_equal(pil_cache_view_define(f->cache, 0, "p", "v", "c"), PIL_STATUS_OK);
    f->view = pil_cache_view_at(f->cache, 0);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    pil_prepared_cache_destroy(&f->prepared);
    pil_projects_destroy(&f->projects);
    pil_cache_destroy(&f->cache);
    free(f);
    return 0;
}

static void next_batch(struct fixture *f) {
    f->scope.batch_number++;
    pil_moment_clear(&f->scope.moment);
}

static void set_project(struct fixture *f, struct pil_project *project) {
    assert_int_equal(pil_projects_set(f->projects, &project), PIL_STATUS_OK);
    assert_null(project);
}

static void publish(struct fixture *f, uint32_t feature_count, uint64_t seed) {
    struct pil_project *project = fixture_project(feature_count);
    fixture_publish(f->cache, 0, fixture_release(project->views[0].view, 10, seed, 0));
    pil_project_destroy(&project);
}

static pil_status find(struct fixture *f, const char *service, struct pil_prepared_variant variant,
                       struct pil_prepared **prepared) {
    return pil_prepared_service(f->prepared, &f->scope, pil_bytes_from_text(service), variant, prepared, &f->error);
}

static struct pil_prepared *must_find(struct fixture *f, const char *service, struct pil_prepared_variant variant) {
    struct pil_prepared *prepared = NULL;
    assert_int_equal(find(f, service, variant, &prepared), PIL_STATUS_OK);
    return prepared;
}

static void says_what_is_missing(void **state) {
    struct fixture *f = *state;
    struct pil_prepared *prepared = NULL;
    assert_int_equal(find(f, "every", float32, &prepared), PIL_STATUS_AGAIN);
    assert_string_equal(f->error.text, "feature service every is not known: its project was not read yet");
    set_project(f, fixture_project(FEATURES));
    assert_int_equal(find(f, "none", float32, &prepared), PIL_STATUS_NOT_FOUND);
    assert_string_equal(f->error.text, "there is no feature service none");
    assert_int_equal(find(f, "every", float32, &prepared), PIL_STATUS_AGAIN);
    assert_string_equal(f->error.text, "service every: view p/v has no release loaded yet");
    publish(f, FEATURES - 1, 1);
    next_batch(f);
    assert_int_equal(find(f, "every", float32, &prepared), PIL_STATUS_CONFLICT);
    assert_string_equal(f->error.text, "service every: view p/v has no feature f3");
    assert_int_equal(find(f, "", float32, &prepared), PIL_STATUS_NOT_FOUND);
    assert_int_equal(find(f, "p/", float32, &prepared), PIL_STATUS_NOT_FOUND);
    assert_int_equal(find(f, "q/every", float32, &prepared), PIL_STATUS_NOT_FOUND);
    publish(f, FEATURES, 2);
    next_batch(f);
    assert_int_equal(must_find(f, "every", float32)->plan->width, FEATURES);
}

static void compiles_once_for_a_release(void **state) {
    struct fixture *f = *state;
    set_project(f, fixture_project(FEATURES));
    publish(f, FEATURES, 1);
    struct pil_prepared *prepared = must_find(f, "every", float32);
    const struct pil_vector_plan *plan = prepared->plan;
    assert_int_equal(plan->width, FEATURES);
    assert_ptr_equal(prepared->selection.views[0].serving, pil_cache_serving(f->view));
    assert_ptr_equal(prepared->selection.views[0].view, f->view);
    for (int i = 0; i < 3; i++) {
        assert_ptr_equal(must_find(f, "every", float32), prepared);
        assert_ptr_equal(prepared->plan, plan);
        next_batch(f);
    }
    assert_ptr_not_equal(must_find(f, "every", float64), prepared);
    assert_int_equal(must_find(f, "every", float64)->plan->dtype, PIL_VECTOR_FLOAT64);
    assert_ptr_not_equal(must_find(f, "p/every", float32), prepared);
}

static void follows_a_swap_with_the_next_batch(void **state) {
    struct fixture *f = *state;
    set_project(f, fixture_project(FEATURES));
    publish(f, FEATURES, 1);
    struct pil_prepared *prepared = must_find(f, "every", float32);
    const struct pil_serving *before = prepared->selection.views[0].serving;
    uint32_t offset = prepared->plan->columns[0].offset;
    publish(f, FEATURES + 40, 2); /* another layout: the null bitmap is longer */
    assert_ptr_equal(must_find(f, "every", float32)->selection.views[0].serving, before);
    assert_int_equal(prepared->plan->columns[0].offset, offset);
    next_batch(f);
    prepared = must_find(f, "every", float32);
    assert_ptr_not_equal(prepared->selection.views[0].serving, before);
    assert_ptr_equal(prepared->plan->views[0].view, pil_cache_live(f->view)->view);
    assert_int_equal(prepared->plan->width, FEATURES);
}

static void follows_a_project_with_the_next_batch(void **state) {
    struct fixture *f = *state;
    set_project(f, fixture_project(FEATURES));
    publish(f, FEATURES, 1);
    struct pil_prepared *prepared = must_find(f, "every", float32);
    const struct pil_vector_plan *plan = prepared->plan;
    set_project(f, fixture_project(FEATURES - 1));
    assert_ptr_equal(must_find(f, "every", float32), prepared);
    assert_ptr_equal(prepared->plan, plan);
    next_batch(f);
    assert_int_equal(must_find(f, "every", float32)->plan->width, FEATURES - 1);
}

/* A plan of a connection's own: it holds on to names, not to the releases it was compiled for. */
static void an_owned_plan_outlives_releases(void **state) {
    struct fixture *f = *state;
    const struct pil_bytes names[] = {pil_bytes_from_text("v:f3"), pil_bytes_from_text("v:f0")};
    struct pil_vector_spec *spec = NULL;
    struct pil_prepared *prepared = NULL;
    assert_int_equal(pil_vector_spec_create(names, 2, &spec, &f->error), PIL_STATUS_OK);
    assert_int_equal(pil_prepared_create(&f->scope, &spec, float32, &prepared, &f->error), PIL_STATUS_OK);
    assert_null(spec);
    assert_int_equal(pil_prepared_refresh(&f->scope, prepared, &f->error), PIL_STATUS_AGAIN);
    for (uint32_t round = 0; round < 4; round++) {
        publish(f, FEATURES + round * 8, round);
        pil_cache_reclaim(f->cache, UINT64_MAX, NULL, NULL);
        next_batch(f);
        assert_int_equal(pil_prepared_refresh(&f->scope, prepared, &f->error), PIL_STATUS_OK);
        const struct pil_view *view = pil_cache_live(f->view)->view;
        assert_int_equal(prepared->plan->columns[0].offset, view->features[3].offset);
        assert_int_equal(prepared->plan->columns[1].offset, view->features[0].offset);
    }
    publish(f, 2, 9);
    next_batch(f);
    assert_int_equal(pil_prepared_refresh(&f->scope, prepared, &f->error), PIL_STATUS_NOT_FOUND);
    assert_null(prepared->plan);
    pil_prepared_destroy(&prepared);
    const struct pil_bytes unknown = pil_bytes_from_text("w:x");
    assert_int_equal(pil_vector_spec_create(&unknown, 1, &spec, &f->error), PIL_STATUS_OK);
    assert_int_equal(pil_prepared_create(&f->scope, &spec, float32, &prepared, &f->error), PIL_STATUS_NOT_FOUND);
    assert_string_equal(f->error.text, "view w is not served here");
    assert_non_null(spec);
    pil_vector_spec_destroy(&spec);
}

/* More services than entries: the oldest goes, those of this batch stay. */
static void is_bounded(void **state) {
    struct fixture *f = *state;
    enum { SERVICES = 1024 };
    struct pil_text yaml = {0}, problems = {0};
    struct pil_project *project = NULL;
    pil_text_format(&yaml, "project: p\nentities:\n  - {name: id, type: int64}\nfeature_views:\n  - name: v\n"
                           "    entities: [id]\n    source: {type: parquet, path: x, timestamp_field: t}\n"
                           "    features: [{name: f0, type: float32}]\nfeature_services:\n");
    for (uint32_t i = 0; i < SERVICES; i++) {
        pil_text_format(&yaml, "  - {name: s%u, features: [v]}\n", i);
    }
    assert_int_equal(pil_project_parse_yaml(pil_text_bytes(&yaml), "test", &project, &problems), PIL_STATUS_OK);
    pil_text_deinit(&yaml);
    pil_text_deinit(&problems);
    set_project(f, project);
    publish(f, 1, 1);
    char name[16];
    for (uint32_t i = 0; i < SERVICES; i++) {
        snprintf(name, sizeof name, "s%u", i);
        assert_int_equal(must_find(f, name, float32)->plan->width, 1);
        next_batch(f);
    }
    struct pil_prepared *kept = must_find(f, "s1", float32); /* now of this batch */
    const struct pil_vector_plan *plan = kept->plan;
    for (uint32_t i = 0; i < SERVICES - 1; i++) {
        snprintf(name, sizeof name, "s%u", i);
        assert_int_equal(must_find(f, name, float64)->plan->dtype, PIL_VECTOR_FLOAT64);
    }
    assert_ptr_equal(must_find(f, "s1", float32), kept);
    assert_ptr_equal(kept->plan, plan);
}

/* The plan is the cache's, whoever asks; what a peer may read is not in it. */
static void a_plan_is_denied_to_some_and_kept_for_others(void **state) {
    struct fixture *f = *state;
    struct pil_prepared *prepared = NULL, *denied = NULL;
    set_project(f, fixture_project(FEATURES));
    publish(f, FEATURES, 1);
    f->scope.readable = 0;
    assert_int_equal(find(f, "p/every", float32, &denied), PIL_STATUS_DENIED);
    assert_string_equal(f->error.text, "service p/every: you may not read view p/v");
    assert_null(denied);
    f->scope.readable = 1;
    prepared = must_find(f, "p/every", float32);
    f->scope.readable = ~1ull;
    assert_int_equal(find(f, "p/every", float32, &denied), PIL_STATUS_DENIED);
    f->scope.readable = UINT64_MAX;
    assert_ptr_equal(must_find(f, "p/every", float32), prepared);
}

/* The name means another service for peers with other rights, and a view where they may not read the service. */
static void a_bare_name_means_what_the_peer_may_read(void **state) {
    struct fixture *f = *state;
    static const char q[] = "project: q\nentities:\n  - {name: id, type: int64}\nfeature_views:\n"
                            "  - name: every\n    entities: [id]\n    features: [{name: f0, type: float32}]\n"
                            "    source: {type: parquet, path: x, timestamp_field: t}\n"
                            "feature_services:\n  - {name: every, features: [every]}\n";
    struct pil_text problems = {0};
    struct pil_project *project = NULL;
    struct pil_prepared *prepared = NULL;
    assert_int_equal(pil_cache_view_define(f->cache, 1, "q", "every", "c"), PIL_STATUS_OK);
    assert_int_equal(pil_project_parse_yaml(pil_bytes_from_text(q), "test", &project, &problems), PIL_STATUS_OK);
    fixture_publish(f->cache, 1, fixture_release(project->views[0].view, 10, 1, 0));
    set_project(f, project);
    set_project(f, fixture_project(FEATURES));
    publish(f, FEATURES, 1);
    for (int i = 0; i < 2; i++) { /* in one batch, and from the cache */
        f->scope.readable = 1;
        assert_int_equal(must_find(f, "every", float32)->plan->width, FEATURES);
        f->scope.readable = 2;
        assert_int_equal(must_find(f, "every", float32)->plan->width, 1);
        f->scope.readable = 3;
        assert_int_equal(find(f, "every", float32, &prepared), PIL_STATUS_INVALID);
        f->scope.readable = 0;
        assert_int_equal(find(f, "every", float32, &prepared), PIL_STATUS_DENIED);
    }
}

static void a_view_that_may_be_read_comes_before_a_service_that_may_not(void **state) {
    struct fixture *f = *state;
    struct pil_vector_spec *spec = NULL;
    assert_int_equal(pil_cache_view_define(f->cache, 1, "q", "every", "c"), PIL_STATUS_OK);
    set_project(f, fixture_project(FEATURES));
    f->scope.readable = 2;
    assert_int_equal(pil_prepared_spec(&f->scope, pil_bytes_from_text("every"), &spec, &f->error), PIL_STATUS_AGAIN);
    assert_string_equal(f->error.text, "project q with view every is not applied yet");
    for (f->scope.readable = 0; f->scope.readable < 2; f->scope.readable++) { /* the service, which says who may not */
        assert_int_equal(pil_prepared_spec(&f->scope, pil_bytes_from_text("every"), &spec, &f->error), PIL_STATUS_OK);
        assert_string_equal(spec->views[0], "p/v");
        pil_vector_spec_destroy(&spec);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(says_what_is_missing, setup, teardown),
        cmocka_unit_test_setup_teardown(compiles_once_for_a_release, setup, teardown),
        cmocka_unit_test_setup_teardown(follows_a_swap_with_the_next_batch, setup, teardown),
        cmocka_unit_test_setup_teardown(follows_a_project_with_the_next_batch, setup, teardown),
        cmocka_unit_test_setup_teardown(an_owned_plan_outlives_releases, setup, teardown),
        cmocka_unit_test_setup_teardown(is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(a_plan_is_denied_to_some_and_kept_for_others, setup, teardown),
        cmocka_unit_test_setup_teardown(a_bare_name_means_what_the_peer_may_read, setup, teardown),
        cmocka_unit_test_setup_teardown(a_view_that_may_be_read_comes_before_a_service_that_may_not, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
