/* SPDX-License-Identifier: Apache-2.0
 * Goal: over the socket any number of threads share a client and its plans, while connections break off and plans come
 * and go: each call has its own rows, or says that the server is not there. Method: a server of a few commands, with a
 * thread for each connection, that breaks off every few answers; every value tells its key and its feature. What a
 * daemon answers is compared in tests/system/test_client_socket.py. */
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

enum { ROWS = 50, THREADS = 6, CALLS = 200, CONNECTIONS = 4096, ANSWER_BYTES = 4096, BREAK_EVERY = 9 };

/* ---- The server. */

struct server {
    char path[100], url[120];
    int listener;
    pthread_t thread;
    pthread_t peers[CONNECTIONS];
    uint32_t peer_count;
    _Atomic uint32_t answers, breaks;
    _Atomic bool is_steady;
    const char *description; /* instead of a good one */
};
struct peer {
    struct server *server;
    int fd;
    uint32_t features[PIL_LINK_PLANS]; /* of the plans */
    uint32_t plan_count;
};

static float value_of(int64_t key, uint32_t feature) {
    return (float)(key * 10 + feature);
}

static void send_bytes(struct peer *peer, const void *data, size_t len) {
    for (size_t at = 0; at < len;) {
        ssize_t sent = send(peer->fd, (const uint8_t *)data + at, len - at, MSG_NOSIGNAL);
        if (sent <= 0) {
            return;
        }
        at += (size_t)sent;
    }
}

static void send_text(struct peer *peer, const char *text) {
    send_bytes(peer, text, strlen(text));
}

static size_t put_tensor(struct pil_bytes keys, uint32_t feature, uint8_t *to) {
    struct pil_tensor_head head = {
        .element_bytes = 4, .rows = (uint32_t)(keys.len / 8), .features = 1, .width = 1, .view_count = 1};
    pil_tensor_layout(&head);
    (void)pil_tensor_put_head(&head, to);
    for (uint32_t i = 0; i < head.rows; i++) {
        to[head.statuses_at + i] = PILLION_PRESENT;
        pil_store_f32(to + head.values_at + i * 4, value_of(pil_load_i64(keys.data + i * 8), feature));
    }
    return head.bytes;
}

static size_t put_columns(struct pil_bytes keys, uint32_t feature, uint8_t *to) {
    struct pil_columns_head head = {.rows = (uint32_t)(keys.len / 8), .columns = 1, .view_count = 1};
    struct pil_column_record record = {.type = {.scalar = PIL_SCALAR_FLOAT32}, .value_bytes = head.rows * 4};
    pil_columns_layout(&head);
    head.bytes = pil_column_place(head.rows, &record, head.data_at);
    (void)pil_columns_put_head(&head, to);
    pil_columns_put_record(&record, to + head.records_at);
    for (uint32_t i = 0; i < head.rows; i++) {
        to[record.statuses_at + i] = PILLION_PRESENT;
        pil_store_f32(to + record.values_at + i * 4, value_of(pil_load_i64(keys.data + i * 8), feature));
    }
    return head.bytes;
}

/* false: the connection ends in the middle of the answer. */
static bool answer_keys(struct peer *peer, const struct pil_resp_request *request) {
    uint8_t bytes[ANSWER_BYTES] = {0};
    char head[32];
    uint32_t feature = peer->features[strtoul((const char *)request->args[1].data, NULL, 10) - 1];
    bool as_columns = pil_bytes_equal_text(request->args[0], "PIL.COLUMNS64");
    size_t len = (as_columns ? put_columns : put_tensor)(request->args[2], feature, bytes);
    snprintf(head, sizeof head, "$%zu\r\n", len);
    send_text(peer, head);
    bool breaks = !peer->server->is_steady && ++peer->server->answers % BREAK_EVERY == 0;
    send_bytes(peer, bytes, breaks ? len / 2 : len);
    send_text(peer, breaks ? "" : "\r\n");
    peer->server->breaks += breaks;
    return !breaks;
}

static bool answer(struct peer *peer, const struct pil_resp_request *request) {
    static const char description[] = "{\"dtype\":\"float32\",\"width\":1,\"join_keys\":[{\"name\":\"id\",\"type\":"
                                      "\"int64\"}],\"views\":[{\"name\":\"p/v\"}],\"features\":[{\"view\":0,\"name\":"
                                      "\"f\",\"type\":\"float32\",\"first\":0,\"count\":1}]}";
    char text[512];
    struct pil_bytes last = request->args[request->arg_count - 1];
    if (pil_bytes_equal_text(request->args[0], "PING")) {
        send_text(peer, "+PONG\r\n");
    } else if (pil_bytes_equal_text(request->args[0], "PIL.PLAN")) { /* p/v:fN */
        peer->features[peer->plan_count++] = (uint32_t)(last.data[last.len - 1] - '0');
        snprintf(text, sizeof text, ":%u\r\n", peer->plan_count);
        send_text(peer, text);
    } else if (pil_bytes_equal_text(request->args[0], "PIL.DESCRIBE")) {
        const char *instead = peer->server->description != NULL ? peer->server->description : description;
        snprintf(text, sizeof text, "$%zu\r\n%s\r\n", strlen(instead), instead);
        send_text(peer, text);
    } else {
        return answer_keys(peer, request);
    }
    return true;
}

