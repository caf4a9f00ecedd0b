/* SPDX-License-Identifier: Apache-2.0
 * Answers of the Open Inference Protocol, from rows and plans straight into the output. */
#include "server/oip.h"
#include "server/vector_rows.h"

#include <stdio.h>

enum { NAME_BYTES = 2 * PIL_NAME_BYTES_MAX + 2 };

static const char inner_length[] = "inference-header-content-length: ";
static const char inner_length_field[] = "inference-header-content-length: 0         \r\n";
PIL_STATIC_ASSERT(sizeof inner_length_field == sizeof inner_length + PIL_HTTP_LENGTH_CHARS + 2);

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

static void put_row(struct pil_worker *worker, const struct pil_request *request, const struct pil_oip_answer *output,
                    uint32_t i, uint8_t *to) {
    if (output->is_statuses) {
        pil_vector_put_row_statuses(worker, request, i, to);
    } else {
        pil_vector_put_row_values(worker, request, i, to);
    }
}

static void put_json_output(struct pil_worker *worker, const struct pil_request *request,
                            struct pil_oip_encoder *encoder, const struct pil_oip_answer *output) {
    const struct pil_vector_column *columns = request->planned->plan->columns;
    pil_scalar scalar = output->column != PIL_OIP_NO_COLUMN ? columns[output->column].type.scalar : PIL_SCALAR_FLOAT32;
    pil_oip_put_output(encoder, &output->tensor, scalar == PIL_SCALAR_BYTES ? "base64" : NULL);
    for (uint32_t i = 0; i < request->row_count; i++) {
        if (output->column == PIL_OIP_NO_COLUMN) {
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
                             const struct pil_oip_answer *output) {
    uint64_t bytes = 0;
    if (output->column == PIL_OIP_NO_COLUMN) {
        uint32_t element = output->is_statuses ? 1 : pil_vector_dtype_bytes(request->planned->plan->dtype);
        return (uint64_t)request->row_count * (uint64_t)output->tensor.dimensions[1] * element;
    }
    for (uint32_t i = 0; i < request->row_count; i++) {
        bytes += 4 + string_at(worker, request, (uint32_t)output->column, i).len;
    }
    return bytes;
}

static void put_binary(struct pil_worker *worker, const struct pil_request *request,
                       const struct pil_oip_answer *output, struct pil_sink *sink) {
    uint32_t element = output->is_statuses ? 1 : pil_vector_dtype_bytes(request->planned->plan->dtype);
    struct pil_vector_place place = {.bytes = (size_t)output->tensor.dimensions[1] * element};
    place.scratch = place.bytes > PIL_SINK_RESERVE_MAX ? request->oip->row : NULL;
    for (uint32_t i = 0; i < request->row_count; i++) {
        if (output->column != PIL_OIP_NO_COLUMN) {
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

/* The JSON with the tensors that are in it. */
static void put_infer_json(struct pil_worker *worker, const struct pil_request *request, struct pil_sink *sink) {
    struct pil_oip_encoder encoder = {.sink = sink};
    pil_oip_put_begin(&encoder, request->oip->model, request->oip->id);
    put_parameters(worker, request, &encoder);
    pil_oip_put_outputs(&encoder);
    for (uint32_t i = 0; i < request->oip->output_count; i++) {
        const struct pil_oip_answer *output = &request->oip->outputs[i];
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
        const struct pil_oip_answer *output = &request->oip->outputs[i];
        struct pil_oip_tensor tensor = output->tensor;
        tensor.dimensions[0] = -1;
        pil_oip_put_model_tensor(&encoder, &tensor, output->column == PIL_OIP_NO_COLUMN);
        for (uint32_t c = 0; output->column == PIL_OIP_NO_COLUMN && c < plan->feature_count; c++) {
            const struct pil_vector_column *column = &plan->columns[c];
            if (output->is_statuses || !pil_oip_is_string(column)) {
                const struct pil_view *view = plan->views[column->view].view;
                pil_oip_put_model_column(&encoder, view->name, view->features[column->feature].name,
                                         output->is_statuses ? 1 : column->count);
            }
        }
        if (output->column == PIL_OIP_NO_COLUMN) {
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

/* Escapes are not counted: what they add may still close the connection. */
static bool strings_fit(struct pil_worker *worker, struct pil_request *request) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < request->oip->output_count; i++) {
        const struct pil_oip_answer *output = &request->oip->outputs[i];
        bytes += output->column != PIL_OIP_NO_COLUMN ? binary_bytes(worker, request, output) : 0;
    }
    if (bytes >= worker->server->settings->limits.output_bytes_max) {
        pil_oip_fail_size(worker, request, bytes);
        return false;
    }
    return true;
}

bool pil_oip_reply(struct pil_worker *worker, struct pil_request *request, struct pil_sink *sink) {
    if (request->oip->kind == PIL_OIP_ROUTE_INFER && !strings_fit(worker, request)) {
        return false;
    }
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
    return true;
}
