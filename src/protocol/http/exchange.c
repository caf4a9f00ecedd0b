/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/http/exchange.h"

#include "base/number.h"
#include "server/lane.h"
#include "server/output.h"

enum {
    SMALL_BODY_BYTES = 65536, /* fits any batch that has room for another request, and is read at once: in a millisecond
                                 at most. A larger one must be the first of its batch, and is read in slices. */
    WORK_PER_BYTE = 8,        /* what reading a body counts (turn->work): JSON of one-digit numbers takes longest */
};

/* ---- Any thread. */

/* A body is taken as it is: decompressing one would take memory and time that nothing bounds in advance. */
static void refuse_encoding(struct pil_exchange *exchange) {
    exchange->head.status = 415;
    exchange->head.fields = "accept-encoding: identity\r\n"; /* RFC 9110 §15.5.16 */
    exchange->error = "this content-encoding is not supported: send the body as it is, without compression";
}

pil_status pil_exchange_decode(struct pil_http_cursor *cursor, struct pil_bytes data, size_t body_bytes_max,
                               struct pil_http_request *ret_http, struct pil_exchange *ret_exchange) {
    struct pil_http_limits limits = pil_http_limits_default;
    struct pil_http_request http = {0};
    limits.body_bytes_max = body_bytes_max;
    pil_status status = pil_http_decode(cursor, data, &limits, &http);
    if (status == PIL_STATUS_AGAIN) {
        return status;
    }
    if (status != PIL_STATUS_OK) {
        http.consumed = data.len;
        *ret_exchange = (struct pil_exchange){.head = {.status = http.error_status, .minor = 1}, .error = http.error};
    } else {
        *ret_exchange = (struct pil_exchange){.head = {.status = 200,
                                                       .minor = http.minor,
                                                       .keep_alive = http.keep_alive,
                                                       .omits_length = http.method == PIL_HTTP_METHOD_HEAD},
                                              .is_framed = true};
        if (http.encoding.len > 0 && http.body.len > 0) {
            refuse_encoding(ret_exchange);
        }
    }
    *ret_http = http;
    return PIL_STATUS_OK;
}

/* ---- Workers. */

static pil_status wait_for_rest(struct pil_turn *turn, struct pil_connection *connection,
                                struct pil_http_cursor *cursor) {
    if (cursor->expect_continue) {
        pil_status status = pil_connection_interject(turn, connection, pil_http_put_continue);
        if (status == PIL_STATUS_BUSY) {
            return status;
        }
        cursor->expect_continue = false; /* without memory to say it, too: no client waits for it for long */
    }
    return PIL_STATUS_AGAIN;
}

/* The chunks of the body become one piece where they are, so that a chunked body may be as long as any other. */
static void join_chunks(struct pil_http_request *http) {
    if (http->is_chunked) {
        http->body = pil_http_unchunk(http->body, (uint8_t *)(uintptr_t)http->body.data);
    }
}

/* What is wrong with the request; of a body that is too large, also the option that bounds it. */
static const char *explain(struct pil_turn *turn, const struct pil_http_request *http, const char *error) {
    return http->is_body_too_large
               ? pil_batch_text(turn->batch, "%s: at most %zu bytes are taken (limits.request_bytes)", error,
                                (size_t)turn->settings->limits.request_bytes_max)
               : error;
}

static void prepare(struct pil_turn *turn, struct pil_request *request, const struct pil_exchange_service *service,
                    const struct pil_http_request *http) {
    const struct pil_exchange_call *call = request->body;
    service->prepare(turn, request, http);
    if (call->exchange.head.status >= 400) {
        pil_batch_drop_lookups(turn, request);
    }
}

/* Reading many small bodies takes long, too: what has not been decoded when the turn has done enough waits. */
static void prepare_now(struct pil_turn *turn, struct pil_request *request, const struct pil_exchange_service *service,
                        struct pil_http_request *http) {
    join_chunks(http);
    prepare(turn, request, service, http);
    turn->work += http->body.len * WORK_PER_BYTE;
    turn->is_late |= turn->work >= turn->work_max;
}

static void prepare_later(struct pil_turn *turn, struct pil_request *request, const struct pil_http_request *http) {
    struct pil_exchange_call *call = request->body;
    struct pil_http_request *copy = PIL_ARENA_NEW(&turn->batch->arena, struct pil_http_request, 1);
    PIL_ASSERT(copy != NULL); /* pil_batch_has_room */
    *copy = *http;
    call->unprepared = copy;
    pil_batch_prepare_later(turn, request);
}

void pil_exchange_prepare(struct pil_turn *turn, struct pil_request *request,
                          const struct pil_exchange_service *service) {
    struct pil_exchange_call *call = request->body;
    struct pil_http_request http = *call->unprepared;
    call->unprepared = NULL;
    join_chunks(&http);
    pil_lane_rest(turn);
    prepare(turn, request, service, &http);
}

static void rest(void *context) {
    pil_lane_rest(context);
}

struct pil_json_rest pil_exchange_rest(struct pil_turn *turn) {
    return (struct pil_json_rest){.now = rest, .context = turn};
}

