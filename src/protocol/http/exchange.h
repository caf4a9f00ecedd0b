/* SPDX-License-Identifier: Apache-2.0
 * HTTP framing, once for every protocol that is spoken over it: a request off the front of a connection's bytes, the
 * answer to bytes that are not a request, "100 Continue", and the head around an answer's body. Routes and bodies are
 * the protocols'. The first part needs no server; the second part is for protocols on a listener of the workers. */
#pragma once

#include "base/sink.h"
#include "server/batch.h"
#include "wire/http.h"

/* ---- Any thread. */

/* The answer to one request. */
struct pil_exchange {
    struct pil_http_head head; /* `status`, `content_type` and `fields` are the protocol's; omits_length: no body */
    bool is_framed;            /* false: these bytes are not a request; nothing behind them can be read */
    const char *error;         /* where is_framed is false: what is wrong, a phrase */
};

/* Takes one request off the front of `data`. AGAIN: it is incomplete. OK: *ret_consumed bytes are done, and
 * *ret_exchange is the answer to begin with: of a request (*ret_http) status 200; where is_framed is false, the status
 * that says what is wrong. */
pil_status pil_exchange_decode(struct pil_http_cursor *cursor, struct pil_bytes data, size_t body_bytes_max,
                               struct pil_http_request *ret_http, struct pil_exchange *ret_exchange) PIL_CHECKED;

/* ---- Workers. */

/* What the protocols keep for a connection and a request; theirs may begin with it. */
struct pil_exchange_connection {
    struct pil_http_cursor cursor;
};
struct pil_exchange_call {
    struct pil_exchange exchange;
    struct pil_bytes body; /* an answer that is complete before the lookups, in the arena; empty: there is none yet */
    const char *detail;    /* an error for the protocol's shape; NULL: none */
};

/* A protocol over HTTP. */
struct pil_exchange_service {
    /* Routes the request and adds its lookups. A mistake is told by the call's status and body, or detail. */
    void (*prepare)(struct pil_turn *turn, struct pil_request *request, const struct pil_http_request *http);
    /* A body that says `detail`. */
    void (*put_detail)(struct pil_sink *sink, const char *detail);
};

/* pil_protocol.decode of a protocol whose connection and request begin with the structs above. */
pil_status pil_exchange_receive(struct pil_turn *turn, struct pil_connection *connection,
                                const struct pil_exchange_service *service, struct pil_bytes data,
                                size_t *ret_consumed) PIL_CHECKED;
/* Writes the whole answer. put_body (NULL: body or detail of the call, or nothing) writes the body. Sets
 * request->is_error. */
void pil_exchange_answer(struct pil_turn *turn, struct pil_request *request, const struct pil_exchange_service *service,
                         void (*put_body)(struct pil_turn *turn, struct pil_request *request, struct pil_sink *sink),
                         struct pil_sink *sink);
/* Turns a call into an error: no lookups, no body yet. */
void pil_exchange_fail(struct pil_request *request, int status);

enum { PIL_EXCHANGE_ERROR_BYTES = 16384 };
/* A sink over the arena for the body of an error; pil_exchange_keep makes what was written the answer, or, where it did
 * not fit, the reason phrase of the status. */
struct pil_sink pil_exchange_error_sink(struct pil_turn *turn);
void pil_exchange_keep(struct pil_turn *turn, struct pil_request *request, int status, const struct pil_sink *sink);
