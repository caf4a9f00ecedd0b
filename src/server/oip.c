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

enum { ERROR_BODY_BYTES = 8192, JSON_NUMBER_BYTES = 25, NAME_BYTES = 2 * PIL_NAME_BYTES_MAX + 2 };

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

void pil_oip_fail_size(struct pil_worker *worker, struct pil_request *request, uint64_t bytes) {
    fail(worker, request, 413, "the answer may have %llu bytes, over the limit of %u: ask for fewer rows or as binary",
         (unsigned long long)bytes, worker->server->settings->limits.output_bytes_max);
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

/* "view:feature"; empty: there is no room. */
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

static struct pil_oip_answer features_output(const struct pil_request *request) {
    const struct pil_vector_plan *plan = request->planned->plan;
    pil_oip_datatype datatype = plan->dtype == PIL_VECTOR_FLOAT64 ? PIL_OIP_FP64 : PIL_OIP_FP32;
    return (struct pil_oip_answer){
        .tensor = {pil_bytes_from_text("features"), datatype, 2, {(int64_t)request->row_count, plan->width}},
        .column = PIL_OIP_NO_COLUMN};
}

static struct pil_oip_answer statuses_output(const struct pil_request *request) {
    return (struct pil_oip_answer){.tensor = {pil_bytes_from_text("statuses"),
                                              PIL_OIP_UINT8,
                                              2,
                                              {(int64_t)request->row_count, request->planned->plan->feature_count}},
                                   .column = PIL_OIP_NO_COLUMN,
                                   .is_statuses = true};
}

static struct pil_oip_answer string_output(const struct pil_request *request, uint32_t column, struct pil_bytes name) {
    return (struct pil_oip_answer){.tensor = {.name = name,
                                              .datatype = PIL_OIP_BYTES,
                                              .dimension_count = 1,
                                              .dimensions = {(int64_t)request->row_count}},
                                   .column = (int32_t)column};
}

static void add_output(struct pil_oip_call *call, struct pil_oip_answer output, bool is_binary) {
    output.is_binary = is_binary;
    call->outputs[call->output_count++] = output;
}

/* All of the model, as inference answers them and metadata lists them; false: there is no room. */
static bool add_all_outputs(struct pil_worker *worker, struct pil_request *request, struct pil_oip_call *call,
                            bool is_binary) {
    const struct pil_vector_plan *plan = request->planned->plan;
    uint32_t string_count = 0;
    for (uint32_t i = 0; i < plan->feature_count; i++) {
        string_count += pil_oip_is_string(&plan->columns[i]);
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
        if (pil_oip_is_string(&plan->columns[i])) {
            struct pil_bytes name = name_of(worker, plan, &plan->columns[i]);
            if (name.len == 0) {
                return false;
            }
            add_output(call, string_output(request, i, name), is_binary);
        }
    }
    return true;
}

/* The column of a string or bytes feature by "view:feature"; PIL_OIP_NO_COLUMN: there is none. */
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
            if (pil_oip_is_string(column) && column->view == slot && column->feature == (uint32_t)feature) {
                return (int32_t)i;
            }
        }
    }
    return PIL_OIP_NO_COLUMN;
}

static bool add_asked_output(struct pil_worker *worker, struct pil_request *request, struct pil_oip_call *call,
                             const struct pil_oip_output *asked) {
    const struct pil_vector_plan *plan = request->planned->plan;
    struct pil_oip_answer output;
    int32_t column = PIL_OIP_NO_COLUMN;
    if (pil_bytes_equal_text(asked->name, "features") && plan->width > 0) {
        output = features_output(request);
    } else if (pil_bytes_equal_text(asked->name, "statuses")) {
        output = statuses_output(request);
    } else if ((column = find_string(plan, asked->name)) != PIL_OIP_NO_COLUMN) {
        output = string_output(request, (uint32_t)column, asked->name);
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

/* Room for one row, and an answer that fits the connection's output; strings are counted when they are known. */
static bool has_room(struct pil_worker *worker, struct pil_request *request, struct pil_oip_call *call) {
    const struct pil_vector_plan *plan = request->planned->plan;
    uint64_t limit = worker->server->settings->limits.output_bytes_max, bytes = 0;
    size_t row_bytes = (size_t)plan->width * pil_vector_dtype_bytes(plan->dtype);
    for (uint32_t i = 0; i < call->output_count; i++) {
        const struct pil_oip_answer *output = &call->outputs[i];
        uint64_t count = output->column != PIL_OIP_NO_COLUMN
                             ? 0
                             : (uint64_t)request->row_count * (uint64_t)output->tensor.dimensions[1];
        bytes += count * (output->is_binary     ? output->is_statuses ? 1 : pil_vector_dtype_bytes(plan->dtype)
                              : output->is_statuses ? 2
                                                : JSON_NUMBER_BYTES);
    }
    if (bytes >= limit) {
        pil_oip_fail_size(worker, request, bytes);
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
