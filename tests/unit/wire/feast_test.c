/* SPDX-License-Identifier: Apache-2.0
 * Goal: bodies are what Feast 0.67's Python server takes and gives, byte for byte where its client looks. Method:
 * responses and errors as that server sent them, re-typed; every way to get a request wrong; limits at their value and
 * one above. */
#include "wire/feast.h"
#include "unit/wire/collect.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

enum { COLUMN_MAX = 4, VALUE_MAX = 8, FEATURE_MAX = 3, BODY_MAX = 1024 };

/* A parsed body, its memory exactly as long as it is. */
struct fixture {
    uint8_t *body;
    size_t len;
    struct pil_feast_column columns[COLUMN_MAX];
    struct pil_feast_value values[VALUE_MAX];
    struct pil_bytes features[FEATURE_MAX];
    uint8_t scratch[BODY_MAX];
    struct pil_feast_request request;
    struct pil_feast_rejection rejection;
    pil_status status;
};

static void parse_bytes(struct fixture *fixture, const char *body, size_t len) {
    memset(fixture, 0, sizeof *fixture);
    fixture->body = malloc(len > 0 ? len : 1);
    fixture->len = len;
    memcpy(fixture->body, body, len);
    struct pil_feast_buffers buffers = {
        .columns = fixture->columns,
        .values = fixture->values,
        .features = fixture->features,
        .scratch = fixture->scratch,
        .column_max = COLUMN_MAX,
        .value_max = VALUE_MAX,
        .feature_max = FEATURE_MAX,
        .scratch_bytes = len,
    };
    fixture->status =
        pil_feast_parse(pil_bytes_from(fixture->body, len), &buffers, &fixture->request, &fixture->rejection);
}
static void parse(struct fixture *fixture, const char *body) {
    parse_bytes(fixture, body, strlen(body));
}
static void end(struct fixture *fixture) {
    free(fixture->body);
}

static const struct pil_feast_value *value_at(const struct fixture *fixture, uint32_t column, uint32_t row) {
    assert_true(column < fixture->request.column_count);
    assert_true(row < fixture->request.columns[column].value_count);
    return &fixture->request.values[fixture->request.columns[column].value_first + row];
}

static void reads_what_the_feast_client_sends(void **state) {
    (void)state;
    struct fixture f;
    parse(&f,
          "{\"entities\": {\"user_id\": [\"u1\", \"u\\u00e92\"], \"item_id\": [1, -3]}, \"full_feature_names\": false, "
          "\"include_feature_view_version_metadata\": false, \"features\": [\"driver_hourly_stats:conv_rate\", "
          "\"v:b\"]}");
    assert_int_equal(f.status, PIL_STATUS_OK);
    assert_int_equal(f.request.column_count, 2);
    assert_true(pil_bytes_equal_text(f.request.columns[0].name, "user_id"));
    assert_true(pil_bytes_equal_text(f.request.columns[1].name, "item_id"));
    assert_int_equal(value_at(&f, 0, 1)->kind, PIL_FEAST_KIND_STRING);
    assert_true(pil_bytes_equal_text(value_at(&f, 0, 1)->text, "u\xc3\xa9"
                                                               "2"));
    assert_int_equal(value_at(&f, 1, 1)->kind, PIL_FEAST_KIND_INTEGER);
    assert_int_equal(value_at(&f, 1, 1)->integer, -3);
    assert_int_equal(f.request.feature_count, 2);
    assert_true(pil_bytes_equal_text(f.request.features[0], "driver_hourly_stats:conv_rate"));
    assert_true(f.request.has_features);
    assert_int_equal(f.request.feature_service.len, 0);
    assert_false(f.request.full_feature_names);
    end(&f);
    parse(&f, "{\"feature_service\":\"svc\",\"entities\":{},\"full_feature_names\":true,\"include_feature_view_version_"
              "metadata\":1}");
    assert_int_equal(f.status, PIL_STATUS_OK);
    assert_true(pil_bytes_equal_text(f.request.feature_service, "svc"));
    assert_true(f.request.full_feature_names);
    assert_true(f.request.include_view_metadata);
    assert_false(f.request.has_features);
    end(&f);
}

