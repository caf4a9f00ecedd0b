/* SPDX-License-Identifier: Apache-2.0
 * Goal: a project document is taken whole or not at all, and every answer, refusal and lost service is told. */
#include "node_fixture.h"

static void a_project_that_is_refused_leaves_the_one_before(void **state) {
    struct fixture *f = *state;
    struct pil_error error;
    int fd = -1;
    char *good = document_of(f->project);
    send_project(f, good);
    free(good);
    const struct pil_project *before = pil_server_project(f->node->server, "p");
    assert_non_null(before);
    send_project(f, "not a project");
    assert_int_equal(pil_sys_memfd_create("unsealed", &fd, &error), PIL_STATUS_OK);
    take(f, (struct pil_message){.kind = PIL_MESSAGE_PROJECT, .fd = fd, .project = {0}});
    assert_ptr_equal(pil_server_project(f->node->server, "p"), before);
    assert_int_equal(count_applied(f, PIL_OUTCOME_OK), 1);
    assert_int_equal(count_applied(f, PIL_OUTCOME_ERROR), 2);
    assert_int_equal(count_applied(f, PIL_OUTCOME_SHORTAGE), 0); /* they would be no better the next time */
}

static void a_project_whose_descriptor_was_lost_is_asked_for_again(void **state) {
    struct fixture *f = *state;
    char *good = document_of(f->project);
    take(f, (struct pil_message){.kind = PIL_MESSAGE_PROJECT, .fd = -1, .project = {0}});
    assert_int_equal(count_applied(f, PIL_OUTCOME_SHORTAGE), 1);
    send_project(f, good);
    free(good);
    assert_non_null(pil_server_project(f->node->server, "p"));
    assert_int_equal(count_applied(f, PIL_OUTCOME_SHORTAGE), 1);
    assert_int_equal(count_applied(f, PIL_OUTCOME_OK), 1);
}

/* Applies a project whose view has that many features; the releases of the fixture have three. */
static void apply_project(struct fixture *f, uint32_t feature_count) {
    struct pil_project *project = fixture_project(feature_count);
    char *document = document_of(project);
    send_project(f, document);
    free(document);
    pil_project_destroy(&project);
    pil_node_tick(f->node);
}

static uint32_t count_readiness(const struct fixture *f) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < f->told_count; i++) {
        count += f->told[i].kind == PIL_MESSAGE_READINESS && f->told[i].readiness.is_ready;
    }
    return count;
}

static void a_service_that_lacks_a_feature_counts_until_the_node_was_ready(void **state) {
    struct fixture *f = *state;
    apply_project(f, 4);
    assert_term(f, "[+] services resolve: 0\n", false); /* no release of the view is live: its own term says so */
    for (uint32_t view = 0; view < 2; view++) {
        send_release(f, view, 1);
        send_checked(f, view, 1);
    }
    pil_node_tick(f->node);
    assert_term(f, "[-] services resolve: not 1 of 1: p/every needs v:f3, which release 0000000000000001 lacks\n",
                false);
    assert_int_equal(count_readiness(f), 0);
    assert_metric(f, "pillion_services_unanswered 1\n", true);
    apply_project(f, 3);
    assert_term(f, "[+] services resolve: 1\n", true);
    assert_metric(f, "pillion_services_unanswered 0\n", true);
    assert_int_equal(count_readiness(f), 1);
    apply_project(f, 4);
    assert_term(f, "[+] services resolve: not 1 of 1: p/every needs v:f3, which", true);
}

static void assert_project_refused(const struct fixture *f, const char *why) {
    for (uint32_t i = 0; i < 2; i++) { /* both views are of this project */
        assert_string_equal(f->node->views[i].project_refused, why);
    }
    assert_metric(f, "pillion_project_refused{view=\"p/w\"} 1\n", why[0] != '\0');
}

static void a_project_that_does_not_come_is_told(void **state) {
    struct fixture *f = *state;
    char *good = document_of(f->project);
    struct pil_message none = {.kind = PIL_MESSAGE_NO_PROJECT,
                               .no_project = {.view_index = 1, .outcome = PIL_OUTCOME_CORRUPT, .why = "no JSON"}};
    take(f, none);
    assert_project_refused(f, "no JSON");
    send_project(f, good);
    free(good);
    assert_project_refused(f, "");
    none.no_project.outcome = PIL_OUTCOME_NOT_FOUND;
    take(f, none);
    assert_project_refused(f, "");
    assert_non_null(pil_server_project(f->node->server, "p")); /* it was there, and goes on */
}

static void services_that_a_project_loses_are_told(void **state) {
    struct fixture *f = *state;
    json_t *document = json_pack("{s:i, s:o}", "format", 1, "project", pil_project_to_json(f->project));
    json_t *project = json_object_get(document, "project"), *services = json_array();
    for (int i = 0; i < 3; i++) {
        const char name[] = {'s', (char)('0' + i), '\0'};
        json_array_append_new(services, json_pack("{s:s, s:[s]}", "name", name, "features", "v:f0"));
    }
    json_object_set_new(project, "feature_services", services);
    for (int left = 3; left >= 1; left -= 2) {
        char *text = json_dumps(document, JSON_COMPACT | JSON_SORT_KEYS);
        send_project(f, text);
        free(text);
        assert_string_equal(f->node->views[0].project_refused, "");
        assert_string_equal(f->node->views[1].services_gone, left == 3 ? "" : "s0, s2");
        json_array_remove(services, 2);
        json_array_remove(services, 0);
    }
    json_decref(document);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_project_that_is_refused_leaves_the_one_before),
        TEST(a_project_whose_descriptor_was_lost_is_asked_for_again),
        TEST(a_service_that_lacks_a_feature_counts_until_the_node_was_ready),
        TEST(a_project_that_does_not_come_is_told),
        TEST(services_that_a_project_loses_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
