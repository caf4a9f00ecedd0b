/* SPDX-License-Identifier: Apache-2.0
 * Goal: the broker passes on what the fetcher fetched, tells each child what it must know when it starts, gives up what
 * is too much and says so, and forgets a view that is removed. Method: children played by the test at the other ends of
 * their sockets; the holder is validated after every step. */
#include "supervise/broker.h"

#include "base/sys.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static const uint64_t second = 1000000000;

enum { HEARD_BYTES = 4096, KEEP = 2, BUDGET = 1000 };

struct fixture {
    struct pil_broker broker;
    int server, fetcher; /* the children's ends */
    uint64_t now_ns;
    int ready_count;
    char heard[HEARD_BYTES];
};

static void on_ready(void *context) {
    ((struct fixture *)context)->ready_count++;
}

static void connect_child(struct pil_child *child, int *end) {
    struct pil_error error;
    int pair[2];
    pil_sys_close(&child->socket);
    pil_sys_close(end);
    pil_outbox_clear(&child->outbox);
    assert_int_equal(pil_message_pair(pair, &error), PIL_STATUS_OK);
    child->socket = pair[0];
    *end = pair[1];
}

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    f->server = f->fetcher = -1;
    pil_broker_init(&f->broker, on_ready, f);
    connect_child(&f->broker.server, &f->server);
    connect_child(&f->broker.fetcher, &f->fetcher);
    pil_broker_set_view(&f->broker, 0, true, "p");
    pil_broker_set_view(&f->broker, 1, true, "p");
    pil_broker_set_limits(&f->broker, BUDGET, KEEP);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    pil_holder_validate(&f->broker.holder);
    pil_broker_deinit(&f->broker);
    pil_sys_close(&f->server);
    pil_sys_close(&f->fetcher);
    free(f);
    return 0;
}

static int sealed(size_t bytes) {
    struct pil_error error;
    int fd = -1;
    assert_int_equal(pil_sys_memfd_create("shard", &fd, &error), PIL_STATUS_OK);
    assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
    assert_int_equal(pil_sys_memfd_seal(fd, &error), PIL_STATUS_OK);
    return fd;
}

static void name_release(uint32_t number, char (*to)[PIL_RELEASE_ID_CHARS + 1]) {
    snprintf(*to, sizeof *to, "%016x", number);
}

static void from_fetcher(struct fixture *f, struct pil_message message) {
    pil_broker_take_from_fetcher(&f->broker, &message);
    pil_holder_validate(&f->broker.holder);
}

static void fetch(struct fixture *f, uint32_t view, uint32_t number, size_t bytes) {
    struct pil_message shard = {
        .kind = PIL_MESSAGE_SHARD, .fd = sealed(bytes), .shard = {.view_index = view, .place = {0, 1}}};
    name_release(number, &shard.shard.release);
    from_fetcher(f, shard);
}

static void publish(struct fixture *f, uint32_t view, uint32_t number) {
    struct pil_message message = {.kind = PIL_MESSAGE_PUBLISH, .publish = {view, "", 5}};
    name_release(number, &message.publish.release);
    from_fetcher(f, message);
}

static void answer(struct fixture *f, uint32_t view, uint32_t number, pil_fetch_outcome outcome) {
    struct pil_message message = {.kind = PIL_MESSAGE_PUBLISHED, .published = {view, "", outcome, ""}};
    name_release(number, &message.published.release);
    snprintf(message.published.why, sizeof message.published.why, "%s", outcome == PIL_OUTCOME_OK ? "" : "because");
    pil_broker_take_from_server(&f->broker, &message, f->now_ns);
    pil_holder_validate(&f->broker.holder);
}

/* Published by the fetcher and served by the server. */
static void serve(struct fixture *f, uint32_t view, uint32_t number) {
    publish(f, view, number);
    answer(f, view, number, PIL_OUTCOME_OK);
}

static void reclaimed(struct fixture *f, uint32_t view, uint32_t number) {
    struct pil_message message = {.kind = PIL_MESSAGE_RECLAIMED, .reclaimed = {view, ""}};
    name_release(number, &message.reclaimed.release);
    pil_broker_take_from_server(&f->broker, &message, f->now_ns);
    pil_holder_validate(&f->broker.holder);
}

/* Returns its descriptor, which is the broker's. */
static int project_comes(struct fixture *f, uint32_t view, const char *text) {
    struct pil_message project = {.kind = PIL_MESSAGE_PROJECT, .project = {view, (uint8_t)text[0]}};
    struct pil_error error;
    assert_int_equal(pil_message_blob(text, strlen(text), &project.fd, &error), PIL_STATUS_OK);
    from_fetcher(f, project);
    return project.fd;
}

