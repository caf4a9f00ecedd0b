/* SPDX-License-Identifier: Apache-2.0
 * Goal: the JSON form says everything that the YAML said, gives the same project back, and is refused when it is wrong.
 * Method: one project with everything in it; its JSON bytes; then members of it replaced. */
#include "schema/project_read.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const yaml =
    "project: rides\n"
    "entities:\n"
    "  - {name: driver, join_key: driver_id, type: int64, description: who drives}\n"
    "  - {name: city, type: string}\n"
    "feature_views:\n"
    "  - name: stats\n"
    "    description: of a week\n"
    "    owner: maps\n"
    "    entities: [driver, city]\n"
    "    ttl: 7d\n"
    "    source: {type: parquet, path: p, timestamp_field: ts, created_timestamp_column: "
    "created, field_mapping: {Trips: trips}}\n"
    "    features:\n"
    "      - {name: trips, type: int32, default: -3, description: in all, tags: [pii]}\n"
    "      - {name: rate, type: float64, default: 1}\n"
    "      - {name: taste, type: \"vector<float32, 2>\", default: [0.25, 1e30]}\n"
    "      - {name: nick, type: string, default: \"true\"}\n"
    "    tags: {team: maps}\n"
    "  - name: other\n"
    "    entities: [city]\n"
    "    source: {type: sql, query: q, setup: s, timestamp_field: ts}\n"
    "    features: []\n"
    "  - name: text\n"
    "    entities: [city]\n"
    "    source: {type: csv, path: p, timestamp_field: ts, header: false, column_names: [a, b], "
    "null_values: [null, NA, ''], delimiter: \"\\t\", quote: '', comment: '#', thousands: ','}\n"
    "    features: []\n"
    "  - {name: zones, entities: [city], static: true, source: {type: csv, path: p}, features: []}\n"
    "feature_services:\n"
    "  - {name: all, features: [stats], description: the lot}\n";

static const char *const canonical =
    "{\"entities\":[{\"description\":\"who drives\",\"join_key\":\"driver_id\",\"name\":\"driver\",\"type\":\"int64\"},"
    "{\"join_key\":\"city\",\"name\":\"city\",\"type\":\"string\"}],"
    "\"feature_services\":[{\"description\":\"the "
    "lot\",\"features\":[\"stats:trips\",\"stats:rate\",\"stats:taste\",\"stats:nick\"],\"name\":\"all\"}],"
    "\"feature_views\":[{\"description\":\"of a week\",\"entities\":[\"driver\",\"city\"],"
    "\"features\":[{\"default\":-3,\"description\":\"in "
    "all\",\"name\":\"trips\",\"tags\":[\"pii\"],\"type\":\"int32\"},"
    "{\"default\":1.0,\"name\":\"rate\",\"type\":\"float64\"},"
    "{\"default\":[0.25,1e30],\"name\":\"taste\",\"type\":\"vector<float32,2>\"},"
    "{\"default\":\"true\",\"name\":\"nick\",\"type\":\"string\"}],"
    "\"name\":\"stats\",\"owner\":\"maps\","
    "\"source\":{\"created_timestamp_column\":\"created\",\"field_mapping\":{\"Trips\":\"trips\"},\"path\":\"p\","
    "\"timestamp_field\":\"ts\",\"type\":\"parquet\"},"
    "\"tags\":{\"team\":\"maps\"},\"ttl\":604800},"
    "{\"entities\":[\"city\"],\"features\":[],\"name\":\"other\","
    "\"source\":{\"query\":\"q\",\"setup\":\"s\",\"timestamp_field\":\"ts\",\"type\":\"sql\"},\"ttl\":0},"
    "{\"entities\":[\"city\"],\"features\":[],\"name\":\"text\","
    "\"source\":{\"column_names\":[\"a\",\"b\"],\"comment\":\"#\",\"delimiter\":\"\\t\",\"header\":false,"
    "\"null_values\":[\"null\",\"NA\",\"\"],\"path\":\"p\",\"quote\":\"\",\"thousands\":\",\","
    "\"timestamp_field\":\"ts\",\"type\":\"csv\"},\"ttl\":0},"
    "{\"entities\":[\"city\"],\"features\":[],\"name\":\"zones\",\"source\":{\"path\":\"p\",\"type\":\"csv\"},"
    "\"static\":true,\"ttl\":0}],"
    "\"project\":\"rides\"}";

