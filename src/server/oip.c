/* SPDX-License-Identifier: Apache-2.0
 * The Open Inference Protocol: every feature service is a model. Its inputs are the join keys; its outputs are
 * `features`, all numbers and vectors in the service's order, `statuses`, one byte for each feature, and one BYTES
 * tensor "view:feature" for each string or bytes feature. What is needed after the lookups is put into the batch's
 * scratch. */
#include "server/oip.h"
#include "server/redis.h"
#include "server/vector_rows.h"

#include <stdarg.h>
#include <stdio.h>

enum { ERROR_BODY_BYTES = 8192, JSON_NUMBER_BYTES = 25, NAME_BYTES = 2 * PIL_NAME_BYTES_MAX + 2, NO_COLUMN = -1 };

static const char inner_length[] = "inference-header-content-length: ";
static const char inner_length_field[] = "inference-header-content-length: 0         \r\n";
PIL_STATIC_ASSERT(sizeof inner_length_field == sizeof inner_length + PIL_HTTP_LENGTH_CHARS + 2);

struct output {
    struct pil_oip_tensor tensor;
    int32_t column; /* of the plan, for strings; else NO_COLUMN */
    bool is_statuses;
    bool is_binary;
};

struct pil_oip_call {
    pil_oip_route_kind kind;
    struct pil_bytes model, id;
    struct output *outputs; /* those to be answered, in order */
    uint32_t output_count;
    uint8_t *row; /* room for a row of values or of statuses */
};

/* ---- Errors. */

static bool no_growth(struct pil_sink *sink) {
    (void)sink;
    return false;
}

static void fail_with(struct pil_worker *worker, struct pil_request *request, int status, const char *text) {
    uint8_t *body = pil_batch_scratch(worker->batch, ERROR_BODY_BYTES);
    request->head.status = status;
    request->oip = NULL;
    request->lookup_count = 0;
    request->detail = pil_http_reason(status);
    if (body != NULL) {
        struct pil_sink sink = {.at = body, .end = body + ERROR_BODY_BYTES, .grow = no_growth};
        pil_oip_put_error(&sink, pil_bytes_from_text(text));
        if (!sink.failed) {
            request->error_body = pil_bytes_from(body, (size_t)(sink.at - body));
        }
    }
}

