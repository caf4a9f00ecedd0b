/* SPDX-License-Identifier: Apache-2.0
 * A resp listener for tests of libpillion: the commands that a client sends, views of one feature fN whose values tell
 * key and feature, a thread for each connection, and breaks in the middle of answers. */
#pragma once

#include "client/client.h"
#include "wire/columns.h"
#include "wire/resp.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

enum { RESP_SERVER_CONNECTIONS = 4096, RESP_SERVER_ANSWER_BYTES = 4096, RESP_SERVER_BREAK_EVERY = 9 };

struct resp_server {
    char path[100], url[120];
    int listener;
    pthread_t thread;
    pthread_t peers[RESP_SERVER_CONNECTIONS];
    uint32_t peer_count;
    _Atomic uint32_t answers, breaks;
    _Atomic bool is_steady;
    const char *description; /* instead of a good one */
};
struct resp_peer {
    struct resp_server *server;
    int fd;
    uint32_t features[PIL_LINK_PLANS]; /* of the plans */
    uint32_t plan_count;
};

static inline float resp_server_value_of(int64_t key, uint32_t feature) {
    return (float)(key * 10 + feature);
}

static inline void resp_server_send_bytes(struct resp_peer *peer, const void *data, size_t len) {
    for (size_t at = 0; at < len;) {
        ssize_t sent = send(peer->fd, (const uint8_t *)data + at, len - at, MSG_NOSIGNAL);
        if (sent <= 0) {
            return;
        }
        at += (size_t)sent;
    }
}

static inline void resp_server_send_text(struct resp_peer *peer, const char *text) {
    resp_server_send_bytes(peer, text, strlen(text));
}

static inline size_t resp_server_put_tensor(struct pil_bytes keys, uint32_t feature, uint8_t *to) {
    struct pil_tensor_head head = {.element_bytes = 4,
                                   .rows = (uint32_t)(keys.len / 8),
                                   .features = 1,
                                   .width = 1,
                                   .view_count = 1,
                                   .views = {{.release = "0123456789abcdef"}}};
    pil_tensor_layout(&head);
    (void)pil_tensor_put_head(&head, to);
    for (uint32_t i = 0; i < head.rows; i++) {
        to[head.statuses_at + i] = PILLION_PRESENT;
        pil_store_f32(to + head.values_at + i * 4, resp_server_value_of(pil_load_i64(keys.data + i * 8), feature));
    }
    return head.bytes;
}

static inline size_t resp_server_put_columns(struct pil_bytes keys, uint32_t feature, uint8_t *to) {
    struct pil_columns_head head = {
        .rows = (uint32_t)(keys.len / 8), .columns = 1, .view_count = 1, .views = {{.release = "0123456789abcdef"}}};
    struct pil_column_record record = {.type = {.scalar = PIL_SCALAR_FLOAT32}, .value_bytes = head.rows * 4};
    pil_columns_layout(&head);
    head.bytes = pil_column_place(head.rows, &record, head.data_at);
    (void)pil_columns_put_head(&head, to);
    pil_columns_put_record(&record, to + head.records_at);
    for (uint32_t i = 0; i < head.rows; i++) {
        to[record.statuses_at + i] = PILLION_PRESENT;
        pil_store_f32(to + record.values_at + i * 4, resp_server_value_of(pil_load_i64(keys.data + i * 8), feature));
    }
    return head.bytes;
}

/* false: the connection ends in the middle of the answer. */
static inline bool resp_server_answer_keys(struct resp_peer *peer, const struct pil_resp_request *request) {
    uint8_t bytes[RESP_SERVER_ANSWER_BYTES] = {0};
    char head[32];
    uint32_t feature = peer->features[strtoul((const char *)request->args[1].data, NULL, 10) - 1];
    bool as_columns = pil_bytes_equal_text(request->args[0], "PIL.COLUMNS64");
    size_t len = (as_columns ? resp_server_put_columns : resp_server_put_tensor)(request->args[2], feature, bytes);
    snprintf(head, sizeof head, "$%zu\r\n", len);
    resp_server_send_text(peer, head);
    bool breaks = !peer->server->is_steady && ++peer->server->answers % RESP_SERVER_BREAK_EVERY == 0;
    resp_server_send_bytes(peer, bytes, breaks ? len / 2 : len);
    resp_server_send_text(peer, breaks ? "" : "\r\n");
    peer->server->breaks += breaks;
    return !breaks;
}

