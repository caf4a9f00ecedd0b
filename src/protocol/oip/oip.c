/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/oip/internal.h"

/* ---- Routes: what each does before the lookups, and what it answers after them. */

static void prepare_ready(struct pil_turn *turn, struct pil_oip_call *call, const struct pil_http_request *http) {
    (void)http;
    call->http.exchange.head.status = pil_scope_is_ready(&turn->scope) ? 200 : 503;
    call->is_routed = true;
}

static void prepare_nothing(struct pil_turn *turn, struct pil_oip_call *call, const struct pil_http_request *http) {
    (void)turn, (void)http;
    call->is_routed = true;
}

static bool knows_a_project(const struct pil_scope *scope) {
    for (uint32_t i = 0; i < pil_cache_view_count(scope->cache); i++) {
        if (pil_scope_project_at(scope, i) != NULL) {
            return true;
        }
    }
    return false;
}

/* Before the first project is known, an empty index would say that there are no models. */
static void prepare_index(struct pil_turn *turn, struct pil_oip_call *call, const struct pil_http_request *http) {
    (void)http;
    if (pil_scope_awaits(&turn->scope, (struct pil_bytes){0}) && !knows_a_project(&turn->scope)) {
        pil_oip_fail(turn, call, 503, "no project of the served views was read yet: the models are not known");
        return;
    }
    call->is_routed = true;
}

static void prepare_model(struct pil_turn *turn, struct pil_oip_call *call, const struct pil_http_request *http) {
    (void)http;
    if (!pil_oip_find_model(turn, call, PIL_VECTOR_FLOAT32)) {
        return;
    }
    call->is_routed = pil_oip_add_all_outputs(turn, call, false);
    if (!call->is_routed) {
        pil_oip_fail(turn, call, 413, "the model has too many outputs for one answer");
    }
}

static void put_server(struct pil_turn *turn, struct pil_oip_call *call, struct pil_sink *sink) {
    (void)turn, (void)call;
    pil_oip_put_server(sink, PIL_VERSION);
}

static void put_live(struct pil_turn *turn, struct pil_oip_call *call, struct pil_sink *sink) {
    (void)turn, (void)call;
    pil_oip_put_health(sink, "live", true);
}

static void put_ready(struct pil_turn *turn, struct pil_oip_call *call, struct pil_sink *sink) {
    (void)turn;
    pil_oip_put_health(sink, "ready", call->http.exchange.head.status == 200);
}

static void put_model_ready(struct pil_turn *turn, struct pil_oip_call *call, struct pil_sink *sink) {
    (void)turn;
    pil_oip_put_model_ready(sink, call->model, true);
}

static const struct route {
    bool is_post;
    void (*prepare)(struct pil_turn *turn, struct pil_oip_call *call, const struct pil_http_request *http);
    void (*put)(struct pil_turn *turn, struct pil_oip_call *call, struct pil_sink *sink);
} routes[] = {
    [PIL_OIP_ROUTE_SERVER] = {false, prepare_nothing, put_server},
    [PIL_OIP_ROUTE_LIVE] = {false, prepare_nothing, put_live},
    [PIL_OIP_ROUTE_READY] = {false, prepare_ready, put_ready},
    [PIL_OIP_ROUTE_INDEX] = {true, prepare_index, pil_oip_put_index},
    [PIL_OIP_ROUTE_MODEL] = {false, prepare_model, pil_oip_put_model},
    [PIL_OIP_ROUTE_MODEL_READY] = {false, prepare_model, put_model_ready},
    [PIL_OIP_ROUTE_INFER] = {true, pil_oip_infer_prepare, pil_oip_infer_put},
};

static bool copy_model(struct pil_turn *turn, struct pil_oip_call *call, const struct pil_oip_route *route,
                       struct pil_bytes query) {
    char text[PIL_SCOPE_NAME_BYTES];
    struct pil_bytes project = {0};
    (void)pil_http_query(query, "project", &project);
    struct pil_bytes name = pil_scope_name_in(project, pil_bytes_from(route->model, route->model_len), text);
    uint8_t *model = pil_arena_alloc(&turn->batch->arena, name.len, 1);
    if (model == NULL) {
        call->request->refusal.reason = PIL_REFUSAL_ROOM;
        return false;
    }
    memcpy(model, name.data, name.len);
    call->model = pil_bytes_from(model, name.len);
    return true;
}

