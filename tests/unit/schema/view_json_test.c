/* SPDX-License-Identifier: Apache-2.0
 * Goal: the JSON of a view is canonical and gives the same view back; anything else is refused with a sentence.
 * Method: one rich view, its exact bytes; then each member of it removed, replaced or cut short. */
#include "schema/view_json.h"
#include "schema/view_read.h"
#include "unit/schema/sample.h"

static struct pil_view *rich(void) {
    struct pil_view *raw =
        sample_view_raw(SAMPLE_LIST("int64", "string"), SAMPLE_LIST("int32", "vector<float16,2>", "list<string>",
                                                                    "bytes", "float64", "bool", "unix_timestamp"));
    raw->ttl_us = 7 * INT64_C(86400000000);
    sample_default(&raw->features[0], "-5");
    sample_default(&raw->features[1], "[1, -5e-1]"); /* floats, whole or not, are written as reals */
    sample_default(&raw->features[2], "[\"\", \"\\u00fc\"]");
    sample_default(&raw->features[3], "\"AAH/\"");
    sample_default(&raw->features[5], "true");
    free(raw->features[4].description);
    raw->features[4].description = strdup("how \"far\"");
    raw->features[4].tags = calloc(2, sizeof(char *));
    raw->features[4].tags[raw->features[4].tag_count++] = strdup("pii");
    raw->features[4].tags[raw->features[4].tag_count++] = strdup("eu");
    assert_int_equal(pil_view_layout(raw, NULL), PIL_STATUS_OK);
    struct pil_view *view = pil_view_clone(raw);
    pil_view_destroy(&raw);
    return view;
}

static char *canonical(const struct pil_view *view) {
    json_t *json = pil_view_to_json(view);
    char *text = json_dumps(json, JSON_SORT_KEYS | JSON_COMPACT);
    json_decref(json);
    return text;
}

static void bytes_are_as_specified(void **state) {
    (void)state;
    struct pil_view *view = rich();
    char *text = canonical(view);
    assert_string_equal(
        text,
        "{\"entities\":[{\"join_key\":\"k0\",\"name\":\"e0\",\"type\":\"int64\"},{\"join_key\":\"k1\",\"name\":\"e1\","
        "\"type\":\"string\"}],"
        "\"features\":[{\"default\":-5,\"name\":\"f0\",\"null_bit\":0,\"offset\":80,\"type\":\"int32\"},"
        "{\"default\":[1.0,-0.5],\"name\":\"f1\",\"null_bit\":1,\"offset\":84,\"type\":\"vector<float16,2>\"},"
        "{\"default\":[\"\",\"ü\"],\"name\":\"f2\",\"null_bit\":2,\"offset\":32,\"type\":\"list<string>\"},"
        "{\"default\":\"AAH/\",\"name\":\"f3\",\"null_bit\":3,\"offset\":48,\"type\":\"bytes\"},"
        "{\"description\":\"how "
        "\\\"far\\\"\",\"name\":\"f4\",\"null_bit\":4,\"offset\":64,\"tags\":[\"pii\",\"eu\"],\"type\":\"float64\"},"
        "{\"default\":true,\"name\":\"f5\",\"null_bit\":5,\"offset\":88,\"type\":\"bool\"},"
        "{\"name\":\"f6\",\"null_bit\":6,\"offset\":72,\"type\":\"unix_timestamp\"}],"
        "\"layout\":{\"event_ts_offset\":16,\"key_bytes\":16,\"key_fixed\":false,\"null_bytes\":1,\"null_offset\":24,"
        "\"stride\":96},"
        "\"name\":\"v\",\"project\":\"p\",\"ttl_us\":604800000000}");
    free(text);
    pil_view_destroy(&view);
}

static void gives_the_same_view_back(void **state) {
    (void)state;
    struct pil_view *view = rich(), *back = NULL;
    struct pil_error error = {{0}};
    char *text = canonical(view);
    assert_int_equal(pil_view_from_json_bytes(pil_bytes_from_text(text), &back, &error), PIL_STATUS_OK);
    char *again = canonical(back);
    assert_string_equal(again, text);
    assert_memory_equal(&back->layout, &view->layout, sizeof view->layout);
    assert_int_equal(pil_view_feature_find(back, pil_bytes_from_text("f6")), 6);
    assert_string_equal(back->features[0].description, "");
    free(text);
    free(again);
    pil_view_destroy(&view);
    pil_view_destroy(&back);
}

