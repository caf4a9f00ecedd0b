/* SPDX-License-Identifier: Apache-2.0
 * Goal: over the socket any number of threads share a client and its plans, while connections break off and plans come
 * and go: each call has its own rows, or says that the server is not there. Method: a server of a few commands, with a
 * thread for each connection, that breaks off every few answers; every value tells its key and its feature. What a
 * daemon answers is compared in tests/system/test_client_socket.py. */
#include "unit/client/resp_server.h"

enum { ROWS = 50, THREADS = 6, CALLS = 200 };

static int setup(void **state) {
    *state = calloc(1, sizeof(struct resp_server));
    resp_server_start(*state);
    return 0;
}

static int teardown(void **state) {
    resp_server_stop(*state);
    free(*state);
    return 0;
}

/* ---- Callers. */

struct callers {
    struct pillion_client *client;
    struct pillion_plan *tensor, *columns; /* of f1 and f2 */
    _Atomic uint32_t good, wrong, refused, odd;
};

static struct pillion_client *open_client(const struct resp_server *server) {
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
        is_right = is_right && values[i] == resp_server_value_of(ids[i], feature);
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
    struct resp_server *server = *state;
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
    struct resp_server *server = *state;
    struct callers callers = {.client = open_client(server)};
    server->is_steady = true;
    callers.tensor = make_plan(callers.client, "p/v:f1", 0);
    callers.columns = make_plan(callers.client, "p/v:f2", PILLION_COLUMNS);
    (void)call_on(&callers);
    assert_int_equal(callers.good, CALLS);
    assert_int_equal(server->peer_count, 1);
    pillion_close(&callers.client);
}

/* Callers lay their buffers out by it, and divide by what it counts. The plan is of p/v:f1, or of a service. */
static void a_description_that_cannot_be_makes_no_plan(void **state) {
    struct resp_server *server = *state;
    static const char head[] = "{\"width\":1,\"join_keys\":[{\"name\":\"id\",\"type\":\"int64\"}],\"views\":";
    static const char *const bad[] = {
        "{}",
        "{\"width\":1,\"join_keys\":[],\"views\":[{\"name\":\"p/v\"}],\"features\":[{\"view\":0}]}",
        "[],\"features\":[{\"view\":0,\"name\":\"f1\",\"type\":\"float32\",\"first\":0,\"count\":1}]}",
        "[{\"name\":\"p/v\"}],\"features\":[]}",
        "[{\"name\":\"p/"
        "v\"}],\"features\":[{\"view\":1,\"name\":\"f1\",\"type\":\"float32\",\"first\":0,\"count\":1}]}",
        "[{\"name\":\"p/v\"}],\"features\":[{\"view\":400000,\"name\":\"f1\",\"type\":\"float32\",\"count\":1}]}",
        "[{\"name\":\"p/"
        "v\"}],\"features\":[{\"view\":0,\"name\":\"f1\",\"type\":\"float32\",\"first\":1,\"count\":1}]}",
        "[{\"name\":\"p/"
        "v\"}],\"features\":[{\"view\":0,\"name\":\"f1\",\"type\":\"float32\",\"first\":0,\"count\":2}]}",
        "[{\"name\":\"p/"
        "v\"}],\"features\":[{\"view\":0,\"name\":\"f1\",\"type\":\"float32\",\"first\":0,\"count\":0}]}",
        "[{\"name\":\"p/v\"}],\"features\":[{\"view\":0,\"name\":\"\",\"type\":\"float32\",\"first\":0,\"count\":1}]}",
        "[{\"name\":\"p/v\"}],\"features\":[{\"view\":0,\"name\":7,\"type\":\"float32\",\"first\":0,\"count\":1}]}",
        "[{\"name\":\"p/v\"}],\"features\":[{\"view\":0,\"name\":\"f1\",\"first\":0,\"count\":1}]}",
        "[{\"name\":\"p/v\"}],\"features\":[{\"view\":0,\"name\":\"f1\",\"type\":\"vector<float32,2>\",\"first\":0,"
        "\"count\":1}]}",
        "[{\"name\":\"v\"}],\"features\":[{\"view\":0,\"name\":\"f1\",\"type\":\"float32\",\"first\":0,\"count\":1}]}",
        "[{\"name\":\"p/v\"},{\"name\":\"p/w\"}],\"features\":[{\"view\":0,\"name\":\"f1\",\"type\":\"float32\","
        "\"first\":0,\"count\":1}]}",
        "{\"width\":4000000000,\"join_keys\":[{\"name\":\"id\",\"type\":\"int64\"}],\"views\":[{\"name\":\"p/v\"}],"
        "\"features\":[{\"view\":0,\"name\":\"f1\",\"type\":\"float32\",\"count\":1}]}",
        "{\"width\":1,\"join_keys\":[{\"type\":\"int64\"}],\"views\":[{\"name\":\"p/v\"}],"
        "\"features\":[{\"view\":0,\"name\":\"f1\",\"type\":\"float32\",\"count\":1}]}",
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
        char description[512];
        snprintf(description, sizeof description, "%s%s", bad[i / 2][0] == '[' ? head : "", bad[i / 2]);
        server->description = description;
        pillion_result result = pillion_plan(client, &options[i % 2], &plan, &error);
        if (result != PILLION_CORRUPT || strstr(error.text, "the server describes") == NULL) {
            fail_msg("%s: %d %s", description, (int)result, error.text);
        }
        assert_null(plan);
    }
    server->description = NULL;
    struct pillion_plan *plan = make_plan(client, "p/v:f1", 0);
    pillion_plan_free(&plan);
    pillion_close(&client);
}

