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

static void serve(const char *release) {
    fetch(release);
    poll_says(release, true);
    ok(PIL_FOLLOW_PUBLISH);
    ok(PIL_FOLLOW_REPORT);
    assert_string_equal(target.live, release);
}

static void expect_wait_s(uint64_t seconds) {
    expect_kind(PIL_FOLLOW_WAIT);
    assert_int_equal(pil_target_next(&target, now_ns).wait_until_ns, now_ns + seconds * second);
}

static void a_release_goes_all_the_way(void **state) {
    (void)state;
    fetch(A);
    poll_says(A, true);
    assert_string_equal(target.live, "");
    ok(PIL_FOLLOW_PUBLISH);
    assert_int_equal(target.report.result, PIL_FETCH_OK);
    assert_string_equal(target.report.release, A);
    assert_int_equal(target.report.bytes, 1000);
    assert_int_equal(target.report.created_us, 77);
    assert_int_equal(target.report.copy_ns, 10); /* of two shards */
    assert_int_equal(target.report.verify_ns, 10);
    assert_int_equal(target.report.collapse_ns, 10);
    ok(PIL_FOLLOW_REPORT);
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
    ok(PIL_FOLLOW_PUBLISH);
    assert_string_equal(target.live, B);
    assert_int_equal(target.report.bytes, 0);
    assert_int_equal(target.report.created_us, 0);
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
    ok(PIL_FOLLOW_PUBLISH);
    assert_string_equal(target.live, B);
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
    fail_with(PIL_FOLLOW_READ_PROJECT, PIL_STATUS_NOT_FOUND); /* without one views are served, too */
    pil_target_nudge(&target);                                /* after the project was read: it is read again */
    poll_says(A, true);
    ok(PIL_FOLLOW_PUBLISH);
    ok(PIL_FOLLOW_REPORT);
    ok(PIL_FOLLOW_READ_PROJECT);
    poll_says(A, true);
    expect_wait_s(POLL_S);
}

/* What it says about mapping is not known: nothing is published before it was read. */
static void a_project_that_cannot_be_read_stops_its_views_until_it_was_read_once(void **state) {
    static const pil_status statuses[] = {PIL_STATUS_IO, PIL_STATUS_DENIED, PIL_STATUS_TOO_LARGE, PIL_STATUS_TIMEOUT};
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        setup(state);
        target.reads_project = true;
        fail_with(PIL_FOLLOW_READ_PROJECT, statuses[i]);
        assert_int_not_equal(target.report.result, PIL_FETCH_OK);
        assert_string_equal(target.report.text, "because");
        ok(PIL_FOLLOW_REPORT);
        expect_wait_s(POLL_S);
        now_ns += POLL_S * second;
        /* The store, not the project, is not there. */
        end(PIL_FOLLOW_READ_PROJECT, &(struct pil_outcome){.status = PIL_STATUS_NOT_FOUND, .is_store_away = true});
        ok(PIL_FOLLOW_REPORT);
        expect_wait_s(2);
        now_ns += 2 * second;
        ok(PIL_FOLLOW_READ_PROJECT);
        poll_says(A, true);
        ok(PIL_FOLLOW_PUBLISH);
        ok(PIL_FOLLOW_REPORT);
        now_ns += POLL_S * second;
        fail_with(PIL_FOLLOW_READ_PROJECT, statuses[i]); /* what it said goes on */
        poll_says(B, true);
        ok(PIL_FOLLOW_PUBLISH);
    }
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