static void *serve(void *context) {
    struct peer *peer = context;
    static const struct pil_resp_limits limits = {.args_max = 16, .bulk_bytes_max = 4096, .request_bytes_max = 8192};
    uint8_t input[8192];
    size_t len = 0;
    for (bool is_open = true; is_open;) {
        struct pil_bytes args[16];
        struct pil_resp_request request = {.args = args};
        struct pil_resp_cursor cursor = {0};
        if (pil_resp_decode(&cursor, pil_bytes_from(input, len), &limits, &request) == PIL_STATUS_OK && len > 0) {
            is_open = answer(peer, &request) && peer->plan_count < PIL_LINK_PLANS;
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

static void *accept_all(void *context) {
    struct server *server = context;
    for (int fd; (fd = accept(server->listener, NULL, NULL)) >= 0;) {
        struct peer *peer = calloc(1, sizeof *peer);
        assert_non_null(peer);
        *peer = (struct peer){.server = server, .fd = fd};
        assert_true(server->peer_count < CONNECTIONS);
        assert_int_equal(pthread_create(&server->peers[server->peer_count++], NULL, serve, peer), 0);
    }
    return NULL;
}

static int setup(void **state) {
    struct server *server = calloc(1, sizeof *server);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(server->path, sizeof server->path, "/tmp/pillion-socket-%d.sock", (int)getpid());
    snprintf(server->url, sizeof server->url, "unix:%s", server->path);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", server->path);
    unlink(server->path);
    server->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(server->listener, (const struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(server->listener, 64), 0);
    assert_int_equal(pthread_create(&server->thread, NULL, accept_all, server), 0);
    *state = server;
    return 0;
}

/* Clients are closed by now, so that all connections end. */
static int teardown(void **state) {
    struct server *server = *state;
    shutdown(server->listener, SHUT_RDWR);
    pthread_join(server->thread, NULL);
    for (uint32_t i = 0; i < server->peer_count; i++) {
        pthread_join(server->peers[i], NULL);
    }
    close(server->listener);
    unlink(server->path);
    free(server);
    return 0;
}

/* ---- Callers. */

struct callers {
    struct pillion_client *client;
    struct pillion_plan *tensor, *columns; /* of f1 and f2 */
    _Atomic uint32_t good, wrong, refused, odd;
};

static struct pillion_client *open_client(const struct server *server) {
    struct pillion_options options = {.size = sizeof options, .resp = server->url, .timeout_ms = 20000};
    struct pillion_client *client = NULL;
    assert_int_equal(pillion_open(&options, &client, NULL), PILLION_OK);
    return client;
}

static struct pillion_plan *make_plan(struct pillion_client *client, const char *feature, uint32_t flags) {
    const char *const features[] = {feature};
    struct pillion_plan_options options = {
        .size = sizeof options, .features = features, .feature_count = 1, .flags = flags};
    struct pillion_plan *plan = NULL;
    struct pillion_error error = {{0}};
    pillion_result result = pillion_plan(client, &options, &plan, &error);
    assert_string_equal(error.text, "");
    assert_int_equal(result, PILLION_OK);
    return plan;
}

static pillion_result ask(struct pillion_plan *plan, bool as_columns, const int64_t ids[ROWS], float values[ROWS]) {
    struct pillion_keys keys = {
        .size = sizeof keys, .count = ROWS, .column_count = 1, .columns = {{.kind = PILLION_KEY_INT64, .values = ids}}};
    struct pillion_output output = {.size = sizeof output, .values = values, .value_bytes = ROWS * sizeof values[0]};
    struct pillion_column column = {.values = values, .value_bytes = ROWS * sizeof values[0]};
    struct pillion_columns columns = {.size = sizeof columns, .columns = &column, .column_count = 1};
    return as_columns ? pillion_get_columns(plan, &keys, &columns, NULL) : pillion_get(plan, &keys, &output, NULL);
}

static void call(struct callers *callers, struct pillion_plan *plan, uint32_t feature, bool as_columns, int64_t first) {
    int64_t ids[ROWS];
    float values[ROWS];
    for (int64_t i = 0; i < ROWS; i++) {
        ids[i] = first + i * 3;
    }
    pillion_result result = ask(plan, as_columns, ids, values);
    bool is_right = true;
    for (uint32_t i = 0; result == PILLION_OK && i < ROWS; i++) {
        is_right = is_right && values[i] == value_of(ids[i], feature);
    }
    callers->good += result == PILLION_OK && is_right;
    callers->wrong += !is_right;
    callers->refused += result == PILLION_UNAVAILABLE;
    callers->odd += result != PILLION_OK && result != PILLION_UNAVAILABLE;
}

static void *call_on(void *context) {
    struct callers *callers = context;
    int64_t begin = (int64_t)((uintptr_t)&begin % 100000);
    for (int i = 0; i < CALLS; i++) {
        bool as_columns = i % 3 == 0;
        call(callers, as_columns ? callers->columns : callers->tensor, as_columns ? 2 : 1, as_columns, begin + i);
    }
    return NULL;
}

/* Plans that come and go meanwhile; their numbers differ from link to link. */
static void *plan_on(void *context) {
    struct callers *callers = context;
    for (int i = 0; i < 30; i++) {
        struct pillion_plan *plan = make_plan(callers->client, "p/v:f7", 0);
        call(callers, plan, 7, false, i);
        pillion_plan_free(&plan);
    }
    return NULL;
}

static void threads_share_a_client(void **state) {
    struct server *server = *state;
    struct callers callers = {.client = open_client(server)};
    pthread_t threads[THREADS + 1];
    callers.tensor = make_plan(callers.client, "p/v:f1", 0);
    callers.columns = make_plan(callers.client, "p/v:f2", PILLION_COLUMNS);
    for (uint32_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, call_on, &callers), 0);
    }
    assert_int_equal(pthread_create(&threads[THREADS], NULL, plan_on, &callers), 0);
    for (uint32_t i = 0; i <= THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(callers.wrong, 0);
    assert_int_equal(callers.odd, 0);
    assert_int_equal(callers.good + callers.refused, THREADS * CALLS + 30);
    assert_true(server->breaks > 50);
    assert_true(callers.refused < callers.good / 5); /* only what broke off twice */
    struct pillion_info info = {.size = sizeof info};
    assert_int_equal(pillion_info(callers.client, &info), PILLION_OK);
    assert_int_equal(info.socket_calls, THREADS * CALLS + 30);
    assert_int_equal(info.is_connected, 0);
    server->is_steady = true;
    call(&callers, callers.tensor, 1, false, 5);
    assert_int_equal(callers.wrong + callers.odd, 0);
    pillion_close(&callers.client);
}

static void a_steady_server_is_asked_over_few_connections(void **state) {
    struct server *server = *state;
    struct callers callers = {.client = open_client(server)};
    server->is_steady = true;
    callers.tensor = make_plan(callers.client, "p/v:f1", 0);
    callers.columns = make_plan(callers.client, "p/v:f2", PILLION_COLUMNS);
    (void)call_on(&callers);
    assert_int_equal(callers.good, CALLS);
    assert_int_equal(server->peer_count, 1);
    pillion_close(&callers.client);
}

/* Callers lay their buffers out by it, and divide by what it counts. */
static void a_description_that_cannot_be_makes_no_plan(void **state) {
    struct server *server = *state;
    static const char *const bad[] = {
        "{}",
        "{\"width\":1,\"join_keys\":[],\"views\":[{\"name\":\"p/v\"}],\"features\":[{\"view\":0}]}",
        "{\"width\":1,\"join_keys\":[{\"name\":\"id\"}],\"views\":[],\"features\":[{\"view\":0}]}",
        "{\"width\":1,\"join_keys\":[{\"name\":\"id\"}],\"views\":[{\"name\":\"p/v\"}],\"features\":[]}",
        "{\"width\":1,\"join_keys\":[{\"name\":\"id\"}],\"views\":[{\"name\":\"p/v\"}],\"features\":[{\"view\":1}]}",
        "{\"width\":1,\"join_keys\":[{\"name\":\"id\"}],\"views\":[{\"name\":\"p/"
        "v\"}],\"features\":[{\"view\":4000000}]}",
        "{\"width\":1,\"join_keys\":[{\"name\":\"id\"}],\"views\":[{\"name\":\"p/v\"}],"
        "\"features\":[{\"view\":0,\"first\":1,\"count\":1}]}",
        "{\"width\":4000000000,\"join_keys\":[{\"name\":\"id\"}],\"views\":[{\"name\":\"p/v\"}],"
        "\"features\":[{\"view\":0,\"count\":1}]}",
    };
    struct pillion_client *client = open_client(server);
    const char *const features[] = {"p/v:f1"};
    const struct pillion_plan_options options[] = {
        {.size = sizeof options[0], .features = features, .feature_count = 1},
        {.size = sizeof options[0], .service = "s"},
    };
    for (size_t i = 0; i < 2 * sizeof bad / sizeof bad[0]; i++) {
        struct pillion_plan *plan = NULL;
        struct pillion_error error;
        server->description = bad[i / 2];
        assert_int_equal(pillion_plan(client, &options[i % 2], &plan, &error), PILLION_UNAVAILABLE);
        assert_string_equal(error.text, "the server describes the plan in a form that is not known here");
        assert_null(plan);
    }
    server->description = NULL;
    struct pillion_plan *plan = make_plan(client, "p/v:f1", 0);
    pillion_plan_free(&plan);
    pillion_close(&client);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(threads_share_a_client, setup, teardown),
        cmocka_unit_test_setup_teardown(a_description_that_cannot_be_makes_no_plan, setup, teardown),
        cmocka_unit_test_setup_teardown(a_steady_server_is_asked_over_few_connections, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
