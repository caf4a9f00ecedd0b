/* SPDX-License-Identifier: Apache-2.0
 * Goal: whatever the server does (dies, stops, comes back, refuses, sends what is not sealed or not a shard), calls of
 * what is mapped go on, the answer says how stale they are, and everything else is an error of the call. Method: the
 * in-process server with its knobs. */
#include "client/client.h"
#include "unit/client/fixture.h"

#include <signal.h>
#include <sys/wait.h>

static pillion_result get_one(struct pillion_plan *plan, int64_t id, float values[FEATURES],
                              struct pillion_answer *answer) {
    struct pillion_keys keys = fixture_keys(&id, 1);
    struct pillion_output output = fixture_output(values, FEATURES * sizeof values[0]);
    *answer = (struct pillion_answer){.size = sizeof *answer};
    return pillion_get(plan, &keys, &output, answer);
}

/* Gets until the answer is of that release; the calls before must be right, too. */
static void wait_for_seed(struct pillion_plan *plan, uint64_t seed) {
    for (int i = 0; i < 5000; i++) {
        float values[FEATURES];
        struct pillion_answer answer;
        assert_int_equal(get_one(plan, 5, values, &answer), PILLION_OK);
        uint64_t is = strtoull(answer.views[0].release, NULL, 16);
        assert_true(values[3] == fixture_value(5, 3, is));
        if (is == seed && answer.staleness_us == 0) {
            return;
        }
        usleep(1000);
    }
    fail_msg("release %llu does not come", (unsigned long long)seed);
}

static void reads_on_without_its_server_and_finds_the_next(void **state) {
    struct fixture *fixture = *state;
    struct pillion_plan *plan = fixture_service(fixture->client, "every");
    float values[FEATURES];
    struct pillion_answer answer = {.size = sizeof answer};
    assert_int_equal(get_one(plan, 5, values, &answer), PILLION_OK);
    server_stop(&fixture->server);
    for (int i = 0; i < 3000 && answer.staleness_us == 0; i++) {
        usleep(1000);
        assert_int_equal(get_one(plan, 5, values, &answer), PILLION_OK);
        assert_true(values[3] == fixture_value(5, 3, 1));
    }
    assert_true(answer.staleness_us >= 2000000);
    struct pillion_info info = {.size = sizeof info};
    assert_int_equal(pillion_info(fixture->client, &info), PILLION_OK);
    assert_int_equal(info.is_connected, 0);
    assert_true(info.why_not_mapped[0] != '\0');
    fixture_start(fixture);
    /* The generation is 1 again, of another release: only the connection tells. */
    server_publish_seed(&fixture->server, 0, fixture->view, ROWS, 9, 0);
    wait_for_seed(plan, 9);
    assert_int_equal(pillion_info(fixture->client, &info), PILLION_OK);
    assert_int_equal(info.is_connected, 1);
    assert_true(info.reconnects >= 1);
    pillion_plan_free(&plan);
}

static void a_stopped_server_delays_one_call_only(void **state) {
    struct fixture *fixture = *state;
    struct pillion_plan *plan = fixture_service(fixture->client, "every");
    float values[FEATURES];
    struct pillion_answer answer;
    fixture->server.is_silent = true;
    usleep(30000);
    server_publish_seed(&fixture->server, 0, fixture->view, ROWS, 2, 0);
    assert_int_equal(get_one(plan, 5, values, &answer), PILLION_OK);
    assert_string_equal(answer.views[0].release, "0000000000000001");
    assert_true(answer.staleness_us > 0);
    uint64_t begin_ns = pil_clock_monotonic_ns();
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(get_one(plan, 5, values, &answer), PILLION_OK);
    }
    /* A wait in each call would be 20 s. */
    assert_true(pil_clock_monotonic_ns() - begin_ns < 5000000000);
    fixture->server.is_silent = false;
    wait_for_seed(plan, 2);
    pillion_plan_free(&plan);
}

static void a_closing_server_is_left(void **state) {
    struct fixture *fixture = *state;
    struct pillion_plan *plan = fixture_service(fixture->client, "every");
    float values[FEATURES];
    struct pillion_answer answer;
    uint64_t hellos = fixture->server.hellos;
    atomic_store(&fixture->server.control->state, PIL_MAPPED_CLOSING);
    for (int i = 0; i < 3000 && fixture->server.hellos == hellos; i++) {
        assert_int_equal(get_one(plan, 5, values, &answer), PILLION_OK);
        assert_true(answer.staleness_us >= 0);
        usleep(1000);
    }
    assert_true(fixture->server.hellos > hellos);
    atomic_store(&fixture->server.control->state, PIL_MAPPED_SERVING);
    wait_for_seed(plan, 1);
    pillion_plan_free(&plan);
}