static void every_kind_of_value_is_told_apart(void **state) {
    (void)state;
    struct fixture f;
    parse(&f, "{\"entities\":{\"k\":[null,true,1.002e3,9223372036854775807,9223372036854775808,1.5,\" 1002 "
              "\",[1,{\"a\":2}]]}}");
    assert_int_equal(f.status, PIL_STATUS_OK);
    static const pil_feast_kind kinds[] = {PIL_FEAST_KIND_NULL,    PIL_FEAST_KIND_BOOL,   PIL_FEAST_KIND_INTEGER,
                                           PIL_FEAST_KIND_INTEGER, PIL_FEAST_KIND_NUMBER, PIL_FEAST_KIND_NUMBER,
                                           PIL_FEAST_KIND_STRING,  PIL_FEAST_KIND_NESTED};
    for (uint32_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        assert_int_equal(value_at(&f, 0, i)->kind, kinds[i]);
    }
    assert_int_equal(value_at(&f, 0, 1)->integer, 1);
    assert_int_equal(value_at(&f, 0, 2)->integer, 1002);
    assert_true(pil_bytes_equal_text(value_at(&f, 0, 2)->text, "1.002e3"));
    assert_int_equal(value_at(&f, 0, 3)->integer, INT64_MAX);
    assert_true(pil_bytes_equal_text(value_at(&f, 0, 4)->text, "9223372036854775808"));
    assert_true(pil_bytes_equal_text(value_at(&f, 0, 6)->text, " 1002 "));
    assert_true(pil_bytes_equal_text(value_at(&f, 0, 7)->text, "[1,{\"a\":2}]"));
    end(&f);
}

static void of_equal_members_the_last_counts(void **state) {
    (void)state;
    struct fixture f;
    parse(&f,
          "{\"entities\":{\"a\":[1],\"b\":[2]},\"entities\":{\"driver_id\":[1],\"x\":[5],\"driver_id\":[1002,7]},"
          "\"features\":[\"a:b\",\"c:d\"],\"features\":[\"e:f\"],\"feature_service\":\"s\",\"feature_service\":null,"
          "\"full_feature_names\":true,\"full_feature_names\":false}");
    assert_int_equal(f.status, PIL_STATUS_OK);
    assert_int_equal(f.request.column_count, 2);
    assert_true(pil_bytes_equal_text(f.request.columns[0].name, "driver_id"));
    assert_int_equal(f.request.columns[0].value_count, 2);
    assert_int_equal(value_at(&f, 0, 0)->integer, 1002);
    assert_int_equal(value_at(&f, 1, 0)->integer, 5);
    assert_int_equal(f.request.feature_count, 1);
    assert_true(pil_bytes_equal_text(f.request.features[0], "e:f"));
    assert_int_equal(f.request.feature_service.len, 0);
    assert_false(f.request.full_feature_names);
    end(&f);
    parse(&f, "{\"entities\":[],\"entities\":{\"a\":1,\"a\":[2]},\"features\":null,\"features\":[]}");
    assert_int_equal(f.status, PIL_STATUS_OK);
    end(&f);
}

static void unknown_members_and_a_mark_are_skipped(void **state) {
    (void)state;
    struct fixture f;
    parse(&f, "\xef\xbb\xbf{\"entities\":{\"k\":[1]},\"features\":[\"a:b\"],\"request_context\":{\"q\":[1,\"\\n\"]},"
              "\"x\":1}");
    assert_int_equal(f.status, PIL_STATUS_OK);
    assert_int_equal(f.request.feature_count, 1);
    end(&f);
}

static void flags_take_the_words_that_pydantic_takes(void **state) {
    (void)state;
    static const char *const yes[] = {"true",   "1",       "1.0",   "\"true\"", "\"TRUE\"",
                                      "\"on\"", "\"Yes\"", "\"y\"", "\"t\"",    "\"1\""};
    static const char *const no[] = {"false", "0", "0.0", "\"false\"", "\"off\"", "\"No\"", "\"n\"", "\"F\"", "\"0\""};
    char body[128];
    for (size_t i = 0; i < sizeof yes / sizeof *yes + sizeof no / sizeof *no; i++) {
        bool is_yes = i < sizeof yes / sizeof *yes;
        const char *word = is_yes ? yes[i] : no[i - sizeof yes / sizeof *yes];
        snprintf(body, sizeof body, "{\"entities\":{},\"full_feature_names\":%s}", word);
        struct fixture f;
        parse(&f, body);
        assert_int_equal(f.status, PIL_STATUS_OK);
        assert_int_equal(f.request.full_feature_names, is_yes);
        end(&f);
    }
}

