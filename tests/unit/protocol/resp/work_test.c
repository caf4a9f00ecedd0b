/* SPDX-License-Identifier: Apache-2.0
 * Goal: no request, and no pipeline or transaction of requests, makes a turn of the worker long. What is measured is
 * turn->work, the steps that handlers count, because time depends on the machine.
 * Method: a worker on the thread of the test; for each row of commands.def the request that is the most work within the
 * limits: once, 64 times in a pipeline, and 64 times in a transaction. A row without such a request fails the test. */
#include "support/cache_fixture.h"
#include "support/server_fixture.h"
#include "support/worker_fixture.h"

#include "protocol/resp/glob.h"
#include "protocol/resp/internal.h"

#include <errno.h>
#include <fcntl.h>

enum {
    ROWS = 30000,
    FEATURES = 4000,
    CLIENTS = 400,
    KEYS_MAX = 16384,
    TENSOR_ROWS = 3000, /* with all features nearly limits.output_bytes, 64 MiB */
    WORDS = PIL_REDIS_WORDS_MAX - 2,
    TIMES = 64,
    TURN_WORK_MAX = 3 << 20 /* three times what a turn takes up: requests that came, one of which began when the work
                               was almost used up; then one that waited */
};

struct fixture {
    struct pil_settings settings;
    struct pil_server *server;
    struct pil_project *wide, *narrow;
    struct sockaddr_un address;
    int listener, client;
    int others[CLIENTS];
    struct pil_text answers;
};

/* The name of the view with many rows: long, so that its keys are. */
#define TEN "bbbbbbbbbb"
#define NARROW TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN

/* ---- The most work that each command can be asked for. */

static void put(struct pil_text *text, const char *word) {
    pil_text_format(text, "$%zu\r\n%s\r\n", strlen(word), word);
}

/* A pattern of the greatest length that matches no name and no key but must be tried on all of them: stars, few
 * elements with large classes. */
static void put_pattern(struct pil_text *text) {
    static const char end[] = "?*[^a]*b";
    char pattern[PIL_GLOB_BYTES_MAX + 1];
    memset(pattern, '*', sizeof pattern);
    memcpy(pattern + sizeof pattern - sizeof end, end, sizeof end);
    put(text, pattern);
}

static void put_header(struct pil_text *text, uint32_t words, const char *name) {
    pil_text_format(text, "*%u\r\n", words);
    put(text, name);
}

static void plain(struct pil_text *text, const char *name) {
    put_header(text, 1, name);
}

static void one_word(struct pil_text *text, const char *name) {
    put_header(text, 2, name);
    put(text, "0");
}

static void service(struct pil_text *text, const char *name) {
    put_header(text, 2, name);
    put(text, "every");
}

static void services(struct pil_text *text, const char *name) {
    put_header(text, 2, name);
    put(text, "SERVICES");
}

static void one_key(struct pil_text *text, const char *name) {
    put_header(text, 2, name);
    put(text, "v:1");
}

static void one_field(struct pil_text *text, const char *name) {
    put_header(text, 3, name);
    put(text, "v:1");
    put(text, "f3999");
}

static void many_fields(struct pil_text *text, const char *name) {
    put_header(text, KEYS_MAX + 2, name);
    put(text, "v:1");
    for (uint32_t i = 0; i < KEYS_MAX; i++) {
        put(text, "f3999");
    }
}

static void many_keys(struct pil_text *text, const char *name) {
    put_header(text, KEYS_MAX + 1, name);
    for (uint32_t i = 0; i < KEYS_MAX; i++) {
        put(text, NARROW ":29999");
    }
}

static void many_rows(struct pil_text *text, const char *name) {
    put_header(text, TENSOR_ROWS + 2, name);
    put(text, "every");
    for (uint32_t i = 0; i < TENSOR_ROWS; i++) {
        put(text, "9");
    }
}

static void blob_of_rows(struct pil_text *text, const char *name) {
    static const uint8_t row[8] = {1};
    put_header(text, 3, name);
    put(text, "every");
    pil_text_format(text, "$%u\r\n", TENSOR_ROWS * 8);
    for (uint32_t i = 0; i < TENSOR_ROWS; i++) {
        pil_text_append(text, row, sizeof row);
    }
    pil_text_format(text, "\r\n");
}