static pillion_result try_plan(struct fixture *fixture, const char *feature, const char *min_release,
                               struct pillion_plan **ret_plan, struct pillion_error *error) {
    struct pillion_plan_options options = {
        .size = sizeof options, .features = &feature, .feature_count = 1, .min_release = min_release};
    return pillion_plan(fixture->client, &options, ret_plan, error);
}

static void refusals_are_told(void **state) {
    struct fixture *fixture = *state;
    struct pillion_plan *plan = NULL;
    struct pillion_error error;
    assert_int_equal(try_plan(fixture, "w:f0", NULL, &plan, &error), PILLION_NOT_READY);
    assert_string_equal(error.text, "view p/w has no release yet");
    fixture->server.views[1].refusal = PIL_STATUS_DENIED;
    server_publish_seed(&fixture->server, 1, fixture->other, ROWS, 3, 0);
    assert_int_equal(try_plan(fixture, "w:f0", NULL, &plan, &error), PILLION_DENIED);
    assert_string_equal(error.text, "the test says no");
    struct pillion_info info = {.size = sizeof info};
    assert_int_equal(pillion_info(fixture->client, &info), PILLION_OK);
    assert_string_equal(info.views[1].name, "p/w");
    assert_string_equal(info.views[1].why_not, "the test says no");
    assert_int_equal(info.views[1].is_mapped, 0);
    /* A view that is refused from now on: what is mapped is not read any more. */
    plan = fixture_service(fixture->client, "every");
    float values[FEATURES];
    struct pillion_answer answer;
    fixture->server.views[0].refusal = PIL_STATUS_DENIED;
    server_publish_seed(&fixture->server, 0, fixture->view, ROWS, 4, 0);
    assert_int_equal(get_one(plan, 5, values, &answer), PILLION_DENIED);
    assert_string_equal(answer.error.text, "the test says no");
    /* And back, at once with another release. */
    fixture->server.views[0].refusal = PIL_STATUS_OK;
    server_publish_seed(&fixture->server, 0, fixture->view, ROWS, 5, 0);
    wait_for_seed(plan, 5);
    pillion_plan_free(&plan);
}

static void min_release_waits_for_it(void **state) {
    struct fixture *fixture = *state;
    struct pillion_plan *plan = NULL;
    struct pillion_error error;
    int64_t id = 5;
    float value;
    struct pillion_keys keys = fixture_keys(&id, 1);
    struct pillion_output output = fixture_output(&value, sizeof value);
    struct pillion_answer answer = {.size = sizeof answer};
    /* The server says of any release that it was made at 1000; generation g was made at g * 500. */
    assert_int_equal(try_plan(fixture, "v:f0", "00000000000000ff", &plan, &error), PILLION_OK);
    assert_int_equal(pillion_get(plan, &keys, &output, &answer), PILLION_NOT_READY);
    assert_string_equal(answer.error.text, "view p/v is at release 0000000000000001, which is not 00000000000000ff "
                                           "nor made after it");
    server_publish_seed(&fixture->server, 0, fixture->view, ROWS, 2, 0);
    assert_int_equal(pillion_get(plan, &keys, &output, &answer), PILLION_OK);
    assert_true(value == fixture_value(5, 0, 2));
    pillion_plan_free(&plan);
    assert_int_equal(try_plan(fixture, "v:f0", "0000000000000002", &plan, &error), PILLION_OK);
    assert_int_equal(pillion_get(plan, &keys, &output, &answer), PILLION_OK);
    pillion_plan_free(&plan);
}

/* Both views of a plan, one after the other: the first that may be had again is not kept waiting by the second. */
static void the_view_that_was_refused_first_is_asked_for_first(void **state) {
    struct fixture *fixture = *state;
    server_publish_seed(&fixture->server, 1, fixture->other, ROWS, 2, 0);
    struct pillion_plan *plans[] = {fixture_service(fixture->client, "both"), NULL};
    const struct pil_client_view *views = fixture->client->views;
    struct pillion_error error;
    assert_int_equal(try_plan(fixture, "w:f0", NULL, &plans[1], &error), PILLION_OK);
    for (uint32_t i = 0; i < 2; i++) {
        fixture->server.views[i].refusal = PIL_STATUS_TOO_LARGE;
        server_publish_seed(&fixture->server, i, i == 0 ? fixture->view : fixture->other, ROWS, 3 + i, 0);
        for (int try = 0; try < 5000 && views[i].refusal == PIL_STATUS_OK; try++) {
            float values[FEATURES];
            struct pillion_answer answer;
            assert_int_equal(get_one(plans[i], 5, values, &answer), PILLION_OK);
            usleep(1000);
        }
    }
    assert_true(views[0].retry_ns != 0 && views[0].retry_ns < views[1].retry_ns);
    assert_true(atomic_load(&atomic_load(&plans[0]->compiled)->poll_at_ns) == views[0].retry_ns);
    pillion_plan_free(&plans[0]);
    pillion_plan_free(&plans[1]);
}

