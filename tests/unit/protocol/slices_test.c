/* SPDX-License-Identifier: Apache-2.0
 * Goal: an answer that takes long is written in slices; other clients are answered meanwhile, and every byte is what it
 * would be in one piece: whatever comes, leaves, is published, or ends in between.
 * Method: a worker on the thread of the test, whose slices are over at once, so that it leaves a lane wherever it may.
 */
#include "support/cache_fixture.h"
#include "support/server_fixture.h"
#include "support/worker_fixture.h"

#include "base/json.h"
#include "base/text.h"
#include "protocol/feast/feast.h"
#include "protocol/oip/oip.h"
#include "protocol/resp/resp.h"

#include <errno.h>

enum {
    ROWS = 2000,
    FEATURES = 100,
    REDIS = 0,
    FEAST = 1,
    OIP = 2,
    PROTOCOLS,
    MANY = PIL_LANES + 6,
    SHORT_BYTES = 60000, /* a body that is read at once */
    LONG_BYTES = 150000, /* a body that is read in slices, and fits the buffer of a socket */
    TURNS_MAX = 3000,
    IDLE_MAX = 50,
    PING_BYTES = 16000
};

struct fixture {
    struct pil_settings settings;
    struct pil_server *server;
    struct pil_worker *worker;
    struct pil_project *project;
    struct sockaddr_un addresses[PROTOCOLS];
    int listeners[PROTOCOLS];
};

struct client {
    int fd;
    struct pil_text answer;
};

#define ASK_ONE "\"features\":[\"v:f0\"],\"entities\":{\"id\":[1]}"
#define ASK_ONE_END "\"metadata\":{\"feature_names\":[\"id\",\"f0\"]}}"

static const struct pil_protocol *const protocols[PROTOCOLS] = {&pil_redis_protocol, &pil_feast_protocol,
                                                                &pil_oip_protocol};

static void publish(struct fixture *f, uint64_t seed) {
    fixture_publish(pil_server_cache(f->server), 0,
                    fixture_release(f->project->views[0].view, ROWS, seed, (uint32_t)seed));
}

static int setup_with(void **state, pil_engine_kind engine) {
    struct fixture *f = calloc(1, sizeof *f);
    struct pil_error error = {0};
    f->settings = fixture_settings(1, 'v', PROTOCOLS, engine);
    f->settings.listeners[FEAST].protocol = FEAST;
    f->settings.listeners[OIP].protocol = OIP;
    f->settings.limits.connections_max = 2 * MANY;
    f->project = fixture_project(FEATURES);
    f->listeners[REDIS] = fixture_listen("lane-redis", &f->addresses[REDIS]);
    f->listeners[FEAST] = fixture_listen("lane-feast", &f->addresses[FEAST]);
    f->listeners[OIP] = fixture_listen("lane-oip", &f->addresses[OIP]);
    assert_int_equal(pil_server_create(&f->settings, protocols, PROTOCOLS, f->listeners, &f->server, &error),
                     PIL_STATUS_OK);
    f->worker = &f->server->workers[0];
    f->server->slice_ns = 0;
    publish(f, 1);
    assert_int_equal(fixture_worker_open(f->server, &error), PIL_STATUS_OK);
    *state = f;
    return 0;
}

static int setup_epoll(void **state) {
    return setup_with(state, PIL_ENGINE_EPOLL);
}

static int setup_io_uring(void **state) {
    return setup_with(state, PIL_ENGINE_IO_URING);
}

static int teardown(void **state) {
    struct fixture *f = *state;
    fixture_worker_close(f->server);
    pil_server_destroy(&f->server);
    for (uint32_t i = 0; i < 2; i++) {
        close(f->listeners[i]);
        unlink(f->addresses[i].sun_path);
    }
    pil_project_destroy(&f->project);
    free(f);
    return 0;
}

/* ---- Clients. */