static void fail(struct pil_worker *worker, struct pil_request *request, int status, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
static void fail(struct pil_worker *worker, struct pil_request *request, int status, const char *format, ...) {
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fail_with(worker, request, status, text);
}

/* A model that cannot answer: not there, not yet, never. */
static int http_status_of(pil_status status) {
    return status == PIL_STATUS_NOT_FOUND                                ? 404
           : status == PIL_STATUS_AGAIN || status == PIL_STATUS_CONFLICT ? 503
           : status == PIL_STATUS_UNSUPPORTED                            ? 501
                                                                         : 400;
}

/* ---- Models. */

static void *new_in_scratch(struct pil_worker *worker, size_t bytes) {
    uint8_t *at = pil_batch_scratch(worker->batch, bytes + 7);
    return at != NULL ? at + (-(uintptr_t)at & 7) : NULL;
}

static struct pil_oip_call *new_call(struct pil_worker *worker, struct pil_request *request,
                                     const struct pil_oip_route *route) {
    struct pil_oip_call *call = new_in_scratch(worker, sizeof *call + route->model_len);
    if (call == NULL) {
        fail(worker, request, 503, "there is no room for this request now: send it again");
        return NULL;
    }
    *call = (struct pil_oip_call){.kind = route->kind, .model = pil_bytes_from(call + 1, route->model_len)};
    memcpy(call + 1, route->model, route->model_len);
    return call;
}

static bool is_string(const struct pil_vector_column *column) {
    return column->count == 0;
}

static struct pil_bytes name_of(struct pil_worker *worker, const struct pil_vector_plan *plan,
                                const struct pil_vector_column *column) {
    const struct pil_view *view = plan->views[column->view].view;
    char name[NAME_BYTES];
    int len = snprintf(name, sizeof name, "%s:%s", view->name, view->features[column->feature].name);
    uint8_t *copy = pil_batch_scratch(worker->batch, (size_t)len);
    if (copy != NULL) {
        memcpy(copy, name, (size_t)len);
    }
    return pil_bytes_from(copy, copy != NULL ? (size_t)len : 0);
}

/* Sets request->planned; false with the error set. */
static bool find_model(struct pil_worker *worker, struct pil_request *request, struct pil_bytes model,
                       pil_vector_dtype dtype) {
    struct pil_error error = {{0}};
    struct pil_planned *planned = NULL;
    struct pil_plan_form form = {.dtype = dtype, .need_tensor = false};
    pil_status status = pil_plan_cache_service(worker, model, form, &planned, &error);
    for (uint32_t i = 0; status == PIL_STATUS_OK && i < planned->plan->feature_count; i++) {
        const struct pil_vector_column *column = &planned->plan->columns[i];
        if (column->type.shape == PIL_SHAPE_LIST) {
            struct pil_bytes name = name_of(worker, planned->plan, column);
            status = pil_fail(&error, PIL_STATUS_UNSUPPORTED, "%.*s is a list, which no tensor holds", (int)name.len,
                              (const char *)name.data);
        }
    }
    if (status != PIL_STATUS_OK) {
        fail(worker, request, http_status_of(status), "%s", error.text);
        return false;
    }
    request->planned = planned;
    request->view = planned->views[0];
    return true;
}

/* ---- Inference: keys. */

/* The join keys of the model, for sentences: "driver_id (INT64), region (BYTES)". */
static const char *describe_inputs(struct pil_worker *worker, const struct pil_vector_plan *plan) {
    char text[512] = "";
    for (uint32_t i = 0; i < plan->join_key_count; i++) {
        size_t len = strlen(text);
        snprintf(text + len, sizeof text - len, "%s%s (%s)", i > 0 ? ", " : "", plan->join_keys[i]->join_key,
                 pil_oip_datatype_text(pil_oip_key_datatype(plan->join_keys[i]->type)));
    }
    return pil_batch_text(worker->batch, "%s", text);
}

/* Which input holds which join key; every input must be one. */
static bool match_inputs(struct pil_worker *worker, struct pil_request *request, const struct pil_oip_request *parsed,
                         const struct pil_oip_input *inputs[PIL_VECTOR_KEYS_MAX]) {
    const struct pil_vector_plan *plan = request->planned->plan;
    for (uint32_t key = 0; key < plan->join_key_count; key++) {
        inputs[key] = NULL;
    }
    for (uint32_t i = 0; i < parsed->input_count; i++) {
        const struct pil_oip_input *input = &parsed->inputs[i];
        uint32_t key = 0;
        while (key < plan->join_key_count && !pil_bytes_equal_text(input->name, plan->join_keys[key]->join_key)) {
            key++;
        }
        if (key == plan->join_key_count) {
            fail(worker, request, 400, "input %.*s is not one of the model's; they are: %s",
                 (int)(input->name.len < 64 ? input->name.len : 64), (const char *)input->name.data,
                 describe_inputs(worker, plan));
            return false;
        }
        inputs[key] = input;
    }
    for (uint32_t key = 0; key < plan->join_key_count; key++) {
        if (inputs[key] == NULL) {
            fail(worker, request, 400, "input %s is missing; the model's inputs are: %s",
                 plan->join_keys[key]->join_key, describe_inputs(worker, plan));
            return false;
        }
    }
    return true;
}

static bool add_rows(struct pil_worker *worker, struct pil_request *request, const struct pil_oip_request *parsed) {
    const struct pil_vector_plan *plan = request->planned->plan;
    const struct pil_oip_input *inputs[PIL_VECTOR_KEYS_MAX];
    uint32_t limit = worker->server->settings->limits.keys_per_request_max;
    if (!match_inputs(worker, request, parsed, inputs)) {
        return false;
    }
    if ((uint64_t)parsed->row_count * plan->view_count > limit) {
        fail(worker, request, 413, "%u rows of %u views are over the limit of %u lookups in one request",
             parsed->row_count, plan->view_count, limit);
        return false;
    }
    request->row_count = parsed->row_count;
    for (uint32_t slot = 0; slot < plan->view_count; slot++) {
        for (uint32_t row = 0; row < parsed->row_count; row++) {
            struct pil_key_part parts[PIL_VECTOR_KEYS_MAX];
            uint32_t bad = 0;
            for (uint32_t key = 0; key < plan->join_key_count; key++) {
                parts[key] = worker->batch->oip_values[inputs[key]->value_first + row];
            }
            pil_status status = pil_vector_add_key(worker, request, slot, parts, &bad);
            if (status == PIL_STATUS_INVALID) {
                fail(worker, request, 400, "input %s: element %u cannot be read; it must be %s",
                     plan->join_keys[bad]->join_key, row, pil_scalar_text(plan->join_keys[bad]->type));
            } else if (status != PIL_STATUS_OK) {
                fail(worker, request, 413, "row %u: its key has over %d bytes, or all keys together have too many", row,
                     PIL_KEY_BYTES_MAX);
            }
            if (status != PIL_STATUS_OK) {
                return false;
            }
        }
    }
    return true;
}

/* ---- Inference: outputs. */

static struct output features_output(const struct pil_request *request) {
    const struct pil_vector_plan *plan = request->planned->plan;
    pil_oip_datatype datatype = plan->dtype == PIL_VECTOR_FLOAT64 ? PIL_OIP_FP64 : PIL_OIP_FP32;
    return (struct output){
        .tensor = {pil_bytes_from_text("features"), datatype, 2, {(int64_t)request->row_count, plan->width}},
        .column = NO_COLUMN};
}

static struct output statuses_output(const struct pil_request *request) {
    return (struct output){.tensor = {pil_bytes_from_text("statuses"),
                                      PIL_OIP_UINT8,
                                      2,
                                      {(int64_t)request->row_count, request->planned->plan->feature_count}},
                           .column = NO_COLUMN,
                           .is_statuses = true};
}

static struct output string_output(struct pil_worker *worker, const struct pil_request *request, uint32_t column) {
    const struct pil_vector_plan *plan = request->planned->plan;
    return (struct output){.tensor = {.name = name_of(worker, plan, &plan->columns[column]),
                                      .datatype = PIL_OIP_BYTES,
                                      .dimension_count = 1,
                                      .dimensions = {(int64_t)request->row_count}},
                           .column = (int32_t)column};
}

static void add_output(struct pil_oip_call *call, struct output output, bool is_binary) {
    output.is_binary = is_binary;
    call->outputs[call->output_count++] = output;
}

/* All of the model, as inference answers them and metadata lists them. */
static bool add_all_outputs(struct pil_worker *worker, struct pil_request *request, struct pil_oip_call *call,
                            bool is_binary) {
    const struct pil_vector_plan *plan = request->planned->plan;
    uint32_t string_count = 0;
    for (uint32_t i = 0; i < plan->feature_count; i++) {
        string_count += is_string(&plan->columns[i]);
    }
    call->outputs = new_in_scratch(worker, (2 + string_count) * sizeof call->outputs[0]);
    if (call->outputs == NULL) {
        return false;
    }
    if (plan->width > 0) {
        add_output(call, features_output(request), is_binary);
    }
    add_output(call, statuses_output(request), is_binary);
    for (uint32_t i = 0; i < plan->feature_count; i++) {
        if (is_string(&plan->columns[i])) {
            add_output(call, string_output(worker, request, i), is_binary);
        }
    }
    return true;
}

/* The column of a string or bytes feature by "view:feature"; NO_COLUMN: there is none. */
static int32_t find_string(const struct pil_vector_plan *plan, struct pil_bytes name) {
    const uint8_t *colon = name.len > 0 ? memchr(name.data, ':', name.len) : NULL;
    for (uint32_t slot = 0; colon != NULL && slot < plan->view_count; slot++) {
        const struct pil_view *view = plan->views[slot].view;
        struct pil_bytes view_name = pil_bytes_from(name.data, (size_t)(colon - name.data));
        if (!pil_bytes_equal_text(view_name, view->name)) {
            continue;
        }
        int32_t feature = pil_view_feature_find(view, pil_bytes_from(colon + 1, name.len - view_name.len - 1));
        for (uint32_t i = 0; feature >= 0 && i < plan->feature_count; i++) {
            const struct pil_vector_column *column = &plan->columns[i];
            if (is_string(column) && column->view == slot && column->feature == (uint32_t)feature) {
                return (int32_t)i;
            }
        }
    }
    return NO_COLUMN;
}

static bool add_asked_output(struct pil_worker *worker, struct pil_request *request, struct pil_oip_call *call,
                             const struct pil_oip_output *asked) {
    const struct pil_vector_plan *plan = request->planned->plan;
    struct output output;
    int32_t column = NO_COLUMN;
    if (pil_bytes_equal_text(asked->name, "features") && plan->width > 0) {
        output = features_output(request);
    } else if (pil_bytes_equal_text(asked->name, "statuses")) {
        output = statuses_output(request);
    } else if ((column = find_string(plan, asked->name)) != NO_COLUMN) {
        output = string_output(worker, request, (uint32_t)column);
    } else {
        fail(worker, request, 400, "the model has no output %.*s; its metadata lists what it has",
             (int)(asked->name.len < 64 ? asked->name.len : 64), (const char *)asked->name.data);
        return false;
    }
    for (uint32_t i = 0; i < call->output_count; i++) {
        if (call->outputs[i].column == column && call->outputs[i].is_statuses == output.is_statuses) {
            fail(worker, request, 400, "output %.*s is asked for twice", (int)asked->name.len,
                 (const char *)asked->name.data);
            return false;
        }
    }
    add_output(call, output, asked->is_binary);
    return true;
}

static bool add_outputs(struct pil_worker *worker, struct pil_request *request, struct pil_oip_call *call,
                        const struct pil_oip_request *parsed) {
    if (!parsed->has_outputs) {
        if (!add_all_outputs(worker, request, call, parsed->has_binary_output)) {
            fail(worker, request, 413, "the model has too many outputs for one request");
            return false;
        }
        return true;
    }
    call->outputs = new_in_scratch(worker, parsed->output_count * sizeof call->outputs[0]);
    if (call->outputs == NULL) {
        fail(worker, request, 413, "the request asks for too many outputs");
        return false;
    }
    for (uint32_t i = 0; i < parsed->output_count; i++) {
        if (!add_asked_output(worker, request, call, &parsed->outputs[i])) {
            return false;
        }
    }
    return true;
}

/* Room for one row, and an answer that fits the connection's output; strings are not counted. */
static bool has_room(struct pil_worker *worker, struct pil_request *request, struct pil_oip_call *call) {
    const struct pil_vector_plan *plan = request->planned->plan;
    uint64_t limit = worker->server->settings->limits.output_bytes_max, bytes = 0;
    size_t row_bytes = (size_t)plan->width * pil_vector_dtype_bytes(plan->dtype);
    for (uint32_t i = 0; i < call->output_count; i++) {
        const struct output *output = &call->outputs[i];
        uint64_t count =
            output->column != NO_COLUMN ? 0 : (uint64_t)request->row_count * (uint64_t)output->tensor.dimensions[1];
        bytes += count * (output->is_binary     ? output->is_statuses ? 1 : pil_vector_dtype_bytes(plan->dtype)
                              : output->is_statuses ? 2
                                                : JSON_NUMBER_BYTES);
    }
    if (bytes >= limit) {
        fail(worker, request, 413,
             "the answer may have %llu bytes, over the limit of %llu: ask for fewer rows, or for binary data",
             (unsigned long long)bytes, (unsigned long long)limit);
        return false;
    }
    call->row = pil_batch_scratch(worker->batch, row_bytes > plan->feature_count ? row_bytes : plan->feature_count);
    if (call->row == NULL) {
        fail(worker, request, 413, "a row of %zu bytes is too large for an answer", row_bytes);
        return false;
    }
    return true;
}

/* ---- Inference. */

/* The JSON is all of the body, or as much as the header says; binary tensors are behind it. */
static bool split_body(struct pil_worker *worker, struct pil_request *request, const struct pil_http_request *http,
                       struct pil_bytes *json, struct pil_bytes *binary) {
    struct pil_bytes value;
    int64_t len = 0;
    if (pil_http_field(http->fields, "content-encoding", &value) && !pil_bytes_equal_nocase(value, "identity")) {
        fail(worker, request, 415, "content-encoding %.*s is not supported: send the body as it is",
             (int)(value.len < 64 ? value.len : 64), (const char *)value.data);
        return false;
    }
    *json = http->body;
    *binary = (struct pil_bytes){0};
    if (!pil_http_field(http->fields, "inference-header-content-length", &value)) {
        return true;
    }
    if (!pil_redis_parse_i64(value, &len) || len < 0 || (uint64_t)len > http->body.len) {
        fail(worker, request, 400, "inference-header-content-length is %.*s; the body has %zu bytes",
             (int)(value.len < 64 ? value.len : 64), (const char *)value.data, http->body.len);
        return false;
    }
    json->len = (size_t)len;
    *binary = pil_bytes_from(http->body.data + len, http->body.len - (size_t)len);
    return true;
}

static bool parse(struct pil_worker *worker, struct pil_request *request, const struct pil_http_request *http,
                  struct pil_oip_request *parsed) {
    struct pil_batch *batch = worker->batch;
    struct pil_bytes json, binary;
    struct pil_error error = {{0}};
    if (!split_body(worker, request, http, &json, &binary)) {
        return false;
    }
    struct pil_oip_buffers buffers = {
        .inputs = batch->oip_inputs,
        .outputs = batch->oip_outputs,
        .values = batch->oip_values,
        .input_max = PIL_OIP_INPUTS_MAX,
        .output_max = PIL_OIP_OUTPUTS_MAX,
        .value_max = PIL_OIP_VALUES_MAX,
        .scratch = pil_batch_scratch(batch, json.len + 1),
        .scratch_bytes = json.len + 1,
    };
    if (buffers.scratch == NULL) {
        fail(worker, request, 413, "%zu bytes of JSON are too many: send keys as binary tensors", json.len);
        return false;
    }
    pil_status status = pil_oip_parse(json, binary, &buffers, parsed, &error);
    if (status != PIL_STATUS_OK) {
        fail(worker, request, status == PIL_STATUS_TOO_LARGE ? 413 : 400, "%s", error.text);
    }
    return status == PIL_STATUS_OK;
}

static void prepare_infer(struct pil_worker *worker, struct pil_request *request, struct pil_oip_call *call,
                          const struct pil_http_request *http) {
    struct pil_oip_request parsed;
    if (!parse(worker, request, http, &parsed) ||
        !find_model(worker, request, call->model,
                    parsed.datatype == PIL_OIP_FP64 ? PIL_VECTOR_FLOAT64 : PIL_VECTOR_FLOAT32)) {
        return;
    }
    call->id = parsed.id;
    request->max_age_us = parsed.max_age_us;
    request->use_defaults = parsed.use_defaults;
    request->field_count = request->planned->plan->feature_count;
    if (add_rows(worker, request, &parsed) && add_outputs(worker, request, call, &parsed) &&
        has_room(worker, request, call)) {
        request->oip = call;
    }
}

void pil_oip_prepare(struct pil_worker *worker, struct pil_request *request, const struct pil_http_request *http) {
    struct pil_oip_route route;
    pil_oip_route_parse(http->path, &route);
    bool is_post = route.kind == PIL_OIP_ROUTE_INFER || route.kind == PIL_OIP_ROUTE_INDEX;
    request->head.status = 200;
    if (route.kind == PIL_OIP_ROUTE_UNKNOWN) {
        fail(worker, request, 404, "there is nothing at this path; the protocol is served at /v2");
        return;
    }
    if (http->method != (is_post ? PIL_HTTP_METHOD_POST : PIL_HTTP_METHOD_GET)) {
        fail(worker, request, 405, "this path takes %s", is_post ? "POST" : "GET");
        request->head.fields = is_post ? "allow: POST\r\n" : "allow: GET\r\n";
        return;
    }
    if (route.version.len > 0 && !pil_bytes_equal_text(route.version, "1")) {
        fail(worker, request, 404, "models have version 1 only; an answer's parameters say which releases it is from");
        return;
    }
    struct pil_oip_call *call = new_call(worker, request, &route);
    if (call == NULL) {
        return;
    }
    if (route.kind == PIL_OIP_ROUTE_INFER) {
        prepare_infer(worker, request, call, http);
        return;
    }
    if (route.kind == PIL_OIP_ROUTE_MODEL || route.kind == PIL_OIP_ROUTE_MODEL_READY) {
        if (!find_model(worker, request, call->model, PIL_VECTOR_FLOAT32)) {
            return;
        }
        if (!add_all_outputs(worker, request, call, false)) {
            fail(worker, request, 413, "the model has too many outputs for one answer");
            return;
        }
    }
    request->oip = call;
}

/* ---- Replies of inference. */

static const uint8_t *row_of(struct pil_worker *worker, const struct pil_request *request, uint32_t column,
                             uint32_t i) {
    const struct pil_vector_column *planned = &request->planned->plan->columns[column];
    const uint8_t *row = pil_vector_lookups(worker, request, planned->view)[i].row;
    const struct pil_view *view = request->planned->plan->views[planned->view].view;
    return row != NULL && !pil_row_is_null(view, row, planned->feature) ? row : NULL;
}

/* The value of a string column; a string that is missing is empty. */
static struct pil_bytes string_at(struct pil_worker *worker, const struct pil_request *request, uint32_t column,
                                  uint32_t i) {
    const struct pil_vector_column *planned = &request->planned->plan->columns[column];
    const struct pil_view *view = request->planned->plan->views[planned->view].view;
    return row_of(worker, request, column, i) != NULL
               ? pil_row_value(pil_vector_lookups(worker, request, planned->view) + i,
                               &view->features[planned->feature])
               : (struct pil_bytes){0};
}

static void put_row(struct pil_worker *worker, const struct pil_request *request, const struct output *output,
                    uint32_t i, uint8_t *to) {
    if (output->is_statuses) {
        pil_vector_put_row_statuses(worker, request, i, to);
    } else {
        pil_vector_put_row_values(worker, request, i, to);
    }
}

static void put_json_output(struct pil_worker *worker, const struct pil_request *request,
                            struct pil_oip_encoder *encoder, const struct output *output) {
    const struct pil_vector_column *columns = request->planned->plan->columns;
    pil_scalar scalar = output->column != NO_COLUMN ? columns[output->column].type.scalar : PIL_SCALAR_FLOAT32;
    pil_oip_put_output(encoder, &output->tensor, scalar == PIL_SCALAR_BYTES ? "base64" : NULL);
    for (uint32_t i = 0; i < request->row_count; i++) {
        if (output->column == NO_COLUMN) {
            put_row(worker, request, output, i, request->oip->row);
            pil_oip_put_numbers(encoder, output->tensor.datatype, request->oip->row,
                                (size_t)output->tensor.dimensions[1]);
        } else if (row_of(worker, request, (uint32_t)output->column, i) != NULL) {
            pil_oip_put_string(encoder, scalar, string_at(worker, request, (uint32_t)output->column, i));
        } else {
            pil_oip_put_null(encoder);
        }
    }
    pil_oip_put_output_end(encoder);
}

static uint64_t binary_bytes(struct pil_worker *worker, const struct pil_request *request,
                             const struct output *output) {
    uint64_t bytes = 0;
    if (output->column == NO_COLUMN) {
        uint32_t element = output->is_statuses ? 1 : pil_vector_dtype_bytes(request->planned->plan->dtype);
        return (uint64_t)request->row_count * (uint64_t)output->tensor.dimensions[1] * element;
    }
    for (uint32_t i = 0; i < request->row_count; i++) {
        bytes += 4 + string_at(worker, request, (uint32_t)output->column, i).len;
    }
    return bytes;
}

static void put_binary(struct pil_worker *worker, const struct pil_request *request, const struct output *output,
                       struct pil_sink *sink) {
    uint32_t element = output->is_statuses ? 1 : pil_vector_dtype_bytes(request->planned->plan->dtype);
    struct pil_vector_place place = {.bytes = (size_t)output->tensor.dimensions[1] * element};
    place.scratch = place.bytes > PIL_SINK_RESERVE_MAX ? request->oip->row : NULL;
    for (uint32_t i = 0; i < request->row_count; i++) {
        if (output->column != NO_COLUMN) {
            pil_oip_put_binary_string(sink, string_at(worker, request, (uint32_t)output->column, i));
        } else {
            put_row(worker, request, output, i, pil_vector_row_begin(&place, sink));
            pil_vector_row_end(&place, sink);
        }
    }
}

static void put_parameters(struct pil_worker *worker, const struct pil_request *request,
                           struct pil_oip_encoder *encoder) {
    static const struct pil_bytes none;
    const struct pil_vector_plan *plan = request->planned->plan;
    int64_t worst_age_us = -1;
    for (uint32_t slot = 0; slot < plan->view_count; slot++) {
        struct pil_bytes view = pil_bytes_from_text(plan->views[slot].view->name);
        struct pil_tensor_view summary;
        pil_vector_summarise(worker, request, slot, &summary);
        pil_oip_put_text_parameter(encoder, view, "release", pil_bytes_from_text(summary.release));
        pil_oip_put_number_parameter(encoder, view, "generation", (int64_t)summary.generation);
        pil_oip_put_number_parameter(encoder, view, "worst_age_us", summary.worst_age_us);
        pil_oip_put_number_parameter(encoder, view, "not_found", (int64_t)summary.not_found);
        worst_age_us = summary.worst_age_us > worst_age_us ? summary.worst_age_us : worst_age_us;
    }
    pil_oip_put_number_parameter(encoder, none, "worst_age_us", worst_age_us);
}

/* The JSON with the tensors that are in it; returns whether others come behind. */
static void put_infer_json(struct pil_worker *worker, const struct pil_request *request, struct pil_sink *sink) {
    struct pil_oip_encoder encoder = {.sink = sink};
    pil_oip_put_begin(&encoder, request->oip->model, request->oip->id);
    put_parameters(worker, request, &encoder);
    pil_oip_put_outputs(&encoder);
    for (uint32_t i = 0; i < request->oip->output_count; i++) {
        const struct output *output = &request->oip->outputs[i];
        if (output->is_binary) {
            pil_oip_put_binary_output(&encoder, &output->tensor, binary_bytes(worker, request, output));
        } else {
            put_json_output(worker, request, &encoder, output);
        }
    }
    pil_oip_put_end(&encoder);
}

/* Statuses that nobody asked for are counted all the same. */
static void count_statuses(struct pil_worker *worker, const struct pil_request *request) {
    for (uint32_t i = 0; i < request->oip->output_count; i++) {
        if (request->oip->outputs[i].is_statuses) {
            return;
        }
    }
    for (uint32_t i = 0; i < request->row_count; i++) {
        pil_vector_put_row_statuses(worker, request, i, request->oip->row);
    }
}

static bool has_binary(const struct pil_oip_call *call) {
    for (uint32_t i = 0; i < call->output_count; i++) {
        if (call->outputs[i].is_binary) {
            return true;
        }
    }
    return false;
}

/* ---- Other replies. */

static void put_model(const struct pil_request *request, struct pil_sink *sink) {
    struct pil_oip_encoder encoder = {.sink = sink};
    const struct pil_vector_plan *plan = request->planned->plan;
    pil_oip_put_model_begin(&encoder, request->oip->model);
    for (uint32_t i = 0; i < plan->join_key_count; i++) {
        struct pil_oip_tensor tensor = {.name = pil_bytes_from_text(plan->join_keys[i]->join_key),
                                        .datatype = pil_oip_key_datatype(plan->join_keys[i]->type),
                                        .dimension_count = 1,
                                        .dimensions = {-1}};
        pil_oip_put_model_tensor(&encoder, &tensor, false);
    }
    pil_oip_put_model_outputs(&encoder);
    for (uint32_t i = 0; i < request->oip->output_count; i++) {
        const struct output *output = &request->oip->outputs[i];
        struct pil_oip_tensor tensor = output->tensor;
        tensor.dimensions[0] = -1;
        pil_oip_put_model_tensor(&encoder, &tensor, output->column == NO_COLUMN);
        for (uint32_t c = 0; output->column == NO_COLUMN && c < plan->feature_count; c++) {
            const struct pil_vector_column *column = &plan->columns[c];
            if (output->is_statuses || !is_string(column)) {
                const struct pil_view *view = plan->views[column->view].view;
                pil_oip_put_model_column(&encoder, view->name, view->features[column->feature].name,
                                         output->is_statuses ? 1 : column->count);
            }
        }
        if (output->column == NO_COLUMN) {
            pil_oip_put_model_columns_end(&encoder);
        }
    }
    pil_oip_put_model_end(&encoder);
}

/* Why a service cannot answer now, without compiling it; "" when it can. */
static void state_of(const struct pil_worker *worker, const struct pil_project *project,
                     const struct pil_service *service, char reason[2 * NAME_BYTES]) {
    reason[0] = '\0';
    for (uint32_t i = 0; i < service->feature_count && reason[0] == '\0'; i++) {
        const struct pil_view *view = project->views[service->features[i].view_index].view;
        const struct pil_feature *feature = &view->features[service->features[i].feature_index];
        const struct pil_cache_view *served = pil_cache_view_find_in(
            worker->server->cache, pil_bytes_from_text(project->name), pil_bytes_from_text(view->name));
        if (served == NULL || pil_cache_live(served) == NULL) {
            snprintf(reason, 2 * NAME_BYTES, "view %s %s", view->name,
                     served == NULL ? "is not served here" : "has no release loaded yet");
        } else if (feature->type.shape == PIL_SHAPE_LIST) {
            snprintf(reason, 2 * NAME_BYTES, "%s:%s is a list, which no tensor holds", view->name, feature->name);
        }
    }
}

static void put_index(struct pil_worker *worker, struct pil_sink *sink) {
    struct pil_oip_encoder encoder = {.sink = sink};
    const struct pil_settings *settings = worker->server->settings;
    pil_oip_put_index_begin(&encoder);
    for (uint32_t i = 0; i < settings->view_count; i++) {
        const struct pil_project *project = NULL;
        for (uint32_t before = 0; before <= i; before++) {
            if (strcmp(settings->views[before].project, settings->views[i].project) == 0) {
                project = before == i ? pil_project_find(worker, settings->views[i].project) : NULL;
                break;
            }
        }
        for (uint32_t s = 0; project != NULL && s < project->service_count; s++) {
            const struct pil_service *service = &project->services[s];
            const struct pil_project *owner = NULL;
            char name[NAME_BYTES], reason[2 * NAME_BYTES];
            bool is_first =
                pil_service_find(worker, pil_bytes_from_text(service->name), &owner) != NULL && owner == project;
            snprintf(name, sizeof name, "%s%s%s", is_first ? "" : project->name, is_first ? "" : "/", service->name);
            state_of(worker, project, service, reason);
            pil_oip_put_index_model(&encoder, pil_bytes_from_text(name), pil_bytes_from_text(reason));
        }
    }
    pil_oip_put_index_end(&encoder);
}

static bool is_ready(const struct pil_worker *worker) {
    for (uint32_t i = 0; i < worker->server->settings->view_count; i++) {
        if (pil_cache_live(pil_cache_view_at(worker->server->cache, i)) == NULL) {
            return false;
        }
    }
    return true;
}

static void put_body(struct pil_worker *worker, const struct pil_request *request, struct pil_sink *sink) {
    switch (request->oip->kind) {
    case PIL_OIP_ROUTE_SERVER: pil_oip_put_server(sink, PIL_VERSION); return;
    case PIL_OIP_ROUTE_LIVE: pil_oip_put_health(sink, "live", true); return;
    case PIL_OIP_ROUTE_READY: pil_oip_put_health(sink, "ready", request->head.status == 200); return;
    case PIL_OIP_ROUTE_INDEX: put_index(worker, sink); return;
    case PIL_OIP_ROUTE_MODEL: put_model(request, sink); return;
    case PIL_OIP_ROUTE_MODEL_READY: pil_oip_put_model_ready(sink, request->oip->model, true); return;
    case PIL_OIP_ROUTE_INFER: put_infer_json(worker, request, sink); return;
    case PIL_OIP_ROUTE_UNKNOWN: break;
    }
    PIL_UNREACHABLE("a call without a route");
}

void pil_oip_reply(struct pil_worker *worker, struct pil_request *request, struct pil_sink *sink) {
    struct pil_output_sink *output = (struct pil_output_sink *)(void *)sink;
    bool is_binary = has_binary(request->oip);
    struct pil_http_head *head = &request->head;
    head->status = request->oip->kind == PIL_OIP_ROUTE_READY && !is_ready(worker) ? 503 : 200;
    head->content_type = is_binary ? "application/octet-stream" : "application/json";
    head->fields = is_binary ? inner_length_field : NULL;
    /* The head is shorter than this: it lies in one piece, where the length of the JSON is found again. */
    uint8_t *begin = pil_sink_reserve(sink, PIL_SINK_RESERVE_MAX);
    uint8_t *length = pil_http_put_head(sink, head);
    uint8_t *inner = is_binary ? memmem(begin, (size_t)(length - begin), inner_length, sizeof inner_length - 1) : NULL;
    uint64_t body = pil_output_position(output);
    put_body(worker, request, sink);
    if (inner != NULL && !sink->failed) {
        pil_http_patch_length(inner + sizeof inner_length - 1, pil_output_position(output) - body);
    }
    for (uint32_t i = 0; i < request->oip->output_count && is_binary; i++) {
        if (request->oip->outputs[i].is_binary) {
            put_binary(worker, request, &request->oip->outputs[i], sink);
        }
    }
    if (request->oip->kind == PIL_OIP_ROUTE_INFER) {
        count_statuses(worker, request);
    }
    if (!sink->failed) {
        pil_http_patch_length(length, pil_output_position(output) - body);
    }
}
