/* SPDX-License-Identifier: Apache-2.0
 * Goal: a view goes from its channel to a published release by the steps of target.h and no others; whatever fails
 * leaves the live release and comes again after a back-off; a release that is not wanted any more is not published.
 * Method: the machine is led by hand, one outcome after the other, at times chosen by the test. */
#include "follow/target.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

enum { POLL_S = 10 };
static const uint64_t second = 1000000000;

#define A "aaaaaaaaaaaaaaaa"
#define B "bbbbbbbbbbbbbbbb"

static struct pil_target target;
static struct pil_fetch_report said; /* the last answer to an offer */
static uint64_t now_ns;

static int setup(void **state) {
    (void)state;
    now_ns = 100 * second;
    target = pil_target_make(&(struct pil_target_options){.view = 3, .collapses = true, .poll_ns = POLL_S * second});
    return 0;
}

static void expect_kind(pil_follow_kind kind) {
    struct pil_task task = pil_target_next(&target, now_ns);
    assert_int_equal(task.kind, kind);
    assert_int_equal(task.view, 3);
}

/* The next task must be of this kind, and ends like this. */
static void end(pil_follow_kind kind, const struct pil_outcome *outcome) {
    expect_kind(kind);
    struct pil_task task = pil_target_next(&target, now_ns);
    pil_target_start(&target, &task);
    pil_target_done(&target, outcome, now_ns);
}

static void ok(pil_follow_kind kind) {
    end(kind, &(struct pil_outcome){.took_ns = 5, .shard_count = 2, .bytes = 1000, .created_us = 77});
}

static void fail_with(pil_follow_kind kind, pil_status status) {
    struct pil_outcome outcome = {.status = status};
    pil_ignore(pil_fail(&outcome.error, status, "because"), "the text alone");
    end(kind, &outcome);
}

static void poll_says(const char *release, bool is_held) {
    struct pil_outcome outcome = {.is_held = is_held};
    memcpy(outcome.release, release, strlen(release) + 1);
    end(PIL_FOLLOW_POLL, &outcome);
}

static void shard_goes(void) {
    ok(PIL_FOLLOW_FETCH);
    ok(PIL_FOLLOW_VERIFY);
    ok(PIL_FOLLOW_COLLAPSE);
    ok(PIL_FOLLOW_HAND_OVER);
}

static void fetch(const char *release) {
    poll_says(release, false);
    ok(PIL_FOLLOW_READ_MANIFEST);
    ok(PIL_FOLLOW_ADMIT);
    shard_goes();
    shard_goes();
}

/* It is offered, and the server answers; returns whether that is to be reported, as `said`. */
static bool answer(const char *release, pil_fetch_result result) {
    bool is_news = pil_target_published(&target, release, result, now_ns, &said);
    pil_target_validate(&target);
    return is_news;
}

static void offer_is_served(const char *release) {
    ok(PIL_FOLLOW_PUBLISH);
    assert_string_not_equal(target.live, release); /* not before the answer */
    assert_true(answer(release, PIL_FETCH_OK));
    assert_string_equal(target.live, release);
}

static void serve(const char *release) {
    fetch(release);
    poll_says(release, true);
    offer_is_served(release);
}

static void expect_wait_s(uint64_t seconds) {
    expect_kind(PIL_FOLLOW_WAIT);
    assert_int_equal(pil_target_next(&target, now_ns).wait_until_ns, now_ns + seconds * second);
}

static void a_release_goes_all_the_way(void **state) {
    (void)state;
    fetch(A);
    poll_says(A, true);
    offer_is_served(A);
    assert_int_equal(said.result, PIL_FETCH_OK);
    assert_string_equal(said.release, A);
    assert_int_equal(said.bytes, 1000);
    assert_int_equal(said.created_us, 77);
    assert_int_equal(said.copy_ns, 10); /* of two shards */
    assert_int_equal(said.verify_ns, 10);
    assert_int_equal(said.collapse_ns, 10);
    expect_wait_s(POLL_S);
    now_ns += POLL_S * second;
    poll_says(A, true); /* nothing new */
    expect_wait_s(POLL_S);
}

static void a_held_release_needs_no_fetch(void **state) {
    (void)state;
    serve(A);
    pil_target_nudge(&target);
    poll_says(B, true);
    offer_is_served(B);
    assert_int_equal(said.bytes, 0);
    assert_int_equal(said.created_us, 0);
}

static void without_huge_pages_nothing_is_collapsed(void **state) {
    (void)state;
    target.collapses = false;
    poll_says(A, false);
    ok(PIL_FOLLOW_READ_MANIFEST);
    ok(PIL_FOLLOW_ADMIT);
    ok(PIL_FOLLOW_FETCH);
    ok(PIL_FOLLOW_VERIFY);
    expect_kind(PIL_FOLLOW_HAND_OVER);
}