static void turn(struct fixture *f) {
    uint64_t work = 0;
    assert_int_equal(fixture_worker_turn(f->server, &work), PIL_STATUS_OK);
    assert_true(f->worker->left_count < PIL_LANES);
}

static struct client dial(struct fixture *f, uint32_t protocol) {
    struct client client = {.fd = fixture_connect(&f->addresses[protocol])};
    turn(f);
    return client;
}

static void hang_up(struct client *client) {
    close(client->fd);
    pil_text_deinit(&client->answer);
}

static void say(struct client *client, const struct pil_text *text) {
    assert_int_equal(send(client->fd, text->data, text->len, MSG_DONTWAIT | MSG_NOSIGNAL), text->len);
}

/* Takes what has come. */
static void listen_to(struct client *client) {
    static char buffer[1 << 16];
    ssize_t got;
    while ((got = recv(client->fd, buffer, sizeof buffer, MSG_DONTWAIT)) > 0) {
        pil_text_append(&client->answer, buffer, (size_t)got);
    }
    assert_true(got < 0 && errno == EAGAIN);
}

static bool has(const struct client *client, const char *end) {
    size_t len = strlen(end);
    return client->answer.len >= len && memcmp(client->answer.data + client->answer.len - len, end, len) == 0;
}

/* Turns until the client's answer ends with `end`; returns how many it took. */
static uint32_t await(struct fixture *f, struct client *client, const char *end) {
    uint32_t turns = 0, idle = 0;
    for (; !has(client, end); turns++) {
        size_t len = client->answer.len;
        turn(f);
        listen_to(client);
        idle = client->answer.len == len && f->worker->left_count == 0 ? idle + 1 : 0;
        assert_true(turns < TURNS_MAX && idle < IDLE_MAX);
    }
    return turns;
}

/* Turns until the worker has left a lane. */
static void await_left(struct fixture *f) {
    for (uint32_t i = 0; f->worker->left_count == 0; i++) {
        assert_true(i < 100);
        turn(f);
    }
}

/* ---- Requests. */

static void word(struct pil_text *text, const char *name) {
    pil_text_format(text, "$%zu\r\n%s\r\n", strlen(name), name);
}

static void get_all(struct pil_text *text, uint32_t key) {
    char name[32];
    snprintf(name, sizeof name, "v:%u", key);
    pil_text_format(text, "*2\r\n");
    word(text, "HGETALL");
    word(text, name);
}

/* Every row; `padding` spaces behind the document. */
static void ask_feast_padded(struct pil_text *text, uint32_t feature_count, uint32_t padding) {
    struct pil_text body = {0};
    pil_text_format(&body, "{\"features\":[");
    for (uint32_t i = 0; i < feature_count; i++) {
        pil_text_format(&body, "%s\"v:f%u\"", i > 0 ? "," : "", i);
    }
    pil_text_format(&body, "],\"entities\":{\"id\":[");
    for (uint32_t i = 0; i < ROWS; i++) {
        pil_text_format(&body, "%s%u", i > 0 ? "," : "", i);
    }
    pil_text_format(&body, "]}}%*s", (int)padding, "");
    pil_text_format(text, "POST /get-online-features HTTP/1.1\r\nhost: x\r\ncontent-length: %zu\r\n\r\n", body.len);
    pil_text_append(text, body.data, body.len);
    pil_text_deinit(&body);
}

static void ask_feast(struct pil_text *text, uint32_t feature_count) {
    ask_feast_padded(text, feature_count, 0);
}

#define PING "*1\r\n$4\r\nPING\r\n"
#define PONG "+PONG\r\n"
#define FEAST_END "]}}"

static void transaction(struct pil_text *text, uint32_t count) {
    pil_text_format(text, "*1\r\n$5\r\nMULTI\r\n");
    for (uint32_t i = 0; i < count; i++) {
        get_all(text, i);
    }
    pil_text_format(text, "*1\r\n$4\r\nEXEC\r\n");
}

