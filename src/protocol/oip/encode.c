/* SPDX-License-Identifier: Apache-2.0
 * Answers of the Open Inference Protocol, written from rows and plans straight into the output. */
#include "protocol/oip/internal.h"

#include "cache/source.h"
#include "schema/view.h"
#include "server/output.h"
#include "snapshot/reader.h"
#include "wire/value.h"

enum { STRING_LENGTH_BYTES = 4 };

static const char inner_length[] = "inference-header-content-length: ";
static const char inner_length_field[] = "inference-header-content-length: 0         \r\n";
PIL_STATIC_ASSERT(sizeof inner_length_field == sizeof inner_length + PIL_HTTP_LENGTH_CHARS + 2);

/* ---- Answers to inference. */

static const uint8_t *row_of(const struct pil_oip_call *call, uint32_t column, uint32_t i) {
    const struct pil_vector_column *planned = &pil_oip_plan(call)->columns[column];
    const uint8_t *row = pil_tensor_lookups(&call->rows, planned->view)[i].row.fields;
    const struct pil_view *view = pil_oip_plan(call)->views[planned->view].view;
    return row != NULL && !pil_row_is_null(view, row, planned->feature) ? row : NULL;
}

/* The value of a string column; empty when it is missing. */
static struct pil_bytes string_at(const struct pil_oip_call *call, uint32_t column, uint32_t i) {
    const struct pil_vector_column *planned = &pil_oip_plan(call)->columns[column];
    const struct pil_view *view = pil_oip_plan(call)->views[planned->view].view;
    return row_of(call, column, i) != NULL ? pil_row_value(&pil_tensor_lookups(&call->rows, planned->view)[i].row,
                                                           &view->features[planned->feature])
                                           : (struct pil_bytes){0};
}

static void put_row(struct pil_turn *turn, const struct pil_oip_call *call, const struct pil_oip_answer *output,
                    uint32_t i, uint8_t *to) {
    if (output->is_statuses) {
        pil_tensor_put_statuses(&call->rows, i, turn->value_counts, to);
    } else {
        pil_tensor_put_values(&call->rows, i, to);
    }
}

/* The values of a row, column by column; a vector is a column of several elements. */
static void put_json_features(struct pil_turn *turn, const struct pil_oip_call *call, struct pil_oip_encoder *encoder,
                              const struct pil_oip_answer *output, uint32_t i) {
    const struct pil_vector_plan *plan = pil_oip_plan(call);
    const uint8_t *at = call->row;
    put_row(turn, call, output, i, call->row);
    for (uint32_t c = 0; c < plan->feature_count; c++) {
        uint32_t count = plan->columns[c].count;
        pil_oip_put_numbers(encoder, output->tensor.datatype, at, count, row_of(call, c, i) != NULL);
        at += (size_t)count * pil_vector_dtype_bytes(plan->dtype);
    }
}

/* The "content_type" of a text column whose JSON is encoded; NULL when the text stands as it is. */
static const char *content_type_of(pil_scalar scalar) {
    return pil_scalar_is_text(scalar) && !pil_scalar_is_utf8(scalar) ? "base64" : NULL;
}

static void put_json_output(struct pil_turn *turn, const struct pil_oip_call *call, struct pil_oip_encoder *encoder,
                            const struct pil_oip_answer *output) {
    const struct pil_vector_column *columns = pil_oip_plan(call)->columns;
    pil_scalar scalar = output->column != PIL_OIP_NO_COLUMN ? columns[output->column].type.scalar : PIL_SCALAR_FLOAT32;
    pil_oip_put_output(encoder, &output->tensor, content_type_of(scalar));
    for (uint32_t i = 0; i < call->rows.row_count; i++) {
        if (output->is_statuses) {
            put_row(turn, call, output, i, call->row);
            pil_oip_put_numbers(encoder, output->tensor.datatype, call->row, (size_t)output->tensor.dimensions[1],
                                true);
        } else if (output->column == PIL_OIP_NO_COLUMN) {
            put_json_features(turn, call, encoder, output, i);
        } else if (row_of(call, (uint32_t)output->column, i) != NULL) {
            pil_oip_put_string(encoder, scalar, string_at(call, (uint32_t)output->column, i));
        } else {
            pil_oip_put_null(encoder);
        }
    }
    pil_oip_put_output_end(encoder);
}

uint32_t pil_oip_element_bytes(const struct pil_oip_call *call, const struct pil_oip_answer *output) {
    return output->column != PIL_OIP_NO_COLUMN ? STRING_LENGTH_BYTES
           : output->is_statuses               ? 1
                                               : pil_vector_dtype_bytes(pil_oip_plan(call)->dtype);
}

static uint64_t element_count(const struct pil_oip_call *call, const struct pil_oip_answer *output) {
    uint64_t row = output->column != PIL_OIP_NO_COLUMN ? 1 : (uint64_t)output->tensor.dimensions[1];
    return call->rows.row_count * row;
}

