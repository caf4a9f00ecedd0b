/* SPDX-License-Identifier: Apache-2.0
 * Goal: a client with CLIENT TRACKING that keeps every answer until it is told to forget never keeps one of a replaced
 * release, wherever in its pipeline the swap comes.
 * Method: releases whose values tell their number are published while a client reads, alone and in transactions. After
 * each publication the client reads on until what it keeps is of the newest release, or nothing; a message that does
 * not come fails the test. */
#include "support/cache_fixture.h"
#include "support/server_fixture.h"

#include "protocol/resp/resp.h"
#include "server/server.h"
#include "wire/resp.h"

#include <errno.h>
#include <sys/time.h>

enum { SWAPS = 60, READS = 300, KEYS = 10, PATIENCE_S = 10, ANSWER_BYTES_MAX = 1 << 16 };

struct fixture {
    struct pil_settings settings;
    struct pil_server *server;
    struct pil_project *project;
    struct sockaddr_un address;
    int listener, client;
    struct pil_text input;
    size_t at;
    uint64_t kept; /* the number of the release that the kept value is of, plus 1; 0: nothing is kept */
    uint32_t pushes;
};

static void publish(struct fixture *f, uint64_t seed) {
    struct pil_cache *cache = pil_server_cache(f->server);
    fixture_publish(cache, 0, fixture_release(f->project->views[0].view, KEYS, seed, 0));
    pil_cache_reclaim(cache, 1 << 20, NULL, NULL);
}