/* The answer to `request` in one piece, from the release that is live. */
static struct pil_text answer_whole(struct fixture *f, uint32_t protocol, const struct pil_text *request,
                                    const char *end) {
    struct client client = dial(f, protocol);
    f->server->slice_ns = UINT64_MAX / 2;
    say(&client, request);
    (void)await(f, &client, end);
    f->server->slice_ns = 0;
    close(client.fd);
    turn(f);
    return client.answer;
}

static void assert_same(const struct pil_text *answer, const struct pil_text *wanted) {
    assert_int_equal(answer->len, wanted->len);
    assert_memory_equal(answer->data, wanted->data, wanted->len);
}

/* ---- Tests. */

/* A PING so long that it fills the receive buffer that the long request was in. */
static void long_ping(struct pil_text *text) {
    pil_text_format(text, "*2\r\n$4\r\nPING\r\n$%d\r\n%0*d\r\n", PING_BYTES, PING_BYTES, 7);
}

/* Asks for `request`, with a client beside it that is answered in each turn. */
static void check_slices(struct fixture *f, uint32_t protocol, const struct pil_text *request, const char *end,
                         uint32_t turns_min) {
    struct pil_text wanted = answer_whole(f, protocol, request, end);
    struct pil_text ping = {0};
    long_ping(&ping);
    struct client slow = dial(f, protocol), quick = dial(f, REDIS);
    say(&slow, request);
    await_left(f);
    uint32_t turns = 0;
    for (; f->worker->left_count > 0; turns++) {
        pil_text_clear(&quick.answer);
        say(&quick, &ping);
        assert_in_range(await(f, &quick, "07\r\n"), 1, 2);
        listen_to(&slow);
    }
    (void)await(f, &slow, end);
    assert_in_range(turns, turns_min, TURNS_MAX);
    assert_same(&slow.answer, &wanted);
    hang_up(&slow);
    hang_up(&quick);
    pil_text_deinit(&ping);
    pil_text_deinit(&wanted);
}

static void a_long_answer_is_written_in_slices(void **state) {
    struct pil_text request = {0};
    ask_feast(&request, FEATURES);
    check_slices(*state, FEAST, &request, FEAST_END, 20);
    pil_text_deinit(&request);
}

/* A request that is short but for a member that nobody knows, of so many bytes: how it begins, what comes again and
 * again, how it ends. */
static void ask_padded(struct pil_text *text, const char *path, const char *known, size_t bytes,
                       const char *const member[3]) {
    struct pil_text body = {0};
    pil_text_format(&body, "{%s,\"unknown\":%s", known, member[0]);
    while (body.len < bytes) {
        pil_text_format(&body, "%s", member[1]);
    }
    pil_text_format(&body, "%s}", member[2]);
    pil_text_format(text, "POST %s HTTP/1.1\r\nhost: x\r\ncontent-length: %zu\r\n\r\n", path, body.len);
    pil_text_append(text, body.data, body.len);
    pil_text_deinit(&body);
}

static void a_long_body_is_read_in_slices(void **state) {
    static const char *const members[][3] = {{"[0", ",0", "]"},
                                             {"{\"a\":0", ",\"a\":[]", "}"},
                                             {"\"", "\\u00e9", "\""},
                                             {"\"", "plain", "\""},
                                             {"\"", "\xc3\xa9", "\""}};
    static const struct {
        uint32_t protocol;
        const char *path, *known, *end;
    } doors[] = {
        {FEAST, "/get-online-features", ASK_ONE, ASK_ONE_END},
        {OIP, "/v2/models/none/infer",
         "\"inputs\":[{\"name\":\"id\",\"datatype\":\"INT64\",\"shape\":[1],\"data\":[1]}]", "\"}"},
    };
    for (size_t door = 0; door < sizeof doors / sizeof *doors; door++) {
        for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
            struct pil_text request = {0};
            ask_padded(&request, doors[door].path, doors[door].known, LONG_BYTES, members[i]);
            check_slices(*state, doors[door].protocol, &request, doors[door].end, LONG_BYTES / PIL_JSON_REST_BYTES - 1);
            pil_text_deinit(&request);
        }
    }
}

