/* SPDX-License-Identifier: Apache-2.0
 * Goal: EXEC of any size answers from one moment, also across views and across more batches than one.
 * Method: a server of two views; the control thread publishes releases as fast as it can, view a and then view b of the
 * same number, while a client asks. A transaction of 5,000 commands over both must see one release of a and one of b,
 * and b is never ahead of a nor more than one behind. */
#include "support/cache_fixture.h"
#include "support/server_fixture.h"

#include "protocol/resp/resp.h"
#include "server/server.h"
#include "wire/resp.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

enum { COMMANDS = 5000, TRANSACTIONS = 30, PUBLISHES_MIN = 50, KEYS = 10 };

struct fixture {
    struct pil_settings settings;
    struct pil_server *server;
    struct pil_project *project;
    struct sockaddr_un address;
    int listener, client;
    struct pil_text answers;
    const char *mistake; /* of the client's thread; NULL: none */
    _Atomic bool is_done;
};

static void publish(struct fixture *f, uint32_t view, uint64_t seed) {
    struct pil_cache *cache = pil_server_cache(f->server);
    fixture_publish(cache, view, fixture_release(f->project->views[0].view, KEYS, seed, 0));
}

static const struct pil_protocol *const protocols[] = {&pil_redis_protocol};

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    struct pil_error error = {0};
    f->settings = fixture_settings(2, 'a', 1, PIL_ENGINE_EPOLL);
    f->project = fixture_project(1);
    f->listener = fixture_listen("exec", &f->address);
    assert_int_equal(pil_server_create(&f->settings, protocols, 1, &f->listener, &f->server, &error), PIL_STATUS_OK);
    publish(f, 0, 0);
    publish(f, 1, 0);
    assert_int_equal(pil_server_start(f->server, &error), PIL_STATUS_OK);
    f->client = fixture_connect(&f->address);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    close(f->client);
    assert_true(pil_server_drain(f->server, 5000));
    pil_server_destroy(&f->server);
    close(f->listener);
    unlink(f->address.sun_path);
    pil_project_destroy(&f->project);
    pil_text_deinit(&f->answers);
    free(f);
    return 0;
}

static void add(struct pil_text *text, const char *const *words, uint32_t count) {
    pil_text_format(text, "*%u\r\n", count);
    for (uint32_t i = 0; i < count; i++) {
        pil_text_format(text, "$%zu\r\n%s\r\n", strlen(words[i]), words[i]);
    }
}

/* The next answer; reads more when the ones that are there are not whole. false: the connection has ended. */
static bool next(struct fixture *f, size_t *at, struct pil_resp_value *ret_value) {
    for (;;) {
        struct pil_bytes rest = pil_bytes_from(f->answers.data + *at, f->answers.len - *at);
        size_t before = rest.len;
        if (before > 0 && pil_resp_value_next(&rest, ret_value) == PIL_STATUS_OK) {
            *at += before - rest.len;
            return true;
        }
        char buffer[65536];
        ssize_t got = read(f->client, buffer, sizeof buffer);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return false;
        }
        pil_text_append(&f->answers, buffer, (size_t)got);
    }
}

/* The number of the release that a value is from: fixture_value. */
static uint64_t seed_of(struct pil_bytes text, uint64_t key) {
    char digits[32];
    snprintf(digits, sizeof digits, "%.*s", (int)text.len, (const char *)text.data);
    return (uint64_t)(strtod(digits, NULL) - (double)(key * 31));
}

/* View b comes late: whoever takes its release only then takes one of another moment. */
static uint32_t view_of(uint32_t command) {
    return command >= COMMANDS * 4 / 5;
}

static void add_transaction(struct pil_text *requests) {
    add(requests, (const char *const[]){"MULTI"}, 1);
    for (uint32_t i = 0; i < COMMANDS; i++) {
        char key[16];
        snprintf(key, sizeof key, "%c:%u", 'a' + (int)view_of(i), i % KEYS);
        add(requests, (const char *const[]){"HGET", key, "f0"}, 3);
    }
    add(requests, (const char *const[]){"EXEC"}, 1);
}

static const char *check_queued(struct fixture *f, size_t *at) {
    struct pil_resp_value value;
    if (!next(f, at, &value) || !pil_bytes_equal_text(value.text, "OK")) {
        return "MULTI is not answered with OK";
    }
    for (uint32_t i = 0; i < COMMANDS; i++) {
        if (!next(f, at, &value) || !pil_bytes_equal_text(value.text, "QUEUED")) {
            return "a command is not queued";
        }
    }
    return NULL;
}

/* NULL, or what is wrong with the answers. */
static const char *check_transaction(struct fixture *f, size_t *at) {
    uint64_t seeds[2] = {0};
    struct pil_resp_value value;
    const char *mistake = check_queued(f, at);
    if (mistake != NULL) {
        return mistake;
    }
    if (!next(f, at, &value) || value.kind != PIL_RESP_KIND_ARRAY || value.integer != COMMANDS) {
        return "EXEC does not announce all answers";
    }
    for (uint32_t i = 0; i < COMMANDS; i++) {
        if (!next(f, at, &value) || value.kind != PIL_RESP_KIND_BULK) {
            return "an answer is not a value";
        }
        uint64_t seed = seed_of(value.text, i % KEYS);
        if (i == 0 || view_of(i) != view_of(i - 1)) {
            seeds[view_of(i)] = seed;
        }
        if (seed != seeds[view_of(i)]) {
            return "one view is answered from two releases";
        }
    }
    return seeds[0] == seeds[1] || seeds[0] == seeds[1] + 1 ? NULL : "two views are answered from two moments";
}

static void *ask(void *argument) {
    struct fixture *f = argument;
    struct pil_text requests = {0};
    add_transaction(&requests);
    for (uint32_t i = 0; i < TRANSACTIONS && f->mistake == NULL; i++) {
        size_t at = 0;
        pil_text_clear(&f->answers);
        f->mistake = pil_sys_write_all(f->client, pil_text_bytes(&requests), NULL) == PIL_STATUS_OK
                         ? check_transaction(f, &at)
                         : "the requests cannot be sent";
    }
    pil_text_deinit(&requests);
    atomic_store(&f->is_done, true);
    return NULL;
}

static void exec_answers_from_one_moment(void **state) {
    struct fixture *f = *state;
    uint64_t seed = 0;
    pthread_t client;
    assert_int_equal(pthread_create(&client, NULL, ask, f), 0);
    while (!atomic_load(&f->is_done)) {
        seed++;
        publish(f, 0, seed);
        publish(f, 1, seed);
        pil_cache_reclaim(pil_server_cache(f->server), 1 << 20, NULL, NULL);
    }
    pthread_join(client, NULL);
    if (f->mistake != NULL) {
        fail_msg("%s", f->mistake);
    }
    assert_true(seed >= PUBLISHES_MIN);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(exec_answers_from_one_moment, setup, teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
