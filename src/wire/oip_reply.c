/* SPDX-License-Identifier: Apache-2.0
 * Writes answers and errors of the Open Inference Protocol. */
#include "wire/oip_reply.h"
#include "base/panic.h"
#include "wire/value.h"

#include <math.h>

static void put_text(struct pil_sink *sink, const char *text) {
    pil_sink_write_text(sink, text);
}

static void put_string(struct pil_sink *sink, const char *text) {
    pil_value_put_json_string(sink, pil_bytes_from_text(text));
}

static void put_comma(struct pil_oip_encoder *encoder) {
    if (encoder->comma) {
        pil_sink_put(encoder->sink, ',');
    }
    encoder->comma = true;
}

static void open_list(struct pil_oip_encoder *encoder, const char *text) {
    put_text(encoder->sink, text);
    encoder->comma = false;
}

/* ---- Short answers. */

void pil_oip_put_error(struct pil_sink *sink, struct pil_bytes text) {
    put_text(sink, "{\"error\":");
    pil_value_put_json_string(sink, text);
    put_text(sink, "}");
}

static void put_bool(struct pil_sink *sink, bool value) {
    put_text(sink, value ? "true" : "false");
}

void pil_oip_put_health(struct pil_sink *sink, const char *what, bool value) {
    put_text(sink, "{\"");
    put_text(sink, what);
    put_text(sink, "\":");
    put_bool(sink, value);
    put_text(sink, "}");
}

void pil_oip_put_server(struct pil_sink *sink, const char *version) {
    put_text(sink, "{\"name\":\"pillion\",\"version\":");
    put_string(sink, version);
    put_text(sink, ",\"extensions\":[\"binary_tensor_data\",\"model_repository\"]}");
}

void pil_oip_put_model_ready(struct pil_sink *sink, struct pil_bytes model, bool is_ready) {
    put_text(sink, "{\"name\":");
    pil_value_put_json_string(sink, model);
    put_text(sink, ",\"ready\":");
    put_bool(sink, is_ready);
    put_text(sink, "}");
}

void pil_oip_put_index_begin(struct pil_oip_encoder *encoder) {
    open_list(encoder, "[");
}

void pil_oip_put_index_model(struct pil_oip_encoder *encoder, struct pil_bytes model, struct pil_bytes reason) {
    put_comma(encoder);
    put_text(encoder->sink, "{\"name\":");
    pil_value_put_json_string(encoder->sink, model);
    put_text(encoder->sink, ",\"version\":\"1\",\"state\":");
    put_string(encoder->sink, reason.len == 0 ? "READY" : "UNAVAILABLE");
    put_text(encoder->sink, ",\"reason\":");
    pil_value_put_json_string(encoder->sink, reason);
    put_text(encoder->sink, "}");
}

void pil_oip_put_index_end(struct pil_oip_encoder *encoder) {
    put_text(encoder->sink, "]");
}

/* ---- Tensors. */

/* {"name":…,"datatype":…,"shape":[…] */
static void put_tensor(struct pil_oip_encoder *encoder, const struct pil_oip_tensor *tensor) {
    struct pil_sink *sink = encoder->sink;
    put_comma(encoder);
    put_text(sink, "{\"name\":");
    pil_value_put_json_string(sink, tensor->name);
    put_text(sink, ",\"datatype\":");
    put_string(sink, pil_oip_datatype_text(tensor->datatype));
    put_text(sink, ",\"shape\":[");
    for (uint32_t i = 0; i < tensor->dimension_count; i++) {
        put_text(sink, i > 0 ? "," : "");
        pil_sink_write_i64(sink, tensor->dimensions[i]);
    }
    put_text(sink, "]");
}

void pil_oip_put_model_begin(struct pil_oip_encoder *encoder, struct pil_bytes model) {
    put_text(encoder->sink, "{\"name\":");
    pil_value_put_json_string(encoder->sink, model);
    open_list(encoder, ",\"versions\":[\"1\"],\"platform\":\"pillion_features\",\"inputs\":[");
}

void pil_oip_put_model_tensor(struct pil_oip_encoder *encoder, const struct pil_oip_tensor *tensor, bool has_columns) {
    put_tensor(encoder, tensor);
    if (has_columns) {
        open_list(encoder, ",\"parameters\":{\"columns\":\"");
    } else {
        put_text(encoder->sink, "}");
    }
}

/* Names of views and features contain no characters that need escaping. */
void pil_oip_put_model_column(struct pil_oip_encoder *encoder, const char *view, const char *feature,
                              uint32_t element_count) {
    put_comma(encoder);
    put_text(encoder->sink, view);
    pil_sink_put(encoder->sink, ':');
    put_text(encoder->sink, feature);
    if (element_count != 1) {
        pil_sink_put(encoder->sink, '[');
        pil_sink_write_u64(encoder->sink, element_count);
        pil_sink_put(encoder->sink, ']');
    }
}

void pil_oip_put_model_columns_end(struct pil_oip_encoder *encoder) {
    put_text(encoder->sink, "\"}}");
    encoder->comma = true;
}

void pil_oip_put_model_outputs(struct pil_oip_encoder *encoder) {
    open_list(encoder, "],\"outputs\":[");
}

void pil_oip_put_model_end(struct pil_oip_encoder *encoder) {
    put_text(encoder->sink, "]}");
}