static char *dump(const struct pil_project *project) {
    json_t *json = pil_project_to_json(project);
    char *text = json_dumps(json, JSON_SORT_KEYS | JSON_COMPACT);
    json_decref(json);
    return text;
}

static void says_what_the_yaml_said(void **state) {
    (void)state;
    struct pil_project *project = NULL;
    struct pil_text problems = {0};
    assert_int_equal(pil_project_parse_yaml(pil_bytes_from_text(yaml), "f", &project, &problems), PIL_STATUS_OK);
    char *text = dump(project);
    assert_string_equal(text, canonical);
    free(text);
    pil_project_destroy(&project);
}

static void gives_the_same_project_back(void **state) {
    (void)state;
    json_t *json = json_loads(canonical, 0, NULL);
    struct pil_project *project = NULL;
    struct pil_error error = {{0}};
    if (pil_project_from_json(json, &project, &error) != PIL_STATUS_OK) {
        fail_msg("%s", error.text);
    }
    char *text = dump(project);
    assert_string_equal(text, canonical);
    assert_string_equal(project->views[1].source.setup, "s");
    assert_int_equal(project->views[0].view->layout.stride, 72);
    free(text);
    json_decref(json);
    pil_project_destroy(&project);
}

static void refuses_what_is_no_project(void **state) {
    (void)state;
    static const struct {
        const char *from, *to, *said;
    } table[] = {
        {"\"rides\"", "7", "not a valid name"},
        {"\"project\"", "\"projekt\"", "did you mean project"},
        {"\"ttl\":604800", "\"ttl\":-1", "feature view stats: ttl '-1'"},
        {"\"ttl\":604800", "\"ttl\":[]", "ttl has the wrong form"},
        {"\"ttl\":604800", "\"ttl\":1.5", "ttl '1.5'"},
        {"\"stats:rate\"", "\"stats:rat\"", "did you mean rate"},
        {"\"stats:rate\"", "null", "must be one text"},
        {"\"default\":-3", "\"default\":\"-3\"", "feature trips: default does not fit int32"},
        {"\"default\":-3", "\"default\":3.0", "feature trips: default does not fit int32"},
        {"[\"driver\",\"city\"]", "{}", "entities has the wrong form"},
        {"\"entities\":[\"driver\",\"city\"],", "", "feature view stats: entities is missing"},
        {"\"driver_id\"", "\"a\\u0000b\"", "NUL"},
        {"\"driver_id\"", "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]", "nested"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        char text[4096];
        const char *at = strstr(canonical, table[i].from);
        assert_non_null(at);
        snprintf(text, sizeof text, "%.*s%s%s", (int)(at - canonical), canonical, table[i].to,
                 at + strlen(table[i].from));
        json_t *json = json_loads(text, JSON_ALLOW_NUL, NULL);
        assert_non_null(json);
        struct pil_project *project = NULL;
        struct pil_error error = {{0}};
        assert_int_equal(pil_project_from_json(json, &project, &error), PIL_STATUS_CORRUPT);
        assert_null(project);
        if (strstr(error.text, table[i].said) == NULL) {
            fail_msg("\"%s\" does not say \"%s\"", error.text, table[i].said);
        }
        json_decref(json);
    }
    struct pil_project *project = NULL;
    json_t *others[] = {json_null(), json_true(), json_array(), json_integer(1), json_string(""), json_object()};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        assert_int_equal(pil_project_from_json(others[i], &project, NULL), PIL_STATUS_CORRUPT);
        json_decref(others[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_what_the_yaml_said),
        cmocka_unit_test(gives_the_same_project_back),
        cmocka_unit_test(refuses_what_is_no_project),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