/* Whichever step fails, the live release stays, the failure is told, and the same release waits 1, 2, 4 … 60 s. */
static void every_failure_is_reported_and_backs_off(void **state) {
    static const pil_follow_kind way[] = {PIL_FOLLOW_READ_MANIFEST, PIL_FOLLOW_ADMIT,    PIL_FOLLOW_FETCH,
                                          PIL_FOLLOW_VERIFY,        PIL_FOLLOW_COLLAPSE, PIL_FOLLOW_HAND_OVER};
    for (size_t at = 0; at < sizeof way / sizeof way[0]; at++) {
        setup(state);
        target.poll_ns = 3600 * second;
        serve(A);
        uint64_t wait_s = 1;
        for (int attempt = 0; attempt < 9; attempt++) {
            pil_target_nudge(&target);
            poll_says(B, false);
            for (size_t i = 0; i < at; i++) {
                ok(way[i]);
            }
            fail_with(way[at], PIL_STATUS_CORRUPT);
            assert_int_equal(target.report.result, PIL_FETCH_CORRUPT);
            assert_string_equal(target.report.release, B);
            assert_string_equal(target.report.text, "because");
            ok(PIL_FOLLOW_REPORT);
            assert_string_equal(target.live, A);
            expect_wait_s(wait_s);
            pil_target_nudge(&target); /* a look at the channel does not shorten it */
            poll_says(B, false);
            expect_wait_s(wait_s);
            now_ns += wait_s * second;
            wait_s = 2 * wait_s < 60 ? 2 * wait_s : 60;
        }
        poll_says(A, true); /* the channel goes back: no grudge is left */
        pil_target_nudge(&target);
        poll_says(B, false);
        expect_kind(PIL_FOLLOW_READ_MANIFEST);
    }
}

static void another_release_does_not_wait_for_the_refused_one(void **state) {
    (void)state;
    poll_says(A, false);
    fail_with(PIL_FOLLOW_READ_MANIFEST, PIL_STATUS_NOT_FOUND);
    assert_int_equal(target.report.result, PIL_FETCH_NOT_FOUND);
    ok(PIL_FOLLOW_REPORT);
    pil_target_nudge(&target);
    serve(B);
}

static void an_unreadable_channel_is_reported_and_polled_again(void **state) {
    (void)state;
    serve(A);
    now_ns += POLL_S * second;
    fail_with(PIL_FOLLOW_POLL, PIL_STATUS_IO);
    assert_int_equal(target.report.result, PIL_FETCH_ERROR);
    assert_string_equal(target.report.release, "");
    ok(PIL_FOLLOW_REPORT);
    assert_string_equal(target.live, A);
    expect_wait_s(POLL_S);
    now_ns += POLL_S * second;
    end(PIL_FOLLOW_POLL, &(struct pil_outcome){.status = PIL_STATUS_INVALID, .is_store_away = true});
    assert_int_equal(target.report.result, PIL_FETCH_ERROR); /* the folder, not a release, is invalid */
    ok(PIL_FOLLOW_REPORT);
    expect_wait_s(2);
}

/* A refused release is tried at once when its channel can be read again; a further failure waits on. */
static void an_outage_of_the_store_skips_the_wait(void **state) {
    (void)state;
    target.poll_ns = second / 2;
    poll_says(A, false);
    fail_with(PIL_FOLLOW_READ_MANIFEST, PIL_STATUS_IO);
    ok(PIL_FOLLOW_REPORT);
    now_ns += second / 2;
    fail_with(PIL_FOLLOW_POLL, PIL_STATUS_IO);
    ok(PIL_FOLLOW_REPORT);
    pil_target_nudge(&target);
    poll_says(A, false);
    fail_with(PIL_FOLLOW_READ_MANIFEST, PIL_STATUS_IO);
    assert_int_equal(target.backoff.wait_ms, 2000);
}

/* The gap of the old fetcher: the channel went on while the last shard came. */
static void what_is_not_wanted_any_more_is_not_published(void **state) {
    (void)state;
    serve(A);
    now_ns += POLL_S * second;
    fetch(B);
    poll_says(A, true); /* rolled back meanwhile */
    expect_wait_s(POLL_S);
    assert_string_equal(target.live, A);
    pil_target_nudge(&target);
    fetch(B);
    fail_with(PIL_FOLLOW_POLL, PIL_STATUS_IO); /* nobody can say whether it is wanted */
    ok(PIL_FOLLOW_REPORT);
    assert_string_equal(target.live, A);
    now_ns += POLL_S * second;
    poll_says(B, true);
    assert_int_equal(target.fetch.bytes, 1000); /* its numbers were kept */
    offer_is_served(B);
}