/* Bodies that are read at once are many only in many turns. */
static void many_short_bodies_do_not_make_a_turn_long(void **state) {
    static const char *const member[] = {"[0", ",0", "]"};
    static struct client clients[MANY];
    struct fixture *f = *state;
    struct pil_text request = {0};
    ask_padded(&request, "/get-online-features", ASK_ONE, SHORT_BYTES, member);
    struct pil_text wanted = answer_whole(f, FEAST, &request, ASK_ONE_END);
    for (uint32_t i = 0; i < MANY; i++) {
        clients[i] = dial(f, FEAST);
    }
    for (uint32_t i = 0; i < MANY; i++) {
        say(&clients[i], &request);
    }
    uint64_t work = 0, work_max = 0;
    for (uint32_t turns = 0, done = 0; done < MANY; turns++) {
        assert_true(turns < TURNS_MAX);
        assert_int_equal(fixture_worker_turn(f->server, &work), PIL_STATUS_OK);
        work_max = work > work_max ? work : work_max;
        done = 0;
        for (uint32_t i = 0; i < MANY; i++) {
            listen_to(&clients[i]);
            done += has(&clients[i], ASK_ONE_END);
        }
    }
    assert_in_range(work_max, 1, 3 * PIL_TURN_WORK_MAX);
    for (uint32_t i = 0; i < MANY; i++) {
        assert_same(&clients[i].answer, &wanted);
        hang_up(&clients[i]);
    }
    pil_text_deinit(&request);
    pil_text_deinit(&wanted);
}

static void a_transaction_is_answered_in_slices(void **state) {
    struct pil_text request = {0};
    transaction(&request, ROWS);
    pil_text_format(&request, PING);
    check_slices(*state, REDIS, &request, PONG, 4);
    pil_text_deinit(&request);
}

/* More long answers than lanes: some of the clients wait, all get theirs. */
static void there_may_be_more_long_answers_than_lanes(void **state) {
    struct fixture *f = *state;
    struct pil_text request = {0};
    struct client clients[MANY];
    ask_feast(&request, 10);
    struct pil_text wanted = answer_whole(f, FEAST, &request, FEAST_END);
    for (uint32_t i = 0; i < MANY; i++) {
        clients[i] = dial(f, FEAST);
    }
    for (uint32_t round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < MANY; i++) {
            pil_text_clear(&clients[i].answer);
            say(&clients[i], &request);
        }
        uint32_t left_max = 0, done = 0;
        for (uint32_t turns = 0; done < MANY; turns++) {
            assert_true(turns < 10 * TURNS_MAX);
            turn(f);
            left_max = f->worker->left_count > left_max ? f->worker->left_count : left_max;
            done = 0;
            for (uint32_t i = 0; i < MANY; i++) {
                listen_to(&clients[i]);
                done += clients[i].answer.len == wanted.len;
            }
        }
        assert_in_range(left_max, 2, PIL_LANES - 1);
        for (uint32_t i = 0; i < MANY; i++) {
            assert_same(&clients[i].answer, &wanted);
        }
    }
    for (uint32_t i = 0; i < MANY; i++) {
        hang_up(&clients[i]);
    }
    pil_text_deinit(&wanted);
    pil_text_deinit(&request);
}

/* `cut`: the length of the first part of the request, which comes in two; 0: it comes in one. `burst`: the number of
 * short requests right behind it. */
