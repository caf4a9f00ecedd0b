/* SPDX-License-Identifier: Apache-2.0
 * Goal: a name means one view or service, or the answer says why not; what a peer may not read is denied at this door.
 * Method: a cache of three views in two projects, one name in both. */
#include "support/cache_fixture.h"

#include "schema/project_read.h"
#include "selection/selection.h"

#include <setjmp.h>
#include <stdalign.h>
#include <stdarg.h>
#include <cmocka.h>

enum { FEATURES = 4 };

struct fixture {
    struct pil_cache *cache;
    struct pil_projects *projects;
    struct pil_scope scope;
    struct pil_arena arena;
    alignas(16) uint8_t memory[1 << 16];
};

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    struct pil_project *project = fixture_project(FEATURES);
    f->cache = pil_cache_create(4, 1);
    f->projects = pil_projects_create(2, pil_cache_qsbr(f->cache));
    f->scope =
        (struct pil_scope){.cache = f->cache, .projects = f->projects, .batch_number = 1, .readable = UINT64_MAX};
    pil_arena_init(&f->arena, f->memory, sizeof f->memory);
    assert_int_equal(pil_cache_view_define(f->cache, 0, "p", "v", "c"), PIL_STATUS_OK);
    assert_int_equal(pil_cache_view_define(f->cache, 1, "q", "v", "c"), PIL_STATUS_OK);
    assert_int_equal(pil_cache_view_define(f->cache, 2, "q", "w", "c"), PIL_STATUS_OK);
    fixture_publish(f->cache, 0, fixture_release(project->views[0].view, 10, 1, 0));
    assert_int_equal(pil_projects_set(f->projects, &project), PIL_STATUS_OK);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    pil_projects_destroy(&f->projects);
    pil_cache_destroy(&f->cache);
    free(f);
    return 0;
}

static pil_status view_of(struct fixture *f, const char *name, uint32_t *ret_index) {
    const struct pil_cache_view *view = NULL;
    pil_status status = pil_scope_view(&f->scope, pil_bytes_from_text(name), &view);
    *ret_index = view != NULL ? view->index : UINT32_MAX;
    return status;
}

static void a_name_is_one_view_or_none(void **state) {
    static const struct {
        const char *name;
        pil_status status;
        uint32_t index;
    } cases[] = {{"p/v", PIL_STATUS_OK, 0},
                 {"q/v", PIL_STATUS_OK, 1},
                 {"w", PIL_STATUS_OK, 2},
                 {"q/w", PIL_STATUS_OK, 2},
                 {"v", PIL_STATUS_INVALID, UINT32_MAX},
                 {"p/w", PIL_STATUS_NOT_FOUND, UINT32_MAX},
                 {"x", PIL_STATUS_NOT_FOUND, UINT32_MAX},
                 {"", PIL_STATUS_NOT_FOUND, UINT32_MAX},
                 {"/w", PIL_STATUS_NOT_FOUND, UINT32_MAX},
                 {"q/", PIL_STATUS_NOT_FOUND, UINT32_MAX},
                 {"q/w/", PIL_STATUS_NOT_FOUND, UINT32_MAX}};
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint32_t index = 0;
        assert_int_equal(view_of(f, cases[i].name, &index), cases[i].status);
        assert_int_equal(index, cases[i].index);
    }
}

static void what_a_peer_may_not_read_is_denied(void **state) {
    struct fixture *f = *state;
    struct pil_error error;
    uint32_t index = 0;
    f->scope.readable = 1u << 1;
    assert_int_equal(view_of(f, "q/v", &index), PIL_STATUS_OK);
    assert_int_equal(view_of(f, "p/v", &index), PIL_STATUS_DENIED);
    assert_int_equal(view_of(f, "w", &index), PIL_STATUS_DENIED);
    assert_int_equal(f->scope.denied_counts[0], 1);
    assert_int_equal(f->scope.denied_counts[1], 0);
    assert_int_equal(f->scope.denied_counts[2], 1);
    assert_int_equal(pil_scope_explain(PIL_STATUS_DENIED, pil_bytes_from_text("w"), &error), PIL_STATUS_DENIED);
    assert_string_equal(error.text, "you may not read view w");
    const struct pil_project *project = pil_projects_find(f->projects, "p");
    assert_false(pil_scope_may_read_service(&f->scope, project, &project->services[0]));
    f->scope.readable = 1;
    assert_true(pil_scope_may_read_service(&f->scope, project, &project->services[0]));
}

static void the_served_slot_of_a_view_says_who_may_read_its_services(void **state) {
    struct fixture *f = *state;
    const struct pil_project *project = pil_projects_find(f->projects, "p");
    const struct pil_service *service = &project->services[0];
    pil_cache_view_remove(f->cache, 0);
    assert_true(pil_scope_may_read_service(&f->scope, project, service));
    f->scope.readable = ~1ull;
    assert_false(pil_scope_may_read_service(&f->scope, project, service));
    assert_int_equal(pil_cache_view_define(f->cache, 3, "p", "v", "c"), PIL_STATUS_OK);
    assert_true(pil_scope_may_read_service(&f->scope, project, service));
    f->scope.readable = 1;
    assert_false(pil_scope_may_read_service(&f->scope, project, service));
}