static void expect_rejection(const char *body, size_t len, int http_status, const char *answer) {
    struct fixture f;
    parse_bytes(&f, body, len);
    if (f.status == PIL_STATUS_OK) {
        fail_msg("%s was accepted", body);
    }
    struct collect out;
    collect_init(&out);
    pil_feast_put_rejection(&out.sink, &f.rejection);
    assert_string_equal(collect_text(&out), answer);
    assert_int_equal(f.rejection.http_status, http_status);
    collect_deinit(&out);
    end(&f);
}

static void rejections_are_those_of_feasts_server(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"", "{\"detail\":[{\"type\":\"missing\",\"loc\":[\"body\"],\"msg\":\"Field required\",\"input\":null}]}"},
        {"{\"entities\":",
         "{\"detail\":[{\"type\":\"json_invalid\",\"loc\":[\"body\",12],\"msg\":\"JSON decode error\",\"input\":{},"
         "\"ctx\":{\"error\":\"Expecting value\"}}]}"},
        {"[]", "{\"detail\":[{\"type\":\"model_attributes_type\",\"loc\":[\"body\"],\"msg\":\"Input should be a valid "
               "dictionary or object "
               "to extract fields from\",\"input\":[]}]}"},
        {"null", "{\"detail\":[{\"type\":\"model_attributes_type\",\"loc\":[\"body\"],\"msg\":\"Input should be a "
                 "valid dictionary or object "
                 "to extract fields from\",\"input\":null}]}"},
        {"{\"features\":[\"driver_hourly_stats:conv_rate\"]}",
         "{\"detail\":[{\"type\":\"missing\",\"loc\":[\"body\",\"entities\"],\"msg\":\"Field "
         "required\",\"input\":{\"features\":"
         "[\"driver_hourly_stats:conv_rate\"]}}]}"},
        {"{\"entities\":[],\"features\":[]}",
         "{\"detail\":[{\"type\":\"dict_type\",\"loc\":[\"body\",\"entities\"],\"msg\":\"Input should be a "
         "valid dictionary\",\"input\":[]}]}"},
        {"{\"entities\":{\"driver_id\":1},\"features\":[\"a:b\"]}",
         "{\"detail\":[{\"type\":\"list_type\",\"loc\":[\"body\",\"entities\",\"driver_id\"],\"msg\":\"Input should be "
         "a valid list\","
         "\"input\":1}]}"},
        {"{\"entities\":{\"driver_id\":[1]},\"features\":\"a:b\"}",
         "{\"detail\":[{\"type\":\"list_type\",\"loc\":[\"body\",\"features\"],\"msg\":\"Input should be a valid "
         "list\",\"input\":\"a:b\"}]}"},
        {"{\"entities\":{\"driver_id\":[1]},\"features\":null}",
         "{\"detail\":[{\"type\":\"list_type\",\"loc\":[\"body\",\"features\"],\"msg\":\"Input should be a valid "
         "list\",\"input\":null}]}"},
        {"{\"entities\":{},\"features\":[\"a:b\",1]}",
         "{\"detail\":[{\"type\":\"string_type\",\"loc\":[\"body\",\"features\",1],\"msg\":\"Input "
         "should be a valid string\",\"input\":1}]}"},
        {"{\"entities\":{},\"feature_service\":1}",
         "{\"detail\":[{\"type\":\"string_type\",\"loc\":[\"body\",\"feature_service\"],\"msg\":\"Input "
         "should be a valid string\",\"input\":1}]}"},
        {"{\"entities\":{},\"full_feature_names\":null}",
         "{\"detail\":[{\"type\":\"bool_type\",\"loc\":[\"body\",\"full_feature_names\"],\"msg\":\"Input should be a "
         "valid boolean\","
         "\"input\":null}]}"},
        {"{\"entities\":{},\"full_feature_names\": \"maybe\"}",
         "{\"detail\":[{\"type\":\"bool_parsing\",\"loc\":[\"body\",\"full_feature_names\"],\"msg\":\"Input should be "
         "a valid boolean, unable "
         "to interpret input\",\"input\":\"maybe\"}]}"},
        /* Characters, not bytes, are counted; a mistake in the JSON goes before a wrong member. */
        {"{\"\xc3\xa9\":1,\"entities\":[],x",
         "{\"detail\":[{\"type\":\"json_invalid\",\"loc\":[\"body\",21],\"msg\":\"JSON decode error\","
         "\"input\":{},\"ctx\":{\"error\":\"Expecting property name enclosed in double quotes\"}}]}"},
        {"{\"entities\":{\"k\":[NaN]}}",
         "{\"detail\":[{\"type\":\"json_invalid\",\"loc\":[\"body\",18],\"msg\":\"JSON decode error\","
         "\"input\":{},\"ctx\":{\"error\":\"Expecting value\"}}]}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        expect_rejection(cases[i][0], strlen(cases[i][0]), 422, cases[i][1]);
    }
}