static void many_features(struct pil_text *text, const char *name) {
    put_header(text, 4001, name);
    for (uint32_t i = 0; i < FEATURES; i++) {
        char feature[16];
        snprintf(feature, sizeof feature, "v:f%u", i);
        put(text, feature);
    }
}

static void scan(struct pil_text *text, const char *name) {
    put_header(text, 6, name);
    put(text, "0");
    put(text, "COUNT");
    put(text, "1000000000");
    put(text, "MATCH");
    put_pattern(text);
}

static void hscan(struct pil_text *text, const char *name) {
    put_header(text, 5, name);
    put(text, "v:1");
    put(text, "0");
    put(text, "MATCH");
    put_pattern(text);
}

static void keys(struct pil_text *text, const char *name) {
    put_header(text, 2, name);
    put_pattern(text);
}

static void client_list(struct pil_text *text, const char *name) {
    put_header(text, WORDS, name);
    put(text, "LIST");
    put(text, "ID");
    for (uint32_t i = 3; i < WORDS; i++) {
        char id[24];
        snprintf(id, sizeof id, "%u", WORDS - i); /* the order that is worst to sort */
        put(text, id);
    }
}

static void command_info(struct pil_text *text, const char *name) {
    put_header(text, WORDS, name);
    put(text, "INFO");
    for (uint32_t i = 2; i < WORDS; i++) {
        put(text, "topk.reserve"); /* near the end of the table */
    }
}

static void config_get(struct pil_text *text, const char *name) {
    put_header(text, WORDS, name);
    put(text, "GET");
    for (uint32_t i = 2; i < WORDS; i++) {
        put_pattern(text);
    }
}

static void info(struct pil_text *text, const char *name) {
    put_header(text, WORDS, name);
    for (uint32_t i = 1; i < WORDS; i++) {
        put(text, "everything");
    }
}

static void latency(struct pil_text *text, const char *name) {
    put_header(text, WORDS, name);
    put(text, "HISTOGRAM");
    for (uint32_t i = 2; i < WORDS; i++) {
        put(text, "slowlog");
    }
}

static void slowlog(struct pil_text *text, const char *name) {
    put_header(text, 3, name);
    put(text, "GET");
    put(text, "-1");
}

static void part(struct pil_text *text, const char *name) {
    put_header(text, 4, name);
    put(text, NARROW ":29999");
    put(text, "0");
    put(text, "-1");
}

static void object(struct pil_text *text, const char *name) {
    put_header(text, 3, name);
    put(text, "ENCODING");
    put(text, "v:1");
}

static void memory(struct pil_text *text, const char *name) {
    put_header(text, 3, name);
    put(text, "USAGE");
    put(text, "v:1");
}

static void acl(struct pil_text *text, const char *name) {
    put_header(text, 3, name);
    put(text, "CAT");
    put(text, "write"); /* the category with the most commands */
}