static const char *last_digit(const char *release) {
    return release + PIL_RELEASE_ID_CHARS - 1;
}

static size_t describe(const struct pil_message *message, char *to, size_t room) {
    const char *name = pil_message_kind_text(message->kind);
    switch ((int)message->kind) {
    case PIL_MESSAGE_SHARD:
        return (size_t)snprintf(to, room, "%s %u/%s ", name, message->shard.view_index,
                                last_digit(message->shard.release));
    case PIL_MESSAGE_PUBLISH:
        return (size_t)snprintf(to, room, "%s %u/%s ", name, message->publish.view_index,
                                last_digit(message->publish.release));
    case PIL_MESSAGE_PUBLISHED:
        return (size_t)snprintf(to, room, "%s %u/%s %s ", name, message->published.view_index,
                                last_digit(message->published.release),
                                pil_fetch_outcome_text(message->published.outcome));
    case PIL_MESSAGE_HELD:
        return (size_t)snprintf(to, room, "%s %u=%llu/%u ", name, message->held.view_index,
                                (unsigned long long)message->held.bytes, message->held.release_count);
    case PIL_MESSAGE_HOLDING:
        return (size_t)snprintf(to, room, "%s %u/%s%s ", name, message->holding.view_index,
                                last_digit(message->holding.release), message->holding.is_live ? "*" : "");
    case PIL_MESSAGE_DROPPED:
        return (size_t)snprintf(to, room, "%s %u/%s ", name, message->dropped.view_index,
                                last_digit(message->dropped.release));
    case PIL_MESSAGE_ADMITTED:
        return (size_t)snprintf(to, room, "%s %s ", name, message->admitted.is_admitted ? "yes" : "no");
    case PIL_MESSAGE_TAKEN: return (size_t)snprintf(to, room, "%s %s ", name, message->taken.is_taken ? "yes" : "no");
    case PIL_MESSAGE_PROJECT: return (size_t)snprintf(to, room, "%s %u ", name, message->project.view_index);
    case PIL_MESSAGE_NO_PROJECT:
        return (size_t)snprintf(to, room, "%s %u %s ", name, message->no_project.view_index,
                                pil_fetch_outcome_text(message->no_project.outcome));
    case PIL_MESSAGE_CHECKED: return (size_t)snprintf(to, room, "%s %u ", name, message->checked.view_index);
    default: return (size_t)snprintf(to, room, "%s ", name);
    }
}

/* All that a child has been told since the last time, in short. */
static const char *hear(struct fixture *f, int end, pil_message_route route) {
    struct pil_message message;
    size_t len = 0;
    f->heard[0] = '\0';
    while (pil_message_receive(end, route, false, &message) == PIL_STATUS_OK) {
        len += describe(&message, f->heard + len, sizeof f->heard - len);
        pil_message_close(&message);
    }
    return f->heard;
}

#define SERVER(f) hear(f, (f)->server, PIL_ROUTE_TO_SERVER)
#define FETCHER(f) hear(f, (f)->fetcher, PIL_ROUTE_TO_FETCHER)

static void a_release_that_was_fetched_is_held_and_passed_on(void **state) {
    struct fixture *f = *state;
    fetch(f, 0, 1, 100);
    assert_string_equal(SERVER(f), ""); /* not before it is published */
    publish(f, 0, 1);
    assert_string_equal(SERVER(f), "shard 0/1 publish 0/1 held 0=100/1 ");
    publish(f, 0, 7); /* is not held */
    publish(f, 5, 1); /* no such view */
    fetch(f, 5, 1, 100);
    assert_string_equal(SERVER(f), "");
    assert_int_equal(pil_holder_bytes_total(&f->broker.holder), 100);
    assert_string_equal(FETCHER(f), "taken yes published 0/7 shortage ");
    assert_null(pil_holder_live(&f->broker.holder, 0)); /* it was only offered */
    answer(f, 0, 1, PIL_OUTCOME_OK);
    assert_string_equal(pil_holder_live(&f->broker.holder, 0)->release, "0000000000000001");
    assert_string_equal(FETCHER(f), "published 0/1 ok ");
}

static void releases_beyond_those_to_keep_go_and_both_children_hear_it(void **state) {
    struct fixture *f = *state;
    for (uint32_t i = 1; i <= 3; i++) {
        fetch(f, 0, i, 10);
        serve(f, 0, i);
    }
    assert_string_equal(FETCHER(f), "taken yes published 0/1 ok taken yes published 0/2 ok taken yes dropped 0/1 "
                                    "published 0/3 ok ");
    assert_string_equal(SERVER(f), "shard 0/1 publish 0/1 held 0=10/1 held 0=10/1 "
                                   "shard 0/2 publish 0/2 held 0=20/2 held 0=20/2 "
                                   "shard 0/3 publish 0/3 held 0=30/3 held 0=30/2 held 0=30/2 ");
    reclaimed(f, 0, 1); /* its memory is free only now */
    assert_string_equal(SERVER(f), "held 0=20/2 ");
    pil_broker_set_limits(&f->broker, BUDGET, 1);
    assert_string_equal(FETCHER(f), "dropped 0/2 ");
}

