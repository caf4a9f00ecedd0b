/* SPDX-License-Identifier: Apache-2.0
 * Answers and errors of the Open Inference Protocol (oip.h) into bytes. Pure: writes to a sink only. */
#pragma once

#include "base/sink.h"
#include "wire/oip.h"

/* {"error":"…"} */
void pil_oip_put_error(struct pil_sink *sink, struct pil_bytes text);
/* {"live":true}; `what` is "live" or "ready" */
void pil_oip_put_health(struct pil_sink *sink, const char *what, bool value);
void pil_oip_put_server(struct pil_sink *sink, const char *version);
void pil_oip_put_model_ready(struct pil_sink *sink, struct pil_bytes model, bool is_ready);

/* Zero-initialised but for the sink. */
struct pil_oip_encoder {
    struct pil_sink *sink;
    bool comma; /* before the next element of the innermost list */
};

/* The index: begin; index_model for each model; end. `reason` is empty when the model is ready. */
void pil_oip_put_index_begin(struct pil_oip_encoder *encoder);
void pil_oip_put_index_model(struct pil_oip_encoder *encoder, struct pil_bytes model, struct pil_bytes reason);
void pil_oip_put_index_end(struct pil_oip_encoder *encoder);

struct pil_oip_tensor {
    struct pil_bytes name;
    pil_oip_datatype datatype;
    uint32_t dimension_count;
    int64_t dimensions[2]; /* -1: any, in metadata */
};

/* Metadata: model_begin; model_tensor for each input; model_outputs; model_tensor for each output, followed, if it has
 * columns, by model_column for each column and model_columns_end; model_end. Columns name the elements of a row. */
void pil_oip_put_model_begin(struct pil_oip_encoder *encoder, struct pil_bytes model);
void pil_oip_put_model_tensor(struct pil_oip_encoder *encoder, const struct pil_oip_tensor *tensor, bool has_columns);
void pil_oip_put_model_column(struct pil_oip_encoder *encoder, const char *view, const char *feature,
                              uint32_t element_count);
void pil_oip_put_model_columns_end(struct pil_oip_encoder *encoder);
void pil_oip_put_model_outputs(struct pil_oip_encoder *encoder);
void pil_oip_put_model_end(struct pil_oip_encoder *encoder);

/* Inference: begin; parameters; outputs; for each output output, its values, and output_end; end; then the binary
 * tensors in the order of their outputs. Parameters are named "name", or "view.name" when `view` is not empty. */
void pil_oip_put_begin(struct pil_oip_encoder *encoder, struct pil_bytes model, struct pil_bytes id);
void pil_oip_put_text_parameter(struct pil_oip_encoder *encoder, struct pil_bytes view, const char *name,
                                struct pil_bytes value);
void pil_oip_put_number_parameter(struct pil_oip_encoder *encoder, struct pil_bytes view, const char *name,
                                  int64_t value);
void pil_oip_put_outputs(struct pil_oip_encoder *encoder);
/* content_type: "base64" for a BYTES tensor that JSON cannot hold directly, or NULL. */
void pil_oip_put_output(struct pil_oip_encoder *encoder, const struct pil_oip_tensor *tensor, const char *content_type);
/* FP32, FP64 or UINT8. JSON has no NaN and no infinities. Where they are values (is_there), they become the strings
 * "NaN", "Infinity" and "-Infinity", as in protobuf's JSON; where they stand for a missing value, null. numpy, and so
 * KServe's and Triton's clients, reads all of these; orjson (KServe) refuses the bare words that Triton writes. */
void pil_oip_put_numbers(struct pil_oip_encoder *encoder, pil_oip_datatype datatype, const uint8_t *values,
                         size_t count, bool is_there);
/* Text as a string, bytes as base64. */
void pil_oip_put_string(struct pil_oip_encoder *encoder, pil_scalar scalar, struct pil_bytes value);
void pil_oip_put_null(struct pil_oip_encoder *encoder);
void pil_oip_put_output_end(struct pil_oip_encoder *encoder);
/* Instead of output, values and output_end: the tensor is binary and follows the JSON. */
void pil_oip_put_binary_output(struct pil_oip_encoder *encoder, const struct pil_oip_tensor *tensor, uint64_t bytes);
void pil_oip_put_end(struct pil_oip_encoder *encoder);
/* An element of a binary BYTES tensor. */
void pil_oip_put_binary_string(struct pil_sink *sink, struct pil_bytes value);