static pil_status service_of(const struct fixture *f, const char *name, const struct pil_project **ret_project) {
    const struct pil_service *service = NULL;
    return pil_scope_service(&f->scope, pil_bytes_from_text(name), ret_project, &service);
}

static void services_are_found_by_either_name(void **state) {
    struct fixture *f = *state;
    const struct pil_project *project = NULL;
    assert_int_equal(service_of(f, "every", &project), PIL_STATUS_OK);
    assert_string_equal(project->name, "p");
    assert_int_equal(service_of(f, "p/every", &project), PIL_STATUS_OK);
    assert_int_equal(service_of(f, "p/none", &project), PIL_STATUS_NOT_FOUND);
    assert_int_equal(service_of(f, "r/every", &project), PIL_STATUS_NOT_FOUND);
    assert_ptr_equal(pil_scope_project_at(&f->scope, 0), project);
    assert_null(pil_scope_project_at(&f->scope, 1)); /* q is not applied */
    struct pil_project *other = fixture_project(FEATURES);
    struct pil_error error;
    other->name[0] = 'q'; /* as long as "p" */
    assert_int_equal(pil_projects_set(f->projects, &other), PIL_STATUS_OK);
    assert_int_equal(service_of(f, "q/every", &project), PIL_STATUS_OK);
    assert_string_equal(project->name, "q");
    assert_int_equal(service_of(f, "every", &project), PIL_STATUS_INVALID);
    assert_int_equal(service_of(f, "none", &project), PIL_STATUS_NOT_FOUND);
    assert_int_equal(pil_scope_explain_service(PIL_STATUS_INVALID, pil_bytes_from_text("every"), &error),
                     PIL_STATUS_INVALID);
    assert_string_equal(error.text, "service every is ambiguous: say project/service");
}

/* Project q, with a view v and a service of the project's own name. */
static struct pil_project *project_q(const char *service) {
    struct pil_text yaml = {0}, problems = {0};
    struct pil_project *project = NULL;
    pil_text_format(&yaml,
                    "project: q\nentities:\n  - {name: id, type: int64}\nfeature_views:\n  - name: v\n"
                    "    entities: [id]\n    source: {type: parquet, path: x, timestamp_field: t}\n"
                    "    features: [{name: f0, type: float32}]\nfeature_services:\n  - {name: %s, features: [v]}\n",
                    service);
    assert_int_equal(pil_project_parse_yaml(pil_text_bytes(&yaml), "test", &project, &problems), PIL_STATUS_OK);
    pil_text_deinit(&yaml);
    pil_text_deinit(&problems);
    return project;
}

/* As in the catalog of a mapped client, which has nothing else. */
static void bare_names_are_judged_among_what_the_peer_may_read(void **state) {
    struct fixture *f = *state;
    struct pil_project *other = project_q("every");
    const struct pil_project *project = NULL;
    uint32_t index = 0;
    assert_int_equal(pil_projects_set(f->projects, &other), PIL_STATUS_OK);
    for (uint32_t own = 0; own < 2; own++) {
        f->scope.readable = own == 0 ? ~2ull : ~1ull; /* all but the other's */
        assert_int_equal(view_of(f, "v", &index), PIL_STATUS_OK);
        assert_int_equal(index, own);
        assert_int_equal(service_of(f, "every", &project), PIL_STATUS_OK);
        assert_string_equal(project->name, own == 0 ? "p" : "q");
        assert_int_equal(service_of(f, own == 0 ? "q/every" : "p/every", &project), PIL_STATUS_OK);
        assert_string_equal(project->name, own == 0 ? "q" : "p");
    }
    assert_int_equal(f->scope.denied_counts[0] + f->scope.denied_counts[1], 0);
    f->scope.readable = 0;
    assert_int_equal(view_of(f, "v", &index), PIL_STATUS_DENIED);
    assert_int_equal(f->scope.denied_counts[0] + f->scope.denied_counts[1], 1);
    assert_int_equal(service_of(f, "every", &project), PIL_STATUS_OK); /* one that it may not read */
    f->scope.readable = 3;
    assert_int_equal(view_of(f, "v", &index), PIL_STATUS_INVALID);
    assert_int_equal(service_of(f, "every", &project), PIL_STATUS_INVALID);
}