static void a_server_that_starts_anew_is_told_everything_in_order(void **state) {
    struct fixture *f = *state;
    struct pil_message checked = {.kind = PIL_MESSAGE_CHECKED, .checked = {.view_index = 1, .checked_us = 9}};
    project_comes(f, 0, "p");
    from_fetcher(f, checked);
    fetch(f, 0, 1, 10);
    serve(f, 0, 1);
    fetch(f, 0, 2, 10);
    serve(f, 0, 2);
    fetch(f, 1, 3, 10); /* held, and not published yet */
    (void)SERVER(f);
    pil_broker_server_ended(&f->broker, true);
    connect_child(&f->broker.server, &f->server);
    pil_broker_greet_server(&f->broker);
    /* The project says who may map the releases: before them. Only live ones are sent; START comes last, and before any
     * of it is prefaulted: that is the server's own work. */
    assert_string_equal(SERVER(f), "project 0 shard 0/2 publish 0/2 held 0=20/2 checked 1 held 1=10/1 start ");
    connect_child(&f->broker.fetcher, &f->fetcher);
    pil_broker_greet_fetcher(&f->broker);
    assert_string_equal(FETCHER(f), "holding 1/3 holding 0/2* holding 0/1 begin ");
}

static void a_server_that_does_not_run_is_offered_nothing(void **state) {
    struct fixture *f = *state;
    fetch(f, 0, 1, 10);
    serve(f, 0, 1);
    (void)FETCHER(f);
    pil_broker_server_ended(&f->broker, true);
    pil_sys_close(&f->broker.server.socket);
    for (uint32_t i = 2; i <= 4; i++) {
        fetch(f, 0, i, 10);
        publish(f, 0, i);
    }
    assert_string_equal(FETCHER(f), "taken yes published 0/2 shortage taken yes published 0/3 shortage "
                                    "taken yes published 0/4 shortage ");
    assert_int_equal(pil_holder_bytes(&f->broker.holder, PIL_RESIDENCY_UNMAPPING), 0);
    assert_string_equal(pil_holder_live(&f->broker.holder, 0)->release, "0000000000000001");
}

static void what_a_fetcher_left_half_is_dropped_when_the_next_one_starts(void **state) {
    struct fixture *f = *state;
    struct pil_message half = {.kind = PIL_MESSAGE_SHARD, .fd = sealed(10), .shard = {0, "", {0, 2}}};
    name_release(4, &half.shard.release);
    from_fetcher(f, half);
    assert_int_equal(pil_holder_bytes_total(&f->broker.holder), 10);
    connect_child(&f->broker.fetcher, &f->fetcher);
    pil_broker_greet_fetcher(&f->broker);
    assert_string_equal(FETCHER(f), "begin ");
    assert_int_equal(pil_holder_bytes_total(&f->broker.holder), 0);
}

/* ---- Shortage. */

static void what_is_given_up_is_dropped_at_once(void **state) {
    struct fixture *f = *state;
    struct pil_message half = {.kind = PIL_MESSAGE_SHARD, .fd = sealed(10), .shard = {0, "", {0, 2}}};
    struct pil_message given_up = {.kind = PIL_MESSAGE_GIVEN_UP, .given_up = {0, ""}};
    name_release(4, &half.shard.release);
    name_release(4, &given_up.given_up.release);
    from_fetcher(f, half);
    assert_int_equal(pil_holder_bytes(&f->broker.holder, PIL_RESIDENCY_ARRIVING), 10);
    from_fetcher(f, given_up);
    assert_int_equal(pil_holder_bytes_total(&f->broker.holder), 0);
    fetch(f, 0, 4, 10);
    from_fetcher(f, given_up); /* crossed: it is whole, and stays */
    assert_int_equal(pil_holder_bytes_total(&f->broker.holder), 10);
}