static void views_without_entities_come_back(void **state) {
    (void)state;
    struct pil_view *view = sample_view(SAMPLE_LIST(), SAMPLE_LIST("int32")), *back = NULL;
    char *text = canonical(view);
    assert_non_null(strstr(text, "{\"entities\":[],"));
    assert_int_equal(pil_view_from_json_bytes(pil_bytes_from_text(text), &back, NULL), PIL_STATUS_OK);
    assert_int_equal(back->entity_count, 0);
    assert_memory_equal(&back->layout, &view->layout, sizeof view->layout);
    free(text);
    pil_view_destroy(&view);
    pil_view_destroy(&back);
}

static void static_views_come_back_static(void **state) {
    (void)state;
    struct pil_view *view = rich(), *back = NULL;
    view->ttl_us = 0;
    view->is_static = true;
    char *text = canonical(view);
    assert_non_null(strstr(text, "\"project\":\"p\",\"static\":true,\"ttl_us\":0}"));
    assert_int_equal(pil_view_from_json_bytes(pil_bytes_from_text(text), &back, NULL), PIL_STATUS_OK);
    assert_true(back->is_static);
    free(text);
    pil_view_destroy(&view);
    pil_view_destroy(&back);
}

/* What jansson takes for no number is one all the same: it must not meet it when the view is written again. */
static void floats_come_back_however_they_are_written(void **state) {
    (void)state;
    static const struct {
        const char *type, *given, *canonical;
    } table[] = {
        {"float64", "99999999999999999999", "1e20"},
        {"float32", "-99999999999999999999", "-1e20"},
        {"float64", "-0", "-0.0"},
        {"float64", "1e-999", "0.0"},
        {"vector<float32,2>", "[99999999999999999999,1]", "[1e20,1.0]"},
        {"list<float64>", "[99999999999999999999]", "[1e20]"},
        {"list<float32>", "[]", "[]"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct pil_view *raw = sample_view_raw(SAMPLE_LIST("int64"), SAMPLE_LIST(table[i].type)), *back = NULL;
        char want[128], had[128];
        assert_int_equal(pil_view_layout(raw, NULL), PIL_STATUS_OK);
        char *bare = canonical(raw), *at = strstr(bare, "{\"name\":\"f0\"");
        assert_non_null(at);
        snprintf(had, sizeof had, "{\"default\":%s,", table[i].given);
        snprintf(want, sizeof want, "{\"default\":%s,", table[i].canonical);
        size_t room = strlen(bare) + sizeof had;
        char *given = malloc(room);
        snprintf(given, room, "%.*s%s%s", (int)(at - bare), bare, had, at + 1);
        assert_int_equal(pil_view_from_json_bytes(pil_bytes_from_text(given), &back, NULL), PIL_STATUS_OK);
        char *again = canonical(back);
        assert_non_null(strstr(again, want));
        free(bare);
        free(given);
        free(again);
        pil_view_destroy(&raw);
        pil_view_destroy(&back);
    }
}

static void reads_4096_features(void **state) {
    (void)state;
    const char *names[PIL_FEATURES_MAX + 1] = {NULL};
    for (uint32_t i = 0; i < PIL_FEATURES_MAX; i++) {
        names[i] = i % 3 == 0 ? "int64" : i % 3 == 1 ? "float32" : "bool";
    }
    struct pil_view *view = sample_view(SAMPLE_LIST("int64"), names), *back = NULL;
    char *text = canonical(view);
    assert_int_equal(pil_view_from_json_bytes(pil_bytes_from_text(text), &back, NULL), PIL_STATUS_OK);
    assert_int_equal(back->feature_count, PIL_FEATURES_MAX);
    assert_int_equal(pil_view_feature_find(back, pil_bytes_from_text("f4095")), 4095);
    free(text);
    pil_view_destroy(&view);
    pil_view_destroy(&back);
}

/* The rich view with the text `from` replaced by `to` (once; it must be there). */
static void refuse_changed(const char *from, const char *to, pil_status want, const char *said) {
    struct pil_view *view = rich(), *back = NULL;
    struct pil_error error = {{0}};
    char *text = canonical(view);
    char *at = strstr(text, from);
    assert_non_null(at);
    size_t room = strlen(text) + strlen(to) + 1;
    char *changed = malloc(room);
    snprintf(changed, room, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    assert_int_equal(pil_view_from_json_bytes(pil_bytes_from_text(changed), &back, &error), want);
    assert_null(back);
    if (strstr(error.text, said) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", error.text, said);
    }
    free(changed);
    free(text);
    pil_view_destroy(&view);
}

static void refuses_what_is_not_the_form(void **state) {
    (void)state;
    static const struct {
        const char *from, *to, *said;
    } table[] = {
        {"\"name\":\"v\"", "\"name\":7", "\"name\""},
        {"\"name\":\"v\"", "\"name\":\"a b\"", "not a valid name"},
        {"\"name\":\"v\"", "\"name\":\"a/../b\"", "not a valid name"},
        {"\"name\":\"v\"", "\"name\":\"v\\u0000\"", "\"name\""},
        {"\"name\":\"v\",", "", "\"name\""},
        {"\"project\":\"p\"", "\"project\":\"\"", "\"project\""},
        {"604800000000", "-1", "\"ttl_us\""},
        {"604800000000", "1.5", "\"ttl_us\""},
        {"604800000000", "99999999999999999999", "\"ttl_us\""},
        {"604800000000}", "604800000000,\"static\":true}", "it is static and has a \"ttl_us\""},
        {"604800000000}", "604800000000,\"static\":1}", "\"static\""},
        {"604800000000}", "604800000000,\"static\":\"true\"}", "\"static\""},
        {"604800000000}", "604800000000,\"name\":\"w\"}", "duplicate"},
        {"\"layout\":{", "\"layout\":{},\"layout\":{", "view: duplicate member \"layout\""},
        {"\"stride\":96", "\"stride\":96,\"stride\":96", "layout: duplicate member \"stride\""},
        {"\"offset\":84", "\"offset\":84,\"offset\":84", "feature 2: duplicate member \"offset\""},
        {"\"k1\"", "\"k1\",\"\\u006aoin_key\":\"k1\"", "entity 2: duplicate member \"join_key\""},
        {"\"type\":\"int64\"", "\"type\":\"float32\"", "not one of keys"},
        {"\"type\":\"int64\"", "\"type\":\"list<int64>\"", "not one of keys"},
        {"\"type\":\"string\"", "\"type\":\"int32\"", "layout"},
        {"\"k1\"", "\"k0\"", "stands twice"},
        {"\"f1\"", "\"f0\"", "stands twice"},
        {"\"vector<float16,2>\"", "\"vector<float16,3>\"", "list of 3"},
        {"\"vector<float16,2>\"", "\"vector<float16>\"", "there is no such type"},
        {"\"vector<float16,2>\"", "\"vector<half,2>\"", "write vector<float16,2>"},
        {"[1.0,-0.5]", "[1.0,65505]", "element 2"},
        {"[1.0,-0.5]", "[1.0,null]", "element 2"},
        {"-5", "2147483648", "\"default\""},
        {"-5", "5.0", "\"default\""},
        {"-5", "null", "\"default\""},
        {"AAH/", "AAH", "base64"},
        {"\"default\":true", "\"default\":1", "true or false"},
        {"[\"pii\",\"eu\"]", "[\"pii\",1]", "tag"},
        {"[\"pii\",\"eu\"]", "{}", "\"tags\""},
        {"\"description\":\"how", "\"description\":[],\"x\":\"how", "\"description\""},
        {"\"offset\":84", "\"offset\":85", "feature f1"},
        {"\"offset\":84", "\"offset\":84.0", "feature f1"},
        {"\"offset\":84,", "", "feature f1"},
        {"\"null_bit\":1", "\"null_bit\":2", "feature f1"},
        {"\"stride\":96", "\"stride\":104", "\"stride\""},
        {"\"key_fixed\":false", "\"key_fixed\":true", "\"key_fixed\""},
        {"\"layout\":{", "\"layout\":[],\"more\":{", "layout"},
        {"\"entities\":[", "\"more\":[", "\"entities\" is missing"},
        {"\"entities\":[", "\"entities\":[3,", "entity 1"},
        {"\"features\":[", "\"features\":[[],", "feature 1"},
        {"\"features\":[", "\"features\":{},\"more\":[", "\"features\""},
        {"ü", "\xff", "Invalid UTF-8"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        refuse_changed(table[i].from, table[i].to, PIL_STATUS_CORRUPT, table[i].said);
    }
}

static void refuses_counts_over_the_limits(void **state) {
    (void)state;
    refuse_changed("\"entities\":[", "\"entities\":[0,0,0,0,0,0,0,", PIL_STATUS_TOO_LARGE, "limit is 8");
    size_t room = 32 + 4 * (PIL_FEATURES_MAX + 1);
    char *many = calloc(room, 1);
    memcpy(many, "\"features\":[", 12);
    for (size_t i = 0; i < PIL_FEATURES_MAX; i++) {
        memcpy(many + 12 + 2 * i, "0,", 2);
    }
    refuse_changed("\"features\":[", many, PIL_STATUS_TOO_LARGE, "limit is 4096");
    free(many);
    struct pil_view *view = NULL;
    struct pil_error error;
    assert_int_equal(pil_view_from_json_bytes(pil_bytes_from("", (size_t)65 << 20), &view, &error),
                     PIL_STATUS_TOO_LARGE);
}

static void ignores_members_of_later_versions(void **state) {
    (void)state;
    struct pil_view *view = rich(), *back = NULL;
    json_t *json = pil_view_to_json(view);
    json_object_set_new(json, "later", json_true());
    json_object_set_new(json_array_get(json_object_get(json, "features"), 0), "later", json_true());
    char *text = json_dumps(json, JSON_COMPACT);
    assert_int_equal(pil_view_from_json_bytes(pil_bytes_from_text(text), &back, NULL), PIL_STATUS_OK);
    free(text);
    json_decref(json);
    pil_view_destroy(&view);
    pil_view_destroy(&back);
}

static void refuses_every_cut(void **state) {
    (void)state;
    struct pil_view *view = rich(), *back = NULL;
    char *text = canonical(view);
    for (size_t len = 0; len < strlen(text); len++) {
        char *exact = malloc(len > 0 ? len : 1);
        memcpy(exact, text, len);
        struct pil_error error;
        assert_int_equal(pil_view_from_json_bytes(pil_bytes_from(exact, len), &back, &error), PIL_STATUS_CORRUPT);
        free(exact);
    }
    free(text);
    static const char *const others[] = {"", "7", "[]", "null", "{}", "\"x\""};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        assert_int_equal(pil_view_from_json_bytes(pil_bytes_from_text(others[i]), &back, NULL), PIL_STATUS_CORRUPT);
    }
    size_t deep = 100000;
    char *brackets = malloc(deep);
    memset(brackets, '[', deep);
    assert_int_equal(pil_view_from_json_bytes(pil_bytes_from(brackets, deep), &back, NULL), PIL_STATUS_CORRUPT);
    free(brackets);
    pil_view_destroy(&view);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_are_as_specified),
        cmocka_unit_test(gives_the_same_view_back),
        cmocka_unit_test(static_views_come_back_static),
        cmocka_unit_test(views_without_entities_come_back),
        cmocka_unit_test(floats_come_back_however_they_are_written),
        cmocka_unit_test(reads_4096_features),
        cmocka_unit_test(refuses_what_is_not_the_form),
        cmocka_unit_test(refuses_counts_over_the_limits),
        cmocka_unit_test(ignores_members_of_later_versions),
        cmocka_unit_test(refuses_every_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
