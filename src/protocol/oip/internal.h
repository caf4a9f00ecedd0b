/* SPDX-License-Identifier: Apache-2.0
 * Shared by the files of this folder: oip.c routes requests, infer.c makes the lookups of POST /v2/models/NAME/infer,
 * models.c answers about models and the server, encode.c answers inference, error.c writes error answers. */
#pragma once

#include "protocol/http/exchange.h"
#include "protocol/oip/oip.h"
#include "selection/tensor_rows.h"
#include "vector/plan.h"
#include "wire/oip_reply.h"

enum { PIL_OIP_NO_COLUMN = -1, PIL_OIP_NAME_BYTES = 2 * PIL_NAME_BYTES_MAX + 2 };

/* One tensor of the answer. */
struct pil_oip_answer {
    struct pil_oip_tensor tensor;
    int32_t column; /* the plan's column of a string tensor; else PIL_OIP_NO_COLUMN */
    bool is_statuses;
    bool is_binary;
};

/* State of a request. */
struct pil_oip_call {
    struct pil_exchange_call http; /* first */
    struct pil_request *request;
    bool is_routed; /* true: answered as `kind` says; false: an error */
    pil_oip_route_kind kind;
    struct pil_bytes model, id;
    struct pil_tensor_rows rows;    /* for INFER; for MODEL and MODEL_READY only the plan is set */
    struct pil_oip_answer *outputs; /* the tensors of the answer, in order */
    uint32_t output_count;
    uint8_t *row; /* buffer for a row of values or of statuses */
};

/* Each string or bytes feature has a tensor of its own. */
static inline bool pil_oip_is_string(const struct pil_vector_column *column) {
    return column->count == 0;
}
static inline const struct pil_vector_plan *pil_oip_plan(const struct pil_oip_call *call) {
    return call->rows.prepared->plan;
}

/* ---- error.c */

/* Makes the answer an error: {"error": "…"}. */
void pil_oip_fail(struct pil_turn *turn, struct pil_oip_call *call, int status, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* ---- models.c */

/* Finds the model and sets call->rows.prepared. Returns false with the error set. */
bool pil_oip_find_model(struct pil_turn *turn, struct pil_oip_call *call, pil_vector_dtype dtype);
/* Adds all outputs of the model, in the order in which inference answers and metadata lists them. Returns false when
 * there is no room. */
bool pil_oip_add_all_outputs(struct pil_turn *turn, struct pil_oip_call *call, bool is_binary);
bool pil_oip_add_outputs(struct pil_turn *turn, struct pil_oip_call *call, const struct pil_oip_request *parsed);
void pil_oip_put_model(struct pil_turn *turn, struct pil_oip_call *call, struct pil_sink *sink);
void pil_oip_put_index(struct pil_turn *turn, struct pil_oip_call *call, struct pil_sink *sink);

/* ---- infer.c, encode.c */

/* Parses the body and adds the lookups; sets is_routed, or makes the answer an error. */
void pil_oip_infer_prepare(struct pil_turn *turn, struct pil_oip_call *call, const struct pil_http_request *http);
/* Of an element of a binary tensor; of a string, without its characters. */
uint32_t pil_oip_element_bytes(const struct pil_oip_call *call, const struct pil_oip_answer *output);
/* Writes head and body of an answer with binary tensors. */
void pil_oip_infer_put_binary(struct pil_turn *turn, struct pil_oip_call *call, struct pil_sink *sink);
/* Writes the JSON part, including the tensors that are not binary. */
void pil_oip_infer_put(struct pil_turn *turn, struct pil_oip_call *call, struct pil_sink *sink);
bool pil_oip_has_binary(const struct pil_oip_call *call);
