/* SPDX-License-Identifier: Apache-2.0
 * Goal: requests are what tritonclient 2.73 and kserve 0.21 send and answers are what they read; every other request is
 * refused with a sentence. Method: requests and answers as those clients wrote and read them, re-typed; a request cut
 * at every byte; every way to get one wrong; limits at their value and one above. */
#include "wire/oip_reply.h"
#include "unit/wire/collect.h"
#include "wire/http.h"
#include "base/text.h"
#include "base/json.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

enum { INPUT_MAX = 3, OUTPUT_MAX = 2, VALUE_MAX = 8, BODY_MAX = 100000 };

/* A parsed request, its memory exactly as long as it is. */
struct fixture {
    uint8_t *json, *binary;
    struct pil_oip_input inputs[INPUT_MAX];
    struct pil_oip_output outputs[OUTPUT_MAX];
    struct pil_key_part values[VALUE_MAX];
    uint8_t scratch[BODY_MAX];
    struct pil_oip_request request;
    struct pil_error error;
    pil_status status;
};

static uint8_t *copy(const void *data, size_t len) {
    uint8_t *memory = malloc(len > 0 ? len : 1);
    if (len > 0) {
        memcpy(memory, data, len);
    }
    return memory;
}

static void parse(struct fixture *fixture, struct pil_bytes json, struct pil_bytes binary) {
    memset(fixture, 0, sizeof *fixture);
    fixture->json = copy(json.data, json.len);
    fixture->binary = copy(binary.data, binary.len);
    struct pil_oip_buffers buffers = {
        .inputs = fixture->inputs,
        .outputs = fixture->outputs,
        .values = fixture->values,
        .scratch = fixture->scratch,
        .input_max = INPUT_MAX,
        .output_max = OUTPUT_MAX,
        .value_max = VALUE_MAX,
        .scratch_bytes = json.len,
    };
    fixture->status =
        pil_oip_parse(pil_bytes_from(fixture->json, json.len), pil_bytes_from(fixture->binary, binary.len), &buffers,
                      &fixture->request, &fixture->error);
}

static void end(struct fixture *fixture) {
    free(fixture->json);
    free(fixture->binary);
}

static void parse_text(struct fixture *fixture, const char *json) {
    parse(fixture, pil_bytes_from_text(json), (struct pil_bytes){0});
}

static const struct pil_key_part *value_at(const struct fixture *fixture, uint32_t input, uint32_t row) {
    assert_true(input < fixture->request.input_count && row < fixture->request.row_count);
    return &fixture->values[fixture->request.inputs[input].value_first + row];
}

static void assert_integer(const struct fixture *fixture, uint32_t input, uint32_t row, int64_t value) {
    assert_int_equal(value_at(fixture, input, row)->kind, PIL_KEY_PART_INT);
    assert_int_equal(value_at(fixture, input, row)->integer, value);
}

static void assert_text(const struct fixture *fixture, uint32_t input, uint32_t row, const char *value) {
    assert_int_equal(value_at(fixture, input, row)->kind, PIL_KEY_PART_TEXT);
    assert_true(pil_bytes_equal_text(value_at(fixture, input, row)->text, value));
}

/* ---- Requests. */

static void reads_json_as_tritonclient_sends_it(void **state) {
    (void)state;
    struct fixture f;
    parse_text(
        &f, "{\"id\":\"r-1\",\"inputs\":[{\"name\":\"driver_id\",\"shape\":[2],\"datatype\":\"INT64\",\"data\":"
            "[1001,-5]},{\"name\":\"region\",\"shape\":[2,1],\"datatype\":\"BYTES\",\"data\":[\"n\\u00f6rd\",\"\"]}],"
            "\"outputs\":[{\"name\":\"features\",\"parameters\":{\"binary_data\":true}},{\"name\":\"statuses\"}]}");
    assert_int_equal(f.status, PIL_STATUS_OK);
    assert_true(pil_bytes_equal_text(f.request.id, "r-1"));
    assert_int_equal(f.request.row_count, 2);
    assert_int_equal(f.request.input_count, 2);
    assert_true(pil_bytes_equal_text(f.request.inputs[0].name, "driver_id"));
    assert_int_equal(f.request.inputs[1].datatype, PIL_OIP_BYTES);
    assert_integer(&f, 0, 0, 1001);
    assert_integer(&f, 0, 1, -5);
    assert_text(&f, 1, 0, "n\xc3\xb6rd");
    assert_text(&f, 1, 1, "");
    assert_true(f.request.has_outputs);
    assert_int_equal(f.request.output_count, 2);
    assert_true(f.request.outputs[0].is_binary);
    assert_false(f.request.outputs[1].is_binary);
    assert_int_equal(f.request.datatype, PIL_OIP_FP32);
    end(&f);
}

