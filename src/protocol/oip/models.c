/* SPDX-License-Identifier: Apache-2.0
 * Models: a feature service as the protocol presents it, its metadata, and the index of all models. */
#include "protocol/oip/internal.h"
#include "cache/cache.h"
#include "schema/project.h"

#include <stdio.h>

/* ---- Finding a model. */

/* "view:feature", in the arena; empty when there is no room. */
static struct pil_bytes name_of(struct pil_turn *turn, const struct pil_vector_plan *plan,
                                const struct pil_vector_column *column) {
    const struct pil_view *view = plan->views[column->view].view;
    char name[PIL_OIP_NAME_BYTES];
    int len = snprintf(name, sizeof name, "%s:%s", view->name, view->features[column->feature].name);
    uint8_t *copy = pil_arena_alloc(&turn->batch->arena, (size_t)len, 1);
    if (copy != NULL) {
        memcpy(copy, name, (size_t)len);
    }
    return pil_bytes_from(copy, copy != NULL ? (size_t)len : 0);
}

/* The HTTP status when a model cannot answer: it does not exist, the peer may not read it, it has no release yet, or it
 * has a type that no tensor holds. */
static int http_status_of(pil_status status) {
    return status == PIL_STATUS_NOT_FOUND                                ? 404
           : status == PIL_STATUS_DENIED                                 ? 403
           : status == PIL_STATUS_AGAIN || status == PIL_STATUS_CONFLICT ? 503
           : status == PIL_STATUS_UNSUPPORTED                            ? 501
                                                                         : 400;
}

bool pil_oip_find_model(struct pil_turn *turn, struct pil_oip_call *call, pil_vector_dtype dtype) {
    struct pil_error error = {{0}};
    struct pil_prepared *prepared = NULL;
    struct pil_prepared_variant variant = {.dtype = dtype, .need_tensor = false};
    pil_status status = pil_prepared_service(turn->prepared, &turn->scope, call->model, variant, &prepared, &error);
    for (uint32_t i = 0; status == PIL_STATUS_OK && i < prepared->plan->feature_count; i++) {
        const struct pil_vector_column *column = &prepared->plan->columns[i];
        if (column->type.shape == PIL_SHAPE_LIST) {
            struct pil_bytes name = name_of(turn, prepared->plan, column);
            status = pil_fail(&error, PIL_STATUS_UNSUPPORTED, "%.*s is a list, which no tensor holds", (int)name.len,
                              (const char *)name.data);
        }
    }
    if (status != PIL_STATUS_OK) {
        pil_oip_fail(turn, call, http_status_of(status), "%s", error.text);
        return false;
    }
    call->rows.prepared = prepared;
    call->request->view = prepared->selection.views[0].view;
    call->request->selection = &prepared->selection;
    return true;
}

/* ---- Outputs. */

static pil_oip_datatype datatype_of(pil_vector_dtype dtype) {
    switch (dtype) {
    case PIL_VECTOR_FLOAT32: return PIL_OIP_FP32;
    case PIL_VECTOR_FLOAT64: return PIL_OIP_FP64;
    }
    __builtin_unreachable();
}

static struct pil_oip_answer features_output(const struct pil_oip_call *call) {
    const struct pil_vector_plan *plan = pil_oip_plan(call);
    return (struct pil_oip_answer){.tensor = {pil_bytes_from_text("features"),
                                              datatype_of(plan->dtype),
                                              2,
                                              {(int64_t)call->rows.row_count, plan->width}},
                                   .column = PIL_OIP_NO_COLUMN};
}

static struct pil_oip_answer statuses_output(const struct pil_oip_call *call) {
    return (struct pil_oip_answer){.tensor = {pil_bytes_from_text("statuses"),
                                              PIL_OIP_UINT8,
                                              2,
                                              {(int64_t)call->rows.row_count, pil_oip_plan(call)->feature_count}},
                                   .column = PIL_OIP_NO_COLUMN,
                                   .is_statuses = true};
}

