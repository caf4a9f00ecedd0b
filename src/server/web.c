/* SPDX-License-Identifier: Apache-2.0
 * HTTP on a listener, Feast's API or the inference protocol: framing, Feast's routes, and the response head around
 * what feast.c writes. */
#include "server/oip.h"

/* A small request never needs more of the batch's scratch than a batch has left that has used
 * a quarter: its JSON, and the keys of at most limits.keys_per_request lookups. A large one gets a batch of its own. */
enum { SMALL_BODY_BYTES = 65536, SHARED_SCRATCH_BYTES = PIL_BATCH_SCRATCH_BYTES / 4 };

static void route(struct pil_worker *worker, struct pil_request *request, const struct pil_http_request *http) {
    struct pil_http_head *head = &request->head;
    bool is_features = pil_bytes_equal_text(http->path, "/get-online-features");
    bool is_health = pil_bytes_equal_text(http->path, "/health");
    head->status = 200;
    if (is_features && http->method == PIL_HTTP_METHOD_POST) {
        head->content_type = "application/json";
        pil_feast_prepare(worker, request, http->body);
    } else if (is_health && http->method == PIL_HTTP_METHOD_GET) {
        for (uint32_t i = 0; i < worker->server->settings->view_count; i++) {
            if (pil_cache_live(pil_cache_view_at(worker->server->cache, i)) == NULL) {
                head->status = 503;
            }
        }
    } else if (is_features || is_health) {
        head->status = 405;
        head->fields = is_features ? "allow: POST\r\n" : "allow: GET\r\n";
        request->detail = "Method Not Allowed";
    } else {
        head->status = 404;
        request->detail = "Not Found";
    }
}

/* The answer to bytes that are no request: what is wrong, then the end, because nothing behind it can be framed. */
static void refuse(struct pil_worker *worker, struct pil_connection *connection, const struct pil_http_request *http) {
    struct pil_request *request = pil_batch_add(worker, connection);
    request->head = (struct pil_http_head){.status = http->error_status, .minor = 1, .keep_alive = false};
    request->detail = http->error;
    pil_connection_finish(worker, connection,
                          http->error_status == 413 || http->error_status == 431 ? PIL_CLOSE_REQUEST_BYTES
                                                                                 : PIL_CLOSE_PROTOCOL);
}

static void put_continue(struct pil_worker *worker, struct pil_connection *connection) {
    struct pil_output_sink sink;
    pil_batch_run(worker); /* answers to earlier requests go first */
    pil_output_begin(&sink, &connection->output, &worker->chunks, PIL_CHUNK_BYTES);
    pil_http_put_continue(&sink.sink);
    if (pil_output_finish(&sink)) {
        pil_connection_flush(worker, connection);
    }
}

pil_status pil_web_decode(struct pil_worker *worker, struct pil_connection *connection, struct pil_bytes data,
                          size_t *ret_consumed) {
    struct pil_http_limits limits = pil_http_limits_default;
    limits.body_bytes_max = worker->server->settings->limits.request_bytes_max;
    struct pil_http_request http = {0};
    pil_status status = pil_http_decode(&connection->http_cursor, data, &limits, &http);
    if (status == PIL_STATUS_AGAIN) {
        if (connection->http_cursor.expect_continue) {
            connection->http_cursor.expect_continue = false;
            put_continue(worker, connection);
        }
        return status;
    }
    if (status != PIL_STATUS_OK) {
        refuse(worker, connection, &http);
        *ret_consumed = data.len;
        return PIL_STATUS_OK;
    }
    /* The arrays of a feast request serve one request a batch. */
    if (worker->batch->feast_used || http.body.len > SMALL_BODY_BYTES ||
        worker->batch->scratch_used > SHARED_SCRATCH_BYTES) {
        pil_batch_run(worker);
    }
    struct pil_request *request = pil_batch_add(worker, connection);
    connection->is_valid = true;
    connection->last_command = "http";
    request->head.minor = http.minor;
    request->head.keep_alive = http.keep_alive;
    request->is_head = http.method == PIL_HTTP_METHOD_HEAD;
    if (connection->listener->protocol == PIL_PROTOCOL_OIP) {
        pil_oip_prepare(worker, request, &http);
    } else {
        route(worker, request, &http);
    }
    if (!http.keep_alive) {
        pil_connection_finish(worker, connection, PIL_CLOSE_PEER);
    }
    *ret_consumed = http.consumed;
    return PIL_STATUS_OK;
}

void pil_web_encode(struct pil_worker *worker, struct pil_request *request, struct pil_sink *sink) {
    struct pil_output_sink *output = (struct pil_output_sink *)(void *)sink;
    if (request->oip != NULL && pil_oip_reply(worker, request, sink)) {
        return;
    }
    bool has_body = !request->is_head && (request->is_feast || request->error_body.len > 0 || request->detail != NULL);
    if (has_body) {
        request->head.content_type = "application/json";
    }
    uint8_t *patch = pil_http_put_head(sink, &request->head);
    uint64_t begin = pil_output_position(output);
    if (!has_body) {
        return; /* the head says that there are 0 bytes */
    }
    if (request->is_feast) {
        pil_feast_reply(worker, request, sink);
    } else if (request->error_body.len > 0) {
        pil_sink_write_bytes(sink, request->error_body);
    } else if (request->connection->listener->protocol == PIL_PROTOCOL_OIP) {
        pil_oip_put_error(sink, pil_bytes_from_text(request->detail));
    } else {
        pil_feast_put_detail(sink, request->detail);
    }
    if (!sink->failed) {
        pil_http_patch_length(patch, pil_output_position(output) - begin);
    }
}
