/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/feast/internal.h"

/* ---- Routes. */

static void route_health(struct pil_turn *turn, struct pil_feast_call *call, const struct pil_http_request *http) {
    (void)http;
    call->request->is_health = true;
    call->http.exchange.head.status = pil_scope_is_ready(&turn->scope) ? 200 : 503;
}

/* What Feast's server does and this one does not: the answer says what to do instead. */
static const char to_write[] =
    "This server takes no writes: it serves releases that are built offline. Put the rows into the view's source, then "
    "run `pillion build` and `pillion promote`; every server that follows the channel takes the new release.";
static const char to_materialize[] =
    "Nothing is materialized here: run `pillion build` and `pillion promote` instead; every server that follows the "
    "channel takes the new release.";
static const char to_search[] =
    "This server finds rows by their keys and has no vector search: search in a vector store, then read the features "
    "of what it found with POST /get-online-features.";
static const char to_chat[] = "There is no chat here: read features with POST /get-online-features.";

static const struct route {
    const char *path;
    pil_http_method method; /* OTHER: any */
    bool has_children;      /* paths below this one are answered alike */
    void (*prepare)(struct pil_turn *turn, struct pil_feast_call *call, const struct pil_http_request *http);
    const char *instead; /* where prepare is NULL: the detail of the answer 501 */
} routes[] = {
    {"/get-online-features", PIL_HTTP_METHOD_POST, false, pil_feast_online_prepare, NULL},
    {"/health", PIL_HTTP_METHOD_GET, false, route_health, NULL},
    {"/push", PIL_HTTP_METHOD_POST, false, NULL, to_write},
    {"/write-to-online-store", PIL_HTTP_METHOD_POST, false, NULL, to_write},
    {"/materialize", PIL_HTTP_METHOD_POST, false, NULL, to_materialize},
    {"/materialize-incremental", PIL_HTTP_METHOD_POST, false, NULL, to_materialize},
    {"/search", PIL_HTTP_METHOD_POST, false, NULL, to_search},
    {"/retrieve-online-documents", PIL_HTTP_METHOD_POST, false, NULL, to_search},
    {"/v1/vector_stores", PIL_HTTP_METHOD_OTHER, true, NULL, to_search},
    {"/chat", PIL_HTTP_METHOD_OTHER, false, NULL, to_chat},
    {"/ws/chat", PIL_HTTP_METHOD_OTHER, false, NULL, to_chat},
    {"/static", PIL_HTTP_METHOD_OTHER, true, NULL, to_chat}, /* the page of the chat */
};

static const struct route *find_route(struct pil_bytes path) {
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        size_t len = strlen(routes[i].path);
        bool is_below = routes[i].has_children && path.len > len && path.data[len] == '/';
        if (pil_bytes_equal_text(pil_bytes_from(path.data, is_below ? len : path.len), routes[i].path)) {
            return &routes[i];
        }
    }
    return NULL;
}

static void prepare(struct pil_turn *turn, struct pil_request *request, const struct pil_http_request *http) {
    struct pil_feast_call *call = request->body;
    const struct route *route = find_route(http->path);
    call->request = request;
    if (route == NULL) {
        pil_exchange_fail(request, 404);
    } else if (route->method != PIL_HTTP_METHOD_OTHER && !pil_exchange_takes(request, http, route->method)) {
        return;
    } else if (route->prepare == NULL) {
        pil_exchange_fail(request, 501);
        call->http.detail = route->instead;
    } else {
        route->prepare(turn, call, http);
    }
}

/* ---- Interface to the server. */

static const struct pil_exchange_service service = {.prepare = prepare, .put_detail = pil_feast_put_detail};

static void prepare_later(struct pil_turn *turn, struct pil_request *request) {
    pil_exchange_prepare(turn, request, &service);
}

static pil_status decode(struct pil_turn *turn, struct pil_connection *connection, struct pil_bytes data,
                         size_t *ret_consumed) {
    return pil_exchange_receive(turn, connection, &service, data, ret_consumed);
}

static void encode(struct pil_turn *turn, struct pil_request *request, struct pil_sink *sink) {
    const struct pil_feast_call *call = request->body;
    pil_exchange_answer(turn, request, &service, call->is_online ? pil_feast_online_put : NULL, sink);
}

/* "name (limit)" */
static struct pil_bytes limit_text(struct pil_turn *turn, const struct pil_request *request, const char *name) {
    return pil_bytes_from_text(
        pil_batch_text(turn->batch, "%s (%llu)", name, (unsigned long long)request->refusal.limit));
}

static void refuse(struct pil_turn *turn, struct pil_request *request, struct pil_sink *sink) {
    struct pil_feast_call *call = request->body;
    call->request = request; /* an incomplete request was not prepared */
    switch (request->refusal.reason) {
    case PIL_REFUSAL_LOOKUPS: /* the limit was checked before: the batch has less room */
    case PIL_REFUSAL_ROOM:
        pil_feast_fail(turn, call, PIL_FEAST_ERROR_NO_ROOM, (struct pil_bytes){0}, (struct pil_bytes){0});
        break;
    case PIL_REFUSAL_CONNECTIONS:
        pil_feast_fail(turn, call, PIL_FEAST_ERROR_NO_PLACE, limit_text(turn, request, "limits.connections"),
                       (struct pil_bytes){0});
        break;
    case PIL_REFUSAL_OUTPUT:
        pil_feast_fail(turn, call, PIL_FEAST_ERROR_ANSWER_TOO_LARGE, limit_text(turn, request, "limits.output_bytes"),
                       (struct pil_bytes){0});
        break;
    case PIL_REFUSAL_MEMORY:
        pil_feast_fail(turn, call, PIL_FEAST_ERROR_MEMORY_SHARE, limit_text(turn, request, "limits.client_memory"),
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
    .prepare = prepare_later,
    .encode = encode,
    .refuse = refuse,
    .describe = describe,
};