static struct pil_oip_answer string_output(const struct pil_oip_call *call, uint32_t column, struct pil_bytes name) {
    return (struct pil_oip_answer){.tensor = {.name = name,
                                              .datatype = PIL_OIP_BYTES,
                                              .dimension_count = 1,
                                              .dimensions = {(int64_t)call->rows.row_count}},
                                   .column = (int32_t)column};
}

static void add_output(struct pil_oip_call *call, struct pil_oip_answer output, bool is_binary) {
    output.is_binary = is_binary;
    call->outputs[call->output_count++] = output;
}

bool pil_oip_add_all_outputs(struct pil_turn *turn, struct pil_oip_call *call, bool is_binary) {
    const struct pil_vector_plan *plan = pil_oip_plan(call);
    uint32_t string_count = 0;
    for (uint32_t i = 0; i < plan->feature_count; i++) {
        string_count += pil_oip_is_string(&plan->columns[i]);
    }
    call->outputs = PIL_ARENA_NEW(&turn->batch->arena, struct pil_oip_answer, 2 + string_count);
    if (call->outputs == NULL) {
        return false;
    }
    if (plan->width > 0) {
        add_output(call, features_output(call), is_binary);
    }
    add_output(call, statuses_output(call), is_binary);
    for (uint32_t i = 0; i < plan->feature_count; i++) {
        if (pil_oip_is_string(&plan->columns[i])) {
            struct pil_bytes name = name_of(turn, plan, &plan->columns[i]);
            if (name.len == 0) {
                return false;
            }
            add_output(call, string_output(call, i, name), is_binary);
        }
    }
    return true;
}

/* The column of the string or bytes feature "view:feature"; PIL_OIP_NO_COLUMN when there is none. */
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

static bool add_asked_output(struct pil_turn *turn, struct pil_oip_call *call, const struct pil_oip_output *asked) {
    const struct pil_vector_plan *plan = pil_oip_plan(call);
    struct pil_oip_answer output;
    int32_t column = PIL_OIP_NO_COLUMN;
    if (pil_bytes_equal_text(asked->name, "features") && plan->width > 0) {
        output = features_output(call);
    } else if (pil_bytes_equal_text(asked->name, "statuses")) {
        output = statuses_output(call);
    } else if ((column = find_string(plan, asked->name)) != PIL_OIP_NO_COLUMN) {
        output = string_output(call, (uint32_t)column, asked->name);
    } else {
        pil_oip_fail(turn, call, 400, "the model has no output %.*s; its metadata lists what it has",
                     (int)(asked->name.len < 64 ? asked->name.len : 64), (const char *)asked->name.data);
        return false;
    }
    for (uint32_t i = 0; i < call->output_count; i++) {
        if (call->outputs[i].column == column && call->outputs[i].is_statuses == output.is_statuses) {
            pil_oip_fail(turn, call, 400, "output %.*s is asked for twice", (int)asked->name.len,
                         (const char *)asked->name.data);
            return false;
        }
    }
    add_output(call, output, asked->is_binary);
    return true;
}

bool pil_oip_add_outputs(struct pil_turn *turn, struct pil_oip_call *call, const struct pil_oip_request *parsed) {
    if (!parsed->has_outputs) {
        if (!pil_oip_add_all_outputs(turn, call, parsed->has_binary_output)) {
            pil_oip_fail(turn, call, 413, "the model has too many outputs for one request");
            return false;
        }
        return true;
    }
    call->outputs = PIL_ARENA_NEW(&turn->batch->arena, struct pil_oip_answer, parsed->output_count);
    if (call->outputs == NULL) {
        pil_oip_fail(turn, call, 413, "the request asks for too many outputs");
        return false;
    }
    for (uint32_t i = 0; i < parsed->output_count; i++) {
        if (!add_asked_output(turn, call, &parsed->outputs[i])) {
            return false;
        }
    }
    return true;
}

/* ---- Metadata. */