static uint64_t binary_bytes(const struct pil_oip_call *call, const struct pil_oip_answer *output) {
    uint64_t bytes = element_count(call, output) * pil_oip_element_bytes(call, output);
    for (uint32_t i = 0; output->column != PIL_OIP_NO_COLUMN && i < call->rows.row_count; i++) {
        bytes += string_at(call, (uint32_t)output->column, i).len;
    }
    return bytes;
}

static void put_binary(struct pil_turn *turn, const struct pil_oip_call *call, const struct pil_oip_answer *output,
                       struct pil_sink *sink) {
    uint32_t element = output->is_statuses ? 1 : pil_vector_dtype_bytes(pil_oip_plan(call)->dtype);
    struct pil_tensor_place place = {.bytes = (size_t)output->tensor.dimensions[1] * element};
    place.buffer = place.bytes > PIL_SINK_RESERVE_MAX ? call->row : NULL;
    for (uint32_t i = 0; i < call->rows.row_count; i++) {
        if (output->column != PIL_OIP_NO_COLUMN) {
            pil_oip_put_binary_string(sink, string_at(call, (uint32_t)output->column, i));
        } else {
            put_row(turn, call, output, i, pil_tensor_row_begin(&place, sink));
            pil_tensor_row_end(&place, sink);
        }
    }
}

static void put_parameters(const struct pil_turn *turn, const struct pil_oip_call *call,
                           struct pil_oip_encoder *encoder) {
    static const struct pil_bytes none;
    const struct pil_vector_plan *plan = pil_oip_plan(call);
    int64_t worst_age_us = -1;
    for (uint32_t slot = 0; slot < plan->view_count; slot++) {
        struct pil_bytes view = pil_bytes_from_text(plan->views[slot].view->name);
        struct pil_tensor_view summary;
        pil_tensor_summarise(&call->rows, slot, turn->wall_us, &summary);
        pil_oip_put_text_parameter(encoder, view, "release", pil_bytes_from_text(summary.release));
        pil_oip_put_number_parameter(encoder, view, "generation", (int64_t)summary.generation);
        pil_oip_put_number_parameter(encoder, view, "worst_age_us", summary.worst_age_us);
        pil_oip_put_number_parameter(encoder, view, "not_found", (int64_t)summary.not_found);
        worst_age_us = summary.worst_age_us > worst_age_us ? summary.worst_age_us : worst_age_us;
    }
    pil_oip_put_number_parameter(encoder, none, "worst_age_us", worst_age_us);
}

/* Counts the value statuses for metrics when the request did not ask for the statuses tensor. */
static void count_statuses(struct pil_turn *turn, const struct pil_oip_call *call) {
    for (uint32_t i = 0; i < call->output_count; i++) {
        if (call->outputs[i].is_statuses) {
            return;
        }
    }
    for (uint32_t i = 0; i < call->rows.row_count; i++) {
        pil_tensor_put_statuses(&call->rows, i, turn->value_counts, call->row);
    }
}

void pil_oip_infer_put(struct pil_turn *turn, struct pil_oip_call *call, struct pil_sink *sink) {
    struct pil_oip_encoder encoder = {.sink = sink};
    pil_oip_put_begin(&encoder, call->model, call->id);
    put_parameters(turn, call, &encoder);
    pil_oip_put_outputs(&encoder);
    for (uint32_t i = 0; i < call->output_count; i++) {
        const struct pil_oip_answer *output = &call->outputs[i];
        if (output->is_binary) {
            pil_oip_put_binary_output(&encoder, &output->tensor, binary_bytes(call, output));
        } else {
            put_json_output(turn, call, &encoder, output);
        }
    }
    pil_oip_put_end(&encoder);
    count_statuses(turn, call);
}

bool pil_oip_has_binary(const struct pil_oip_call *call) {
    for (uint32_t i = 0; i < call->output_count; i++) {
        if (call->outputs[i].is_binary) {
            return true;
        }
    }
    return false;
}

void pil_oip_infer_put_binary(struct pil_turn *turn, struct pil_oip_call *call, struct pil_sink *sink) {
    struct pil_output_sink *output = (struct pil_output_sink *)(void *)sink;
    struct pil_http_head head = call->http.exchange.head; /* a refusal in place of this answer has another one */
    head.content_type = "application/octet-stream";
    head.fields = inner_length_field;
    /* Reserves more than the head needs, so that the head lies in one chunk, where the field with the length of the
     * JSON can be found. */
    uint8_t *begin = pil_sink_reserve(sink, PIL_SINK_RESERVE_MAX);
    uint8_t *length = pil_http_put_head(sink, &head);
    uint8_t *inner = memmem(begin, (size_t)(length - begin), inner_length, sizeof inner_length - 1);
    uint64_t body = pil_output_position(output);
    pil_oip_infer_put(turn, call, sink);
    if (inner != NULL && !sink->failed) {
        pil_http_patch_length(inner + sizeof inner_length - 1, pil_output_position(output) - body);
    }
    for (uint32_t i = 0; i < call->output_count; i++) {
        if (call->outputs[i].is_binary) {
            put_binary(turn, call, &call->outputs[i], sink);
        }
    }
    if (!sink->failed) {
        pil_http_patch_length(length, pil_output_position(output) - body);
    }
}
