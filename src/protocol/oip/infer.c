/* SPDX-License-Identifier: Apache-2.0
 * POST /v2/models/NAME/infer from a body to lookups. What the answer needs lies in the batch's arena. */
#include "protocol/oip/internal.h"

#include "base/number.h"
#include "server/lane.h"

#include <stdio.h>

enum {
    JSON_BYTES_MIN = 2, /* of a value: a digit and a comma */
    INPUTS_MAX = 32,
    OUTPUTS_MAX = 1024, /* that a request can name */
};

/* ---- Keys. */

/* The join keys of the model, for error texts: "driver_id (INT64), region (BYTES)". */
static const char *describe_inputs(struct pil_turn *turn, const struct pil_vector_plan *plan) {
    char text[512] = "";
    if (plan->join_key_count == 0) {
        return "none";
    }
    for (uint32_t i = 0; i < plan->join_key_count; i++) {
        size_t len = strlen(text);
        snprintf(text + len, sizeof text - len, "%s%s (%s)", i > 0 ? ", " : "", plan->join_keys[i]->join_key,
                 pil_oip_datatype_text(pil_oip_key_datatype(plan->join_keys[i]->type)));
    }
    return pil_batch_text(turn->batch, "%s", text);
}

/* Finds the input of each join key; every input must belong to one. */
static bool match_inputs(struct pil_turn *turn, struct pil_oip_call *call, const struct pil_oip_request *parsed,
                         const struct pil_oip_input *inputs[PIL_VECTOR_KEYS_MAX]) {
    const struct pil_vector_plan *plan = pil_oip_plan(call);
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
            pil_oip_fail(turn, call, 400, "input %.*s is not one of the model's; they are: %s",
                         (int)(input->name.len < 64 ? input->name.len : 64), (const char *)input->name.data,
                         describe_inputs(turn, plan));
            return false;
        }
        inputs[key] = input;
    }
    for (uint32_t key = 0; key < plan->join_key_count; key++) {
        if (inputs[key] == NULL) {
            pil_oip_fail(turn, call, 400, "input %s is missing; the model's inputs are: %s",
                         plan->join_keys[key]->join_key, describe_inputs(turn, plan));
            return false;
        }
    }
    return true;
}

/* The input of every join key, and the values that inputs point into. */
struct keys {
    const struct pil_oip_input *inputs[PIL_VECTOR_KEYS_MAX];
    const struct pil_key_part *values;
};

/* Adds the lookup of one row of one view. Returns false with the error set. */
static bool add_row(struct pil_turn *turn, struct pil_oip_call *call, const struct keys *keys, uint32_t slot,
                    uint32_t row) {
    const struct pil_vector_plan *plan = pil_oip_plan(call);
    struct pil_key_part parts[PIL_VECTOR_KEYS_MAX] PIL_UNINITIALIZED;
    struct pil_bytes encoded;
    uint32_t bad = 0;
    for (uint32_t key = 0; key < plan->join_key_count; key++) {
        parts[key] = keys->values[keys->inputs[key]->value_first + row];
    }
    pil_status status = pil_tensor_key(&turn->batch->arena, plan, slot, parts, &encoded, &bad);
    if (status == PIL_STATUS_INVALID) {
        const struct pil_key_place place = {plan->join_keys[bad]->join_key, plan->join_keys[bad]->type, row};
        char problem[PIL_KEY_PROBLEM_BYTES];
        pil_oip_fail(turn, call, 400, "%s", pil_key_part_explain(&parts[bad], place, problem));
        return false;
    }
    if (status != PIL_STATUS_OK) {
        pil_oip_fail(turn, call, 413, "row %u: its key has over %d bytes, or all keys together have too many", row,
                     PIL_KEY_BYTES_MAX);
        return false;
    }
    struct pil_lookup *lookup = pil_batch_lookup(turn, call->request);
    if (lookup != NULL) {
        pil_tensor_lookup(&call->rows, slot, encoded, lookup);
    }
    return lookup != NULL;
}

