/* SPDX-License-Identifier: Apache-2.0
 * The Open Inference Protocol on a listener: oip.c routes requests and makes lookups of them, oip_reply.c answers;
 * framing is web.c's. */
#pragma once

#include "server/internal.h"

enum { PIL_OIP_NO_COLUMN = -1 };

/* One tensor of the answer. */
struct pil_oip_answer {
    struct pil_oip_tensor tensor;
    int32_t column; /* of the plan, for strings; else PIL_OIP_NO_COLUMN */
    bool is_statuses;
    bool is_binary;
};

/* What a request needs after the lookups; in the scratch of the batch. */
struct pil_oip_call {
    pil_oip_route_kind kind;
    struct pil_bytes model, id;
    struct pil_oip_answer *outputs; /* those to be answered, in order */
    uint32_t output_count;
    uint8_t *row; /* room for a row of values or of statuses */
};

/* Strings and bytes have tensors of their own. */
static inline bool pil_oip_is_string(const struct pil_vector_column *column) {
    return column->count == 0;
}

/* The error of an answer over limits.output_bytes. */
void pil_oip_fail_size(struct pil_worker *worker, struct pil_request *request, uint64_t bytes);

/* Routes the request and adds its lookups; on a mistake request->error_body and head.status are set, else
 * request->oip. */
void pil_oip_prepare(struct pil_worker *worker, struct pil_request *request, const struct pil_http_request *http);
/* Head and body of a request whose oip is set. false: nothing was written, there is an error to be told instead. */
bool pil_oip_reply(struct pil_worker *worker, struct pil_request *request, struct pil_sink *sink);
