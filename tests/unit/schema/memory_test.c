/* SPDX-License-Identifier: Apache-2.0
 * Goal: whichever allocation fails, a project is read, written and copied whole or not at all, and no file is called
 * wrong for want of memory. Method: every allocation of each way, jansson's too, fails in turn; what comes out must be
 * NO_MEMORY (or NULL) or the same bytes as with memory. Leaks are the sanitizer's to find. */
#include "schema/json_text.h"
#include "schema/project_changes.h"
#include "schema/project_read.h"
#include "schema/view_json.h"
#include "support/fail_alloc.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

static const char *const good =
    "project: rides\n"
    "entities:\n"
    "  - {name: driver, join_key: driver_id, type: int64, description: who drives}\n"
    "  - {name: city, type: string}\n"
    "feature_views:\n"
    "  - name: stats\n"
    "    owner: maps\n"
    "    entities: [driver, city]\n"
    "    ttl: 7d\n"
    "    source: {type: csv, path: p, timestamp_field: ts, field_mapping: {Trips: trips}, header: false, "
    "column_names: [driver_id, ts], null_values: [NA], quote: \"'\"}\n"
    "    features:\n"
    "      - {name: trips, type: int32, default: -3, description: in all, tags: [pii, x]}\n"
    "      - {name: taste, type: \"vector<float32, 2>\", default: [0.25, 1e30]}\n"
    "      - {name: nick, type: string, default: \"true\"}\n"
    "    tags: {team: maps}\n"
    "feature_services:\n"
    "  - {name: all, features: [stats], description: the lot}\n"
    "  - {name: one, features: [\"stats:nick\"]}\n";
static const char *const bad =
    "project: rides\n"
    "entities:\n"
    "  - {name: driver, type: int64, colour: red}\n"
    "  - {name: driver, type: float32}\n"
    "feature_views:\n"
    "  - name: stats\n"
    "    entities: [diver]\n"
    "    source: {type: parquet, path: p, timestamp_field: ts, field_mapping: {a: nothing}}\n"
    "    features: [{name: trips, type: int32, default: x}, {name: trips, type: int32}]\n"
    "feature_services: [{name: all, features: [\"stats:trip\", stat, stats, stats]}]\n";

struct scene {
    const char *yaml; /* which is read */
    const struct pil_project *project, *other;
    json_t *json;
};

/* A way that takes memory. NO_MEMORY, and an empty text; or what it came to, as a text. */
typedef pil_status (*way)(const struct scene *scene, struct pil_text *ret_text);

/* Takes both. */
static pil_status put(json_t *json, struct pil_text *ret_text) {
    char *text = pil_json_text(json, JSON_SORT_KEYS | JSON_COMPACT);
    json_decref(json);
    if (text != NULL) {
        pil_text_append(ret_text, text, strlen(text));
        free(text);
    }
    return text == NULL || ret_text->failed ? PIL_STATUS_NO_MEMORY : PIL_STATUS_OK;
}

static pil_status put_project(pil_status status, struct pil_project **project, struct pil_text *ret_text) {
    if (status == PIL_STATUS_OK) {
        assert_non_null(*project);
        status = put(pil_project_to_json(*project), ret_text);
    }
    pil_project_destroy(project);
    return status;
}

static pil_status read_yaml(const struct scene *scene, struct pil_text *ret_text) {
    struct pil_project *project = NULL;
    struct pil_text problems = {0};
    pil_status status = pil_project_parse_yaml(pil_bytes_from_text(scene->yaml), "f", &project, &problems);
    if (status == PIL_STATUS_INVALID) {
        assert_null(project);
        assert_false(problems.failed);
        *ret_text = problems;
        return PIL_STATUS_OK;
    }
    pil_text_deinit(&problems);
    return put_project(status, &project, ret_text);
}

static pil_status read_json(const struct scene *scene, struct pil_text *ret_text) {
    struct pil_project *project = NULL;
    struct pil_error error = {0};
    pil_status status = pil_project_from_json(scene->json, &project, &error);
    assert_true(status == PIL_STATUS_OK || strstr(error.text, "no memory") != NULL);
    return put_project(status, &project, ret_text);
}

static pil_status write_json(const struct scene *scene, struct pil_text *ret_text) {
    return put(pil_project_to_json(scene->project), ret_text);
}

static pil_status copy_json(const struct scene *scene, struct pil_text *ret_text) {
    return put(pil_json_copy(scene->json), ret_text);
}

static pil_status copy_view(const struct scene *scene, struct pil_text *ret_text) {
    struct pil_view *copy = pil_view_clone(scene->project->views[0].view);
    pil_status status = copy != NULL ? put(pil_view_to_json(copy), ret_text) : PIL_STATUS_NO_MEMORY;
    pil_view_destroy(&copy);
    return status;
}

static bool always(void *context, const char *view_name) {
    (void)context, (void)view_name;
    return true;
}

static pil_status compare(const struct scene *scene, struct pil_text *ret_text) {
    uint32_t count = pil_project_breaking_changes(scene->project, scene->other, always, NULL, ret_text);
    assert_true(count > 0);
    return ret_text->failed ? PIL_STATUS_NO_MEMORY : PIL_STATUS_OK;
}

static void fail_each(const struct scene *scene, way go, uint64_t at_least) {
    struct pil_text whole = {0};
    assert_int_equal(go(scene, &whole), PIL_STATUS_OK);
    uint64_t nth = 1;
    for (bool has_fired = true; has_fired; nth++) {
        struct pil_text text = {0};
        pil_fail_alloc_arm(nth);
        pil_status status = go(scene, &text);
        has_fired = pil_fail_alloc_disarm();
        if (status == PIL_STATUS_OK) { /* nothing failed, or what did was not needed */
            assert_string_equal(text.data, whole.data);
        } else if (status != PIL_STATUS_NO_MEMORY || !has_fired) {
            fail_msg("allocation %llu: %s", (unsigned long long)nth, pil_status_text(status));
        }
        pil_text_deinit(&text);
    }
    pil_text_deinit(&whole);
    assert_true(nth > at_least);
}

static void projects_are_whole_or_not_there(void **state) {
    const struct scene *scene = *state;
    fail_each(scene, read_yaml, 100);
    fail_each(scene, read_json, 100);
    fail_each(scene, write_json, 50);
    fail_each(scene, copy_json, 4);
    fail_each(scene, copy_view, 30);
    fail_each(scene, compare, 1);
}

static void no_mistake_is_lost_or_made_up(void **state) {
    struct scene scene = *(const struct scene *)*state;
    scene.yaml = bad;
    fail_each(&scene, read_yaml, 100);
    scene.yaml = "project: [rides\n";
    fail_each(&scene, read_yaml, 4);
}

static struct pil_project *project_of(const char *yaml) {
    struct pil_project *project = NULL;
    struct pil_text problems = {0};
    if (pil_project_parse_yaml(pil_bytes_from_text(yaml), "f", &project, &problems) != PIL_STATUS_OK) {
        fail_msg("%s", pil_text_chars(&problems));
    }
    return project;
}

int main(void) {
    struct pil_project *project = project_of(good);
    struct pil_project *other = project_of("project: rides\nentities: []\nfeature_views: []\n");
    struct scene scene = {.yaml = good, .project = project, .other = other, .json = pil_project_to_json(project)};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(projects_are_whole_or_not_there, &scene),
        cmocka_unit_test_prestate(no_mistake_is_lost_or_made_up, &scene),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    json_decref(scene.json);
    pil_project_destroy(&other);
    pil_project_destroy(&project);
    return failed;
}