/* Feast's server decodes the text before it reads it: a mistake in the JSON before the bad byte makes no difference. */
static void bytes_that_are_not_utf8_are_refused_wherever_they_are(void **state) {
    (void)state;
    static const char *const bodies[] = {"{\"entities\":{\"driver_id\":[\"\xff\"]}}", "\xff{}", "{\"entities\":{}}\xc3",
                                         "{\"entities\":{},\xed\xa0\x80}", "{\"entities\":,\"a\":\"\x80\"}"};
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        expect_rejection(bodies[i], strlen(bodies[i]), 400, "{\"detail\":\"There was an error parsing the body\"}");
    }
}

/* Taking back one mistake must not take back another. */
static void a_member_that_comes_again_hides_no_other_mistake(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"{\"entities\":{},\"features\":null,\"full_feature_names\":null,\"features\":[]}",
         "{\"detail\":[{\"type\":\"bool_type\",\"loc\":[\"body\",\"full_feature_names\"],\"msg\":\"Input should be a "
         "valid boolean\",\"input\":null}]}"},
        {"{\"entities\":{\"a\":1,\"b\":2,\"a\":[]}}",
         "{\"detail\":[{\"type\":\"list_type\",\"loc\":[\"body\",\"entities\",\"b\"],\"msg\":\"Input should be a valid "
         "list\",\"input\":2}]}"},
        {"{\"entities\":{\"a\":1},\"features\":[2],\"entities\":{\"a\":[1]}}",
         "{\"detail\":[{\"type\":\"string_type\",\"loc\":[\"body\",\"features\",0],\"msg\":\"Input should be a valid "
         "string\",\"input\":2}]}"},
        {"{\"entities\":{\"a\":[]},\"features\":[1,2,3,\"x\",5,6,7,8,9],\"features\":[]}",
         "{\"detail\":[{\"type\":\"string_type\",\"loc\":[\"body\",\"features\",0],\"msg\":\"Input should be a valid "
         "string\",\"input\":1}]}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        expect_rejection(cases[i][0], strlen(cases[i][0]), 422, cases[i][1]);
    }
    struct fixture f;
    parse(&f,
          "{\"entities\":[],\"features\":[1,2,3,4],\"entities\":{\"a\":1,\"b\":2,\"a\":[],\"b\":[]},\"features\":[]}");
    assert_int_equal(f.status, PIL_STATUS_OK);
    end(&f);
}

static void long_inputs_are_not_echoed(void **state) {
    (void)state;
    char body[600];
    int len = snprintf(body, sizeof body, "{\"entities\":\"%0500d\"}", 0);
    expect_rejection(body, (size_t)len, 422,
                     "{\"detail\":[{\"type\":\"dict_type\",\"loc\":[\"body\",\"entities\"],\"msg\":\"Input should be a "
                     "valid dictionary\"}]}");
}