/* ---- Inference. */

void pil_oip_put_begin(struct pil_oip_encoder *encoder, struct pil_bytes model, struct pil_bytes id) {
    put_text(encoder->sink, "{\"model_name\":");
    pil_value_put_json_string(encoder->sink, model);
    put_text(encoder->sink, ",\"model_version\":\"1\"");
    if (id.len > 0) {
        put_text(encoder->sink, ",\"id\":");
        pil_value_put_json_string(encoder->sink, id);
    }
    open_list(encoder, ",\"parameters\":{");
}

static void put_parameter_name(struct pil_oip_encoder *encoder, struct pil_bytes view, const char *name) {
    put_comma(encoder);
    pil_sink_put(encoder->sink, '"');
    if (view.len > 0) {
        pil_sink_write_bytes(encoder->sink, view);
        pil_sink_put(encoder->sink, '.');
    }
    put_text(encoder->sink, name);
    put_text(encoder->sink, "\":");
}

void pil_oip_put_text_parameter(struct pil_oip_encoder *encoder, struct pil_bytes view, const char *name,
                                struct pil_bytes value) {
    put_parameter_name(encoder, view, name);
    pil_value_put_json_string(encoder->sink, value);
}

void pil_oip_put_number_parameter(struct pil_oip_encoder *encoder, struct pil_bytes view, const char *name,
                                  int64_t value) {
    put_parameter_name(encoder, view, name);
    pil_sink_write_i64(encoder->sink, value);
}

void pil_oip_put_outputs(struct pil_oip_encoder *encoder) {
    open_list(encoder, "},\"outputs\":[");
}

void pil_oip_put_output(struct pil_oip_encoder *encoder, const struct pil_oip_tensor *tensor,
                        const char *content_type) {
    put_tensor(encoder, tensor);
    if (content_type != NULL) {
        put_text(encoder->sink, ",\"parameters\":{\"content_type\":");
        put_string(encoder->sink, content_type);
        put_text(encoder->sink, "}");
    }
    open_list(encoder, ",\"data\":[");
}

void pil_oip_put_null(struct pil_oip_encoder *encoder) {
    put_comma(encoder);
    put_text(encoder->sink, "null");
}

static bool is_finite(pil_scalar scalar, const uint8_t *value) {
    return scalar == PIL_SCALAR_FLOAT64 ? isfinite(pil_load_f64(value)) : isfinite(pil_load_f32(value));
}

static void put_floats(struct pil_oip_encoder *encoder, pil_scalar scalar, const uint8_t *values, size_t count,
                       bool is_there) {
    uint32_t width = pil_scalar_bytes(scalar);
    for (size_t i = 0; i < count; i++) {
        if (is_there || is_finite(scalar, values + i * width)) {
            put_comma(encoder);
            pil_value_put_json(encoder->sink, (struct pil_type){.scalar = scalar},
                               pil_bytes_from(values + i * width, width));
        } else {
            pil_oip_put_null(encoder);
        }
    }
}

void pil_oip_put_numbers(struct pil_oip_encoder *encoder, pil_oip_datatype datatype, const uint8_t *values,
                         size_t count, bool is_there) {
    switch (datatype) {
    case PIL_OIP_UINT8:
        for (size_t i = 0; i < count; i++) {
            put_comma(encoder);
            pil_sink_write_u64(encoder->sink, values[i]);
        }
        return;
    case PIL_OIP_FP32: put_floats(encoder, PIL_SCALAR_FLOAT32, values, count, is_there); return;
    case PIL_OIP_FP64: put_floats(encoder, PIL_SCALAR_FLOAT64, values, count, is_there); return;
    case PIL_OIP_BOOL:
    case PIL_OIP_UINT16:
    case PIL_OIP_UINT32:
    case PIL_OIP_UINT64:
    case PIL_OIP_INT8:
    case PIL_OIP_INT16:
    case PIL_OIP_INT32:
    case PIL_OIP_INT64:
    case PIL_OIP_FP16:
    case PIL_OIP_BF16:
    case PIL_OIP_BYTES:
    case PIL_OIP_DATATYPE_COUNT: break;
    }
    PIL_UNREACHABLE("no output has this datatype");
}

void pil_oip_put_string(struct pil_oip_encoder *encoder, pil_scalar scalar, struct pil_bytes value) {
    put_comma(encoder);
    pil_value_put_json(encoder->sink, (struct pil_type){.scalar = scalar}, value);
}

void pil_oip_put_output_end(struct pil_oip_encoder *encoder) {
    put_text(encoder->sink, "]}");
    encoder->comma = true;
}

void pil_oip_put_binary_output(struct pil_oip_encoder *encoder, const struct pil_oip_tensor *tensor, uint64_t bytes) {
    put_tensor(encoder, tensor);
    put_text(encoder->sink, ",\"parameters\":{\"binary_data_size\":");
    pil_sink_write_u64(encoder->sink, bytes);
    put_text(encoder->sink, "}}");
}

void pil_oip_put_end(struct pil_oip_encoder *encoder) {
    put_text(encoder->sink, "]}");
}

void pil_oip_put_binary_string(struct pil_sink *sink, struct pil_bytes value) {
    pil_store_u32(pil_sink_reserve(sink, 4), (uint32_t)value.len);
    pil_sink_advance(sink, 4);
    pil_sink_write_bytes(sink, value);
}