static const struct worst {
    const char *name;
    void (*build)(struct pil_text *text, const char *name);
    bool is_refused; /* in the end, whatever work it was before */
} worsts[] = {
    {"hget", one_field, false},
    {"hmget", many_fields, false},
    {"hgetall", one_key, false},
    {"hexists", one_field, false},
    {"hlen", one_key, false},
    {"hkeys", one_key, false},
    {"hvals", one_key, false},
    {"hstrlen", one_field, false},
    {"hscan", hscan, false},
    {"get", one_key, false},
    {"mget", many_keys, false},
    {"pil.vector", many_rows, false},
    {"exists", many_keys, false},
    {"type", one_key, false},
    {"ttl", one_key, false},
    {"pttl", one_key, false},
    {"pil.columns", many_rows, false},
    {"pil.vector64", blob_of_rows, false},
    {"pil.columns64", blob_of_rows, false},
    {"pil.plan", many_features, false},
    {"pil.describe", service, false},
    {"pil.list", services, false},
    {"pil.forget", one_word, true},
    {"scan", scan, false},
    {"keys", keys, true},
    {"dbsize", plain, false},
    {"ping", one_word, false},
    {"echo", one_word, false},
    {"hello", plain, false},
    {"auth", one_word, true},
    {"select", one_word, false},
    {"client", client_list, false},
    {"multi", plain, false},
    {"exec", plain, true},
    {"discard", plain, true},
    {"command", command_info, false},
    {"config", config_get, true},
    {"info", info, false},
    {"time", plain, false},
    {"reset", plain, false},
    {"quit", plain, false},
    {"latency", latency, false},
    {"slowlog", slowlog, false},
    {"strlen", one_key, false},
    {"getrange", part, false},
    {"substr", part, false},
    {"touch", many_keys, false},
    {"expiretime", one_key, false},
    {"pexpiretime", one_key, false},
    {"object", object, false},
    {"memory", memory, false},
    {"watch", many_keys, false},
    {"unwatch", plain, false},
    {"role", plain, false},
    {"readonly", plain, true},
    {"readwrite", plain, true},
    {"cluster", one_word, true},
    {"acl", acl, false},
};

static const struct worst *worst_of(const char *name) {
    for (size_t i = 0; i < sizeof worsts / sizeof *worsts; i++) {
        if (strcmp(worsts[i].name, name) == 0) {
            return &worsts[i];
        }
    }
    fail_msg("%s has no worst request in this test: write it", name);
    return NULL;
}

/* ---- One worker, on this thread. */

/* Takes one turn and returns its work. */
static uint64_t turn(struct fixture *f) {
    uint64_t work = 0;
    assert_int_equal(fixture_worker_turn(f->server, &work), PIL_STATUS_OK);
    return work;
}

static int setup(void **state) {
    static const struct pil_protocol *const protocols[] = {&pil_redis_protocol};
    struct fixture *f = calloc(1, sizeof *f);
    struct pil_error error = {0};
    f->settings = fixture_settings(2, 'v', 1, PIL_ENGINE_EPOLL);
    f->settings.slowlog_us = 0; /* every request is in it */
    snprintf(f->settings.views[1].view, sizeof f->settings.views[1].view, "%s", NARROW);
    f->settings.limits.connections_max = 2 * CLIENTS;
    f->wide = fixture_project(FEATURES);
    f->narrow = fixture_project(1);
    f->listener = fixture_listen("work", &f->address);
    assert_int_equal(pil_server_create(&f->settings, protocols, 1, &f->listener, &f->server, &error), PIL_STATUS_OK);
    struct pil_project *project = fixture_project(FEATURES); /* the server's */
    assert_int_equal(pil_server_set_project(f->server, &project), PIL_STATUS_OK);
    struct pil_cache *cache = pil_server_cache(f->server);
    fixture_publish(cache, 0, fixture_release(f->wide->views[0].view, 10, 1, 0));
    fixture_publish(cache, 1, fixture_release(f->narrow->views[0].view, ROWS, 1, 0));
    assert_int_equal(fixture_worker_open(f->server, &error), PIL_STATUS_OK);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        f->others[i] = fixture_connect(&f->address);
        if (i % 8 == 7) { /* the listener's queue is short */
            (void)turn(f);
        }
    }
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    for (uint32_t i = 0; i < CLIENTS; i++) {
        close(f->others[i]);
    }
    fixture_worker_close(f->server);
    pil_server_destroy(&f->server);
    close(f->listener);
    unlink(f->address.sun_path);
    pil_project_destroy(&f->wide);
    pil_project_destroy(&f->narrow);
    pil_text_deinit(&f->answers);
    free(f);
    return 0;
}

/* Reads what has come. Returns false at the end of the connection. */
static bool receive(struct fixture *f) {
    static char buffer[1 << 16];
    ssize_t got;
    while ((got = recv(f->client, buffer, sizeof buffer, MSG_DONTWAIT)) > 0) {
        pil_text_append(&f->answers, buffer, (size_t)got);
    }
    return got != 0;
}