/* Without a description a call could not check its buffers: such a plan stays out of the socket's reach. */
static void a_plan_that_waits_for_its_feature_is_not_asked_over_the_socket(void **state) {
    struct fixture *fixture = *state;
    struct pillion_options options = {.size = sizeof options, .mapped = fixture->url, .resp = "unix:/nonexistent"};
    struct pillion_plan *plan = NULL;
    struct pillion_error error;
    float values[FEATURES];
    struct pillion_answer answer;
    pillion_close(&fixture->client);
    assert_int_equal(pillion_open(&options, &fixture->client, NULL), PILLION_OK);
    assert_int_equal(try_plan(fixture, "v:f9", "00000000000000ff", &plan, &error), PILLION_OK);
    assert_int_equal(get_one(plan, 5, values, &answer), PILLION_NOT_READY);
    fixture->server.views[0].refusal = PIL_STATUS_DENIED;
    server_publish_seed(&fixture->server, 0, fixture->view, ROWS, 2, 0);
    for (int i = 0; i < 5000 && get_one(plan, 5, values, &answer) == PILLION_NOT_READY; i++) {
        usleep(1000);
    }
    assert_int_equal(get_one(plan, 5, values, &answer), PILLION_DENIED);
    assert_string_equal(answer.error.text, "the test says no");
    pillion_plan_free(&plan);
}

static void a_plan_that_fails_leaves_nothing_mapped(void **state) {
    struct fixture *fixture = *state;
    struct pillion_plan *plan = NULL;
    struct pillion_error error;
    struct pillion_info info = {.size = sizeof info};
    assert_int_equal(try_plan(fixture, "v:f9", NULL, &plan, &error), PILLION_NOT_FOUND);
    assert_null(fixture->client->views[0].mapping);
    fixture_wait_for_drops(fixture, 1);
    assert_int_equal(pillion_info(fixture->client, &info), PILLION_OK);
    assert_int_equal(info.views[0].is_mapped, 0);
}

/* ---- What is granted is not to be trusted. */

enum { ALL_SEALS = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL };

static void what_is_no_release_is_refused_and_the_old_one_stays(void **state) {
    struct fixture *fixture = *state;
    struct pillion_plan *plan = fixture_service(fixture->client, "every");
    uint8_t *shard = calloc(1, 1 << 20);
    int good = fixture_shard(fixture->view, 100, 2, 0, 0);
    ssize_t bytes = pread(good, shard, 1 << 20, 0);
    assert_true(bytes > 4096 && bytes < 1 << 20);
    uint8_t *magic = calloc(1, (size_t)bytes), *noise = calloc(1, (size_t)bytes);
    memcpy(magic, shard, (size_t)bytes);
    magic[0] ^= 1;
    for (ssize_t i = 0; i < bytes; i++) {
        noise[i] = (uint8_t)(i * 7919 >> 3);
    }
    int fds[] = {
        server_memfd(pil_bytes_from(shard, (size_t)bytes), 0),                           /* not sealed */
        server_memfd(pil_bytes_from(shard, (size_t)bytes), F_SEAL_SHRINK | F_SEAL_GROW), /* may be written */
        server_memfd(pil_bytes_from(shard, (size_t)bytes / 2), ALL_SEALS),               /* short */
        server_memfd(pil_bytes_from(shard, 0), ALL_SEALS),                               /* empty */
        server_memfd(pil_bytes_from(magic, (size_t)bytes), ALL_SEALS),
        server_memfd(pil_bytes_from(noise, (size_t)bytes), ALL_SEALS),
        open("/dev/null", O_RDONLY | O_CLOEXEC),
    };
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        float values[FEATURES];
        struct pillion_answer answer;
        struct pillion_info info = {.size = sizeof info};
        server_publish(&fixture->server, 0, &fds[i], 1, "00000000000000bb");
        assert_int_equal(get_one(plan, 5, values, &answer), PILLION_OK);
        assert_true(values[3] == fixture_value(5, 3, 1));
        assert_true(answer.staleness_us > 0);
        assert_int_equal(pillion_info(fixture->client, &info), PILLION_OK);
        assert_non_null(strstr(info.views[0].why_not, "release 00000000000000bb, shard 0"));
        /* A plan that has nothing older says why. */
        struct pillion_client *other = fixture_open(fixture);
        struct pillion_plan_options options = {.size = sizeof options, .service = "every"};
        struct pillion_plan *none = NULL;
        struct pillion_error error;
        assert_int_equal(pillion_plan(other, &options, &none, &error), PILLION_CORRUPT);
        pillion_close(&other);
    }
    server_publish(&fixture->server, 0, &good, 1, "0000000000000002");
    wait_for_seed(plan, 2);
    free(shard);
    free(magic);
    free(noise);
    pillion_plan_free(&plan);
}