static bool add_rows(struct pil_turn *turn, struct pil_oip_call *call, const struct pil_oip_request *parsed,
                     const struct pil_key_part *values) {
    const struct pil_vector_plan *plan = pil_oip_plan(call);
    uint32_t limit = turn->settings->limits.keys_per_request_max;
    struct keys keys = {.values = values};
    if (!match_inputs(turn, call, parsed, keys.inputs)) {
        return false;
    }
    if ((uint64_t)parsed->row_count * plan->view_count > limit) {
        pil_oip_fail(turn, call, 413,
                     "%u row%s of %u view%s are over the limit of %u lookups in one request (limits.keys_per_request)",
                     parsed->row_count, pil_number_plural(parsed->row_count), plan->view_count,
                     pil_number_plural(plan->view_count), limit);
        return false;
    }
    call->rows.row_count = parsed->row_count;
    call->rows.lookups = pil_request_lookups(turn, call->request);
    for (uint32_t slot = 0; slot < plan->view_count; slot++) {
        for (uint32_t row = 0; row < parsed->row_count; row++) {
            if (row % PIL_EXCHANGE_REST_ROWS == 0) {
                pil_lane_rest(turn);
            }
            if (!add_row(turn, call, &keys, slot, row)) {
                return false;
            }
        }
    }
    return true;
}

/* ---- Room. */

/* The values of a row that the answer has as JSON, the statuses apart, which cost little. */
static uint64_t json_values_of_row(const struct pil_oip_call *call) {
    uint64_t count = 0;
    for (uint32_t i = 0; i < call->output_count; i++) {
        const struct pil_oip_answer *output = &call->outputs[i];
        if (!output->is_binary && !output->is_statuses) {
            count += output->column != PIL_OIP_NO_COLUMN ? 1 : (uint64_t)output->tensor.dimensions[1];
        }
    }
    return count;
}

/* The bytes that the answer has at least; what strings take is known after the lookups. */
static uint64_t bytes_min(const struct pil_oip_call *call) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < call->output_count; i++) {
        const struct pil_oip_answer *output = &call->outputs[i];
        uint64_t row = output->column != PIL_OIP_NO_COLUMN ? 1 : (uint64_t)output->tensor.dimensions[1];
        bytes +=
            call->rows.row_count * row * (output->is_binary ? pil_oip_element_bytes(call, output) : JSON_BYTES_MIN);
    }
    return bytes;
}

/* Checks what the request asks for against the limits, and allocates a row. */
static bool has_room(struct pil_turn *turn, struct pil_oip_call *call) {
    const struct pil_vector_plan *plan = pil_oip_plan(call);
    uint32_t limit = turn->settings->limits.output_bytes_max;
    size_t row_bytes = (size_t)plan->width * pil_vector_dtype_bytes(plan->dtype);
    if (!pil_exchange_may_ask(turn, call->request, call->rows.row_count, json_values_of_row(call))) {
        return false;
    }
    if (bytes_min(call) > limit) {
        pil_oip_fail(turn, call, 413,
                     "the answer has over %llu bytes, over limits.output_bytes (%u): ask for fewer rows, or for binary "
                     "tensors",
                     (unsigned long long)bytes_min(call), limit);
        return false;
    }
    size_t room = row_bytes > plan->feature_count ? row_bytes : plan->feature_count;
    call->row = pil_arena_alloc(&turn->batch->arena, room, 1);
    if (call->row == NULL) {
        pil_oip_fail(turn, call, 413, "a row of %zu bytes is too large for an answer", row_bytes);
        return false;
    }
    return true;
}

/* ---- The body. */

/* Splits the body: the JSON is all of it, or as many bytes as the header says; binary tensors follow. */
static bool split_body(struct pil_turn *turn, struct pil_oip_call *call, const struct pil_http_request *http,
                       struct pil_bytes *json, struct pil_bytes *binary) {
    struct pil_bytes value;
    int64_t len = 0;
    *json = http->body;
    *binary = (struct pil_bytes){0};
    if (!pil_http_field(http->fields, "inference-header-content-length", &value)) {
        return true;
    }
    if (!pil_number_parse_i64(value, &len) || len < 0 || (uint64_t)len > http->body.len) {
        pil_oip_fail(turn, call, 400, "inference-header-content-length is %.*s; the body has %zu bytes",
                     (int)(value.len < 64 ? value.len : 64), (const char *)value.data, http->body.len);
        return false;
    }
    json->len = (size_t)len;
    *binary = pil_bytes_from(http->body.data + len, http->body.len - (size_t)len);
    return true;
}

