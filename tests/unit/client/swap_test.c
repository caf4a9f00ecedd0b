/* SPDX-License-Identifier: Apache-2.0
 * Goal: while releases of two views swap every few milliseconds, under many threads, plans that come and go and signal
 * handlers that read, no call ever sees a wrong value or two releases of one view; what is old is unmapped in the end.
 * Method: every value tells its key and its release; each call is checked whole. */
#include "unit/client/fixture.h"

#include <signal.h>

enum { SEEDS = 6, READERS = 4, SWAPS = 150, BATCH = 100 };

struct stress {
    struct fixture *fixture;
    struct pillion_plan *plan;
    _Atomic bool is_ending;
    _Atomic uint64_t calls, wrong, failed;
    int fds[2][SEEDS];
};

static uint64_t seed_of(const char *release) {
    return strtoull(release, NULL, 16);
}

/* Service both: w:f1, v:f0, w:f0, v:f3. Slot 0 is w, slot 1 is v. */
static bool is_right(const int64_t *ids, const float (*values)[4], const struct pillion_answer *answer) {
    static const uint32_t features[] = {1, 0, 0, 3}, slots[] = {0, 1, 0, 1};
    for (size_t i = 0; i < BATCH; i++) {
        for (uint32_t f = 0; f < 4; f++) {
            uint64_t seed = seed_of(answer->views[slots[f]].release);
            if (values[i][f] != fixture_value((uint64_t)ids[i], features[f], seed)) {
                return false;
            }
        }
    }
    return true;
}

static void get_and_check(struct stress *stress, struct pillion_plan *plan, uint64_t *random, uint32_t flags) {
    int64_t ids[BATCH];
    float values[BATCH][4];
    for (size_t i = 0; i < BATCH; i++) {
        *random = *random * 6364136223846793005ull + 1442695040888963407ull;
        ids[i] = (int64_t)((*random >> 33) % ROWS);
    }
    struct pillion_keys keys = fixture_keys(ids, BATCH);
    struct pillion_output output = fixture_output(&values[0][0], sizeof values);
    struct pillion_answer answer = {.size = sizeof answer};
    output.flags = flags;
    if (pillion_get(plan, &keys, &output, &answer) != PILLION_OK) {
        stress->failed++;
    } else if (!is_right(ids, (const float(*)[4])values, &answer)) {
        stress->wrong++;
    }
    stress->calls++;
}

static void *read_on(void *context) {
    struct stress *stress = context;
    uint64_t random = (uint64_t)(uintptr_t)&random | 1;
    while (!stress->is_ending) {
        get_and_check(stress, stress->plan, &random, 0);
    }
    return NULL;
}

static void *make_plans(void *context) {
    struct stress *stress = context;
    uint64_t random = 7;
    while (!stress->is_ending) {
        struct pillion_plan *plan = fixture_service(stress->fixture->client, "both");
        get_and_check(stress, plan, &random, 0);
        pillion_plan_free(&plan);
    }
    return NULL;
}

static void publish(struct stress *stress, uint32_t view, uint32_t seed) {
    char id[PIL_RELEASE_ID_CHARS + 1];
    int fd = dup(stress->fds[view][seed]);
    snprintf(id, sizeof id, "%016x", seed * 2 + view + 1);
    server_publish(&stress->fixture->server, view, &fd, 1, id);
}

static void stress_init(struct stress *stress, struct fixture *fixture) {
    stress->fixture = fixture;
    for (uint32_t view = 0; view < 2; view++) {
        for (uint32_t seed = 0; seed < SEEDS; seed++) {
            stress->fds[view][seed] =
                fixture_shard(view == 0 ? fixture->view : fixture->other, ROWS, seed * 2 + view + 1, 0, 0);
        }
        publish(stress, view, 0);
    }
    stress->plan = fixture_service(fixture->client, "both");
}

static void stress_deinit(struct stress *stress) {
    for (uint32_t i = 0; i < 2 * SEEDS; i++) {
        close(stress->fds[i % 2][i / 2]);
    }
    pillion_plan_free(&stress->plan);
}

static void no_call_sees_a_wrong_value(void **state) {
    struct stress stress = {0};
    pthread_t threads[READERS + 1];
    stress_init(&stress, *state);
    for (int i = 0; i < READERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, read_on, &stress), 0);
    }
    assert_int_equal(pthread_create(&threads[READERS], NULL, make_plans, &stress), 0);
    for (uint32_t i = 0; i < SWAPS; i++) {
        publish(&stress, i % 2, i % SEEDS);
        usleep(3000);
    }
    stress.is_ending = true;
    for (int i = 0; i <= READERS; i++) {
        pthread_join(threads[i], NULL);
    }
    print_message("%llu calls\n", (unsigned long long)stress.calls);
    assert_int_equal(stress.wrong, 0);
    assert_int_equal(stress.failed, 0);
    struct pillion_info info = {.size = sizeof info};
    assert_int_equal(pillion_info(stress.fixture->client, &info), PILLION_OK);
    assert_true(info.refreshes > SWAPS / 4);
    /* Nothing old is held: everything granted but the two live releases was given back. */
    struct server *server = &stress.fixture->server;
    for (int i = 0; i < 1000 && server->grants - server->drops != 2; i++) {
        usleep(1000);
        assert_int_equal(pillion_info(stress.fixture->client, &info), PILLION_OK);
    }
    assert_int_equal(server->grants - server->drops, 2);
    stress_deinit(&stress);
}

static struct stress *of_signal;

static void on_signal(int number) {
    (void)number;
    uint64_t random = of_signal->calls;
    get_and_check(of_signal, of_signal->plan, &random, PILLION_NO_REFRESH);
}

static void handlers_may_read(void **state) {
    struct stress stress = {0};
    pthread_t thread;
    stress_init(&stress, *state);
    of_signal = &stress;
    struct sigaction action = {.sa_handler = on_signal}, old;
    assert_int_equal(sigaction(SIGUSR1, &action, &old), 0);
    assert_int_equal(pthread_create(&thread, NULL, read_on, &stress), 0);
    for (uint32_t i = 0; i < 100; i++) {
        publish(&stress, i % 2, i % SEEDS);
        for (int k = 0; k < 5; k++) {
            pthread_kill(thread, SIGUSR1);
            usleep(200);
        }
    }
    stress.is_ending = true;
    pthread_join(thread, NULL);
    assert_int_equal(sigaction(SIGUSR1, &old, NULL), 0);
    assert_int_equal(stress.wrong, 0);
    assert_int_equal(stress.failed, 0);
    stress_deinit(&stress);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(no_call_sees_a_wrong_value, setup, teardown),
        cmocka_unit_test_setup_teardown(handlers_may_read, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