static void a_shard_that_cannot_be_held_is_answered(void **state) {
    struct fixture *f = *state;
    struct pil_message lost = {.kind = PIL_MESSAGE_SHARD, .fd = -1, .shard = {0, "", {1, 2}}}, got;
    name_release(4, &lost.shard.release);
    from_fetcher(f, lost);
    assert_int_equal(pil_message_receive(f->fetcher, PIL_ROUTE_TO_FETCHER, false, &got), PIL_STATUS_OK);
    assert_int_equal(got.kind, PIL_MESSAGE_TAKEN);
    assert_false(got.taken.is_taken);
    assert_string_equal(got.taken.release, "0000000000000004");
    assert_string_equal(got.taken.why, "the supervisor cannot hold shard 1 of 2: no descriptors");
    int document = project_comes(f, 0, "p");
    from_fetcher(f, (struct pil_message){.kind = PIL_MESSAGE_PROJECT, .fd = -1, .project = {.view_index = 1}});
    assert_int_equal(pil_message_receive(f->fetcher, PIL_ROUTE_TO_FETCHER, false, &got), PIL_STATUS_OK);
    assert_int_equal(got.taken.view_index, 1);
    assert_string_equal(got.taken.release, "");
    assert_false(got.taken.is_taken);
    assert_int_not_equal(fcntl(document, F_GETFD), -1); /* the one before stays */
}

static void applied(struct fixture *f, uint32_t view, pil_fetch_outcome outcome) {
    struct pil_message message = {.kind = PIL_MESSAGE_APPLIED,
                                  .applied = {view, f->broker.views[view].offer.newer_hash, outcome}};
    pil_broker_take_from_server(&f->broker, &message, f->now_ns);
}

/* A new server takes the place of the old one. */
static void restart_server(struct fixture *f) {
    pil_broker_server_ended(&f->broker, true);
    pil_holder_validate(&f->broker.holder);
    connect_child(&f->broker.server, &f->server);
    pil_broker_greet_server(&f->broker);
}

/* Nothing until `seconds` from now, and then this. */
static void expect_again(struct fixture *f, uint64_t seconds, const char *what) {
    uint64_t due_ns = f->now_ns + seconds * second;
    assert_int_equal(pil_broker_step(&f->broker, f->now_ns), due_ns);
    assert_int_equal(pil_broker_step(&f->broker, due_ns - 1), due_ns);
    assert_string_equal(SERVER(f), "");
    f->now_ns = due_ns;
    assert_int_equal(pil_broker_step(&f->broker, f->now_ns), UINT64_MAX);
    assert_string_equal(SERVER(f), what);
    pil_holder_validate(&f->broker.holder);
}

static void what_was_live_is_sent_to_a_new_server_that_is_short_again_and_again(void **state) {
    struct fixture *f = *state;
    f->now_ns = 50 * second;
    fetch(f, 0, 1, 10);
    serve(f, 0, 1);
    restart_server(f);
    (void)SERVER(f);
    (void)FETCHER(f);
    assert_int_equal(pil_broker_step(&f->broker, f->now_ns), UINT64_MAX);
    for (uint64_t wait_s = 1, i = 0; i < 9; i++) {
        reclaimed(f, 0, 1); /* as the server does for a release that it did not map */
        (void)SERVER(f);
        answer(f, 0, 1, PIL_OUTCOME_SHORTAGE);
        expect_again(f, wait_s, "shard 0/1 publish 0/1 ");
        assert_int_equal(pil_holder_live(&f->broker.holder, 0)->map_count, 1);
        wait_s = 2 * wait_s < 60 ? 2 * wait_s : 60;
    }
    answer(f, 0, 1, PIL_OUTCOME_SHORTAGE);
    assert_string_equal(FETCHER(f), ""); /* it is not the fetcher's to offer that again */
    /* The channel moves on: nothing comes between its offer and the answer. */
    fetch(f, 0, 2, 10);
    publish(f, 0, 2);
    (void)SERVER(f);
    assert_int_equal(pil_broker_step(&f->broker, f->now_ns + 100 * second), UINT64_MAX);
    assert_string_equal(SERVER(f), "");
    answer(f, 0, 2, PIL_OUTCOME_OK);
    (void)SERVER(f);
    assert_int_equal(pil_broker_step(&f->broker, f->now_ns + 100 * second), UINT64_MAX);
    assert_string_equal(SERVER(f), "");
}

static void views_wait_each_on_its_own(void **state) {
    struct fixture *f = *state;
    project_comes(f, 0, "p");
    fetch(f, 0, 1, 10);
    serve(f, 0, 1);
    fetch(f, 1, 2, 10);
    serve(f, 1, 2);
    restart_server(f);
    (void)SERVER(f);
    answer(f, 0, 1, PIL_OUTCOME_SHORTAGE);
    f->now_ns += second / 2;
    answer(f, 1, 2, PIL_OUTCOME_SHORTAGE);
    applied(f, 0, PIL_OUTCOME_SHORTAGE);
    applied(f, 1, PIL_OUTCOME_ERROR); /* a verdict: it would be no better the next time */
    assert_int_equal(pil_broker_step(&f->broker, second), f->now_ns + second);
    assert_string_equal(SERVER(f), "shard 0/1 publish 0/1 ");
    expect_again(f, 1, "project 0 shard 1/2 publish 1/2 ");
}