static void check_meanwhile(struct fixture *f, const struct pil_text *request, size_t cut, uint32_t burst) {
    struct pil_text ping = {0}, first = {0}, second = {0};
    pil_text_format(&ping, "GET /health HTTP/1.1\r\nhost: x\r\n\r\n");
    struct pil_text wanted = answer_whole(f, FEAST, request, FEAST_END);
    struct pil_text health = answer_whole(f, FEAST, &ping, "\r\n\r\n");
    struct client client = dial(f, FEAST);
    pil_text_append(&first, request->data, cut);
    pil_text_append(&second, request->data + cut, request->len - cut);
    for (uint32_t i = 0; i < burst; i++) {
        pil_text_append(&second, ping.data, ping.len);
    }
    pil_text_append(&second, ping.data, 10);
    say(&client, &first);
    turn(f);
    say(&client, &second);
    await_left(f);
    pil_text_clear(&second);
    pil_text_append(&second, ping.data + 10, ping.len - 10);
    for (uint32_t i = 0; i < 3; i++) {
        pil_text_append(&second, ping.data, ping.len);
        say(&client, &second);
        pil_text_clear(&second);
        turn(f);
        assert_true(f->worker->left_count > 0);
    }
    size_t len = wanted.len + (burst + 4) * health.len;
    for (uint32_t turns = 0; client.answer.len < len; turns++) {
        assert_true(turns < TURNS_MAX);
        turn(f);
        listen_to(&client);
    }
    assert_int_equal(client.answer.len, len);
    assert_memory_equal(client.answer.data, wanted.data, wanted.len);
    for (uint32_t i = 0; i < burst + 4; i++) {
        assert_memory_equal(client.answer.data + wanted.len + i * health.len, health.data, health.len);
    }
    hang_up(&client);
    pil_text_deinit(&ping);
    pil_text_deinit(&first);
    pil_text_deinit(&second);
    pil_text_deinit(&wanted);
    pil_text_deinit(&health);
}

/* What comes while an answer is written is answered after it, in order, however it was cut. A request in one part lies
 * in a receive buffer, one in two parts in the connection's own. */
static void what_comes_meanwhile_is_answered_afterwards(void **state) {
    struct fixture *f = *state;
    struct pil_text request = {0};
    ask_feast(&request, FEATURES);
    check_meanwhile(f, &request, 0, 0);
    check_meanwhile(f, &request, request.len / 2, 0);
    pil_text_deinit(&request);
    /* It nearly fills the connection's buffer, so that what was on its way already needs another one. */
    ask_feast(&request, FEATURES);
    uint32_t padding = 2 * PIL_INPUT_BYTES_MIN - 100 - (uint32_t)request.len;
    pil_text_clear(&request);
    ask_feast_padded(&request, FEATURES, padding);
    check_meanwhile(f, &request, request.len / 2, 2000);
    pil_text_deinit(&request);
    /* The long request waited since it came, not since what came after it. */
    struct pil_histogram_view waited;
    pil_metric_read_histogram(f->server->metrics, f->server->series.stage[FEAST][1][PIL_STAGE_QUEUE], &waited);
    assert_in_range(waited.sum, 1, 600 * (uint64_t)1000000000);
}

/* A release that is published meanwhile does not show in the answer, and the old one stays until then. */
static void a_long_answer_is_from_one_release(void **state) {
    struct fixture *f = *state;
    struct pil_cache *cache = pil_server_cache(f->server);
    struct pil_text request = {0};
    ask_feast(&request, FEATURES);
    struct pil_text wanted = answer_whole(f, FEAST, &request, FEAST_END);
    struct client client = dial(f, FEAST), other = dial(f, FEAST);
    say(&client, &request);
    await_left(f);
    publish(f, 2);
    for (uint32_t i = 0; i < 5; i++) {
        turn(f);
        pil_cache_reclaim(cache, UINT64_MAX, NULL, NULL);
    }
    assert_true(f->worker->left_count > 0);
    assert_int_equal(pil_cache_retired_count(cache), 1);
    say(&other, &request);
    (void)await(f, &client, FEAST_END);
    assert_same(&client.answer, &wanted);
    (void)await(f, &other, FEAST_END);
    assert_int_not_equal(
        memcmp(other.answer.data, wanted.data, other.answer.len < wanted.len ? other.answer.len : wanted.len), 0);
    for (uint32_t i = 0; i < 5; i++) {
        turn(f);
        pil_cache_reclaim(cache, UINT64_MAX, NULL, NULL);
    }
    assert_int_equal(pil_cache_retired_count(cache), 0);
    hang_up(&client);
    hang_up(&other);
    pil_text_deinit(&request);
    pil_text_deinit(&wanted);
}