static void a_page_that_can_shrink_is_refused(void **state) {
    struct fixture *fixture = *state;
    struct pillion_options options = {.size = sizeof options, .mapped = fixture->url};
    struct pillion_client *client = NULL;
    struct pillion_error error;
    server_stop(&fixture->server);
    fixture->server.has_unsealed_page = true;
    fixture_start(fixture);
    assert_int_equal(pillion_open(&options, &client, &error), PILLION_UNAVAILABLE);
    assert_string_equal(error.text, "the control page is not sealed");
    fixture->server.has_unsealed_page = false;
}

static void opening_says_why_not(void **state) {
    struct fixture *fixture = *state;
    struct pillion_client *client = NULL;
    struct pillion_error error;
    struct pillion_options options = {.size = sizeof options, .mapped = "unix:/nonexistent/mapped.sock"};
    assert_int_equal(pillion_open(&options, &client, &error), PILLION_UNAVAILABLE);
    assert_string_equal(error.text, "connect to unix:/nonexistent/mapped.sock: No such file or directory");
    options.resp = "unix:/nonexistent/resp.sock";
    assert_int_equal(pillion_open(&options, &client, &error), PILLION_UNAVAILABLE);
    assert_string_equal(error.text, "unix:/nonexistent/resp.sock: No such file or directory; not mapped: connect to "
                                    "unix:/nonexistent/mapped.sock: No such file or directory");
    options.resp = NULL;
    options.mapped = "tcp:127.0.0.1:1";
    assert_int_equal(pillion_open(&options, &client, &error), PILLION_INVALID);
    options.mapped = NULL;
    assert_int_equal(pillion_open(&options, &client, &error), PILLION_INVALID);
    options.mapped = fixture->url;
    fixture->server.hello_refusal = "not you";
    assert_int_equal(pillion_open(&options, &client, &error), PILLION_UNAVAILABLE);
    assert_string_equal(error.text, "not you");
    fixture->server.hello_refusal = NULL;
    fixture->server.is_silent = true;
    usleep(30000);
    options.timeout_ms = 50;
    assert_int_equal(pillion_open(&options, &client, &error), PILLION_UNAVAILABLE);
    fixture->server.is_silent = false;
    assert_null(client);
}

/* 1,000 calls in flight at once, as far as the client can see. */
static void more_calls_than_slots_find_room(void **state) {
    struct fixture *fixture = *state;
    struct pillion_plan *plan = fixture_service(fixture->client, "every");
    struct pil_epoch_slot *slots[1000];
    float values[FEATURES];
    struct pillion_answer answer;
    for (size_t i = 0; i < 1000; i++) {
        assert_non_null(pil_epoch_enter(plan, NULL, &slots[i]));
        assert_true(i == 0 || slots[i] != slots[i - 1]);
    }
    assert_int_equal(get_one(plan, 5, values, &answer), PILLION_OK);
    server_publish_seed(&fixture->server, 0, fixture->view, ROWS, 2, 0);
    assert_int_equal(get_one(plan, 5, values, &answer), PILLION_OK);
    assert_true(values[3] == fixture_value(5, 3, 2));
    /* What they read is not freed before the last of them leaves. */
    assert_int_equal(fixture->server.drops, 0);
    for (size_t i = 0; i < 1000; i++) {
        struct pillion_info info = {.size = sizeof info};
        assert_int_equal(fixture->server.drops, 0);
        assert_int_equal(atomic_load(&slots[i]->reads)->views[0].generation, 1);
        pil_epoch_leave(slots[i]);
        assert_int_equal(i % 100 == 0 ? pillion_info(fixture->client, &info) : PILLION_OK, PILLION_OK);
    }
    for (int i = 0; i < 1000 && fixture->server.drops == 0; i++) {
        assert_int_equal(get_one(plan, 5, values, &answer), PILLION_OK);
        usleep(1000);
    }
    assert_int_equal(fixture->server.drops, 1);
    pillion_plan_free(&plan);
}