static void between_shards_the_channel_is_read_when_that_is_due(void **state) {
    (void)state;
    poll_says(A, false);
    ok(PIL_FOLLOW_READ_MANIFEST);
    ok(PIL_FOLLOW_ADMIT);
    shard_goes();
    now_ns += POLL_S * second;
    poll_says(A, false); /* still wanted: go on */
    expect_kind(PIL_FOLLOW_FETCH);
    assert_int_equal(pil_target_next(&target, now_ns).shard, 1);
    pil_target_nudge(&target);
    fail_with(PIL_FOLLOW_POLL, PIL_STATUS_IO); /* no reason to stop */
    expect_kind(PIL_FOLLOW_FETCH);
    pil_target_nudge(&target);
    poll_says(B, false); /* given up */
    assert_int_equal(target.shards_whole, 0);
    ok(PIL_FOLLOW_READ_MANIFEST);
    assert_string_equal(target.fetch.release, B);
}

static void while_waiting_for_admission_the_channel_is_read(void **state) {
    (void)state;
    poll_says(A, false);
    ok(PIL_FOLLOW_READ_MANIFEST);
    expect_kind(PIL_FOLLOW_ADMIT);
    pil_target_nudge(&target);
    poll_says(A, false);
    expect_kind(PIL_FOLLOW_ADMIT);
}

static void cancelling_is_held_against_nobody(void **state) {
    (void)state;
    poll_says(A, false);
    ok(PIL_FOLLOW_READ_MANIFEST);
    fail_with(PIL_FOLLOW_ADMIT, PIL_STATUS_CLOSED);
    expect_kind(PIL_FOLLOW_WAIT); /* no report */
    assert_string_equal(target.refused, "");
}

static void what_was_dropped_is_fetched_again(void **state) {
    (void)state;
    serve(A);
    pil_target_dropped(&target, B); /* another one */
    expect_kind(PIL_FOLLOW_WAIT);
    pil_target_dropped(&target, A);
    assert_string_equal(target.live, "");
    fetch(A);
    poll_says(A, true);
    expect_kind(PIL_FOLLOW_PUBLISH);
    pil_target_dropped(&target, A); /* in the last moment */
    poll_says(A, false);
    expect_kind(PIL_FOLLOW_READ_MANIFEST);
}

static void a_project_is_read_before_each_poll(void **state) {
    (void)state;
    target.reads_project = true;
    fail_with(PIL_FOLLOW_READ_PROJECT, PIL_STATUS_CORRUPT); /* with one that nobody can use views are served, too */
    pil_target_nudge(&target);
    fail_with(PIL_FOLLOW_POLL, PIL_STATUS_IO);
    ok(PIL_FOLLOW_REPORT);
    fail_with(PIL_FOLLOW_READ_PROJECT, PIL_STATUS_NOT_FOUND); /* and without one */
    pil_target_nudge(&target);                                /* after the project was read: it is read again */
    poll_says(A, true);
    offer_is_served(A);
    pil_target_nudge(&target);
    ok(PIL_FOLLOW_READ_PROJECT);
    poll_says(A, true);
    expect_wait_s(POLL_S);
}

/* What it says about mapping is not known: nothing is published before it was read. */
static void a_project_that_cannot_be_read_stops_its_views_until_it_was_read_once(void **state) {
    static const pil_status statuses[] = {PIL_STATUS_IO, PIL_STATUS_DENIED, PIL_STATUS_NO_MEMORY, PIL_STATUS_TIMEOUT};
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        setup(state);
        target.reads_project = true;
        fail_with(PIL_FOLLOW_READ_PROJECT, statuses[i]);
        assert_int_not_equal(target.report.result, PIL_FETCH_OK);
        assert_string_equal(target.report.text, "because");
        ok(PIL_FOLLOW_REPORT);
        expect_wait_s(POLL_S);
        now_ns += POLL_S * second;
        for (size_t k = 0; k < 2; k++) { /* the store, not the project, is not there, or is none */
            end(PIL_FOLLOW_READ_PROJECT,
                &(struct pil_outcome){.status = k == 0 ? PIL_STATUS_NOT_FOUND : PIL_STATUS_INVALID,
                                      .is_store_away = true});
            ok(PIL_FOLLOW_REPORT);
            expect_wait_s(2);
            now_ns += 2 * second;
        }
        ok(PIL_FOLLOW_READ_PROJECT);
        poll_says(A, true);
        offer_is_served(A);
        now_ns += POLL_S * second;
        fail_with(PIL_FOLLOW_READ_PROJECT, statuses[i]); /* what it said goes on */
        poll_says(B, true);
        ok(PIL_FOLLOW_PUBLISH);
    }
}

/* ---- Offers */