static void nothing_waits_for_a_server_or_a_view_that_is_gone(void **state) {
    struct fixture *f = *state;
    fetch(f, 0, 1, 10);
    serve(f, 0, 1);
    restart_server(f);
    answer(f, 0, 1, PIL_OUTCOME_SHORTAGE);
    (void)SERVER(f);
    restart_server(f); /* sends it anyway */
    assert_string_equal(SERVER(f), "shard 0/1 publish 0/1 held 0=10/1 held 1=0/0 start ");
    assert_int_equal(pil_broker_step(&f->broker, 100 * second), UINT64_MAX);
    answer(f, 0, 1, PIL_OUTCOME_SHORTAGE);
    assert_int_equal(pil_broker_step(&f->broker, f->now_ns), second); /* not two: that server had no failure yet */
    pil_broker_set_view(&f->broker, 0, false, "p");
    answer(f, 0, 1, PIL_OUTCOME_SHORTAGE);
    assert_int_equal(pil_broker_step(&f->broker, 100 * second), UINT64_MAX);
    assert_string_equal(SERVER(f), "");
}

/* ---- Ownership passes with the server's answer. */

static const char *live_of(struct fixture *f) {
    const struct pil_held_release *live = pil_holder_live(&f->broker.holder, 0);
    return live != NULL ? last_digit(live->release) : "";
}

static void a_server_that_refuses_keeps_what_it_serves(void **state) {
    static const pil_fetch_outcome outcomes[] = {PIL_OUTCOME_SHORTAGE, PIL_OUTCOME_CORRUPT, PIL_OUTCOME_ERROR};
    struct fixture *f = *state;
    fetch(f, 0, 1, 10);
    serve(f, 0, 1);
    for (uint32_t i = 2; i <= 6; i++) { /* more promotions than releases are kept */
        fetch(f, 0, i, 10);
        publish(f, 0, i);
        reclaimed(f, 0, i);
        (void)FETCHER(f);
        answer(f, 0, i, outcomes[i % 3]);
        assert_non_null(strstr(FETCHER(f), pil_fetch_outcome_text(outcomes[i % 3])));
        assert_string_equal(live_of(f), "1");
    }
    assert_int_equal(pil_holder_count_of(&f->broker.holder, 0), KEEP);
    struct pil_message admit = {.kind = PIL_MESSAGE_ADMIT, .admit = {.view_index = 0, .bytes = BUDGET - 10}};
    name_release(9, &admit.admit.release);
    from_fetcher(f, admit);
    assert_string_equal(live_of(f), "1"); /* for memory neither: only the refused one went */
    (void)SERVER(f);
    restart_server(f);
    assert_string_equal(SERVER(f), "shard 0/1 publish 0/1 held 0=10/1 held 1=0/0 start ");
}

static void a_server_that_ends_before_it_answers_has_refused(void **state) {
    struct fixture *f = *state;
    fetch(f, 0, 1, 10);
    serve(f, 0, 1);
    fetch(f, 0, 2, 10);
    publish(f, 0, 2);
    (void)SERVER(f);
    (void)FETCHER(f);
    restart_server(f);
    assert_string_equal(SERVER(f), "shard 0/1 publish 0/1 held 0=20/2 held 1=0/0 start ");
    assert_string_equal(FETCHER(f), "published 0/2 shortage "); /* which offers it again, after a while */
    answer(f, 0, 1, PIL_OUTCOME_OK);
    publish(f, 0, 2);
    answer(f, 0, 2, PIL_OUTCOME_OK);
    assert_string_equal(live_of(f), "2");
}

static void a_late_answer_counts(void **state) {
    struct fixture *f = *state;
    fetch(f, 0, 1, 10);
    serve(f, 0, 1);
    for (uint32_t i = 2; i <= 3; i++) { /* 3 before the server has answered about 2 */
        fetch(f, 0, i, 10);
        publish(f, 0, i);
    }
    (void)FETCHER(f);
    answer(f, 0, 2, PIL_OUTCOME_OK);
    assert_string_equal(live_of(f), "2");
    answer(f, 0, 3, PIL_OUTCOME_ERROR); /* so it is still 2 that is served */
    assert_string_equal(live_of(f), "2");
    answer(f, 0, 3, PIL_OUTCOME_ERROR); /* an answer too many */
    answer(f, 0, 8, PIL_OUTCOME_OK);    /* of a release that went long ago */
    assert_string_equal(live_of(f), "2");
    assert_string_equal(FETCHER(f), "dropped 0/1 published 0/2 ok published 0/3 error ");
}