/* Allocates arrays for a body of this length. The values come last and take what is left, so that their unused part
 * can be returned to the arena. */
static bool make_buffers(struct pil_turn *turn, struct pil_bytes json, size_t body_bytes,
                         struct pil_oip_buffers *ret_buffers) {
    struct pil_arena *arena = &turn->batch->arena;
    *ret_buffers = (struct pil_oip_buffers){
        .scratch = pil_arena_alloc(arena, json.len + 1, 1),
        .scratch_bytes = json.len + 1,
        .inputs = PIL_ARENA_NEW(arena, struct pil_oip_input, INPUTS_MAX),
        .input_max = INPUTS_MAX,
        .outputs = PIL_ARENA_NEW(arena, struct pil_oip_output, OUTPUTS_MAX),
        .output_max = OUTPUTS_MAX,
        .rest = pil_exchange_rest(turn),
    };
    size_t value_max = body_bytes + 1; /* binary ones may have one byte each */
    size_t room = pil_arena_left(arena) / sizeof(struct pil_key_part);
    ret_buffers->value_max = (uint32_t)(value_max < room ? value_max : room - (room > 0));
    ret_buffers->values = PIL_ARENA_NEW(arena, struct pil_key_part, ret_buffers->value_max);
    return ret_buffers->scratch != NULL && ret_buffers->inputs != NULL && ret_buffers->outputs != NULL &&
           ret_buffers->values != NULL;
}

/* *ret_values: the array that the inputs' value_first is an index of. */
static bool parse(struct pil_turn *turn, struct pil_oip_call *call, const struct pil_http_request *http,
                  struct pil_oip_request *ret_parsed, const struct pil_key_part **ret_values) {
    struct pil_arena *arena = &turn->batch->arena;
    struct pil_bytes json, binary;
    struct pil_oip_buffers buffers;
    struct pil_error error = {{0}};
    if (!split_body(turn, call, http, &json, &binary)) {
        return false;
    }
    if (!make_buffers(turn, json, http->body.len, &buffers)) {
        pil_oip_fail(turn, call, 413, "%zu bytes of JSON are too many: send keys as binary tensors", json.len);
        return false;
    }
    pil_status status = pil_oip_parse(json, binary, &buffers, ret_parsed, &error);
    if (status != PIL_STATUS_OK) {
        pil_arena_rewind(arena, (size_t)((uint8_t *)buffers.values - arena->data)); /* room for the error */
        pil_oip_fail(turn, call, status == PIL_STATUS_TOO_LARGE ? 413 : 400, "%s", error.text);
        return false;
    }
    uint32_t value_count = 0;
    for (uint32_t i = 0; i < ret_parsed->input_count; i++) {
        uint32_t end = ret_parsed->inputs[i].value_first + ret_parsed->row_count;
        value_count = end > value_count ? end : value_count;
    }
    pil_arena_rewind(arena, (size_t)((uint8_t *)(buffers.values + value_count) - arena->data));
    *ret_values = buffers.values;
    return true;
}

void pil_oip_infer_prepare(struct pil_turn *turn, struct pil_oip_call *call, const struct pil_http_request *http) {
    struct pil_oip_request parsed;
    const struct pil_key_part *values = NULL;
    if (!parse(turn, call, http, &parsed, &values) ||
        !pil_oip_find_model(turn, call, parsed.datatype == PIL_OIP_FP64 ? PIL_VECTOR_FLOAT64 : PIL_VECTOR_FLOAT32)) {
        return;
    }
    call->id = parsed.id;
    call->request->max_age_us = parsed.max_age_us;
    call->rows.use_defaults = parsed.use_defaults;
    call->is_routed =
        add_rows(turn, call, &parsed, values) && pil_oip_add_outputs(turn, call, &parsed) && has_room(turn, call);
}
