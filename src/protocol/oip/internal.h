/* SPDX-License-Identifier: Apache-2.0
 * What the files of this room share: oip.c routes requests, infer.c makes lookups of POST /v2/models/NAME/infer,
 * models.c answers about models and the server, encode.c answers inference, error.c says what is wrong. */
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
    int32_t column; /* of the plan, for strings; else PIL_OIP_NO_COLUMN */
    bool is_statuses;
    bool is_binary;
};

/* State of a request. */
struct pil_oip_call {
    struct pil_exchange_call http; /* first */
    struct pil_request *request;
    bool is_routed; /* the answer is that of `kind`; false: an error */
    pil_oip_route_kind kind;
    struct pil_bytes model, id;
    struct pil_tensor_rows rows;    /* of INFER; of MODEL and MODEL_READY the plan alone */
    struct pil_oip_answer *outputs; /* those to be answered, in order */
    uint32_t output_count;
    uint8_t *row; /* room for a row of values or of statuses */
};

/* Strings and bytes have tensors of their own. */
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
/* The error of an answer over limits.output_bytes. */
void pil_oip_fail_size(struct pil_turn *turn, struct pil_oip_call *call, uint64_t bytes);

/* ---- models.c */

/* Finds the model and sets call->rows.prepared; false with the error set. */
bool pil_oip_find_model(struct pil_turn *turn, struct pil_oip_call *call, pil_vector_dtype dtype);
/* All outputs of the model, as inference answers them and metadata lists them; false: there is no room. */
bool pil_oip_add_all_outputs(struct pil_turn *turn, struct pil_oip_call *call, bool is_binary);
bool pil_oip_add_outputs(struct pil_turn *turn, struct pil_oip_call *call, const struct pil_oip_request *parsed);
void pil_oip_put_model(struct pil_turn *turn, struct pil_oip_call *call, struct pil_sink *sink);
void pil_oip_put_index(struct pil_turn *turn, struct pil_oip_call *call, struct pil_sink *sink);

/* ---- infer.c, encode.c */

/* Parses the body and adds the lookups; sets is_routed, or the error. */
void pil_oip_infer_prepare(struct pil_turn *turn, struct pil_oip_call *call, const struct pil_http_request *http);
/* Whether the strings of the answer fit; false with the error set. After the lookups. */
bool pil_oip_infer_fits(struct pil_turn *turn, struct pil_oip_call *call);
/* Head and body of an answer with binary tensors. */
void pil_oip_infer_put_binary(struct pil_turn *turn, struct pil_oip_call *call, struct pil_sink *sink);
/* The JSON, with the tensors that are in it. */
void pil_oip_infer_put(struct pil_turn *turn, struct pil_oip_call *call, struct pil_sink *sink);
bool pil_oip_has_binary(const struct pil_oip_call *call);
