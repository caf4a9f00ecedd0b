/* SPDX-License-Identifier: Apache-2.0
 * Goal: an allocation that fails in libpillion never ends the process: the call answers PILLION_NO_MEMORY with a
 * sentence or does its work all the same, nothing leaks, and when there is memory again the same calls work. Method:
 * each allocation of a scenario fails in turn, in reads of mapped releases with swaps and in reads over the socket; a
 * step that failed is taken again with memory. The sanitizer tells leaks; the client checks its invariants whenever
 * its lock is released. */
#include "support/fail_alloc.h"
#include "unit/client/fixture.h"
#include "unit/client/resp_server.h"

enum { PATIENCE = 5000, KEYS = 3 };

/* ---- Steps: each returns what libpillion answers. */

struct scenario {
    struct pillion_options options;
    struct pillion_plan_options tensor, columns;
    struct pillion_client *client;
    struct pillion_plan *tensor_plan, *columns_plan;
    struct fixture *fixture; /* NULL: over the socket */
    uint64_t seed;           /* of the release that is published */
    struct pillion_error error;
};

static pillion_result open_client(struct scenario *scenario) {
    return pillion_open(&scenario->options, &scenario->client, &scenario->error);
}

static pillion_result plan_tensor(struct scenario *scenario) {
    return pillion_plan(scenario->client, &scenario->tensor, &scenario->tensor_plan, &scenario->error);
}

static pillion_result plan_columns(struct scenario *scenario) {
    return pillion_plan(scenario->client, &scenario->columns, &scenario->columns_plan, &scenario->error);
}

static pillion_result get_tensor(struct scenario *scenario) {
    static const int64_t ids[KEYS] = {5, 7, 11};
    float values[KEYS * FEATURES] = {0};
    struct pillion_keys keys = fixture_keys(ids, KEYS);
    struct pillion_output output = fixture_output(values, sizeof values);
    struct pillion_answer answer = {.size = sizeof answer};
    pillion_result result = pillion_get(scenario->tensor_plan, &keys, &output, &answer);
    scenario->error = answer.error;
    if (result == PILLION_OK && scenario->fixture != NULL) {
        uint64_t seed = strtoull(answer.views[0].release, NULL, 16);
        assert_true(seed <= scenario->seed && values[3] == fixture_value(5, 3, seed));
        return seed == scenario->seed ? PILLION_OK : PILLION_NOT_READY; /* an older release: a swap is still due */
    }
    assert_true(result != PILLION_OK || values[1] == resp_server_value_of(7, 1));
    return result;
}

static pillion_result get_columns(struct scenario *scenario) {
    static const int64_t ids[KEYS] = {5, 7, 11};
    float values[FEATURES][KEYS];
    struct pillion_column columns[FEATURES] = {{0}};
    for (int i = 0; i < FEATURES; i++) {
        columns[i] = (struct pillion_column){.values = values[i], .value_bytes = sizeof values[i]};
    }
    struct pillion_columns request = {
        .size = sizeof request, .columns = columns, .column_count = scenario->fixture != NULL ? FEATURES : 1};
    struct pillion_keys keys = fixture_keys(ids, KEYS);
    struct pillion_answer answer = {.size = sizeof answer};
    pillion_result result = pillion_get_columns(scenario->columns_plan, &keys, &request, &answer);
    scenario->error = answer.error;
    if (result == PILLION_OK && scenario->fixture != NULL) {
        uint64_t seed = strtoull(answer.views[0].release, NULL, 16);
        assert_true(seed <= scenario->seed && values[3][0] == fixture_value(5, 3, seed));
    }
    assert_true(result != PILLION_OK || scenario->fixture != NULL || values[0][1] == resp_server_value_of(7, 1));
    return result;
}

static pillion_result describe(struct scenario *scenario) {
    struct pillion_feature_info features[FEATURES];
    struct pillion_info info = {.size = sizeof info};
    pillion_result result = pillion_plan_features(scenario->columns_plan, features, FEATURES);
    if (result == PILLION_OK) {
        assert_string_equal(features[0].type, "float32");
        result = pillion_info(scenario->client, &info);
    }
    return result;
}

static pillion_result swap(struct scenario *scenario) {
    bool was_armed = pil_fail_alloc.is_armed; /* the server's allocations are not to fail */
    pil_fail_alloc.is_armed = false;
    server_publish_seed(&scenario->fixture->server, 0, scenario->fixture->view, ROWS, ++scenario->seed, 1);
    pil_fail_alloc.is_armed = was_armed;
    return get_tensor(scenario);
}