static void prepare(struct pil_turn *turn, struct pil_request *request, const struct pil_http_request *http) {
    struct pil_oip_call *call = request->body;
    struct pil_oip_route route;
    call->request = request;
    pil_oip_route_parse(http->path, &route);
    call->kind = route.kind;
    request->is_health = route.kind == PIL_OIP_ROUTE_LIVE || route.kind == PIL_OIP_ROUTE_READY;
    if (route.kind == PIL_OIP_ROUTE_UNKNOWN) {
        pil_oip_fail(turn, call, 404, "there is nothing at this path; the protocol is served at /v2");
        return;
    }
    bool is_post = routes[route.kind].is_post;
    if (!pil_exchange_takes(request, http, is_post ? PIL_HTTP_METHOD_POST : PIL_HTTP_METHOD_GET)) {
        pil_oip_fail(turn, call, 405, "this path takes %s", is_post ? "POST" : "GET");
        return;
    }
    if (route.version.len > 0 && !pil_bytes_equal_text(route.version, "1")) {
        pil_oip_fail(turn, call, 404,
                     "models have version 1 only; an answer's parameters say which releases it is from");
        return;
    }
    if (copy_model(turn, call, &route, http->query)) {
        routes[route.kind].prepare(turn, call, http);
    }
}

/* ---- Interface to the server. */

static void put_detail(struct pil_sink *sink, const char *detail) {
    pil_oip_put_error(sink, pil_bytes_from_text(detail));
}

static const struct pil_exchange_service service = {.prepare = prepare, .put_detail = put_detail};

static void prepare_later(struct pil_turn *turn, struct pil_request *request) {
    pil_exchange_prepare(turn, request, &service);
}

static pil_status decode(struct pil_turn *turn, struct pil_connection *connection, struct pil_bytes data,
                         size_t *ret_consumed) {
    return pil_exchange_receive(turn, connection, &service, data, ret_consumed);
}

static void put_routed(struct pil_turn *turn, struct pil_request *request, struct pil_sink *sink) {
    struct pil_oip_call *call = request->body;
    routes[call->kind].put(turn, call, sink);
}

static void encode(struct pil_turn *turn, struct pil_request *request, struct pil_sink *sink) {
    struct pil_oip_call *call = request->body;
    if (call->is_routed && call->kind == PIL_OIP_ROUTE_INFER && pil_oip_has_binary(call)) {
        pil_oip_infer_put_binary(turn, call, sink);
    } else {
        pil_exchange_answer(turn, request, &service, call->is_routed ? put_routed : NULL, sink);
    }
}

static void refuse(struct pil_turn *turn, struct pil_request *request, struct pil_sink *sink) {
    struct pil_oip_call *call = request->body;
    call->request = request; /* an incomplete request was not prepared */
    switch (request->refusal.reason) {
    case PIL_REFUSAL_LOOKUPS:
        pil_oip_fail(turn, call, 413, "more than %llu lookups in one request (limits.keys_per_request)",
                     (unsigned long long)request->refusal.limit);
        break;
    case PIL_REFUSAL_ROOM:
        pil_oip_fail(turn, call, 503, "the server has no room for this request now: send it again");
        break;
    case PIL_REFUSAL_CONNECTIONS:
        pil_oip_fail(turn, call, 503, "no place for one more connection: limits.connections is %llu",
                     (unsigned long long)request->refusal.limit);
        break;
    case PIL_REFUSAL_OUTPUT:
        pil_oip_fail(turn, call, 413,
                     "the answer is longer than limits.output_bytes (%llu): ask for fewer rows or as binary",
                     (unsigned long long)request->refusal.limit);
        break;
    case PIL_REFUSAL_MEMORY:
        pil_oip_fail(turn, call, 503,
                     "this client holds its share of limits.client_memory (%llu): take answers before you ask for more",
                     (unsigned long long)request->refusal.limit);
        break;
    case PIL_REFUSAL_NONE: PIL_UNREACHABLE("a request that was not refused");
    }
    pil_exchange_refuse(turn, request, &service, sink);
}

static void describe(const struct pil_request *request, struct pil_request_note *ret_note) {
    const struct pil_oip_call *call = request->body;
    bool is_infer = call->is_routed && call->kind == PIL_OIP_ROUTE_INFER;
    *ret_note = (struct pil_request_note){.operation = is_infer ? "infer" : "http",
                                          .value_count = is_infer ? pil_oip_plan(call)->feature_count : 0};
}

const struct pil_protocol pil_oip_protocol = {
    .name = "oip",
    .connection_bytes = sizeof(struct pil_exchange_connection),
    .request_bytes = sizeof(struct pil_oip_call),
    .decode = decode,
    .prepare = prepare_later,
    .encode = encode,
    .refuse = refuse,
    .describe = describe,
};