static inline void resp_server_describe(struct resp_peer *peer, uint32_t feature) {
    char description[256], text[512];
    snprintf(
        description, sizeof description,
        "{\"dtype\":\"float32\",\"width\":1,\"join_keys\":[{\"name\":\"id\",\"type\":\"int64\"}],\"views\":[{\"name\":"
        "\"p/v\"}],\"features\":[{\"view\":0,\"name\":\"f%u\",\"type\":\"float32\",\"first\":0,\"count\":1}]}",
        feature);
    const char *instead = peer->server->description != NULL ? peer->server->description : description;
    snprintf(text, sizeof text, "$%zu\r\n%s\r\n", strlen(instead), instead);
    resp_server_send_text(peer, text);
}

static inline bool resp_server_answer(struct resp_peer *peer, const struct pil_resp_request *request) {
    char text[512];
    struct pil_bytes last = request->args[request->arg_count - 1];
    if (pil_bytes_equal_text(request->args[0], "PING")) {
        resp_server_send_text(peer, "+PONG\r\n");
    } else if (pil_bytes_equal_text(request->args[0], "PIL.PLAN")) { /* p/v:fN */
        peer->features[peer->plan_count++] = (uint32_t)(last.data[last.len - 1] - '0');
        snprintf(text, sizeof text, ":%u\r\n", peer->plan_count);
        resp_server_send_text(peer, text);
    } else if (pil_bytes_equal_text(request->args[0], "PIL.DESCRIBE")) {
        resp_server_describe(peer, peer->features[strtoul((const char *)last.data, NULL, 10) - 1]);
    } else {
        return resp_server_answer_keys(peer, request);
    }
    return true;
}

static inline void *resp_server_serve(void *context) {
    struct resp_peer *peer = context;
    static const struct pil_resp_limits limits = {.args_max = 16, .bulk_bytes_max = 4096, .request_bytes_max = 8192};
    uint8_t input[8192];
    size_t len = 0;
    for (bool is_open = true; is_open;) {
        struct pil_bytes args[16];
        struct pil_resp_request request = {.args = args};
        struct pil_resp_cursor cursor = {0};
        if (pil_resp_decode(&cursor, pil_bytes_from(input, len), &limits, &request) == PIL_STATUS_OK && len > 0) {
            is_open = resp_server_answer(peer, &request) && peer->plan_count < PIL_LINK_PLANS;
            len -= request.consumed;
            memmove(input, input + request.consumed, len);
            continue;
        }
        ssize_t got = recv(peer->fd, input + len, sizeof input - len, 0);
        is_open = got > 0;
        len += got > 0 ? (size_t)got : 0;
    }
    close(peer->fd);
    free(peer);
    return NULL;
}

static inline void *resp_server_accept_all(void *context) {
    struct resp_server *server = context;
    for (int fd; (fd = accept(server->listener, NULL, NULL)) >= 0;) {
        struct resp_peer *peer = calloc(1, sizeof *peer);
        assert_non_null(peer);
        *peer = (struct resp_peer){.server = server, .fd = fd};
        assert_true(server->peer_count < RESP_SERVER_CONNECTIONS);
        assert_int_equal(pthread_create(&server->peers[server->peer_count++], NULL, resp_server_serve, peer), 0);
    }
    return NULL;
}

static inline void resp_server_start(struct resp_server *server) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(server->path, sizeof server->path, "/tmp/pillion-socket-%d.sock", (int)getpid());
    snprintf(server->url, sizeof server->url, "unix:%s", server->path);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", server->path);
    unlink(server->path);
    server->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(server->listener, (const struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(server->listener, 64), 0);
    assert_int_equal(pthread_create(&server->thread, NULL, resp_server_accept_all, server), 0);
}

/* Clients are closed by now, so that all connections end. */
static inline void resp_server_stop(struct resp_server *server) {
    shutdown(server->listener, SHUT_RDWR);
    pthread_join(server->thread, NULL);
    for (uint32_t i = 0; i < server->peer_count; i++) {
        pthread_join(server->peers[i], NULL);
    }
    close(server->listener);
    unlink(server->path);
}