static void reads_binary_as_tritonclient_sends_it(void **state) {
    (void)state;
    static const char json[] =
        "{\"inputs\":[{\"name\":\"a\",\"shape\":[2],\"datatype\":\"INT32\",\"parameters\":{\"binary_data_size\":8}},"
        "{\"name\":\"b\",\"shape\":[2],\"datatype\":\"BYTES\",\"parameters\":{\"binary_data_size\":12}}],"
        "\"parameters\":{\"binary_data_output\":true}}";
    static const uint8_t binary[] = {0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 3, 0, 0, 0, 'x', 0, 'z', 1, 0, 0, 0, 'q'};
    struct fixture f;
    parse(&f, pil_bytes_from_text(json), pil_bytes_from(binary, sizeof binary));
    assert_int_equal(f.status, PIL_STATUS_OK);
    assert_integer(&f, 0, 0, -1);
    assert_integer(&f, 0, 1, 2);
    assert_true(pil_bytes_equal(value_at(&f, 1, 0)->text, pil_bytes_from("x\0z", 3)));
    assert_text(&f, 1, 1, "q");
    assert_false(f.request.has_outputs);
    assert_true(f.request.has_binary_output);
    end(&f);
}

static void reads_kserve_requests_and_parameters(void **state) {
    (void)state;
    struct fixture f;
    parse_text(&f,
               "{\"id\":\"0b\",\"model_name\":\"eta\",\"inputs\":[{\"name\":\"a\",\"data\":[[7],[8.0]],\"shape\":[2,1],"
               "\"datatype\":\"INT64\",\"parameters\":{}}],\"outputs\":[],\"parameters\":{\"datatype\":\"FP64\","
               "\"use_defaults\":true,\"max_age_us\":5,\"binary_data_output\":false,\"sequence_id\":3}}");
    assert_int_equal(f.status, PIL_STATUS_OK);
    assert_integer(&f, 0, 0, 7);
    assert_integer(&f, 0, 1, 8);
    assert_int_equal(f.request.datatype, PIL_OIP_FP64);
    assert_true(f.request.use_defaults);
    assert_int_equal(f.request.max_age_us, 5);
    assert_false(f.request.has_outputs);
    end(&f);
}

static void reads_every_integer_type_from_binary(void **state) {
    (void)state;
    static const struct {
        const char *datatype;
        uint8_t bytes;
        int64_t value;
    } types[] = {{"UINT8", 1, 255}, {"UINT16", 2, 65535}, {"UINT32", 4, UINT32_MAX}, {"UINT64", 8, INT64_MAX},
                 {"INT8", 1, -128}, {"INT16", 2, -32768}, {"INT32", 4, INT32_MIN},   {"INT64", 8, INT64_MIN}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        struct fixture f;
        char json[256];
        snprintf(json, sizeof json,
                 "{\"inputs\":[{\"name\":\"a\",\"shape\":[1],\"datatype\":\"%s\",\"parameters\":{\"binary_data_size\":%"
                 "u}}]}",
                 types[i].datatype, types[i].bytes);
        parse(&f, pil_bytes_from_text(json), pil_bytes_from(&types[i].value, types[i].bytes));
        assert_int_equal(f.status, PIL_STATUS_OK);
        assert_integer(&f, 0, 0, types[i].value);
        end(&f);
        snprintf(json, sizeof json, "{\"inputs\":[{\"name\":\"a\",\"shape\":[1],\"datatype\":\"%s\",\"data\":[%lld]}]}",
                 types[i].datatype, (long long)types[i].value);
        parse_text(&f, json);
        assert_int_equal(f.status, PIL_STATUS_OK);
        assert_integer(&f, 0, 0, types[i].value);
        end(&f);
    }
}

static void members_may_come_in_any_order_and_the_last_counts(void **state) {
    (void)state;
    struct fixture f;
    parse_text(&f, "{\"inputs\":5}");
    assert_int_equal(f.status, PIL_STATUS_INVALID);
    end(&f);
    parse_text(&f,
               "{\"inputs\":[{\"data\":[9]}],\"id\":\"x\",\"inputs\":[{\"data\":[1,2,3],\"shape\":[5],\"shape\":[1],"
               "\"datatype\":\"INT8\",\"data\":[4],\"name\":\"k\"}],\"id\":null,\"parameters\":null}");
    assert_int_equal(f.status, PIL_STATUS_OK);
    assert_int_equal(f.request.input_count, 1);
    assert_integer(&f, 0, 0, 4);
    end(&f);
}

