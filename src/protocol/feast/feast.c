/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/feast/internal.h"

/* ---- Routes. */

static void route_health(struct pil_turn *turn, struct pil_feast_call *call, struct pil_bytes body) {
    (void)body;
    call->request->is_health = true;
    call->http.exchange.head.status = pil_scope_is_ready(&turn->scope) ? 200 : 503;
}

static const struct route {
    const char *path;
    pil_http_method method;
    const char *allow; /* for the 405 answer to other methods */
    void (*prepare)(struct pil_turn *turn, struct pil_feast_call *call, struct pil_bytes body);
} routes[] = {
    {"/get-online-features", PIL_HTTP_METHOD_POST, "allow: POST\r\n", pil_feast_online_prepare},
    {"/health", PIL_HTTP_METHOD_GET, "allow: GET\r\n", route_health},
};

static void prepare(struct pil_turn *turn, struct pil_request *request, const struct pil_http_request *http) {
    struct pil_feast_call *call = request->body;
    call->request = request;
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        if (!pil_bytes_equal_text(http->path, routes[i].path)) {
            continue;
        }
        if (http->method == routes[i].method) {
            routes[i].prepare(turn, call, http->body);
        } else {
            pil_exchange_fail(request, 405);
            call->http.exchange.head.fields = routes[i].allow;
        }
        return;
    }
    pil_exchange_fail(request, 404);
}

/* ---- Interface to the server. */

static const struct pil_exchange_service service = {.prepare = prepare, .put_detail = pil_feast_put_detail};

static pil_status decode(struct pil_turn *turn, struct pil_connection *connection, struct pil_bytes data,
                         size_t *ret_consumed) {
    return pil_exchange_receive(turn, connection, &service, data, ret_consumed);
}

static void encode(struct pil_turn *turn, struct pil_request *request, struct pil_sink *sink) {
    const struct pil_feast_call *call = request->body;
    pil_exchange_answer(turn, request, &service, call->is_online ? pil_feast_online_put : NULL, sink);
}

static void refuse(struct pil_turn *turn, struct pil_request *request, struct pil_sink *sink) {
    struct pil_feast_call *call = request->body;
    switch (request->refusal.reason) {
    case PIL_REFUSAL_LOOKUPS:
        pil_feast_fail(turn, call, PIL_FEAST_ERROR_TOO_LARGE, pil_bytes_from_text("entity lookups in one request"),
                       pil_bytes_from_text("rows times views, see limits.keys_per_request"));
        break;
    case PIL_REFUSAL_ROOM:
        pil_feast_fail(turn, call, PIL_FEAST_ERROR_TOO_LARGE, pil_bytes_from_text("bytes of keys in one request"),
                       pil_bytes_from_text("4 MiB, with the body"));
        break;
    case PIL_REFUSAL_CONNECTIONS:
        pil_feast_fail(turn, call, PIL_FEAST_ERROR_NO_PLACE, pil_bytes_from_text("limits.connections"),
                       (struct pil_bytes){0});
        break;
    case PIL_REFUSAL_OUTPUT:
        pil_feast_fail(turn, call, PIL_FEAST_ERROR_TOO_LARGE, pil_bytes_from_text("bytes in one answer"),
                       pil_bytes_from_text("limits.output_bytes"));
        break;
    case PIL_REFUSAL_MEMORY:
        pil_feast_fail(turn, call, PIL_FEAST_ERROR_MEMORY_SHARE, pil_bytes_from_text("limits.client_memory"),
                       (struct pil_bytes){0});
        break;
    case PIL_REFUSAL_NONE: PIL_UNREACHABLE("a request that was not refused");
    }
    pil_exchange_refuse(turn, request, &service, sink);
}

static void describe(const struct pil_request *request, struct pil_request_note *ret_note) {
    const struct pil_feast_call *call = request->body;
    *ret_note = (struct pil_request_note){
        .operation = call->is_online ? "get-online-features" : "http",
        .value_count = call->is_online ? (uint64_t)call->selection.feature_count * call->row_count : 0};
}

const struct pil_protocol pil_feast_protocol = {
    .name = "feast",
    .connection_bytes = sizeof(struct pil_exchange_connection),
    .request_bytes = sizeof(struct pil_feast_call),
    .decode = decode,
    .encode = encode,
    .refuse = refuse,
    .describe = describe,
};