/* Whether `count` answers are there; *ret_errors of them are errors, also inside of an EXEC's. */
static bool has_answers(const struct fixture *f, uint32_t count, uint32_t *ret_errors) {
    struct pil_bytes rest = pil_bytes_from(f->answers.data, f->answers.len);
    struct pil_resp_value value;
    *ret_errors = 0;
    for (uint64_t open = count; open > 0; open--) {
        if (rest.len == 0 || pil_resp_value_next(&rest, &value) != PIL_STATUS_OK) {
            return false;
        }
        bool is_aggregate =
            value.kind == PIL_RESP_KIND_ARRAY || value.kind == PIL_RESP_KIND_SET || value.kind == PIL_RESP_KIND_MAP;
        open += is_aggregate ? (uint64_t)value.integer : 0;
        *ret_errors += value.kind == PIL_RESP_KIND_ERROR;
    }
    return true;
}

/* Sends the requests and takes turns until they are answered; returns the work of the turn that had the most. */
static uint64_t ask(struct fixture *f, struct pil_bytes requests, uint32_t count, uint32_t *ret_errors) {
    uint64_t work_max = 0;
    f->client = fixture_connect(&f->address);
    pil_text_clear(&f->answers);
    for (bool is_open = true; is_open && !has_answers(f, count, ret_errors);) {
        ssize_t sent = send(f->client, requests.data, requests.len, MSG_DONTWAIT | MSG_NOSIGNAL);
        size_t len = sent > 0 ? (size_t)sent : 0;
        requests = pil_bytes_from(requests.data + len, requests.len - len);
        uint64_t work = turn(f);
        work_max = work > work_max ? work : work_max;
        is_open = receive(f);
    }
    close(f->client);
    return work_max;
}

static void check(const char *name, const char *how, uint64_t work) {
    printf("%-14s %-12s %llu\n", name, how, (unsigned long long)work);
    if (work > TURN_WORK_MAX) {
        fail_msg("%s, %s: a turn of %llu steps, over %d", name, how, (unsigned long long)work, TURN_WORK_MAX);
    }
}

/* Fails unless `count` answers are errors, all or none of them: a request that is refused by mistake measures nothing.
 */
static void check_errors(const struct fixture *f, const struct worst *worst, uint32_t errors, uint32_t count) {
    if (errors != (worst->is_refused ? count : 0)) {
        fail_msg("%s: %u of %u answers are errors; they begin with %.200s", worst->name, errors, count,
                 f->answers.data);
    }
}

static void no_request_makes_a_turn_long(void **state) {
    struct fixture *f = *state;
    uint32_t count = 0, errors = 0;
    const struct pil_redis_command *commands = pil_redis_commands(&count);
    for (uint32_t i = 0; i < count && !commands[i].is_write; i++) {
        const struct worst *worst = worst_of(commands[i].name);
        struct pil_text text = {0};
        worst->build(&text, worst->name);
        check(worst->name, "once", ask(f, pil_text_bytes(&text), 1, &errors));
        check_errors(f, worst, errors, 1);
        pil_text_deinit(&text);
    }
}

static void no_pipeline_and_no_transaction_of_long_commands_makes_a_turn_long(void **state) {
    struct fixture *f = *state;
    uint32_t count = 0, errors = 0, long_count = 0;
    const struct pil_redis_command *commands = pil_redis_commands(&count);
    for (uint32_t i = 0; i < count; i++) {
        struct pil_text one = {0}, many = {0};
        if (!commands[i].is_long) {
            continue;
        }
        long_count++;
        const struct worst *worst = worst_of(commands[i].name);
        worst->build(&one, worst->name);
        for (uint32_t k = 0; k < TIMES; k++) {
            pil_text_append(&many, one.data, one.len);
        }
        check(worst->name, "pipeline", ask(f, pil_text_bytes(&many), TIMES, &errors));
        check_errors(f, worst, errors, TIMES);
        pil_text_clear(&many);
        uint32_t fitting = (1 << 22) / (uint32_t)one.len < TIMES ? (1 << 22) / (uint32_t)one.len : TIMES;
        plain(&many, "MULTI");
        for (uint32_t k = 0; k < fitting; k++) {
            pil_text_append(&many, one.data, one.len);
        }
        plain(&many, "EXEC");
        check(worst->name, "transaction", ask(f, pil_text_bytes(&many), 2 + fitting, &errors));
        check_errors(f, worst, errors, fitting);
        pil_text_deinit(&one);
        pil_text_deinit(&many);
    }
    assert_true(long_count >= 8);
}

