/* SPDX-License-Identifier: Apache-2.0
 * Goal: schemas/project.schema.json, which editors complete from, and the parser know the same keys, and require the
 * same. Method: the parser lists its keys when it meets an unknown one and names each that is missing; both lists are
 * compared with the schema's, object by object. Run in the root of the repository. */
#include "schema/project_read.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

static json_t *schema;

/* An unknown key in one object of the file, and the definition of that object; NULL for the root. */
static const struct {
    const char *definition;
    const char *yaml;
} objects[] = {
    {NULL, "zzzzzzzz: 1\n"},
    {"entity", "entities: [{zzzzzzzz: 1}]\n"},
    {"feature_view", "feature_views: [{zzzzzzzz: 1}]\n"},
    /* Static: what other views require of a source is a condition in the schema. */
    {"source", "feature_views: [{static: true, source: {zzzzzzzz: 1}}]\n"},
    {"feature", "feature_views: [{features: [{zzzzzzzz: 1}]}]\n"},
    {"feature_service", "feature_services: [{zzzzzzzz: 1}]\n"},
};
enum { OBJECTS = sizeof objects / sizeof objects[0] };

static json_t *definition(size_t index) {
    json_t *found = objects[index].definition == NULL
                        ? schema
                        : json_object_get(json_object_get(schema, "$defs"), objects[index].definition);
    assert_true(json_is_object(found));
    return found;
}

static struct pil_text problems_of(const char *yaml) {
    struct pil_project *project = NULL;
    struct pil_text problems = {0};
    assert_int_equal(pil_project_parse_yaml(pil_bytes_from_text(yaml), "f", &project, &problems), PIL_STATUS_INVALID);
    return problems;
}

/* The keys that the parser knows: from "(known are a, b, c)" of the problem about the unknown one. */
static json_t *known_to_parser(const struct pil_text *problems) {
    const char *at = strstr(problems->data, "zzzzzzzz; remove it (known are ");
    assert_non_null(at);
    at += strlen("zzzzzzzz; remove it (known are ");
    json_t *keys = json_object();
    while (*at != ')') {
        size_t len = strcspn(at, ",)");
        char key[64];
        snprintf(key, sizeof key, "%.*s", (int)len, at);
        json_object_set_new(keys, key, json_true());
        at += len + (at[len] == ',' ? 2 : 0);
    }
    return keys;
}

static void both_know_the_same_keys(void **state) {
    (void)state;
    for (size_t i = 0; i < OBJECTS; i++) {
        struct pil_text problems = problems_of(objects[i].yaml);
        json_t *known = known_to_parser(&problems), *properties = json_object_get(definition(i), "properties");
        const char *key;
        json_t *value;
        json_object_foreach(known, key, value) {
            if (json_object_get(properties, key) == NULL) {
                fail_msg("the parser knows %s, the schema of %s does not", key, objects[i].definition);
            }
        }
        assert_int_equal(json_object_size(known), json_object_size(properties));
        assert_true(json_is_false(json_object_get(definition(i), "additionalProperties")));
        json_decref(known);
        pil_text_deinit(&problems);
    }
}

static void both_require_the_same_keys(void **state) {
    (void)state;
    for (size_t i = 0; i < OBJECTS; i++) {
        struct pil_text problems = problems_of(objects[i].yaml);
        json_t *required = json_object_get(definition(i), "required"),
               *properties = json_object_get(definition(i), "properties");
        const char *key;
        json_t *value;
        json_object_foreach(properties, key, value) {
            char said[128];
            bool wanted = false;
            for (size_t k = 0; k < json_array_size(required); k++) {
                wanted = wanted || strcmp(json_string_value(json_array_get(required, k)), key) == 0;
            }
            /* The object's own noun, so that a missing key of an outer object does not count. */
            static const char *const nouns[OBJECTS] = {"project file",           "entity",  "feature view",
                                                       "source of feature view", "feature", "feature service"};
            snprintf(said, sizeof said, ": %s: %s is missing", nouns[i], key);
            if ((strstr(problems.data, said) != NULL) != wanted) {
                fail_msg("%s of %s: required is %d in the schema only", key, nouns[i], wanted);
            }
        }
        pil_text_deinit(&problems);
    }
}

/* Each alternative that the schema enumerates is taken by the parser, and nothing near it. */
static void both_know_the_same_types(void **state) {
    (void)state;
    json_t *entity_types =
        json_object_get(json_object_get(json_object_get(definition(1), "properties"), "type"), "enum");
    json_t *kinds = json_object_get(json_object_get(json_object_get(definition(4), "properties"), "type"), "anyOf");
    size_t scalars = json_array_size(json_object_get(json_array_get(kinds, 0), "enum"));
    struct pil_type type;
    assert_int_equal(json_array_size(entity_types), 5);
    assert_int_equal(scalars, 8);
    for (size_t kind = 0; kind < 2; kind++) {
        json_t *names = json_object_get(json_array_get(kinds, kind), "enum");
        assert_int_equal(json_array_size(names), scalars);
        for (size_t i = 0; i < scalars; i++) {
            assert_int_equal(
                pil_type_parse(pil_bytes_from_text(json_string_value(json_array_get(names, i))), &type, NULL),
                PIL_STATUS_OK);
            assert_int_equal(type.shape, kind == 0 ? PIL_SHAPE_SCALAR : PIL_SHAPE_LIST);
        }
    }
    for (size_t i = 0; i < json_array_size(entity_types); i++) {
        char yaml[128];
        snprintf(yaml, sizeof yaml, "project: p\nentities: [{name: a, type: %s}]\nfeature_views: []\n",
                 json_string_value(json_array_get(entity_types, i)));
        struct pil_project *project = NULL;
        struct pil_text problems = {0};
        assert_int_equal(pil_project_parse_yaml(pil_bytes_from_text(yaml), "f", &project, &problems), PIL_STATUS_OK);
        pil_project_destroy(&project);
    }
}

static void both_know_the_same_limits(void **state) {
    (void)state;
    json_t *root = json_object_get(definition(0), "properties"), *view = json_object_get(definition(2), "properties");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(root, "feature_views"), "maxItems")),
                     PIL_VIEWS_MAX);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(root, "feature_services"), "maxItems")),
                     PIL_SERVICES_MAX);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(view, "entities"), "maxItems")),
                     PIL_ENTITIES_MAX);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(view, "features"), "maxItems")),
                     PIL_FEATURES_MAX);
    assert_int_equal(PIL_NAME_BYTES_MAX, 128); /* {0,127} after the first letter in the pattern of names */
}

static int read_schema(void **state) {
    (void)state;
    json_error_t error;
    schema = json_load_file("schemas/project.schema.json", JSON_REJECT_DUPLICATES, &error);
    if (schema == NULL) {
        print_error("schemas/project.schema.json:%d: %s\n", error.line, error.text);
    }
    return schema == NULL;
}

static int drop_schema(void **state) {
    (void)state;
    json_decref(schema);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_know_the_same_keys),
        cmocka_unit_test(both_require_the_same_keys),
        cmocka_unit_test(both_know_the_same_types),
        cmocka_unit_test(both_know_the_same_limits),
    };
    return cmocka_run_group_tests(tests, read_schema, drop_schema);
}