pil_status pil_exchange_receive(struct pil_turn *turn, struct pil_connection *connection,
                                const struct pil_exchange_service *service, struct pil_bytes data,
                                size_t *ret_consumed) {
    struct pil_exchange_connection *state = connection->private;
    struct pil_http_cursor before = state->cursor;
    struct pil_http_request http;
    struct pil_exchange exchange;
    pil_status status =
        pil_exchange_decode(&state->cursor, data, turn->settings->limits.request_bytes_max, &http, &exchange);
    if (status == PIL_STATUS_AGAIN) {
        return wait_for_rest(turn, connection, &state->cursor);
    }
    bool is_alone = turn->batch->request_count == 0;
    if (!pil_batch_has_room(turn->batch, 0) || (http.body.len > SMALL_BODY_BYTES && !is_alone)) {
        state->cursor = before;
        return PIL_STATUS_BUSY;
    }
    struct pil_request *request = pil_batch_add(turn, connection);
    struct pil_exchange_call *call = request->body;
    call->exchange = exchange;
    *ret_consumed = http.consumed;
    if (exchange.error != NULL) {
        call->detail = explain(turn, &http, exchange.error);
    } else if (http.body.len > SMALL_BODY_BYTES) {
        prepare_later(turn, request, &http);
    } else {
        prepare_now(turn, request, service, &http);
    }
    if (!exchange.head.keep_alive) {
        bool is_too_large = exchange.head.status == 413 || exchange.head.status == 431;
        pil_connection_finish(connection, exchange.is_framed ? PIL_CLOSE_PEER
                                          : is_too_large     ? PIL_CLOSE_REQUEST_BYTES
                                                             : PIL_CLOSE_PROTOCOL);
    }
    return PIL_STATUS_OK;
}

/* ---- Limits of answers. */

bool pil_exchange_may_ask(struct pil_turn *turn, struct pil_request *request, uint64_t rows, uint64_t columns) {
    struct pil_exchange_call *call = request->body;
    uint32_t limit = turn->settings->limits.values_per_request_max;
    if (columns == 0 || rows <= limit / columns) {
        return true;
    }
    pil_exchange_fail(request, 413);
    call->detail =
        pil_batch_text(turn->batch,
                       "%llu row%s of %llu value%s are %llu values, over limits.values_per_request (%u): ask "
                       "for fewer rows or features in one request",
                       (unsigned long long)rows, pil_number_plural(rows), (unsigned long long)columns,
                       pil_number_plural(columns), (unsigned long long)(rows * columns), limit);
    return false;
}

/* ---- Answers. */

static void put_own_body(const struct pil_exchange_call *call, const struct pil_exchange_service *service,
                         struct pil_sink *sink) {
    if (call->body.len > 0) {
        pil_sink_write_bytes(sink, call->body);
    } else {
        service->put_detail(sink, call->detail);
    }
}

void pil_exchange_answer(struct pil_turn *turn, struct pil_request *request, const struct pil_exchange_service *service,
                         pil_exchange_put_fn put_body, struct pil_sink *sink) {
    struct pil_output_sink *output = (struct pil_output_sink *)(void *)sink;
    struct pil_exchange_call *call = request->body;
    bool has_body =
        !call->exchange.head.omits_length && (put_body != NULL || call->body.len > 0 || call->detail != NULL);
    if (has_body && call->exchange.head.content_type == NULL) {
        call->exchange.head.content_type = "application/json";
    }
    request->is_error = call->exchange.head.status >= 400;
    uint8_t *patch = pil_http_put_head(sink, &call->exchange.head);
    uint64_t begin = pil_output_position(output);
    if (!has_body) {
        return;
    }
    if (put_body != NULL) {
        put_body(turn, request, sink);
    } else {
        put_own_body(call, service, sink);
    }
    if (!sink->failed) {
        pil_http_patch_length(patch, pil_output_position(output) - begin);
    }
}

void pil_exchange_refuse(struct pil_turn *turn, struct pil_request *request, const struct pil_exchange_service *service,
                         struct pil_sink *sink) {
    struct pil_exchange_call *call = request->body;
    call->exchange.head.minor = 1;
    call->exchange.head.keep_alive &= request->refusal.reason != PIL_REFUSAL_CONNECTIONS;
    pil_exchange_answer(turn, request, service, NULL, sink);
}

/* ---- Errors. */

bool pil_exchange_takes(struct pil_request *request, const struct pil_http_request *http, pil_http_method method) {
    struct pil_exchange_call *call = request->body;
    bool is_get = method == PIL_HTTP_METHOD_GET;
    if (http->method == method || (is_get && http->method == PIL_HTTP_METHOD_HEAD)) {
        return true;
    }
    pil_exchange_fail(request, 405);
    call->exchange.head.fields = is_get ? "allow: GET, HEAD\r\n" : "allow: POST\r\n";
    return false;
}

struct pil_sink pil_exchange_error_sink(struct pil_turn *turn) {
    void *body = pil_arena_alloc(&turn->batch->arena, PIL_EXCHANGE_ERROR_BYTES, 1);
    return pil_sink_fixed(body, PIL_EXCHANGE_ERROR_BYTES);
}

void pil_exchange_fail(struct pil_request *request, int status) {
    struct pil_exchange_call *call = request->body;
    call->exchange.head.status = status;
    call->body = (struct pil_bytes){0};
    call->detail = pil_http_reason(status);
}

void pil_exchange_keep(struct pil_turn *turn, struct pil_request *request, int status, const struct pil_sink *sink) {
    struct pil_exchange_call *call = request->body;
    pil_exchange_fail(request, status);
    if (sink->end != NULL && !sink->failed) {
        const uint8_t *body = sink->end - PIL_EXCHANGE_ERROR_BYTES;
        call->body = pil_bytes_from(body, (size_t)(sink->at - body));
        pil_arena_rewind(&turn->batch->arena, (size_t)(sink->at - turn->batch->arena.data));
    }
}
