/* SPDX-License-Identifier: Apache-2.0
 * Shared by the files of this folder: feast.c routes requests, online.c makes the lookups of POST /get-online-features,
 * encode.c answers it, error.c writes error answers. */
#pragma once

#include "protocol/feast/feast.h"
#include "protocol/http/exchange.h"
#include "selection/selection.h"
#include "wire/feast.h"

/* Of "project/view__feature", with a NUL. */
enum { PIL_FEAST_COLUMN_NAME_BYTES = PIL_SCOPE_NAME_BYTES + 2 + PIL_NAME_BYTES_MAX };

/* State of a request. */
struct pil_feast_call {
    struct pil_exchange_call http; /* first */
    struct pil_request *request;
    /* true for a get-online-features request that has its lookups: row i of slot s is lookup s * row_count + i */
    bool is_online;
    struct pil_feast_request body;
    struct pil_bytes project; /* that the request is for: bare names are of this project; empty: of any */
    struct pil_selection selection;
    uint32_t row_count;
};

/* The name of a view in the answer: "view", or "project/view" (in `text`) where the request reads views of that name
 * from several projects. */
struct pil_bytes pil_feast_view_name(const struct pil_feast_call *call, uint32_t slot, char text[PIL_SCOPE_NAME_BYTES]);
/* The name of the column of feature i of the selection: "feature", or "view__feature" where the request asks for full
 * names. It is in `text` or where the schema has it. */
struct pil_bytes pil_feast_column_name(const struct pil_feast_call *call, uint32_t i,
                                       char text[PIL_FEAST_COLUMN_NAME_BYTES]);
/* The join key that a JSON value is. */
struct pil_key_part pil_feast_key_part(const struct pil_feast_value *value);
/* Parses the body and adds the lookups; on a mistake, makes the answer an error. */
void pil_feast_online_prepare(struct pil_turn *turn, struct pil_feast_call *call, const struct pil_http_request *http);
void pil_feast_online_put(struct pil_turn *turn, struct pil_request *request, struct pil_sink *sink);
/* Makes the answer an error or a rejection as in wire/feast.h. */
void pil_feast_fail(struct pil_turn *turn, struct pil_feast_call *call, pil_feast_error error, struct pil_bytes first,
                    struct pil_bytes second);
void pil_feast_reject(struct pil_turn *turn, struct pil_feast_call *call, const struct pil_feast_rejection *rejection);