static pillion_result free_plan(struct scenario *scenario) {
    pillion_plan_free(&scenario->columns_plan);
    return PILLION_OK;
}

typedef pillion_result scenario_step(struct scenario *scenario);

/* ---- The harness. */

/* After the failure, with memory: until the step works. A client tries its connection again once a second. */
static void take_again(struct scenario *scenario, scenario_step *step, uint64_t nth, int number) {
    pillion_result result = PILLION_OK;
    for (int i = 0; i < PATIENCE; i++) {
        result = step == swap ? get_tensor(scenario) : step(scenario);
        if (result == PILLION_OK) {
            return;
        }
        usleep(1000);
    }
    fail_msg("allocation %llu failed, and step %d answers %d for good: %s", (unsigned long long)nth, number, result,
             scenario->error.text);
}

/* Returns whether some allocation failed. */
static bool run(struct scenario *scenario, scenario_step *const *steps, uint64_t nth) {
    bool has_fired = false;
    pil_fail_alloc_arm(nth);
    for (int i = 0; steps[i] != NULL; i++) {
        scenario->error.text[0] = '\0';
        pillion_result result = steps[i](scenario);
        has_fired = pil_fail_alloc.has_fired;
        bool is_excused = has_fired && (result == PILLION_NO_MEMORY || result == PILLION_NOT_READY);
        if (result != PILLION_OK && !is_excused) {
            fail_msg("allocation %llu: step %d answers %d: %s", (unsigned long long)nth, i, result,
                     scenario->error.text);
        }
        if (result == PILLION_NO_MEMORY && steps[i] != describe) {
            assert_non_null(strstr(scenario->error.text, "no memory"));
        }
        if (result != PILLION_OK) {
            (void)pil_fail_alloc_disarm();
            take_again(scenario, steps[i], nth, i);
        }
    }
    pillion_plan_free(&scenario->tensor_plan);
    pillion_close(&scenario->client);
    return has_fired || pil_fail_alloc.has_fired;
}

static void fail_each(struct scenario scenario, scenario_step *const *steps, uint64_t at_least) {
    uint64_t nth = 1;
    while (run(&scenario, steps, nth)) {
        (void)pil_fail_alloc_disarm();
        nth++;
    }
    (void)pil_fail_alloc_disarm();
    print_message("%llu allocations failed in turn\n", (unsigned long long)(nth - 1));
    assert_true(nth > at_least);
}

static void every_allocation_of_mapped_reads_may_fail(void **state) {
    struct fixture *fixture = *state;
    static scenario_step *const steps[] = {open_client, plan_tensor, plan_columns, get_tensor, get_columns,
                                           describe,    swap,        get_columns,  free_plan,  NULL};
    fail_each((struct scenario){.options = {.size = sizeof(struct pillion_options),
                                            .mapped = fixture->url,
                                            .timeout_ms = 5000,
                                            .refresh_us = 2000000},
                                .tensor = {.size = sizeof(struct pillion_plan_options), .service = "every"},
                                .columns = {.size = sizeof(struct pillion_plan_options),
                                            .service = "every",
                                            .flags = PILLION_COLUMNS | PILLION_USE_DEFAULTS},
                                .fixture = fixture,
                                .seed = 1},
              steps, 40);
}

static void every_allocation_over_the_socket_may_fail(void **state) {
    static const char *const features[] = {"p/v:f1"};
    static scenario_step *const steps[] = {open_client, plan_tensor, plan_columns, get_tensor,
                                           get_columns, describe,    NULL};
    struct resp_server *server = calloc(1, sizeof *server);
    (void)state;
    server->is_steady = true;
    resp_server_start(server);
    fail_each(
        (struct scenario){
            .options = {.size = sizeof(struct pillion_options), .resp = server->url},
            .tensor = {.size = sizeof(struct pillion_plan_options), .features = features, .feature_count = 1},
            .columns = {.size = sizeof(struct pillion_plan_options),
                        .features = features,
                        .feature_count = 1,
                        .flags = PILLION_COLUMNS}},
        steps, 20);
    resp_server_stop(server);
    free(server);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_allocation_of_mapped_reads_may_fail, setup, teardown),
        cmocka_unit_test(every_allocation_over_the_socket_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