/* A peer that leaves takes its answer with it, whether it has read all that was sent or not. */
static void a_peer_may_leave_meanwhile(void **state) {
    struct fixture *f = *state;
    struct pil_text feast = {0}, redis = {0};
    pil_text_format(&redis, PING);
    transaction(&redis, ROWS);
    for (uint32_t i = 0; i < 3; i++) {
        uint32_t protocol = i == 0 ? REDIS : FEAST;
        struct client client = dial(f, protocol);
        if (i == 2) {
            pil_text_format(&feast, "GET /health HTTP/1.1\r\nhost: x\r\n\r\n");
        }
        ask_feast(&feast, FEATURES);
        say(&client, protocol == FEAST ? &feast : &redis);
        pil_text_clear(&feast);
        await_left(f);
        hang_up(&client);
        for (uint32_t turns = 0; f->worker->connection_count > 0 || f->worker->left_count > 0; turns++) {
            assert_true(turns < TURNS_MAX);
            turn(f);
        }
    }
    pil_chunk_pool_deinit(&f->worker->chunks); /* the free ones */
    assert_int_equal(f->server->accounts.allocated, 0);
    pil_text_deinit(&feast);
    pil_text_deinit(&redis);
}

/* Nothing is lost to the leak check, and nothing is freed twice. */
static void a_worker_may_end_meanwhile(void **state) {
    struct fixture *f = *state;
    struct pil_text request = {0};
    ask_feast(&request, FEATURES);
    struct client client = dial(f, FEAST), other = dial(f, FEAST);
    say(&client, &request);
    await_left(f);
    say(&other, &request);
    turn(f);
    assert_int_equal(f->worker->left_count, 2);
    hang_up(&client);
    hang_up(&other);
    pil_text_deinit(&request);
}

#define TESTS(setup) \
    { \
        cmocka_unit_test_setup_teardown(a_long_answer_is_written_in_slices, setup, teardown), \
            cmocka_unit_test_setup_teardown(a_long_body_is_read_in_slices, setup, teardown), \
            cmocka_unit_test_setup_teardown(many_short_bodies_do_not_make_a_turn_long, setup, teardown), \
            cmocka_unit_test_setup_teardown(a_transaction_is_answered_in_slices, setup, teardown), \
            cmocka_unit_test_setup_teardown(there_may_be_more_long_answers_than_lanes, setup, teardown), \
            cmocka_unit_test_setup_teardown(what_comes_meanwhile_is_answered_afterwards, setup, teardown), \
            cmocka_unit_test_setup_teardown(a_long_answer_is_from_one_release, setup, teardown), \
            cmocka_unit_test_setup_teardown(a_peer_may_leave_meanwhile, setup, teardown), \
            cmocka_unit_test_setup_teardown(a_worker_may_end_meanwhile, setup, teardown), \
    }

int main(void) {
    const struct CMUnitTest with_epoll[] = TESTS(setup_epoll), with_io_uring[] = TESTS(setup_io_uring);
    char reason[PIL_ENGINE_REASON_BYTES];
    int failed = cmocka_run_group_tests(with_epoll, NULL, NULL);
    if (pil_engine_probe(&(struct pil_engine_options){.connections_max = 10}, reason) != PIL_ENGINE_IO_URING) {
        printf("skipped for io_uring: %s\n", reason);
        return failed == 0 ? 77 : failed;
    }
    return failed + cmocka_run_group_tests(with_io_uring, NULL, NULL);
}
