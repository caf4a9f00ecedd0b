/* SPDX-License-Identifier: Apache-2.0
 * Goal: pillion_get hands out exactly what the release holds, for every kind of key, from one or two views, through
 * swaps; and says what is missing or old. Method: an in-process server; every value of the fixture tells its key and
 * its release. */
#include "unit/client/fixture.h"

static void gets_every_value(void **state) {
    struct fixture *fixture = *state;
    struct pillion_plan *plan = fixture_service(fixture->client, "every");
    int64_t ids[ROWS + 1], times[ROWS + 1];
    float values[ROWS + 1][FEATURES];
    uint8_t statuses[ROWS + 1][FEATURES];
    for (int64_t i = 0; i <= ROWS; i++) {
        ids[i] = ROWS - i;
    }
    struct pillion_keys keys = {.size = sizeof keys,
                                .count = ROWS + 1,
                                .column_count = 1,
                                .columns = {{.kind = PILLION_KEY_INT64, .values = ids}}};
    struct pillion_output output = {.size = sizeof output,
                                    .values = values,
                                    .value_bytes = sizeof values,
                                    .statuses = &statuses[0][0],
                                    .event_ts_us = times};
    struct pillion_answer answer = {.size = sizeof answer};
    assert_int_equal(pillion_get(plan, &keys, &output, &answer), PILLION_OK);
    for (size_t i = 0; i <= ROWS; i++) {
        for (uint32_t f = 0; f < FEATURES; f++) {
            if (i == 0) {
                assert_true(isnan(values[i][f]));
                assert_int_equal(statuses[i][f], PILLION_NOT_FOUND_KEY);
            } else {
                assert_true(values[i][f] == fixture_value((uint64_t)ids[i], f, 1));
                assert_int_equal(statuses[i][f], PILLION_PRESENT);
            }
        }
        assert_true(times[i] == (i == 0 ? INT64_MIN : 1700000000000000 + ids[i]));
    }
    assert_int_equal(answer.is_mapped, 1);
    assert_int_equal(answer.view_count, 1);
    assert_int_equal(answer.staleness_us, 0);
    assert_string_equal(answer.views[0].release, "0000000000000001");
    assert_int_equal(answer.views[0].generation, 1);
    assert_int_equal(answer.views[0].not_found, 1);
    assert_true(answer.views[0].worst_age_us > 1000000);
    pillion_plan_free(&plan);
}

static void follows_a_swap_at_the_next_call(void **state) {
    struct fixture *fixture = *state;
    struct pillion_plan *plan = fixture_service(fixture->client, "every");
    int64_t id = 5;
    float values[FEATURES];
    struct pillion_keys keys = {
        .size = sizeof keys, .count = 1, .column_count = 1, .columns = {{.kind = PILLION_KEY_INT64, .values = &id}}};
    struct pillion_output output = {.size = sizeof output, .values = values, .value_bytes = sizeof values};
    struct pillion_answer answer = {.size = sizeof answer};
    for (uint64_t seed = 2; seed < 20; seed++) {
        server_publish_seed(&fixture->server, 0, fixture->view, ROWS, seed, (uint32_t)(seed % 3));
        assert_int_equal(pillion_get(plan, &keys, &output, &answer), PILLION_OK);
        assert_true(values[3] == fixture_value(5, 3, seed));
        assert_int_equal(answer.views[0].generation, seed);
        assert_int_equal(answer.staleness_us, 0);
    }
    fixture_wait_for_drops(fixture, 18);
}

static void lets_go_of_the_old_when_the_server_insists(void **state) {
    struct fixture *fixture = *state;
    struct pillion_plan *plan = fixture_service(fixture->client, "every");
    int64_t id = 5;
    float values[FEATURES];
    struct pillion_keys keys = fixture_keys(&id, 1);
    struct pillion_output output = fixture_output(values, sizeof values);
    struct pillion_answer answer = {.size = sizeof answer};
    fixture->server.is_strict = true;
    for (uint64_t seed = 2; seed < 10; seed++) {
        server_publish_seed(&fixture->server, 0, fixture->view, ROWS, seed, 0);
        assert_int_equal(pillion_get(plan, &keys, &output, &answer), PILLION_OK);
        assert_true(values[3] == fixture_value(5, 3, seed));
    }
    /* It is dropped, and then refused for another reason: what is not accounted for is not kept. */
    server_publish_seed(&fixture->server, 0, fixture->view, ROWS, 10, 0);
    fixture->server.grants++;
    assert_int_equal(pillion_get(plan, &keys, &output, &answer), PILLION_NOT_READY);
    assert_string_equal(answer.error.text, "drop the other first");
    pillion_plan_free(&plan);
}

static void maps_only_what_plans_read(void **state) {
    struct fixture *fixture = *state;
    struct pillion_info info = {.size = sizeof info};
    assert_int_equal(pillion_info(fixture->client, &info), PILLION_OK);
    assert_int_equal(info.view_count, 2);
    assert_string_equal(info.views[0].name, "p/v");
    assert_int_equal(info.views[0].is_mapped, 0);
    struct pillion_plan *plan = fixture_service(fixture->client, "every");
    assert_int_equal(pillion_info(fixture->client, &info), PILLION_OK);
    assert_int_equal(info.is_connected, 1);
    assert_int_equal(info.views[0].is_mapped, 1);
    assert_int_equal(info.views[0].row_count, ROWS);
    assert_true(info.views[0].mapped_bytes > ROWS * FEATURES * 4);
    assert_int_equal(fixture->server.drops, 0);
    pillion_plan_free(&plan);
    assert_int_equal(pillion_info(fixture->client, &info), PILLION_OK);
    assert_int_equal(info.views[0].is_mapped, 0);
    fixture_wait_for_drops(fixture, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(gets_every_value, setup, teardown),
        cmocka_unit_test_setup_teardown(follows_a_swap_at_the_next_call, setup, teardown),
        cmocka_unit_test_setup_teardown(lets_go_of_the_old_when_the_server_insists, setup, teardown),
        cmocka_unit_test_setup_teardown(maps_only_what_plans_read, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