static void no_rows_are_a_request_too(void **state) {
    (void)state;
    struct fixture f;
    parse_text(&f, "{\"inputs\":[]}"); /* of a model without inputs, which has one row */
    assert_int_equal(f.status, PIL_STATUS_OK);
    assert_int_equal(f.request.row_count, 1);
    end(&f);
    parse_text(&f, "{\"inputs\":[{\"name\":\"a\",\"shape\":[0,1],\"datatype\":\"INT64\",\"data\":[]}]}");
    assert_int_equal(f.status, PIL_STATUS_OK);
    assert_int_equal(f.request.row_count, 0);
    end(&f);
    parse_text(&f, "{\"inputs\":[{\"name\":\"a\",\"shape\":[0],\"datatype\":\"BYTES\",\"data\":null,\"parameters\":{"
                   "\"binary_data_size\":0}}]}");
    assert_int_equal(f.status, PIL_STATUS_OK);
    end(&f);
}

/* ---- Refusals. */

#define INPUT(members) "{\"inputs\":[{\"name\":\"k\"," members "}]}"
#define TENSOR(members) INPUT("\"datatype\":\"INT64\",\"shape\":[2]," members)

static const struct {
    const char *json, *sentence;
} refusals[] = {
    {"", "the JSON of the request: Expecting value, at byte 0"},
    {"[]", "the request is []; it must be an object"},
    {"{\"inputs\":[1]}", "an input is 1; it must be an object"},
    {"{\"inputs\":{}}", "inputs is {}; it must be a list"},
    {"{}", "the request has no inputs"},
    {"{\"inputs\":[]} x", "the JSON of the request: Extra data, at byte 14"},
    {"{\"inputs\":[{}]}", "inputs[0] has no name"},
    {INPUT("\"shape\":[1],\"data\":[1]"), "inputs[0] (k) has no datatype"},
    {INPUT("\"datatype\":\"INT64\",\"data\":[1]"), "inputs[0] (k) has no shape"},
    {INPUT("\"datatype\":\"INT64\",\"shape\":[1]"), "inputs[0] (k) has no data: neither a list nor a binary_data_size"},
    {INPUT("\"datatype\":\"FLOAT\""), "there is no datatype FLOAT"},
    {INPUT("\"datatype\":7"), "datatype is 7; it must be a string"},
    {INPUT("\"datatype\":\"FP32\",\"shape\":[1],\"data\":[1]"),
     "inputs[0] (k) is FP32; join keys are integers or BYTES"},
    {INPUT("\"datatype\":\"BOOL\",\"shape\":[1],\"data\":[true]"),
     "inputs[0] (k): element 0 is true; keys are whole numbers within int64, or strings"},
    {INPUT("\"datatype\":\"INT64\",\"shape\":[],\"data\":[1]"),
     "inputs[0] (k): the shape of a join key is [n] or [n, 1]"},
    {INPUT("\"datatype\":\"INT64\",\"shape\":[1,2],\"data\":[1,2]"),
     "inputs[0] (k): the shape of a join key is [n] or [n, 1]"},
    {INPUT("\"datatype\":\"INT64\",\"shape\":[1,1,1],\"data\":[1]"),
     "inputs[0] (k): the shape of a join key is [n] or [n, 1]"},
    {INPUT("\"shape\":[-1]"), "a dimension of shape is -1; it must be a whole number, 0 or more"},
    {INPUT("\"shape\":[\"1\"]"), "a dimension of shape is \"1\"; it must be a whole number"},
    {INPUT("\"datatype\":\"INT64\",\"shape\":[9],\"data\":[1]"), "inputs[0] (k) has 9 rows; at most 8 are possible"},
    {INPUT("\"datatype\":\"INT64\",\"shape\":[9223372036854775807],\"data\":[1]"),
     "inputs[0] (k) has 9223372036854775807 rows; at most 8 are possible"},
    {TENSOR("\"data\":[1]"), "inputs[0] (k): data has 1 elements; its shape says 2"},
    {TENSOR("\"data\":[1,2,3]"), "inputs[0] (k): data has 3 elements; its shape says 2"},
    {TENSOR("\"data\":[1,2,3,4,5,6,7,8,9]"), "inputs[0] (k): the inputs have over 8 elements"},
    {TENSOR("\"data\":[1,null]"), "inputs[0] (k): element 1 is null; keys are whole numbers within int64, or strings"},
    {TENSOR("\"data\":[1,1.5]"), "inputs[0] (k): element 1 is 1.5; keys are whole numbers within int64, or strings"},
    {TENSOR("\"data\":[1,9223372036854775808]"), "inputs[0] (k): element 1 is 9223372036854775808; keys are whole "
                                                 "numbers within int64, or strings"},
    {TENSOR("\"data\":[1,\"2\"]"), "inputs[0] (k): element 1, 2, is not an INT64"},
    {TENSOR("\"data\":[[] 1,2]"), "the JSON of the request: Expecting ',' delimiter, at byte 65"},
    {INPUT("\"datatype\":\"BYTES\",\"shape\":[1],\"data\":[2]"),
     "inputs[0] (k): element 0, 2, is not a string, as BYTES are in JSON"},
    {INPUT("\"datatype\":\"INT8\",\"shape\":[1],\"data\":[128]"), "inputs[0] (k): element 0, 128, is not an INT8"},
    {INPUT("\"datatype\":\"UINT64\",\"shape\":[1],\"data\":[-1]"), "inputs[0] (k): element 0, -1, is not a UINT64"},
    {TENSOR("\"data\":[1,2],\"parameters\":{\"binary_data_size\":16}"),
     "inputs[0] (k) has both data and a binary_data_size"},
    {TENSOR("\"parameters\":{\"binary_data_size\":16}"),
     "inputs[0] (k): binary_data_size is 16; 0 bytes of binary data are left"},
    {TENSOR("\"parameters\":{\"binary_data_size\":-1}"),
     "binary_data_size is -1; it must be a whole number, 0 or more"},
    {TENSOR("\"parameters\":{\"shared_memory_region\":\"r\"}"),
     "shared memory is not supported here: send and take tensors in the body"},
    {"{\"inputs\":[{\"name\":\"k\",\"datatype\":\"INT8\",\"shape\":[1],\"data\":[1]},{\"name\":\"k\",\"datatype\":"
     "\"INT8\",\"shape\":[1],\"data\":[1]}]}",
     "inputs[1] (k) is there twice"},
    {"{\"inputs\":[{\"name\":\"k\",\"datatype\":\"INT8\",\"shape\":[1],\"data\":[1]},{\"name\":\"l\",\"datatype\":"
     "\"INT8\",\"shape\":[2],\"data\":[1,2]}]}",
     "inputs[1] (l) has 2 rows; the input before it has 1"},
    {"{\"inputs\":[{},{},{},{}]}", "the request has over 3 inputs"},
    {"{\"outputs\":[{\"name\":\"a\"},{\"name\":\"b\"},{\"name\":\"c\"}]}", "the request asks for over 2 outputs"},
    {"{\"outputs\":[{}]}", "outputs[0] has no name"},
    {"{\"outputs\":[{\"name\":\"a\",\"parameters\":{\"classification\":3}}]}",
     "classification is not supported: outputs are features"},
    {"{\"outputs\":[{\"name\":\"a\",\"parameters\":{\"binary_data\":1}}]}",
     "binary_data is 1; it must be true or false"},
    {"{\"parameters\":{\"datatype\":\"FP16\"}}", "parameters.datatype is FP16; features are FP32 or FP64"},
    {"{\"id\":5}", "id is 5; it must be a string"},
};