/* A view has its first release after its project was read, or was seen to be missing. */
static void a_service_of_a_project_that_was_not_read_yet_is_not_known(void **state) {
    struct fixture *f = *state;
    struct pil_error error;
    struct pil_project *document = fixture_project(FEATURES);
    const struct pil_project *project = NULL;
    const struct pil_bytes p = pil_bytes_from_text("p"), q = pil_bytes_from_text("q"), any = {0};
    assert_int_equal(service_of(f, "q/every", &project), PIL_STATUS_AGAIN);
    assert_int_equal(service_of(f, "none", &project), PIL_STATUS_AGAIN);
    assert_int_equal(service_of(f, "every", &project), PIL_STATUS_OK);
    assert_true(pil_scope_awaits(&f->scope, any) && pil_scope_awaits(&f->scope, q));
    assert_false(pil_scope_awaits(&f->scope, p));
    assert_int_equal(pil_scope_explain_service(PIL_STATUS_AGAIN, pil_bytes_from_text("none"), &error),
                     PIL_STATUS_AGAIN);
    assert_string_equal(error.text, "feature service none is not known: its project was not read yet");
    for (uint32_t view = 1; view <= 2; view++) { /* q has none */
        fixture_publish(f->cache, view, fixture_release(document->views[0].view, 10, 1, 0));
    }
    pil_project_destroy(&document);
    assert_int_equal(service_of(f, "q/every", &project), PIL_STATUS_NOT_FOUND);
    assert_int_equal(service_of(f, "none", &project), PIL_STATUS_NOT_FOUND);
    assert_false(pil_scope_awaits(&f->scope, any));
}

static void a_selection_holds_what_was_asked_in_order(void **state) {
    struct fixture *f = *state;
    struct pil_selection selection;
    const struct pil_bytes v = pil_bytes_from_text("p/v");
    const struct pil_bytes names[] = {pil_bytes_from_text("f2"), pil_bytes_from_text("none"),
                                      pil_bytes_from_text("f3")};
    assert_int_equal(pil_selection_begin(&f->arena, 2, 5, &selection), PIL_STATUS_OK);
    pil_selection_add_fields(&f->scope, &selection, pil_cache_view_at(f->cache, 0), names, 3);
    assert_int_equal(pil_selection_add(&f->scope, &selection, v, pil_bytes_from_text("f1")), PIL_STATUS_OK);
    assert_int_equal(pil_selection_add(&f->scope, &selection, v, pil_bytes_from_text("f0")), PIL_STATUS_OK);
    assert_int_equal(selection.view_count, 1);
    assert_int_equal(selection.feature_count, 5);
    static const uint32_t expected[] = {2, PIL_SELECTION_NO_FEATURE, 3, 1, 0};
    for (uint32_t i = 0; i < 5; i++) {
        assert_int_equal(selection.features[i].slot, 0);
        assert_int_equal(selection.features[i].feature, expected[i]);
    }
    assert_int_equal(pil_selection_add(&f->scope, &selection, v, pil_bytes_from_text("f0")), PIL_STATUS_TOO_LARGE);
    pil_selection_end(&f->arena, &selection);
    assert_ptr_equal(pil_arena_alloc(&f->arena, 1, 1), (uint8_t *)(selection.features + 5));
}

static void a_selection_says_what_is_wrong(void **state) {
    struct fixture *f = *state;
    struct pil_selection selection;
    const struct pil_bytes feature = pil_bytes_from_text("f1");
    assert_int_equal(pil_selection_begin(&f->arena, 2, 5, &selection), PIL_STATUS_OK);
    assert_int_equal(pil_selection_add(&f->scope, &selection, pil_bytes_from_text("v"), feature), PIL_STATUS_INVALID);
    assert_int_equal(pil_selection_add(&f->scope, &selection, pil_bytes_from_text("x"), feature), PIL_STATUS_NOT_FOUND);
    assert_int_equal(pil_selection_add(&f->scope, &selection, pil_bytes_from_text("w"), feature), PIL_STATUS_AGAIN);
    assert_int_equal(pil_selection_add(&f->scope, &selection, pil_bytes_from_text("p/v"), pil_bytes_from_text("f9")),
                     PIL_STATUS_CONFLICT);
    f->scope.readable = 0;
    assert_int_equal(pil_selection_add(&f->scope, &selection, pil_bytes_from_text("w"), feature), PIL_STATUS_DENIED);
    assert_int_equal(selection.feature_count, 0);
    assert_int_equal(pil_selection_begin(&f->arena, 1u << 20, 5, &selection), PIL_STATUS_NO_MEMORY);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_name_is_one_view_or_none, setup, teardown),
        cmocka_unit_test_setup_teardown(what_a_peer_may_not_read_is_denied, setup, teardown),
        cmocka_unit_test_setup_teardown(the_served_slot_of_a_view_says_who_may_read_its_services, setup, teardown),
        cmocka_unit_test_setup_teardown(services_are_found_by_either_name, setup, teardown),
        cmocka_unit_test_setup_teardown(bare_names_are_judged_among_what_the_peer_may_read, setup, teardown),
        cmocka_unit_test_setup_teardown(a_service_of_a_project_that_was_not_read_yet_is_not_known, setup, teardown),
        cmocka_unit_test_setup_teardown(a_selection_holds_what_was_asked_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(a_selection_says_what_is_wrong, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