/* A SCAN that finds its turn's work used up ends early, with a cursor: all of the scan is still seen once. */
static void a_scan_in_steps_sees_every_key_once(void **state) {
    struct fixture *f = *state;
    static bool seen[ROWS];
    char cursor[32] = "0";
    uint32_t steps = 0, errors = 0, found = 0;
    do {
        struct pil_text text = {0};
        put_header(&text, 6, "SCAN");
        put(&text, cursor);
        put(&text, "COUNT");
        put(&text, "1000000000");
        put(&text, "MATCH");
        put(&text, "b*:*?");
        (void)ask(f, pil_text_bytes(&text), 1, &errors);
        pil_text_deinit(&text);
        struct pil_bytes rest = pil_bytes_from(f->answers.data, f->answers.len);
        struct pil_resp_value value;
        assert_int_equal(pil_resp_value_next(&rest, &value), PIL_STATUS_OK);
        assert_int_equal(pil_resp_value_next(&rest, &value), PIL_STATUS_OK);
        snprintf(cursor, sizeof cursor, "%.*s", (int)value.text.len, (const char *)value.text.data);
        assert_int_equal(pil_resp_value_next(&rest, &value), PIL_STATUS_OK);
        for (int64_t i = value.integer; i > 0; i--) {
            assert_int_equal(pil_resp_value_next(&rest, &value), PIL_STATUS_OK);
            int64_t key = 0;
            assert_true(pil_number_parse_i64(
                pil_bytes_from(value.text.data + sizeof NARROW, value.text.len - sizeof NARROW), &key));
            assert_true(key >= 0 && key < ROWS && !seen[key]);
            seen[key] = true;
            found++;
        }
        steps++;
    } while (strcmp(cursor, "0") != 0);
    assert_int_equal(found, ROWS);
    assert_true(steps > 3);
}

/* Connections whose long requests wait for each other get their turn one after another. */
static void long_requests_of_many_connections_take_turns(void **state) {
    enum { PEERS = 6, REQUESTS = 5 };
    struct fixture *f = *state;
    struct pil_text text = {0};
    uint32_t answered[PEERS] = {0}, done = 0, gap_max = 0;
    for (uint32_t i = 0; i < REQUESTS; i++) {
        scan(&text, "SCAN");
    }
    for (uint32_t i = 0; i < PEERS; i++) {
        assert_int_equal(send(f->others[i], text.data, text.len, 0), (ssize_t)text.len);
    }
    while (done < PEERS * REQUESTS) {
        assert_true(turn(f) <= TURN_WORK_MAX);
        uint32_t least = REQUESTS, most = 0;
        for (uint32_t i = 0; i < PEERS; i++) {
            char buffer[4096];
            ssize_t got = recv(f->others[i], buffer, sizeof buffer, MSG_DONTWAIT);
            for (ssize_t k = 0; k + 1 < got; k++) { /* each answer begins with "*2" and has an empty "*0" */
                answered[i] += buffer[k] == '*' && buffer[k + 1] == '0';
            }
            least = answered[i] < least ? answered[i] : least;
            most = answered[i] > most ? answered[i] : most;
        }
        gap_max = most - least > gap_max ? most - least : gap_max;
        done = 0;
        for (uint32_t i = 0; i < PEERS; i++) {
            done += answered[i];
        }
    }
    pil_text_deinit(&text);
    printf("the first is at most %u answers ahead of the last\n", gap_max);
    assert_true(gap_max <= 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(no_request_makes_a_turn_long, setup, teardown),
        cmocka_unit_test_setup_teardown(no_pipeline_and_no_transaction_of_long_commands_makes_a_turn_long, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_scan_in_steps_sees_every_key_once, setup, teardown),
        cmocka_unit_test_setup_teardown(long_requests_of_many_connections_take_turns, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