static void refuses_with_a_sentence(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        struct fixture f;
        parse_text(&f, refusals[i].json);
        assert_true(f.status == PIL_STATUS_INVALID || f.status == PIL_STATUS_TOO_LARGE);
        assert_string_equal(f.error.text, refusals[i].sentence);
        end(&f);
    }
}

static void refuses_binary_that_does_not_add_up(void **state) {
    (void)state;
    static const struct {
        const char *datatype;
        uint32_t said;
        const char *bytes;
        size_t len;
        const char *sentence;
    } cases[] = {
        {"INT32", 8, "abcdefghi", 9, "1 bytes of binary data are left behind those of the inputs"},
        {"INT32", 9, "abcdefghi", 9, "inputs[0] (k): binary_data_size is 9; 2 elements of INT32 are 8"},
        {"INT32", 4, "abcd", 4, "inputs[0] (k): binary_data_size is 4; 2 elements of INT32 are 8"},
        {"UINT64", 16, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x80", 16,
         "inputs[0] (k): element 1, 9223372036854775808, is over int64"},
        {"BYTES", 8, "\1\0\0\0x\0\0\0", 8, "inputs[0] (k): its binary data ends inside element 1 of 2"},
        {"BYTES", 10, "\1\0\0\0x\2\0\0\0y", 10, "inputs[0] (k): its binary data ends inside element 1 of 2"},
        {"BYTES", 11, "\1\0\0\0x\1\0\0\0yz", 11,
         "inputs[0] (k): 1 bytes of binary data are left behind its 2 elements"},
        {"BYTES", 9, "\1\0\0\0x\xff\xff\xff\xff", 9, "inputs[0] (k): its binary data ends inside element 1 of 2"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fixture f;
        char json[256];
        snprintf(json, sizeof json,
                 "{\"inputs\":[{\"name\":\"k\",\"shape\":[2],\"datatype\":\"%s\",\"parameters\":{\"binary_data_size\":%"
                 "u}}]}",
                 cases[i].datatype, cases[i].said);
        parse(&f, pil_bytes_from_text(json), pil_bytes_from(cases[i].bytes, cases[i].len));
        assert_int_equal(f.status, PIL_STATUS_INVALID);
        assert_string_equal(f.error.text, cases[i].sentence);
        end(&f);
    }
}

static void a_request_is_whole_at_its_last_byte_only(void **state) {
    (void)state;
    static const char json[] = "{\"inputs\":[{\"name\":\"a\",\"shape\":[2],\"datatype\":\"BYTES\",\"parameters\":{"
                               "\"binary_data_size\":11}}],\"outputs\":[{\"name\":\"features\"}]}";
    static const char binary[] = "\3\0\0\0xyz\0\0\0\0";
    char text[512];
    int head = snprintf(text, sizeof text,
                        "POST /v2/models/eta/infer HTTP/1.1\r\nhost: x\r\ninference-header-content-length: "
                        "%zu\r\ncontent-length: %zu\r\n\r\n%s",
                        sizeof json - 1, sizeof json - 1 + 11, json);
    memcpy(text + head, binary, 11);
    size_t len = (size_t)head + 11;
    struct pil_http_cursor cursor = {0};
    for (size_t cut = 0; cut <= len; cut++) {
        uint8_t *input = copy(text, cut);
        struct pil_http_request http = {0};
        pil_status status = pil_http_decode(&cursor, pil_bytes_from(input, cut), &pil_http_limits_default, &http);
        assert_int_equal(status, cut < len ? PIL_STATUS_AGAIN : PIL_STATUS_OK);
        if (cut == len) {
            struct fixture f;
            parse(&f, pil_bytes_from(http.body.data, sizeof json - 1),
                  pil_bytes_from(http.body.data + sizeof json - 1, 11));
            assert_int_equal(f.status, PIL_STATUS_OK);
            assert_text(&f, 0, 0, "xyz");
            end(&f);
        }
        free(input);
    }
    for (size_t cut = 0; cut < sizeof json - 1; cut++) {
        struct fixture f;
        parse(&f, pil_bytes_from(json, cut), pil_bytes_from(binary, 11));
        assert_int_equal(f.status, PIL_STATUS_INVALID);
        end(&f);
    }
    for (size_t cut = 0; cut < 11; cut++) {
        struct fixture f;
        parse(&f, pil_bytes_from_text(json), pil_bytes_from(binary, cut));
        assert_int_equal(f.status, PIL_STATUS_INVALID);
        end(&f);
    }
}

/* ---- Paths. */

static void knows_the_paths(void **state) {
    (void)state;
    static const struct {
        const char *path;
        pil_oip_route_kind kind;
        const char *model, *version;
    } cases[] = {
        {"/v2", PIL_OIP_ROUTE_SERVER, "", ""},
        {"/v2/", PIL_OIP_ROUTE_SERVER, "", ""},
        {"/v2/health/live", PIL_OIP_ROUTE_LIVE, "", ""},
        {"/v2/health/ready", PIL_OIP_ROUTE_READY, "", ""},
        {"/v2/repository/index", PIL_OIP_ROUTE_INDEX, "", ""},
        {"/v2/models/eta", PIL_OIP_ROUTE_MODEL, "eta", ""},
        {"/v2/models/eta/", PIL_OIP_ROUTE_MODEL, "eta", ""},
        {"/v2/models/eta/versions/1", PIL_OIP_ROUTE_MODEL, "eta", "1"},
        {"/v2/models/eta/ready", PIL_OIP_ROUTE_MODEL_READY, "eta", ""},
        {"/v2/models/eta/versions/2/ready", PIL_OIP_ROUTE_MODEL_READY, "eta", "2"},
        {"/v2/models/p/eta/versions/1/infer", PIL_OIP_ROUTE_INFER, "p/eta", "1"},
        {"/v2/models/p%2Feta/infer", PIL_OIP_ROUTE_INFER, "p/eta", ""},
        {"/v2/models/%65ta%2/infer", PIL_OIP_ROUTE_INFER, "eta%2", ""},
        {"/v2/models/ready", PIL_OIP_ROUTE_MODEL, "ready", ""},
        {"/v2/models/", PIL_OIP_ROUTE_UNKNOWN, "", ""},
        {"/v2/models", PIL_OIP_ROUTE_UNKNOWN, "", ""},
        {"/v1/models/eta:predict", PIL_OIP_ROUTE_UNKNOWN, "", ""},
        {"/", PIL_OIP_ROUTE_UNKNOWN, "", ""},
        {"*", PIL_OIP_ROUTE_UNKNOWN, "", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pil_oip_route route;
        uint8_t *path = copy(cases[i].path, strlen(cases[i].path));
        pil_oip_route_parse(pil_bytes_from(path, strlen(cases[i].path)), &route);
        assert_int_equal(route.kind, cases[i].kind);
        assert_true(pil_bytes_equal_text(pil_bytes_from(route.model, route.model_len), cases[i].model));
        assert_true(pil_bytes_equal_text(route.version, cases[i].version));
        free(path);
    }
    struct pil_oip_route route;
    char path[600] = "/v2/models/";
    memset(path + strlen(path), 'm', 500);
    pil_oip_route_parse(pil_bytes_from_text(path), &route);
    assert_int_equal(route.kind, PIL_OIP_ROUTE_MODEL);
    assert_int_equal(route.model_len, PIL_OIP_MODEL_BYTES_MAX + 1);
}

/* ---- Answers. */

static void writes_json_tensors_with_null_for_what_is_missing(void **state) {
    (void)state;
    struct collect out;
    collect_init(&out);
    struct pil_oip_encoder encoder = {.sink = &out.sink};
    const float floats[] = {0.1f, NAN, -INFINITY, 3};
    const double doubles[] = {0.1, INFINITY};
    const uint8_t statuses[] = {1, 4};
    pil_oip_put_begin(&encoder, pil_bytes_from_text("eta"), pil_bytes_from_text("\"7"));
    pil_oip_put_text_parameter(&encoder, pil_bytes_from_text("v"), "release", pil_bytes_from_text("00ff"));
    pil_oip_put_number_parameter(&encoder, (struct pil_bytes){0}, "worst_age_us", -1);
    pil_oip_put_outputs(&encoder);
    struct pil_oip_tensor tensor = {pil_bytes_from_text("features"), PIL_OIP_FP32, 2, {2, 2}};
    pil_oip_put_output(&encoder, &tensor, NULL);
    pil_oip_put_numbers(&encoder, PIL_OIP_FP32, (const uint8_t *)floats, 2, false);
    pil_oip_put_numbers(&encoder, PIL_OIP_FP32, (const uint8_t *)(floats + 2), 2, true);
    pil_oip_put_numbers(&encoder, PIL_OIP_FP32, (const uint8_t *)(floats + 1), 1, true);
    pil_oip_put_output_end(&encoder);
    tensor = (struct pil_oip_tensor){pil_bytes_from_text("d"), PIL_OIP_FP64, 1, {2, 0}};
    pil_oip_put_output(&encoder, &tensor, NULL);
    pil_oip_put_numbers(&encoder, PIL_OIP_FP64, (const uint8_t *)doubles, 2, true);
    pil_oip_put_numbers(&encoder, PIL_OIP_FP64, (const uint8_t *)doubles, 2, false);
    pil_oip_put_output_end(&encoder);
    tensor = (struct pil_oip_tensor){pil_bytes_from_text("statuses"), PIL_OIP_UINT8, 2, {1, 2}};
    pil_oip_put_output(&encoder, &tensor, NULL);
    pil_oip_put_numbers(&encoder, PIL_OIP_UINT8, statuses, 2, true);
    pil_oip_put_output_end(&encoder);
    tensor = (struct pil_oip_tensor){pil_bytes_from_text("v:s"), PIL_OIP_BYTES, 1, {2, 0}};
    pil_oip_put_output(&encoder, &tensor, "base64");
    pil_oip_put_string(&encoder, PIL_SCALAR_BYTES, pil_bytes_from_text("hi"));
    pil_oip_put_null(&encoder);
    pil_oip_put_output_end(&encoder);
    pil_oip_put_end(&encoder);
    assert_string_equal(
        collect_text(&out),
        "{\"model_name\":\"eta\",\"model_version\":\"1\",\"id\":\"\\\"7\",\"parameters\":{\"v.release\":\"00ff\","
        "\"worst_age_us\":-1},\"outputs\":[{\"name\":\"features\",\"datatype\":\"FP32\",\"shape\":[2,2],\"data\":["
        "0.10000000149011612,null,\"-Infinity\",3.0,\"NaN\"]},{\"name\":\"d\",\"datatype\":\"FP64\",\"shape\":[2],"
        "\"data\":[0.1,\"Infinity\",0.1,null]},"
        "{\"name\":\"statuses\",\"datatype\":\"UINT8\",\"shape\":[1,2],\"data\":[1,4]},{\"name\":\"v:s\",\"datatype\":"
        "\"BYTES\",\"shape\":[2],\"parameters\":{\"content_type\":\"base64\"},\"data\":[\"aGk=\",null]}]}");
    collect_deinit(&out);
}

static void writes_binary_tensors(void **state) {
    (void)state;
    struct collect out;
    collect_init(&out);
    struct pil_oip_encoder encoder = {.sink = &out.sink};
    pil_oip_put_begin(&encoder, pil_bytes_from_text("eta"), (struct pil_bytes){0});
    pil_oip_put_outputs(&encoder);
    struct pil_oip_tensor tensor = {pil_bytes_from_text("v:s"), PIL_OIP_BYTES, 1, {2, 0}};
    pil_oip_put_binary_output(&encoder, &tensor, 11);
    pil_oip_put_binary_output(&encoder, &tensor, 0);
    pil_oip_put_end(&encoder);
    pil_oip_put_binary_string(&out.sink, pil_bytes_from_text("xyz"));
    pil_oip_put_binary_string(&out.sink, (struct pil_bytes){0});
    static const char expected[] =
        "{\"model_name\":\"eta\",\"model_version\":\"1\",\"parameters\":{},\"outputs\":[{\"name\":\"v:s\",\"datatype\":"
        "\"BYTES\",\"shape\":[2],\"parameters\":{\"binary_data_size\":11}},{\"name\":\"v:s\",\"datatype\":\"BYTES\","
        "\"shape\":[2],\"parameters\":{\"binary_data_size\":0}}]}\3\0\0\0xyz\0\0\0";
    assert_true(pil_bytes_equal(collect_bytes(&out), pil_bytes_from(expected, sizeof expected)));
    collect_deinit(&out);
}

static void writes_metadata_index_and_health(void **state) {
    (void)state;
    struct collect out;
    collect_init(&out);
    struct pil_oip_encoder encoder = {.sink = &out.sink};
    pil_oip_put_model_begin(&encoder, pil_bytes_from_text("eta"));
    struct pil_oip_tensor tensor = {pil_bytes_from_text("id"), PIL_OIP_INT64, 1, {-1, 0}};
    pil_oip_put_model_tensor(&encoder, &tensor, false);
    pil_oip_put_model_outputs(&encoder);
    tensor = (struct pil_oip_tensor){pil_bytes_from_text("features"), PIL_OIP_FP32, 2, {-1, 4}};
    pil_oip_put_model_tensor(&encoder, &tensor, true);
    pil_oip_put_model_column(&encoder, "v", "a", 1);
    pil_oip_put_model_column(&encoder, "v", "e", 3);
    pil_oip_put_model_columns_end(&encoder);
    tensor = (struct pil_oip_tensor){pil_bytes_from_text("v:s"), PIL_OIP_BYTES, 1, {-1, 0}};
    pil_oip_put_model_tensor(&encoder, &tensor, false);
    pil_oip_put_model_end(&encoder);
    pil_oip_put_health(&out.sink, "live", true);
    pil_oip_put_server(&out.sink, "0.1");
    pil_oip_put_model_ready(&out.sink, pil_bytes_from_text("eta"), false);
    pil_oip_put_error(&out.sink, pil_bytes_from_text("a \"b\""));
    pil_oip_put_index_begin(&encoder);
    pil_oip_put_index_model(&encoder, pil_bytes_from_text("a"), (struct pil_bytes){0});
    pil_oip_put_index_model(&encoder, pil_bytes_from_text("b"), pil_bytes_from_text("why"));
    pil_oip_put_index_end(&encoder);
    assert_string_equal(
        collect_text(&out),
        "{\"name\":\"eta\",\"versions\":[\"1\"],\"platform\":\"pillion_features\",\"inputs\":[{\"name\":\"id\","
        "\"datatype\":\"INT64\",\"shape\":[-1]}],\"outputs\":[{\"name\":\"features\",\"datatype\":\"FP32\",\"shape\":[-"
        "1,"
        "4],\"parameters\":{\"columns\":\"v:a,v:e[3]\"}},{\"name\":\"v:s\",\"datatype\":\"BYTES\",\"shape\":[-1]}]}"
        "{\"live\":true}{\"name\":\"pillion\",\"version\":\"0.1\",\"extensions\":[\"binary_tensor_data\","
        "\"model_repository\"]}{\"name\":\"eta\",\"ready\":false}{\"error\":\"a "
        "\\\"b\\\"\"}[{\"name\":\"a\",\"version\":"
        "\"1\",\"state\":\"READY\",\"reason\":\"\"},{\"name\":\"b\",\"version\":\"1\",\"state\":\"UNAVAILABLE\","
        "\"reason\":"
        "\"why\"}]");
    collect_deinit(&out);
}

static void base64_strings_are_their_bytes(void **state) {
    (void)state;
    struct fixture f;
    parse_text(&f, "{\"inputs\":[{\"name\":\"k\",\"shape\":[3],\"datatype\":\"BYTES\",\"data\":[\"/wA=\",\"\\/wA=\","
                   "\"\"],\"parameters\":{\"content_type\":\"base64\"}}]}");
    assert_int_equal(f.status, PIL_STATUS_OK);
    for (uint32_t row = 0; row < 2; row++) {
        assert_int_equal(value_at(&f, 0, row)->text.len, 2);
        assert_memory_equal(value_at(&f, 0, row)->text.data, "\xff", 2);
    }
    assert_int_equal(value_at(&f, 0, 2)->text.len, 0);
    end(&f);
    static const char *const wrong[][2] = {
        {"\"datatype\":\"BYTES\",\"data\":[\"wA\"]", "element 0, wA, is not base64"},
        {"\"datatype\":\"INT64\",\"data\":[1]", "content_type base64 is for BYTES in JSON; this input is INT64"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char json[512];
        snprintf(json, sizeof json,
                 "{\"inputs\":[{\"name\":\"k\",\"parameters\":{\"content_type\":\"base64\"},\"shape\":[1],%s}]}",
                 wrong[i][0]);
        parse_text(&f, json);
        assert_int_equal(f.status, PIL_STATUS_INVALID);
        assert_non_null(strstr(f.error.text, wrong[i][1]));
        end(&f);
    }
}

/* More than any key has is not decoded. */
static void base64_strings_may_be_as_long_as_keys(void **state) {
    (void)state;
    enum { LONGEST = (PIL_KEY_BYTES_MAX + 2) / 3 * 4 };
    for (int more = 0; more <= 4; more += 4) {
        struct pil_text json = {0};
        struct fixture f;
        pil_text_format(&json,
                        "{\"inputs\":[{\"name\":\"k\",\"parameters\":{\"content_type\":\"base64\"},\"shape\":[1],"
                        "\"datatype\":\"BYTES\",\"data\":[\"");
        for (int i = 0; i < LONGEST + more; i++) {
            pil_text_append(&json, "A", 1);
        }
        pil_text_format(&json, "\"]}]}");
        parse_text(&f, json.data);
        assert_int_equal(f.status, more == 0 ? PIL_STATUS_OK : PIL_STATUS_TOO_LARGE);
        assert_true(more == 0 || strstr(f.error.text, "element 0 has 87388 characters of base64") != NULL);
        end(&f);
        pil_text_deinit(&json);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_json_as_tritonclient_sends_it),
        cmocka_unit_test(reads_binary_as_tritonclient_sends_it),
        cmocka_unit_test(reads_kserve_requests_and_parameters),
        cmocka_unit_test(reads_every_integer_type_from_binary),
        cmocka_unit_test(members_may_come_in_any_order_and_the_last_counts),
        cmocka_unit_test(no_rows_are_a_request_too),
        cmocka_unit_test(refuses_with_a_sentence),
        cmocka_unit_test(refuses_binary_that_does_not_add_up),
        cmocka_unit_test(a_request_is_whole_at_its_last_byte_only),
        cmocka_unit_test(knows_the_paths),
        cmocka_unit_test(writes_json_tensors_with_null_for_what_is_missing),
        cmocka_unit_test(writes_binary_tensors),
        cmocka_unit_test(writes_metadata_index_and_health),
        cmocka_unit_test(base64_strings_are_their_bytes),
        cmocka_unit_test(base64_strings_may_be_as_long_as_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