static void what_is_offered_or_live_is_not_offered_twice(void **state) {
    struct fixture *f = *state;
    fetch(f, 0, 1, 10);
    publish(f, 0, 1);
    (void)SERVER(f);
    connect_child(&f->broker.fetcher, &f->fetcher); /* a new fetcher knows of no offer */
    pil_broker_greet_fetcher(&f->broker);
    assert_string_equal(FETCHER(f), "holding 0/1 begin ");
    (void)SERVER(f);
    publish(f, 0, 1);
    assert_string_equal(SERVER(f), "");
    answer(f, 0, 1, PIL_OUTCOME_OK);
    assert_string_equal(FETCHER(f), "published 0/1 ok ");
    (void)SERVER(f);
    publish(f, 0, 1); /* crossed */
    assert_string_equal(SERVER(f), "");
    assert_string_equal(FETCHER(f), "published 0/1 ok ");
}

/* Rolled back while the next release is on its way: the server is told, and what it refuses then it serves anyway. */
static void the_live_release_is_offered_in_place_of_another(void **state) {
    struct fixture *f = *state;
    fetch(f, 0, 1, 10);
    serve(f, 0, 1);
    fetch(f, 0, 2, 10);
    publish(f, 0, 2);
    (void)SERVER(f);
    publish(f, 0, 1);
    assert_string_equal(SERVER(f), "shard 0/1 publish 0/1 held 0=20/2 ");
    (void)FETCHER(f);
    answer(f, 0, 1, PIL_OUTCOME_SHORTAGE);
    assert_string_equal(live_of(f), "1");
    assert_string_equal(FETCHER(f), "published 0/1 shortage ");
    publish(f, 0, 2);
    publish(f, 0, 1);
    restart_server(f);
    assert_string_equal(FETCHER(f), "published 0/1 shortage ");
    assert_string_equal(live_of(f), "1");
}

/* The view that it was asked for is removed, and another one has it now. */
static void a_document_that_waits_goes_along(void **state) {
    struct fixture *f = *state;
    project_comes(f, 0, "p");
    applied(f, 0, PIL_OUTCOME_SHORTAGE);
    pil_broker_set_view(&f->broker, 0, false, "p");
    (void)SERVER(f);
    expect_again(f, 1, "project 1 ");
}

static void admission_is_answered_and_evictions_are_told_first(void **state) {
    struct fixture *f = *state;
    struct pil_message admit = {.kind = PIL_MESSAGE_ADMIT, .admit = {.view_index = 1, .bytes = 700}};
    name_release(9, &admit.admit.release);
    fetch(f, 0, 1, 200);
    serve(f, 0, 1);
    reclaimed(f, 0, 1);
    fetch(f, 0, 2, 200);
    serve(f, 0, 2);
    (void)FETCHER(f);
    from_fetcher(f, admit);
    assert_string_equal(FETCHER(f), "dropped 0/1 admitted yes ");
    admit.admit.bytes = 801;
    from_fetcher(f, admit);
    assert_string_equal(FETCHER(f), "admitted no ");
}

static void a_view_that_is_removed_is_forgotten(void **state) {
    struct fixture *f = *state;
    struct pil_message checked = {.kind = PIL_MESSAGE_CHECKED, .checked = {.view_index = 0}};
    int document = project_comes(f, 0, "p");
    from_fetcher(f, checked);
    fetch(f, 0, 1, 10);
    serve(f, 0, 1);
    fetch(f, 1, 2, 10);
    serve(f, 1, 2);
    (void)SERVER(f);
    pil_broker_set_view(&f->broker, 0, false, "p");
    assert_int_equal(pil_holder_bytes(&f->broker.holder, PIL_RESIDENCY_UNMAPPING), 10);
    from_fetcher(f, checked); /* of a fetcher that does not know yet */
    fetch(f, 0, 3, 10);
    publish(f, 0, 3);
    reclaimed(f, 0, 1);
    assert_string_equal(SERVER(f), "");
    assert_int_equal(pil_holder_bytes_total(&f->broker.holder), 10);
    pil_broker_greet_server(&f->broker);
    /* The document is the other view's, too. */
    assert_string_equal(SERVER(f), "project 1 shard 1/2 publish 1/2 held 1=10/1 start ");
    pil_broker_set_view(&f->broker, 0, true, "p"); /* comes back with nothing */
    pil_broker_greet_server(&f->broker);
    assert_string_equal(SERVER(f), "held 0=0/0 project 1 shard 1/2 publish 1/2 held 1=10/1 start ");
    assert_int_not_equal(fcntl(document, F_GETFD), -1);
    pil_broker_set_view(&f->broker, 0, false, "p");
    pil_broker_set_view(&f->broker, 1, false, "p");
    assert_int_equal(fcntl(document, F_GETFD), -1);
}