static int setup_limited(void **state, uint32_t output_bytes_max) {
    static const struct pil_protocol *const protocols[] = {&pil_redis_protocol};
    static const struct timeval patience = {.tv_sec = PATIENCE_S};
    struct fixture *f = calloc(1, sizeof *f);
    struct pil_error error = {0};
    f->settings = fixture_settings(1, 'a', 1, PIL_ENGINE_EPOLL);
    f->settings.limits.output_bytes_max = output_bytes_max;
    f->project = fixture_project(1);
    f->listener = fixture_listen("tracking", &f->address);
    assert_int_equal(pil_server_create(&f->settings, protocols, 1, &f->listener, &f->server, &error), PIL_STATUS_OK);
    publish(f, 0);
    assert_int_equal(pil_server_start(f->server, &error), PIL_STATUS_OK);
    f->client = fixture_connect(&f->address);
    assert_int_equal(setsockopt(f->client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    *state = f;
    return 0;
}

static int setup(void **state) {
    return setup_limited(state, 1 << 26);
}

static int setup_small(void **state) {
    return setup_limited(state, ANSWER_BYTES_MAX);
}

static int teardown(void **state) {
    struct fixture *f = *state;
    close(f->client);
    assert_true(pil_server_drain(f->server, 5000));
    pil_server_destroy(&f->server);
    close(f->listener);
    unlink(f->address.sun_path);
    pil_project_destroy(&f->project);
    pil_text_deinit(&f->input);
    free(f);
    return 0;
}

static void send_text(struct fixture *f, const char *text) {
    assert_int_equal(pil_sys_write_all(f->client, pil_bytes_from_text(text), NULL), PIL_STATUS_OK);
}

static struct pil_resp_value next(struct fixture *f, bool *ret_is_push) {
    for (;;) {
        struct pil_bytes rest = pil_bytes_from(f->input.data + f->at, f->input.len - f->at);
        size_t before = rest.len;
        struct pil_resp_value value;
        if (before > 0 && pil_resp_value_next(&rest, &value) == PIL_STATUS_OK) {
            *ret_is_push = f->input.data[f->at] == '>';
            f->at += before - rest.len;
            return value;
        }
        char buffer[65536];
        ssize_t got;
        do {
            got = read(f->client, buffer, sizeof buffer);
        } while (got < 0 && errno == EINTR);
        if (got <= 0) {
            fail_msg("a message does not come: %s", got == 0 ? "closed" : strerror(errno));
        }
        pil_text_append(&f->input, buffer, (size_t)got);
    }
}

/* Takes one message: a push makes the client forget, a value is kept. Returns false for a push. */
static bool take(struct fixture *f) {
    bool is_push, ignored;
    struct pil_resp_value value = next(f, &is_push);
    if (is_push) {
        struct pil_resp_value name = next(f, &ignored), keys = next(f, &ignored);
        assert_true(pil_bytes_equal_text(name.text, "invalidate") && keys.kind == PIL_RESP_KIND_NULL);
        f->kept = 0;
        f->pushes++;
        return false;
    }
    if (value.kind == PIL_RESP_KIND_BULK) {
        char digits[32];
        snprintf(digits, sizeof digits, "%.*s", (int)value.text.len, (const char *)value.text.data);
        f->kept = (uint64_t)strtod(digits, NULL) - 31 + 1; /* of key 1 */
    }
    return true;
}

static void take_answers(struct fixture *f, uint32_t count) {
    while (count > 0) {
        count -= take(f);
    }
}

static void start(struct fixture *f, const char *options) {
    bool is_push;
    char text[128];
    send_text(f, "HELLO 3\r\n");
    for (int64_t open = 1; open > 0; open--) {
        struct pil_resp_value value = next(f, &is_push);
        open += value.kind == PIL_RESP_KIND_MAP || value.kind == PIL_RESP_KIND_ARRAY ? value.integer : 0;
    }
    snprintf(text, sizeof text, "CLIENT TRACKING ON %s\r\n", options);
    send_text(f, text);
    take_answers(f, 1);
}

/* Swaps while `requests`, with `answers` values or other messages that are not pushes, is answered READS times. */
static void swap_and_read(struct fixture *f, const char *requests, uint32_t answers) {
    struct pil_text all = {0};
    for (uint32_t i = 0; i < READS; i++) {
        pil_text_append(&all, requests, strlen(requests));
    }
    for (uint64_t seed = 1; seed <= SWAPS; seed++) {
        size_t cut = all.len / SWAPS * seed / 2;
        assert_int_equal(pil_sys_write_all(f->client, pil_bytes_from(all.data, cut), NULL), PIL_STATUS_OK);
        publish(f, seed);
        assert_int_equal(pil_sys_write_all(f->client, pil_bytes_from(all.data + cut, all.len - cut), NULL),
                         PIL_STATUS_OK);
        take_answers(f, READS * answers);
        while (f->kept != 0 && f->kept != seed + 1) {
            assert_false(take(f)); /* only a push can come */
        }
        pil_text_clear(&f->input);
        f->at = 0;
    }
    pil_text_deinit(&all);
}

static void nothing_old_is_kept(void **state) {
    struct fixture *f = *state;
    start(f, "");
    swap_and_read(f, "HGET a:1 f0\r\n", 1);
    assert_true(f->pushes >= SWAPS / 2 && f->pushes <= SWAPS * 2);
}

static void nothing_old_is_kept_of_transactions(void **state) {
    struct fixture *f = *state;
    start(f, "");
    /* OK, QUEUED twice, the header of EXEC's array, two values */
    swap_and_read(f, "MULTI\r\nHGET a:1 f0\r\nHGET a:1 f0\r\nEXEC\r\n", 6);
    assert_true(f->pushes >= SWAPS / 2);
}

static void nothing_old_is_kept_of_what_was_opted_in(void **state) {
    struct fixture *f = *state;
    start(f, "OPTIN");
    /* What is not opted in is not to be kept: it is null here. */
    swap_and_read(f, "CLIENT CACHING YES\r\nHGET a:1 f0\r\nHGET a:777 f0\r\n", 3);
    assert_true(f->pushes >= SWAPS / 2);
}

static void broadcasts_come_without_reading(void **state) {
    struct fixture *f = *state;
    start(f, "BCAST PREFIX a: PREFIX p/a");
    for (uint64_t seed = 1; seed <= 5; seed++) {
        publish(f, seed);
        assert_false(take(f));
    }
    assert_int_equal(f->pushes, 5);
}

static void what_is_not_tracked_is_not_announced(void **state) {
    static const char *const options[] = {"OPTIN", "BCAST PREFIX b:", "OPTOUT"};
    struct fixture *f = *state;
    for (uint32_t i = 0; i < 3; i++) {
        start(f, options[i]);
        send_text(f, i == 2 ? "CLIENT CACHING NO\r\nHGET a:1 f0\r\n" : "PING\r\nHGET a:1 f0\r\n");
        take_answers(f, 2);
        publish(f, i + 1);
        send_text(f, "PING\r\nCLIENT TRACKING OFF\r\n");
        take_answers(f, 2);
        assert_int_equal(f->pushes, 0);
    }
}

/* The answer is taken back, the message in front of it must not be. */
static void a_refused_answer_still_says_forget(void **state) {
    struct fixture *f = *state;
    struct pil_text large = {0};
    pil_text_format(&large, "*%d\r\n$5\r\nHMGET\r\n$3\r\na:1\r\n", ANSWER_BYTES_MAX / 4 + 2);
    for (uint32_t i = 0; i < ANSWER_BYTES_MAX / 4; i++) {
        pil_text_format(&large, "$2\r\nf0\r\n");
    }
    start(f, "");
    for (uint64_t seed = 1; seed <= SWAPS; seed++) {
        bool is_push;
        send_text(f, "HGET a:1 f0\r\n");
        take_answers(f, 1);
        publish(f, seed);
        assert_int_equal(pil_sys_write_all(f->client, pil_bytes_from(large.data, large.len), NULL), PIL_STATUS_OK);
        assert_false(take(f)); /* a push first */
        assert_int_equal(next(f, &is_push).kind, PIL_RESP_KIND_ERROR);
        pil_text_clear(&f->input);
        f->at = 0;
    }
    assert_int_equal(f->pushes, SWAPS);
    pil_text_deinit(&large);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_old_is_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_old_is_kept_of_transactions, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_old_is_kept_of_what_was_opted_in, setup, teardown),
        cmocka_unit_test_setup_teardown(a_refused_answer_still_says_forget, setup_small, teardown),
        cmocka_unit_test_setup_teardown(broadcasts_come_without_reading, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_not_tracked_is_not_announced, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