static void while_the_server_has_not_answered_the_channel_is_read(void **state) {
    (void)state;
    serve(A);
    now_ns += POLL_S * second;
    fetch(B);
    poll_says(B, true);
    ok(PIL_FOLLOW_PUBLISH);
    expect_wait_s(POLL_S); /* no report: nobody knows yet */
    now_ns += POLL_S * second;
    poll_says(B, true);
    expect_wait_s(POLL_S); /* it is not offered twice */
    now_ns += POLL_S * second;
    poll_says(A, true); /* rolled back: the live release is offered in place of B */
    ok(PIL_FOLLOW_PUBLISH);
    assert_false(answer(B, PIL_FETCH_OK)); /* crossed; for a moment it is served */
    assert_string_equal(target.live, B);
    assert_true(answer(A, PIL_FETCH_OK));
    assert_string_equal(target.live, A);
    assert_false(answer(B, PIL_FETCH_ERROR)); /* nobody waits for that any more */
    assert_string_equal(target.refused, "");
}

static void a_refused_offer_is_made_again_after_a_while(void **state) {
    (void)state;
    serve(A);
    now_ns += POLL_S * second;
    fetch(B);
    poll_says(B, true);
    for (uint64_t wait_s = 1; wait_s <= 4; wait_s *= 2) {
        ok(PIL_FOLLOW_PUBLISH);
        assert_true(answer(B, PIL_FETCH_SHORTAGE));
        assert_int_equal(said.result, PIL_FETCH_SHORTAGE);
        assert_string_equal(said.release, B);
        assert_int_equal(said.bytes, 0);
        assert_string_equal(target.live, A);
        expect_wait_s(wait_s);
        now_ns += wait_s * second;
        poll_says(B, true);
    }
    offer_is_served(B);
    assert_int_equal(said.bytes, 1000); /* of its one fetch */
    assert_string_equal(target.refused, "");
}

static void a_refusal_does_not_wait_for_the_next_poll(void **state) {
    (void)state;
    fetch(A);
    poll_says(A, true);
    ok(PIL_FOLLOW_PUBLISH);
    struct pil_task task;
    now_ns += POLL_S * second;
    task = pil_target_next(&target, now_ns);
    pil_target_start(&target, &task); /* the answer comes while the channel is read */
    assert_true(answer(A, PIL_FETCH_ERROR));
    struct pil_outcome outcome = {.is_held = true, .release = A};
    pil_target_done(&target, &outcome, now_ns);
    expect_wait_s(1);
}

static void what_a_new_server_does_not_serve_is_not_live(void **state) {
    (void)state;
    serve(A);
    assert_true(answer(A, PIL_FETCH_ERROR));
    assert_string_equal(target.live, "");
    expect_wait_s(1);
    now_ns += second;
    poll_says(A, true);
    offer_is_served(A);
    assert_false(answer(A, PIL_FETCH_OK)); /* of yet another server */
}

static void an_offer_that_was_dropped_is_fetched_again(void **state) {
    (void)state;
    fetch(A);
    poll_says(A, true);
    ok(PIL_FOLLOW_PUBLISH);
    pil_target_dropped(&target, A);
    assert_false(answer(A, PIL_FETCH_SHORTAGE));
    poll_says(A, false);
    expect_kind(PIL_FOLLOW_READ_MANIFEST);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_release_goes_all_the_way, setup),
        cmocka_unit_test_setup(a_held_release_needs_no_fetch, setup),
        cmocka_unit_test_setup(without_huge_pages_nothing_is_collapsed, setup),
        cmocka_unit_test_setup(every_failure_is_reported_and_backs_off, setup),
        cmocka_unit_test_setup(another_release_does_not_wait_for_the_refused_one, setup),
        cmocka_unit_test_setup(an_unreadable_channel_is_reported_and_polled_again, setup),
        cmocka_unit_test_setup(an_outage_of_the_store_skips_the_wait, setup),
        cmocka_unit_test_setup(what_is_not_wanted_any_more_is_not_published, setup),
        cmocka_unit_test_setup(between_shards_the_channel_is_read_when_that_is_due, setup),
        cmocka_unit_test_setup(while_waiting_for_admission_the_channel_is_read, setup),
        cmocka_unit_test_setup(cancelling_is_held_against_nobody, setup),
        cmocka_unit_test_setup(what_was_dropped_is_fetched_again, setup),
        cmocka_unit_test_setup(a_project_is_read_before_each_poll, setup),
        cmocka_unit_test_setup(a_project_that_cannot_be_read_stops_its_views_until_it_was_read_once, setup),
        cmocka_unit_test_setup(while_the_server_has_not_answered_the_channel_is_read, setup),
        cmocka_unit_test_setup(a_refused_offer_is_made_again_after_a_while, setup),
        cmocka_unit_test_setup(a_refusal_does_not_wait_for_the_next_poll, setup),
        cmocka_unit_test_setup(what_a_new_server_does_not_serve_is_not_live, setup),
        cmocka_unit_test_setup(an_offer_that_was_dropped_is_fetched_again, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