static void nothing_is_admitted_for_a_view_that_is_removed(void **state) {
    struct fixture *f = *state;
    struct pil_message admit = {.kind = PIL_MESSAGE_ADMIT, .admit = {.view_index = 0, .bytes = BUDGET}};
    name_release(9, &admit.admit.release);
    fetch(f, 1, 1, 10);
    publish(f, 1, 1);
    fetch(f, 1, 2, 10);
    publish(f, 1, 2);
    pil_broker_set_view(&f->broker, 0, false, "p");
    (void)FETCHER(f);
    from_fetcher(f, admit); /* of a fetcher that does not know yet */
    assert_string_equal(FETCHER(f), "");
    assert_int_equal(pil_holder_count_of(&f->broker.holder, 1), 2);
}

static void the_newest_document_of_a_project_is_the_only_one(void **state) {
    struct fixture *f = *state;
    int older = project_comes(f, 0, "1");
    assert_int_not_equal(project_comes(f, 1, "2"), older);
    assert_int_equal(fcntl(older, F_GETFD), -1);
    (void)SERVER(f);
    pil_broker_greet_server(&f->broker);
    assert_string_equal(SERVER(f), "held 0=0/0 project 1 held 1=0/0 start ");
}

/* ---- Documents on which a server ends. */

static void a_document_on_which_a_server_ends_is_not_sent_again(void **state) {
    struct fixture *f = *state;
    project_comes(f, 0, "good");
    applied(f, 0, PIL_OUTCOME_OK);
    (void)SERVER(f);
    project_comes(f, 1, "good"); /* by a new fetcher, for another view: the server has it */
    assert_string_equal(SERVER(f), "");
    project_comes(f, 1, "bad");
    assert_string_equal(SERVER(f), "project 1 ");
    restart_server(f);
    assert_string_equal(SERVER(f), "held 0=0/0 project 1 no_project 1 corrupt held 1=0/0 start ");
    restart_server(f);
    assert_string_equal(SERVER(f), "held 0=0/0 project 1 no_project 1 corrupt held 1=0/0 start ");
    project_comes(f, 0, "bad"); /* a new fetcher reads it again */
    assert_string_equal(SERVER(f), "no_project 0 corrupt ");
    project_comes(f, 0, "very good");
    assert_string_equal(SERVER(f), "project 0 ");
    applied(f, 0, PIL_OUTCOME_OK);
    restart_server(f);
    assert_string_equal(SERVER(f), "project 0 held 0=0/0 held 1=0/0 start ");
    project_comes(f, 0, "bad");
    assert_string_equal(SERVER(f), "no_project 0 corrupt ");
}

static void the_document_before_may_come_back(void **state) {
    struct fixture *f = *state;
    struct pil_message refused = {.kind = PIL_MESSAGE_NO_PROJECT, .no_project = {0, PIL_OUTCOME_CORRUPT, "no JSON"}};
    project_comes(f, 0, "good");
    applied(f, 0, PIL_OUTCOME_OK);
    from_fetcher(f, refused);
    (void)SERVER(f);
    project_comes(f, 0, "good"); /* the server must not go on to say that the newest one is refused */
    assert_string_equal(SERVER(f), "project 0 ");
    project_comes(f, 0, "new");
    (void)SERVER(f);
    project_comes(f, 0, "good"); /* the server has not answered, and may have taken the other one */
    assert_string_equal(SERVER(f), "project 0 ");
}

/* It has said what was wrong, or was replaced: that is not the document's fault. */
static void a_server_that_ends_by_itself_sets_nothing_aside(void **state) {
    struct fixture *f = *state;
    project_comes(f, 0, "good");
    applied(f, 0, PIL_OUTCOME_OK);
    project_comes(f, 0, "new");
    for (int i = 0; i < 3; i++) {
        (void)SERVER(f);
        pil_broker_server_ended(&f->broker, false);
        connect_child(&f->broker.server, &f->server);
        pil_broker_greet_server(&f->broker);
        assert_string_equal(SERVER(f), "project 0 project 0 held 0=0/0 held 1=0/0 start ");
    }
}

/* There is nothing to go back to, and somebody may have killed the server: once is a coincidence. */
static void the_only_document_is_sent_twice(void **state) {
    struct fixture *f = *state;
    pil_broker_set_view(&f->broker, 2, true, "q");
    project_comes(f, 0, "1");
    project_comes(f, 2, "2"); /* not the one that the server was at */
    for (int i = 0; i < 2; i++) {
        (void)SERVER(f);
        restart_server(f);
    }
    assert_string_equal(SERVER(f), "no_project 0 corrupt held 0=0/0 held 1=0/0 project 2 held 2=0/0 start ");
}