/* A description of other features than were asked for, and a later one that differs from the first. */
static void a_description_binds_the_server(void **state) {
    struct resp_server *server = *state;
    struct pillion_client *client = open_client(server);
    struct pillion_feature_info feature;
    struct pillion_plan_info info = {.size = sizeof info};
    struct pillion_plan *plan = make_plan(client, "v:f1", PILLION_COLUMNS);
    assert_int_equal(pillion_plan_describe(plan, &info), PILLION_OK);
    assert_int_equal(info.view_count, 1);
    static const char *const later[] = {
        "{\"width\":1,\"join_keys\":[{\"name\":\"id\",\"type\":\"int64\"}],\"views\":[{\"name\":\"p/v\"}],"
        "\"features\":[{\"view\":0,\"name\":\"f2\",\"type\":\"int64\",\"first\":0,\"count\":1}]}",
        "{\"width\":1,\"join_keys\":[{\"name\":\"id\",\"type\":\"int64\"}],\"views\":[{\"name\":\"q/v\"}],"
        "\"features\":[{\"view\":0,\"name\":\"f1\",\"type\":\"int64\",\"first\":0,\"count\":1}]}",
        "{\"width\":1,\"join_keys\":[{\"name\":\"other\",\"type\":\"int64\"}],\"views\":[{\"name\":\"p/v\"}],"
        "\"features\":[{\"view\":0,\"name\":\"f1\",\"type\":\"int64\",\"first\":0,\"count\":1}]}",
        "{\"width\":2,\"join_keys\":[{\"name\":\"id\",\"type\":\"int64\"}],\"views\":[{\"name\":\"p/v\"}],"
        "\"features\":[{\"view\":0,\"name\":\"f1\",\"type\":\"vector<int64,2>\",\"first\":0,\"count\":2}]}",
        "{\"width\":0,\"join_keys\":[{\"name\":\"id\",\"type\":\"int64\"}],\"views\":[{\"name\":\"p/v\"}],"
        "\"features\":[{\"view\":0,\"name\":\"f1\",\"type\":\"string\",\"first\":0,\"count\":0}]}",
        "{\"width\":1,\"join_keys\":[{\"name\":\"id\",\"type\":\"int64\"}],\"views\":[{\"name\":\"p/v\"}],"
        "\"features\":[{\"view\":0,\"name\":\"f1\",\"type\":\"int64\",\"first\":0,\"count\":1},"
        "{\"view\":0,\"name\":\"f1\",\"type\":\"int64\",\"first\":1,\"count\":1}]}",
    };
    for (size_t i = 0; i < sizeof later / sizeof later[0]; i++) {
        server->description = later[i];
        assert_int_equal(pillion_plan_features(plan, &feature, 1), PILLION_OK);
        assert_string_equal(feature.type, "float32"); /* nothing of it was taken */
        struct pillion_plan *other = NULL;
        const char *const asked[] = {"v:f1"};
        struct pillion_plan_options options = {
            .size = sizeof options, .features = asked, .feature_count = 1, .flags = i == 2 ? 0 : PILLION_COLUMNS};
        pillion_result result = pillion_plan(client, &options, &other, NULL);
        bool could_be = i >= 1 && i <= 4; /* of another project, with other keys, or of another type */
        assert_int_equal(result, could_be ? PILLION_OK : PILLION_CORRUPT);
        pillion_plan_free(&other);
    }
    server->description =
        "{\"width\":1,\"join_keys\":[{\"name\":\"id\",\"type\":\"int64\"}],\"views\":[{\"name\":\"p/v\"}],"
        "\"features\":[{\"view\":0,\"name\":\"f1\",\"type\":\"int64\",\"first\":0,\"count\":1}]}";
    assert_int_equal(pillion_plan_features(plan, &feature, 1), PILLION_OK);
    assert_string_equal(feature.type, "int64");
    server->description = NULL;
    pillion_plan_free(&plan);
    pillion_close(&client);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(threads_share_a_client, setup, teardown),
        cmocka_unit_test_setup_teardown(a_description_that_cannot_be_makes_no_plan, setup, teardown),
        cmocka_unit_test_setup_teardown(a_description_binds_the_server, setup, teardown),
        cmocka_unit_test_setup_teardown(a_steady_server_is_asked_over_few_connections, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