static void allows_each_limit_and_refuses_one_more(void **state) {
    (void)state;
    struct fixture f;
    parse(&f, "{\"entities\":{\"a\":[1,2,3,4,5],\"b\":[1,2,3],\"c\":[],\"d\":[]},\"features\":[\"a\",\"b\",\"c\"]}");
    assert_int_equal(f.status, PIL_STATUS_OK);
    end(&f);
    static const char *const cases[][2] = {
        {"{\"entities\":{\"a\":[],\"b\":[],\"c\":[],\"d\":[],\"e\":[]}}",
         "{\"detail\":\"too many lists in entities: at most 4 are possible in one request\"}"},
        {"{\"entities\":{},\"features\":[\"a\",\"b\",\"c\",\"d\"]}",
         "{\"detail\":\"too many features: at most 3 are possible in one request\"}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        expect_rejection(cases[i][0], strlen(cases[i][0]), 413, cases[i][1]);
    }
}

static void values_over_the_limit_are_counted(void **state) {
    (void)state;
    struct fixture f;
    parse(&f, "{\"entities\":{\"a\":[1,2,3,4,5,6],\"b\":[7,8,9]}}");
    assert_int_equal(f.status, PIL_STATUS_OK);
    assert_true(f.request.is_cut);
    assert_int_equal(f.request.columns[0].value_count, 6);
    assert_int_equal(f.request.columns[1].value_count, 3);
    assert_int_equal(f.request.values[VALUE_MAX - 1].integer, 8);
    end(&f);
    parse(&f, "{\"entities\":{\"a\":[1,2,3,4,5,6,7,8,9]},\"entities\":{\"a\":[1,2,3,4,5,6,7,8]}}");
    assert_false(f.request.is_cut); /* the last one counts */
    end(&f);
}

/* As the server builds them for keys that the schema refuses. */
static void every_part_of_a_place_is_named(void **state) {
    (void)state;
    const struct pil_feast_rejection rejection = {.http_status = 422,
                                                  .type = "join_key_type",
                                                  .message = "must be int64",
                                                  .member = "entities",
                                                  .field = pil_bytes_from_text("driver\"id"),
                                                  .index = 3,
                                                  .input = pil_bytes_from_text("1.5")};
    struct collect out;
    collect_init(&out);
    pil_feast_put_rejection(&out.sink, &rejection);
    assert_string_equal(collect_text(&out), "{\"detail\":[{\"type\":\"join_key_type\",\"loc\":[\"body\",\"entities\","
                                            "\"driver\\\"id\",3],\"msg\":\"must be int64\",\"input\":1.5}]}");
    collect_deinit(&out);
}

static void expect_error(pil_feast_error error, const char *first, const char *second, const char *answer) {
    struct collect out;
    collect_init(&out);
    pil_feast_put_error(&out.sink, error, pil_bytes_from_text(first), pil_bytes_from_text(second));
    assert_string_equal(collect_text(&out), answer);
    collect_deinit(&out);
}

static void errors_are_json_in_a_json_string(void **state) {
    (void)state;
    expect_error(PIL_FEAST_ERROR_VIEW_UNKNOWN, "nope", "drv",
                 "\"{\\\"module\\\": \\\"feast.errors\\\", \\\"class\\\": \\\"FeatureViewNotFoundException\\\", "
                 "\\\"message\\\": \\\"Feature "
                 "view nope does not exist in project drv\\\"}\"");
    expect_error(PIL_FEAST_ERROR_SERVICE_UNKNOWN, "nope", "drv",
                 "\"{\\\"module\\\": \\\"feast.errors\\\", \\\"class\\\": \\\"FeatureServiceNotFoundException\\\", "
                 "\\\"message\\\": "
                 "\\\"Feature service nope does not exist in project drv\\\"}\"");
    expect_error(
        PIL_FEAST_ERROR_NAME_COLLISION, "conv_rate", "",
        "\"{\\\"module\\\": \\\"feast.errors\\\", \\\"class\\\": \\\"FeatureNameCollisionError\\\", \\\"message\\\": "
        "\\\"Duplicate "
        "features named conv_rate found.\\\\nTo resolve this collision, either use the full feature name by setting "
        "'full_feature_names=True', or ensure that the features in question have different names.\\\"}\"");
    expect_error(PIL_FEAST_ERROR_FEATURE_UNKNOWN, "nope", "driver_hourly_stats",
                 "\"'Feature nope not found in projection driver_hourly_stats'\"");
    expect_error(PIL_FEAST_ERROR_REFERENCE_INVALID, "conv_rate", "",
                 "\"Invalid feature reference 'conv_rate'. Expected format: '<feature_view>:<feature>' or "
                 "'<feature_view>@<version>:<feature>'\"");
    expect_error(PIL_FEAST_ERROR_COLUMNS_UNEQUAL, "", "", "\"All entity rows must have the same columns.\"");
    expect_error(PIL_FEAST_ERROR_FEATURES_MISSING, "", "", "\"No features specified for retrieval\"");
    expect_error(PIL_FEAST_ERROR_VIEW_UNKNOWN, "a\"\n", "\xff%1",
                 "\"{\\\"module\\\": \\\"feast.errors\\\", \\\"class\\\": \\\"FeatureViewNotFoundException\\\", "
                 "\\\"message\\\": \\\"Feature "
                 "view a\\\\\\\"\\\\n does not exist in project \xef\xbf\xbd%1\\\"}\"");
    assert_int_equal(pil_feast_error_http_status(PIL_FEAST_ERROR_VIEW_UNKNOWN), 404);
    assert_int_equal(pil_feast_error_http_status(PIL_FEAST_ERROR_FEATURE_UNKNOWN), 400);
}

static void errors_fit_whatever_their_arguments(void **state) {
    (void)state;
    char hostile[PIL_FEAST_ARGUMENT_BYTES + 100];
    memset(hostile, 1, sizeof hostile);
    for (int error = 0; error < PIL_FEAST_ERROR_COUNT; error++) {
        struct collect out;
        collect_init(&out);
        struct pil_bytes argument = pil_bytes_from(hostile, sizeof hostile);
        pil_feast_put_error(&out.sink, (pil_feast_error)error, argument, argument);
        const char *text = collect_text(&out);
        assert_true(text[0] == '"' && text[out.len - 1] == '"');
        int status = pil_feast_error_http_status((pil_feast_error)error);
        assert_true(status != 500 && status != 429); /* the client would retry and lose the message */
        collect_deinit(&out);
    }
}

static void put_int_column(struct pil_feast_encoder *encoder, int64_t value, int64_t event_us) {
    pil_feast_put_column(encoder);
    pil_feast_put_value(encoder, (struct pil_type){.scalar = PIL_SCALAR_INT64}, pil_bytes_from(&value, sizeof value));
    pil_feast_put_statuses(encoder);
    pil_feast_put_status(encoder, PIL_VALUE_PRESENT);
    pil_feast_put_timestamps(encoder);
    pil_feast_put_timestamp(encoder, event_us);
}

static void responses_are_those_of_feasts_server(void **state) {
    (void)state;
    struct collect out;
    collect_init(&out);
    struct pil_feast_encoder encoder = {.sink = &out.sink};
    const float rate = 0.023668857f;
    pil_feast_put_begin(&encoder);
    put_int_column(&encoder, 1002, 0);
    pil_feast_put_column(&encoder);
    pil_feast_put_value(&encoder, (struct pil_type){.scalar = PIL_SCALAR_FLOAT32}, pil_bytes_from(&rate, sizeof rate));
    pil_feast_put_statuses(&encoder);
    pil_feast_put_status(&encoder, PIL_VALUE_PRESENT);
    pil_feast_put_timestamps(&encoder);
    pil_feast_put_timestamp(&encoder, 1795222800000000);
    pil_feast_put_names(&encoder);
    pil_feast_put_name(&encoder, pil_bytes_from_text("driver_id"));
    pil_feast_put_name(&encoder, pil_bytes_from_text("driver_hourly_stats__conv_rate"));
    pil_feast_put_views(&encoder);
    pil_feast_put_view(&encoder, pil_bytes_from_text("driver_hourly_stats"));
    pil_feast_put_end(&encoder);
    assert_string_equal(
        collect_text(&out),
        "{\"results\":[{\"values\":[1002],\"statuses\":[\"PRESENT\"],\"event_timestamps\":[\"1970-01-01T00:00:00Z\"]},"
        "{\"values\":[0.023668857291340828],\"statuses\":[\"PRESENT\"],\"event_timestamps\":[\"2026-11-21T01:00:00Z\"]}"
        "],"
        "\"metadata\":{\"feature_names\":[\"driver_id\",\"driver_hourly_stats__conv_rate\"],"
        "\"feature_view_metadata\":[{\"name\":\"driver_hourly_stats\"}]}}");
    collect_deinit(&out);
}

static void rows_are_separated_and_statuses_named(void **state) {
    (void)state;
    struct collect out;
    collect_init(&out);
    struct pil_feast_encoder encoder = {.sink = &out.sink};
    const bool yes = true;
    pil_feast_put_begin(&encoder);
    pil_feast_put_column(&encoder);
    pil_feast_put_value(&encoder, (struct pil_type){.scalar = PIL_SCALAR_BOOL}, pil_bytes_from(&yes, 1));
    pil_feast_put_null(&encoder);
    pil_feast_put_null(&encoder);
    pil_feast_put_statuses(&encoder);
    for (int status = PIL_VALUE_PRESENT; status < PIL_VALUE_STATUS_COUNT; status++) {
        pil_feast_put_status(&encoder, (pil_value_status)status);
    }
    pil_feast_put_timestamps(&encoder);
    pil_feast_put_names(&encoder);
    pil_feast_put_end(&encoder);
    assert_string_equal(collect_text(&out),
                        "{\"results\":[{\"values\":[true,null,null],\"statuses\":[\"PRESENT\",\"NULL_VALUE\",\"NOT_"
                        "FOUND\",\"OUTSIDE_MAX_AGE\",\"DENIED\"],"
                        "\"event_timestamps\":[]}],\"metadata\":{\"feature_names\":[]}}");
    collect_deinit(&out);
    collect_init(&out);
    encoder = (struct pil_feast_encoder){.sink = &out.sink};
    pil_feast_put_begin(&encoder);
    pil_feast_put_names(&encoder);
    pil_feast_put_end(&encoder);
    assert_string_equal(collect_text(&out), "{\"results\":[],\"metadata\":{\"feature_names\":[]}}");
    collect_deinit(&out);
}

/* The encoder keeps the day of the last time; pil_clock_format_us, which keeps nothing, is the reference. */
static void times_do_not_depend_on_those_before(void **state) {
    (void)state;
    const int64_t day = INT64_C(86400000000), now = 1795222800000000;
    const int64_t times[] = {0,
                             now,
                             now,
                             now + 1,
                             now + 120000,
                             now + 999999,
                             now - 3600000000 - 1,
                             now + day - 3600000000 - 1,
                             now + 23 * INT64_C(3600000000),
                             0,
                             -1,
                             -day,
                             now,
                             INT64_MAX,
                             253402300799999999,
                             253402300800000000,
                             now,
                             INT64_MIN,
                             1,
                             day - 1,
                             day,
                             -1,
                             0,
                             1000};
    enum { COUNT = sizeof times / sizeof *times };
    for (size_t first = 0; first < COUNT; first++) {
        for (size_t second = 0; second < COUNT; second++) {
            struct collect out;
            char expected[2 * PIL_CLOCK_TEXT_BYTES + 8], a[PIL_CLOCK_TEXT_BYTES] = "", b[PIL_CLOCK_TEXT_BYTES] = "";
            a[pil_clock_format_us(times[first], a)] = '\0';
            b[pil_clock_format_us(times[second], b)] = '\0';
            snprintf(expected, sizeof expected, "\"%s\",\"%s\"", a, b);
            collect_init(&out);
            struct pil_feast_encoder encoder = {.sink = &out.sink};
            pil_feast_put_timestamp(&encoder, times[first]);
            pil_feast_put_timestamp(&encoder, times[second]);
            assert_string_equal(collect_text(&out), expected);
            collect_deinit(&out);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_the_feast_client_sends),
        cmocka_unit_test(every_kind_of_value_is_told_apart),
        cmocka_unit_test(of_equal_members_the_last_counts),
        cmocka_unit_test(unknown_members_and_a_mark_are_skipped),
        cmocka_unit_test(flags_take_the_words_that_pydantic_takes),
        cmocka_unit_test(rejections_are_those_of_feasts_server),
        cmocka_unit_test(bytes_that_are_not_utf8_are_refused_wherever_they_are),
        cmocka_unit_test(a_member_that_comes_again_hides_no_other_mistake),
        cmocka_unit_test(long_inputs_are_not_echoed),
        cmocka_unit_test(allows_each_limit_and_refuses_one_more),
        cmocka_unit_test(values_over_the_limit_are_counted),
        cmocka_unit_test(every_part_of_a_place_is_named),
        cmocka_unit_test(errors_are_json_in_a_json_string),
        cmocka_unit_test(errors_fit_whatever_their_arguments),
        cmocka_unit_test(responses_are_those_of_feasts_server),
        cmocka_unit_test(rows_are_separated_and_statuses_named),
        cmocka_unit_test(times_do_not_depend_on_those_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