static void a_refused_document_leaves_the_one_before(void **state) {
    struct fixture *f = *state;
    int good = project_comes(f, 0, "good");
    applied(f, 0, PIL_OUTCOME_OK);
    int bad = project_comes(f, 0, "bad");
    applied(f, 0, PIL_OUTCOME_ERROR);
    assert_int_equal(fcntl(bad, F_GETFD), -1);
    assert_int_not_equal(fcntl(good, F_GETFD), -1);
    (void)SERVER(f);
    struct pil_message none = {.kind = PIL_MESSAGE_NO_PROJECT, .no_project = {0, PIL_OUTCOME_NOT_FOUND, ""}};
    from_fetcher(f, none);
    assert_string_equal(SERVER(f), "no_project 0 not_found ");
    restart_server(f);
    assert_string_equal(SERVER(f), "project 0 no_project 0 not_found held 0=0/0 held 1=0/0 start ");
}

static void a_server_in_a_long_chore_is_told_everything_and_not_killed(void **state) {
    enum { MANY = 5000 };
    struct fixture *f = *state;
    struct pil_message checked = {.kind = PIL_MESSAGE_CHECKED, .checked = {.view_index = 1}};
    struct pil_message got;
    f->broker.server.pid = getpid(); /* a kill would end the test */
    for (int i = 0; i < MANY; i++) {
        checked.checked.checked_us = i;
        from_fetcher(f, checked);
    }
    assert_true(pil_child_has_mail(&f->broker.server));
    for (int i = 0; i < MANY; i++) {
        pil_child_flush(&f->broker.server);
        assert_int_equal(pil_message_receive(f->server, PIL_ROUTE_TO_SERVER, false, &got), PIL_STATUS_OK);
        assert_int_equal(got.checked.checked_us, i);
    }
    assert_false(pil_child_has_mail(&f->broker.server));
    f->broker.server.pid = 0;
}

static void a_fetcher_that_is_restarted_is_told_at_once(void **state) {
    struct fixture *f = *state;
    struct pil_message got;
    for (uint32_t restarts = 1; restarts <= 3; restarts++) { /* it ends before it holds anything */
        f->broker.fetcher.restarts = restarts;
        pil_broker_greet_fetcher(&f->broker);
        for (uint32_t view = 0; view < 2; view++) {
            assert_int_equal(pil_message_receive(f->server, PIL_ROUTE_TO_SERVER, false, &got), PIL_STATUS_OK);
            assert_int_equal(got.held.view_index, view);
            assert_int_equal(got.held.fetcher_restarts, restarts);
        }
    }
}

static void readiness_is_passed_on(void **state) {
    struct fixture *f = *state;
    struct pil_message message = {.kind = PIL_MESSAGE_READINESS, .readiness = {false}};
    pil_broker_take_from_server(&f->broker, &message, f->now_ns);
    assert_int_equal(f->ready_count, 0);
    message.readiness.is_ready = true;
    pil_broker_take_from_server(&f->broker, &message, f->now_ns);
    assert_int_equal(f->ready_count, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_release_that_was_fetched_is_held_and_passed_on),
        TEST(releases_beyond_those_to_keep_go_and_both_children_hear_it),
        TEST(a_server_that_starts_anew_is_told_everything_in_order),
        TEST(a_server_that_does_not_run_is_offered_nothing),
        TEST(what_a_fetcher_left_half_is_dropped_when_the_next_one_starts),
        TEST(what_is_given_up_is_dropped_at_once),
        TEST(a_shard_that_cannot_be_held_is_answered),
        TEST(what_was_live_is_sent_to_a_new_server_that_is_short_again_and_again),
        TEST(a_server_that_refuses_keeps_what_it_serves),
        TEST(a_server_that_ends_before_it_answers_has_refused),
        TEST(a_late_answer_counts),
        TEST(what_is_offered_or_live_is_not_offered_twice),
        TEST(the_live_release_is_offered_in_place_of_another),
        TEST(views_wait_each_on_its_own),
        TEST(nothing_waits_for_a_server_or_a_view_that_is_gone),
        TEST(a_document_that_waits_goes_along),
        TEST(admission_is_answered_and_evictions_are_told_first),
        TEST(a_view_that_is_removed_is_forgotten),
        TEST(nothing_is_admitted_for_a_view_that_is_removed),
        TEST(the_newest_document_of_a_project_is_the_only_one),
        TEST(a_document_on_which_a_server_ends_is_not_sent_again),
        TEST(the_document_before_may_come_back),
        TEST(a_server_that_ends_by_itself_sets_nothing_aside),
        TEST(the_only_document_is_sent_twice),
        TEST(a_refused_document_leaves_the_one_before),
        TEST(a_server_in_a_long_chore_is_told_everything_and_not_killed),
        TEST(a_fetcher_that_is_restarted_is_told_at_once),
        TEST(readiness_is_passed_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