/* ---- Fork. */

static int read_in_child(struct fixture *fixture, struct pillion_plan *plan) {
    float values[FEATURES];
    struct pillion_answer answer;
    for (int i = 0; i < 5000; i++) {
        if (get_one(plan, 5, values, &answer) != PILLION_OK) {
            return 1;
        }
        uint64_t seed = strtoull(answer.views[0].release, NULL, 16);
        if (values[3] != fixture_value(5, 3, seed)) {
            return 2;
        }
        if (seed == 7) {
            struct pillion_info info = {.size = sizeof info};
            return pillion_info(fixture->client, &info) == PILLION_OK && info.is_connected ? 0 : 3;
        }
        usleep(1000);
    }
    return 4;
}

/* The allocators of sanitizers, unlike the C library's, do not survive a fork while another thread allocates. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { MEANWHILE = PILLION_NO_REFRESH };
#else
enum { MEANWHILE = 0 };
#endif

static _Atomic bool is_forking_over;

static void *read_meanwhile(void *context) {
    while (!is_forking_over) {
        int64_t id = 5;
        float values[FEATURES];
        struct pillion_keys keys = fixture_keys(&id, 1);
        struct pillion_output output = fixture_output(values, sizeof values);
        output.flags = MEANWHILE;
        if (pillion_get(context, &keys, &output, NULL) != PILLION_OK) {
            return context;
        }
    }
    return NULL;
}

/* Children are forked off while other threads are in calls, and while one maps a release. */
static void a_forked_child_reads_on_and_connects_anew(void **state) {
    struct fixture *fixture = *state;
    struct pillion_plan *plan = fixture_service(fixture->client, "every");
    pthread_t threads[2];
    pid_t children[8];
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, read_meanwhile, plan), 0);
    }
    for (int i = 0; i < 8; i++) {
        server_publish_seed(&fixture->server, 0, fixture->view, ROWS, 20 + (uint64_t)i, 0);
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] == 0) {
            _exit(read_in_child(fixture, plan));
        }
    }
    server_publish_seed(&fixture->server, 0, fixture->view, ROWS, 7, 0);
    for (int i = 0; i < 8; i++) {
        int code = -1;
        assert_int_equal(waitpid(children[i], &code, 0), children[i]);
        assert_int_equal(code, 0);
    }
    is_forking_over = true;
    for (int i = 0; i < 2; i++) {
        void *failed = NULL;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    wait_for_seed(plan, 7);
    pillion_plan_free(&plan);
}

/* As the child finds them when its parent's other thread was about to say how many features a plan has. */
static void a_child_describes_anew_what_was_half_described(void **state) {
    struct fixture *fixture = *state;
    struct pillion_plan *plan = NULL;
    struct pillion_error error;
    assert_int_equal(try_plan(fixture, "v:f9", "00000000000000ff", &plan, &error), PILLION_OK);
    plan->features = calloc(1, sizeof plan->features[0]);
    atomic_store(&fixture->client->lock, 1);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct pillion_plan_info info = {.size = sizeof info};
        _exit(pillion_plan_describe(plan, &info) == PILLION_NOT_READY && plan->features == NULL ? 0 : 1);
    }
    int code = -1;
    assert_int_equal(waitpid(child, &code, 0), child);
    assert_int_equal(code, 0);
    free(plan->features);
    plan->features = NULL;
    atomic_store(&fixture->client->lock, 0);
    pillion_plan_free(&plan);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reads_on_without_its_server_and_finds_the_next, setup, teardown),
        cmocka_unit_test_setup_teardown(a_stopped_server_delays_one_call_only, setup, teardown),
        cmocka_unit_test_setup_teardown(a_closing_server_is_left, setup, teardown),
        cmocka_unit_test_setup_teardown(refusals_are_told, setup, teardown),
        cmocka_unit_test_setup_teardown(min_release_waits_for_it, setup, teardown),
        cmocka_unit_test_setup_teardown(the_view_that_was_refused_first_is_asked_for_first, setup, teardown),
        cmocka_unit_test_setup_teardown(a_plan_that_waits_for_its_feature_is_not_asked_over_the_socket, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_plan_that_fails_leaves_nothing_mapped, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_no_release_is_refused_and_the_old_one_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(a_page_that_can_shrink_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(opening_says_why_not, setup, teardown),
        cmocka_unit_test_setup_teardown(more_calls_than_slots_find_room, setup, teardown),
        cmocka_unit_test_setup_teardown(a_forked_child_reads_on_and_connects_anew, setup, teardown),
        cmocka_unit_test_setup_teardown(a_child_describes_anew_what_was_half_described, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