void pil_oip_put_model(struct pil_turn *turn, struct pil_oip_call *call, struct pil_sink *sink) {
    (void)turn;
    struct pil_oip_encoder encoder = {.sink = sink};
    const struct pil_vector_plan *plan = pil_oip_plan(call);
    pil_oip_put_model_begin(&encoder, call->model);
    for (uint32_t i = 0; i < plan->join_key_count; i++) {
        struct pil_oip_tensor tensor = {.name = pil_bytes_from_text(plan->join_keys[i]->join_key),
                                        .datatype = pil_oip_key_datatype(plan->join_keys[i]->type),
                                        .dimension_count = 1,
                                        .dimensions = {-1}};
        pil_oip_put_model_tensor(&encoder, &tensor, false);
    }
    pil_oip_put_model_outputs(&encoder);
    for (uint32_t i = 0; i < call->output_count; i++) {
        const struct pil_oip_answer *output = &call->outputs[i];
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

/* Says why a view cannot be read now; leaves the reason as it is when it can. */
static void state_of_view(struct pil_turn *turn, const struct pil_project *project, const struct pil_view *view,
                          char reason[2 * PIL_OIP_NAME_BYTES]) {
    const struct pil_cache_view *served = NULL;
    char full[PIL_OIP_NAME_BYTES];
    int len = snprintf(full, sizeof full, "%s/%s", project->name, view->name);
    bool is_served = pil_scope_view(&turn->scope, pil_bytes_from(full, (size_t)len), &served) == PIL_STATUS_OK;
    if (!is_served || pil_scope_live(&turn->scope, served) == NULL) {
        snprintf(reason, 2 * PIL_OIP_NAME_BYTES, "view %s %s", view->name,
                 is_served ? "has no release loaded yet" : "is not served here");
    }
}

/* Says why a service cannot answer now, without compiling it; "" when it can. */
static void state_of(struct pil_turn *turn, const struct pil_project *project, const struct pil_service *service,
                     char reason[2 * PIL_OIP_NAME_BYTES]) {
    const struct pil_view *checked = NULL; /* features of one view follow each other: its name is resolved once */
    reason[0] = '\0';
    for (uint32_t i = 0; i < service->feature_count && reason[0] == '\0'; i++) {
        const struct pil_view *view = project->views[service->features[i].view_index].view;
        const struct pil_feature *feature = &view->features[service->features[i].feature_index];
        if (view != checked) {
            state_of_view(turn, project, view, reason);
            checked = view;
        }
        if (reason[0] == '\0' && feature->type.shape == PIL_SHAPE_LIST) {
            snprintf(reason, 2 * PIL_OIP_NAME_BYTES, "%s:%s is a list, which no tensor holds", view->name,
                     feature->name);
        }
    }
}

static void put_index_model(struct pil_turn *turn, struct pil_oip_encoder *encoder, const struct pil_project *project,
                            const struct pil_service *service) {
    const struct pil_project *owner = NULL;
    const struct pil_service *found = NULL;
    char name[PIL_OIP_NAME_BYTES], reason[2 * PIL_OIP_NAME_BYTES];
    bool is_enough =
        pil_scope_service(&turn->scope, pil_bytes_from_text(service->name), &owner, &found) == PIL_STATUS_OK;
    snprintf(name, sizeof name, "%s%s%s", is_enough ? "" : project->name, is_enough ? "" : "/", service->name);
    state_of(turn, project, service, reason);
    pil_oip_put_index_model(encoder, pil_bytes_from_text(name), pil_bytes_from_text(reason));
}

/* Lists the services whose views the peer may read. */
void pil_oip_put_index(struct pil_turn *turn, struct pil_oip_call *call, struct pil_sink *sink) {
    struct pil_oip_encoder encoder = {.sink = sink};
    (void)call;
    pil_oip_put_index_begin(&encoder);
    for (uint32_t i = 0; i < pil_cache_view_count(turn->scope.cache); i++) {
        const struct pil_project *project = pil_scope_project_at(&turn->scope, i);
        for (uint32_t s = 0; project != NULL && s < project->service_count; s++) {
            if (pil_scope_may_read_service(&turn->scope, project, &project->services[s])) {
                put_index_model(turn, &encoder, project, &project->services[s]);
            }
        }
    }
    pil_oip_put_index_end(&encoder);
}
