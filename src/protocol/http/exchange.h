/* SPDX-License-Identifier: Apache-2.0
 * HTTP framing, shared by all protocols over HTTP: takes a request off the front of a connection's bytes, answers bytes
 * that are not a request, sends "100 Continue", and writes the head around an answer's body. Routes and bodies belong
 * to the protocols. The first part needs no server; the second part is for protocols on a listener of the workers. */
#pragma once

#include "base/json.h"
#include "base/sink.h"
#include "server/batch.h"
#include "wire/http.h"

/* ---- Any thread. */

/* The answer to one request. */
struct pil_exchange {
    struct pil_http_head head; /* the protocol sets `status`, `content_type` and `fields`; omits_length: no body */
    bool is_framed;            /* false: these bytes are not a request; nothing behind them can be read */
    const char *error;         /* what is wrong, a phrase: the answer is head.status with it; NULL: nothing */
};

/* Takes one request off the front of `data`. AGAIN: it is incomplete. OK: *ret_consumed bytes are done, and
 * *ret_exchange is initialised: with status 200 for a request (*ret_http) that a protocol can answer, else with the
 * status and the error that say what is wrong: bytes that are no request, or a compressed body (415). */
pil_status pil_exchange_decode(struct pil_http_cursor *cursor, struct pil_bytes data, size_t body_bytes_max,
                               struct pil_http_request *ret_http, struct pil_exchange *ret_exchange) PIL_CHECKED;

/* ---- Workers. */

/* State of a connection and of a request; a protocol's own structs may begin with these. */
struct pil_exchange_connection {
    struct pil_http_cursor cursor;
};
struct pil_exchange_call {
    struct pil_exchange exchange;
    struct pil_bytes body; /* in the arena: an answer that is complete before the lookups; empty: there is none yet */
    const struct pil_http_request *unprepared; /* a request with a long body, in the arena, until it is prepared */
    const char *detail; /* an error text that put_detail writes in the protocol's form; NULL: none */
};

/* A protocol over HTTP. */
struct pil_exchange_service {
    /* Routes the request and adds its lookups. Reports a mistake through the call's status and its body or detail. */
    void (*prepare)(struct pil_turn *turn, struct pil_request *request, const struct pil_http_request *http);
    /* Writes an error body that contains `detail`. */
    void (*put_detail)(struct pil_sink *sink, const char *detail);
};

/* The decode function (pil_protocol) of a protocol whose connection and request state begin with the structs above. */
pil_status pil_exchange_receive(struct pil_turn *turn, struct pil_connection *connection,
                                const struct pil_exchange_service *service, struct pil_bytes data,
                                size_t *ret_consumed) PIL_CHECKED;
/* The prepare function (pil_protocol): requests with long bodies are prepared later. */
void pil_exchange_prepare(struct pil_turn *turn, struct pil_request *request,
                          const struct pil_exchange_service *service);
/* For readers of JSON: others are served while a long body is read. */
struct pil_json_rest pil_exchange_rest(struct pil_turn *turn);
enum { PIL_EXCHANGE_REST_ROWS = 1024 }; /* keys that a protocol encodes between two calls of pil_lane_rest */
typedef void (*pil_exchange_put_fn)(struct pil_turn *turn, struct pil_request *request, struct pil_sink *sink);
/* Makes the answer 413 when it would have more values as JSON than limits.values_per_request; `rows` and `columns` are
 * for the message. */
bool pil_exchange_may_ask(struct pil_turn *turn, struct pil_request *request, uint64_t rows, uint64_t columns);
/* Writes the whole answer. put_body writes the body; NULL: the call's body or detail is written, if any. Sets
 * request->is_error. */
void pil_exchange_answer(struct pil_turn *turn, struct pil_request *request, const struct pil_exchange_service *service,
                         pil_exchange_put_fn put_body, struct pil_sink *sink);
/* The same for a refused request, whose body or detail says why. The request may be incomplete. */
void pil_exchange_refuse(struct pil_turn *turn, struct pil_request *request, const struct pil_exchange_service *service,
                         struct pil_sink *sink);
/* Whether the request has this method, GET or POST. HEAD will do for GET: its answer is the same without the body. If
 * not, makes the answer 405 with the methods that would do. */
bool pil_exchange_takes(struct pil_request *request, const struct pil_http_request *http, pil_http_method method);
/* Turns a call into an error: its body is dropped, and the detail is the status' reason phrase. */
void pil_exchange_fail(struct pil_request *request, int status);

enum { PIL_EXCHANGE_ERROR_BYTES = 16384 };
/* A sink over the arena for the body of an error. pil_exchange_keep makes the bytes written the answer; if they did not
 * fit, the answer is the reason phrase of the status. */
struct pil_sink pil_exchange_error_sink(struct pil_turn *turn);
void pil_exchange_keep(struct pil_turn *turn, struct pil_request *request, int status, const struct pil_sink *sink);
