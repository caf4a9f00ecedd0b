/* SPDX-License-Identifier: Apache-2.0
 * Goal: a moment keeps the release of each view that it took, and a pinned one is a set that was live at one time.
 * Method: releases are published between the takes. */
#include "support/cache_fixture.h"

#include "cache/moment.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

struct fixture {
    struct pil_cache *cache;
    struct pil_project *project;
    struct pil_moment moment;
};

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    f->project = fixture_project(2);
    f->cache = pil_cache_create(3, 1);
    assert_int_equal(pil_cache_view_define(f->cache, 0, "p", "a", "c"), PIL_STATUS_OK);
    assert_int_equal(pil_cache_view_define(f->cache, 1, "p", "b", "c"), PIL_STATUS_OK);
    assert_int_equal(pil_cache_view_define(f->cache, 2, "p", "c", "c"), PIL_STATUS_OK);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    pil_cache_destroy(&f->cache);
    pil_project_destroy(&f->project);
    free(f);
    return 0;
}

static void publish(struct fixture *f, uint32_t view, uint64_t seed) {
    fixture_publish(f->cache, view, fixture_release(f->project->views[0].view, 4, seed, 0));
}

static const struct pil_serving *live(struct fixture *f, uint32_t view) {
    return pil_moment_serving(&f->moment, f->cache, pil_cache_view_at(f->cache, view));
}

static void keeps_what_it_took(void **state) {
    struct fixture *f = *state;
    assert_null(live(f, 0));
    publish(f, 0, 1);
    assert_null(live(f, 0)); /* that there was none is kept, too */
    pil_moment_clear(&f->moment);
    const struct pil_serving *first = live(f, 0);
    assert_non_null(first);
    publish(f, 0, 2);
    assert_ptr_equal(live(f, 0), first);
    pil_moment_clear(&f->moment);
    assert_ptr_not_equal(live(f, 0), first);
}

static void pins_all_views_of_one_time(void **state) {
    struct fixture *f = *state;
    assert_true(pil_moment_pin(&f->moment, f->cache));
    publish(f, 0, 1);
    publish(f, 1, 1);
    assert_null(live(f, 0));
    assert_false(pil_moment_pin(&f->moment, f->cache));
    pil_moment_clear(&f->moment);
    (void)live(f, 0);
    assert_true(pil_moment_pin(&f->moment, f->cache));
    assert_true(pil_moment_pin(&f->moment, f->cache));
    publish(f, 1, 2); /* after it was pinned: it was one time all the same, but that cannot be told */
    assert_false(pil_moment_pin(&f->moment, f->cache));
}

static void a_publish_between_two_takes_is_noticed(void **state) {
    struct fixture *f = *state;
    publish(f, 0, 1);
    publish(f, 1, 1);
    (void)live(f, 0);
    publish(f, 0, 2);
    publish(f, 1, 2); /* the first view is from before, the second would be from after */
    assert_false(pil_moment_pin(&f->moment, f->cache));
    pil_moment_clear(&f->moment);
    assert_true(pil_moment_pin(&f->moment, f->cache));
    assert_string_equal(live(f, 0)->release->id, live(f, 1)->release->id);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(keeps_what_it_took, setup, teardown),
        cmocka_unit_test_setup_teardown(pins_all_views_of_one_time, setup, teardown),
        cmocka_unit_test_setup_teardown(a_publish_between_two_takes_is_noticed, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
