/* SPDX-License-Identifier: Apache-2.0
 * Goal: releases go from messages to being served without the control thread ever working for longer than a slice; the
 * supervisor hears of each PUBLISH exactly once that its mapping is gone; readiness names every term; views come and go
 * and take their releases along. Method: a node without worker threads, messages made by hand, a clock that the test
 * moves; a worker's turns and its grace period are played by the test; the node is validated after every step. */
#include "node_fixture.h"

/* ---- Publishing. */

static void the_first_release_answers_before_it_is_prefaulted(void **state) {
    struct fixture *f = *state;
    send_release(f, 0, 1);
    assert_int_equal(live_number(f, 0), 1); /* no chore has run yet */
    assert_non_null(f->node->views[0].publication);
    assert_int_equal(live(f, 0)->created_us, 77);
    assert_true(work(f) > 1); /* in slices */
    assert_null(f->node->views[0].publication);
    assert_metric(f, "pillion_release_info{view=\"p/v\",channel=\"c\",release=\"0000000000000001\"} 1\n", true);
    assert_metric(f, "pillion_releases_published_total{view=\"p/v\"} 1\n", true);
}

static void a_release_that_replaces_another_is_ready_before_it_answers(void **state) {
    struct fixture *f = *state;
    send_release(f, 0, 1);
    settle(f);
    send_release(f, 0, 2);
    assert_int_equal(live_number(f, 0), 1);
    assert_true(pil_node_work(f->node)); /* one slice is not enough */
    assert_int_equal(live_number(f, 0), 1);
    assert_int_equal(count_answers(f, 2, PIL_OUTCOME_OK), 0); /* and the supervisor does not take it for served */
    settle(f);
    assert_int_equal(live_number(f, 0), 2);
    assert_int_equal(count_answers(f, 2, PIL_OUTCOME_OK), 1);
    assert_int_equal(live(f, 0)->generation, 2);
    assert_metric(f, "release=\"0000000000000001\"", false);
    assert_int_equal(count_reclaimed(f, 0, 1), 1);
    assert_int_equal(count_reclaimed(f, 0, 2), 0);
}

static void no_slice_is_longer_than_one_step_more(void **state) {
    struct fixture *f = *state;
    send_release(f, 0, 1);
    send_release(f, 1, 2);
    settle(f);
    send_release(f, 0, 3);
    send_release(f, 1, 4);
    bool has_more = true;
    while (has_more) {
        uint64_t before_ns = f->time_ns;
        has_more = pil_node_work(f->node);
        /* The clock moves by 0.3 ms at each look, and every step is followed by one. */
        assert_true(f->time_ns - before_ns <= PIL_CHORES_SLICE_NS + 2 * 300000);
    }
    assert_int_equal(live_number(f, 0), 3);
    assert_int_equal(live_number(f, 1), 4);
}

/* Page tables by a huge page, then pages by sixteen: what a host may have to give again one by one. */
static void a_release_is_made_ready_in_small_steps(void **state) {
    struct fixture *f = *state;
    f->row_count = MANY_ROWS;
    send_release(f, 0, 1);
    uint64_t before_ns = f->time_ns, bytes = live(f, 0)->bytes;
    work(f);
    assert_true(bytes > 2 << 20);
    assert_true((f->time_ns - before_ns) / 300000 > bytes / (16 * 4096)); /* each is followed by a look at the clock */
}

static void the_newest_release_counts_and_the_other_is_given_back(void **state) {
    struct fixture *f = *state;
    send_release(f, 0, 1);
    settle(f);
    send_release(f, 0, 2);
    assert_true(pil_node_work(f->node));
    send_release(f, 0, 3); /* 2 was not served yet */
    assert_int_equal(count_reclaimed(f, 0, 2), 1);
    settle(f);
    assert_int_equal(live_number(f, 0), 3);
    assert_int_equal(count_reclaimed(f, 0, 1), 1);
    assert_int_equal(count_reclaimed(f, 0, 2), 1);
    assert_int_equal(count_answers(f, 2, PIL_OUTCOME_OK), 0);
    assert_int_equal(count_answers(f, 3, PIL_OUTCOME_OK), 1);
    send_release(f, 0, 3); /* the same again: each mapping is told on its own */
    settle(f);
    assert_int_equal(count_reclaimed(f, 0, 3), 1);
    assert_int_equal(live(f, 0)->generation, 3);
}

static void a_release_that_did_not_come_whole_is_refused_and_told(void **state) {
    struct fixture *f = *state;
    send_release(f, 0, 1);
    settle(f);
    send_shard(f, 0, 2, 0);
    send_publish(f, 0, 2); /* its second shard is missing */
    assert_int_equal(count_reclaimed(f, 0, 2), 1);
    assert_string_equal(f->node->views[0].refused, "0000000000000002");
    assert_int_equal(f->node->views[0].refused_outcome, PIL_OUTCOME_SHORTAGE);
    send_publish(f, 0, 9); /* nothing of it came */
    assert_int_equal(count_reclaimed(f, 0, 9), 1);
    send_shard(f, 0, 4, 0);
    send_shard(f, 0, 4, 0); /* twice */
    send_shard(f, 0, 5, 1); /* of another release: the one before is forgotten */
    send_shard(f, 0, 5, 0);
    send_publish(f, 0, 5);
    settle(f);
    assert_int_equal(live_number(f, 0), 5);
}

static void shards_that_make_no_release_are_refused(void **state) {
    struct fixture *f = *state;
    struct pil_message shard = {
        .kind = PIL_MESSAGE_SHARD, /* says that it is shard 1 */
        .fd = fixture_shard(f->project->views[0].view, 10, 6, 1, SHARD_BITS),
        .shard = {.place = {0, 1u << SHARD_BITS}},
    };
    name_release(6, &shard.shard.release);
    take(f, shard);
    send_shard(f, 0, 6, 1);
    send_publish(f, 0, 6);
    assert_null(live(f, 0));
    assert_int_equal(count_reclaimed(f, 0, 6), 1);
    assert_non_null(strstr(f->node->views[0].refused_why, "shard 0"));
    assert_term(f, "[-] p/v@c: no release; release 0000000000000006, shard 0", false);
    assert_int_equal(f->node->views[0].refused_outcome, PIL_OUTCOME_ERROR);
    assert_int_equal(count_answers(f, 6, PIL_OUTCOME_ERROR), 1);
    assert_int_equal(count_answers(f, 6, PIL_OUTCOME_SHORTAGE), 0);
    assert_metric(f, "pillion_release_waiting{view=\"p/v\"} 0\n", true);
}

/* ---- Shortage. */

/* A shard that no process has addresses for: a shortage, if one that does not pass. */
static void send_endless_shard(struct fixture *f, uint64_t number) {
    struct pil_message shard = {.kind = PIL_MESSAGE_SHARD, .fd = -1, .shard = {.place = {0, 1}}};
    struct pil_error error;
    assert_int_equal(pil_sys_memfd_create("endless", &shard.fd, &error), PIL_STATUS_OK);
    assert_int_equal(ftruncate(shard.fd, (off_t)1 << 47), 0);
    assert_int_equal(pil_sys_memfd_seal(shard.fd, &error), PIL_STATUS_OK);
    name_release(number, &shard.shard.release);
    take(f, shard);
}

static void a_release_without_room_is_asked_for_until_it_is_mapped(void **state) {
    struct fixture *f = *state;
    send_release(f, 0, 1);
    settle(f);
    for (uint32_t failures = 1; failures <= 3; failures++) {
        send_endless_shard(f, 2);
        send_publish(f, 0, 2);
        assert_int_equal(count_reclaimed(f, 0, 2), failures);
        assert_int_equal(count_answers(f, 2, PIL_OUTCOME_SHORTAGE), failures);
        assert_int_equal(live_number(f, 0), 1);
    }
    assert_int_equal(f->node->views[0].refused_outcome, PIL_OUTCOME_SHORTAGE);
    assert_string_equal(f->node->views[0].refused, "0000000000000002");
    assert_non_null(strstr(f->node->views[0].refused_why, "Cannot allocate memory"));
    assert_metric(f, "pillion_release_waiting{view=\"p/v\"} 1\n", true);
    assert_metric(f, "pillion_release_waiting{view=\"p/w\"} 0\n", true);
    send_release(f, 0, 2);
    settle(f);
    assert_int_equal(live_number(f, 0), 2);
    assert_int_equal(f->node->views[0].refused_outcome, PIL_OUTCOME_OK);
    assert_int_equal(count_answers(f, 2, PIL_OUTCOME_SHORTAGE), 3);
    assert_int_equal(count_answers(f, 2, PIL_OUTCOME_OK), 1);
    assert_metric(f, "pillion_release_waiting{view=\"p/v\"} 0\n", true);
}

static void a_shard_whose_descriptor_was_lost_is_asked_for_again(void **state) {
    struct fixture *f = *state;
    struct pil_message lost = {.kind = PIL_MESSAGE_SHARD, .fd = -1, .shard = {.place = {0, 1u << SHARD_BITS}}};
    name_release(1, &lost.shard.release);
    take(f, lost);
    send_shard(f, 0, 1, 1);
    send_publish(f, 0, 1);
    assert_int_equal(count_answers(f, 1, PIL_OUTCOME_SHORTAGE), 1);
    assert_term(f, "[-] p/v@c: no release; no memory or descriptors for its shards", false);
    send_release(f, 0, 1);
    assert_int_equal(live_number(f, 0), 1);
}

/* ---- Retiring. */

static void a_worker_that_still_reads_holds_its_release(void **state) {
    struct fixture *f = *state;
    send_release(f, 0, 1);
    settle(f);
    pil_qsbr_online(qsbr_of(f), 0);
    send_release(f, 0, 2);
    settle(f);
    assert_int_equal(live_number(f, 0), 2);
    assert_int_equal(count_reclaimed(f, 0, 1), 0);
    assert_metric(f, "pillion_reclaim_pending 1\n", true);
    pil_qsbr_quiescent(qsbr_of(f), 0);
    settle(f);
    assert_int_equal(count_reclaimed(f, 0, 1), 1);
    assert_metric(f, "pillion_reclaim_pending 0\n", true);
    pil_qsbr_offline(qsbr_of(f), 0);
}

static void two_thousand_retired_releases_are_all_reported(void **state) {
    enum { MANY = 2000 };
    struct fixture *f = *state;
    int fd = fixture_shard(f->project->views[0].view, 1, 1, 0, 0);
    pil_qsbr_online(qsbr_of(f), 0); /* nothing can be unmapped meanwhile */
    for (uint64_t number = 1; number <= MANY + 1; number++) {
        struct pil_message shard = {.kind = PIL_MESSAGE_SHARD, .fd = dup(fd), .shard = {.place = {0, 1}}};
        struct pil_message publish = {.kind = PIL_MESSAGE_PUBLISH};
        name_release(number, &shard.shard.release);
        name_release(number, &publish.publish.release);
        pil_node_take(f->node, &shard);
        pil_node_take(f->node, &publish);
        while (pil_node_work(f->node)) {
        }
    }
    pil_node_tick(f->node);
    pil_node_validate(f->node);
    assert_int_equal(pil_cache_retired_count(pil_server_cache(f->node->server)), MANY);
    pil_qsbr_offline(qsbr_of(f), 0);
    settle(f);
    for (uint64_t number = 1; number <= MANY; number++) {
        assert_int_equal(count_reclaimed(f, 0, number), 1);
    }
    assert_int_equal(count_reclaimed(f, 0, MANY + 1), 0);
    close(fd);
}

/* ---- Readiness and news. */

static void readiness_names_every_term_and_is_told_when_it_turns(void **state) {
    struct fixture *f = *state;
    pil_node_tick(f->node);
    assert_int_equal(f->told_count, 0); /* not ready is what the supervisor takes for granted */
    assert_term(f, "[-] p/v@c: no release yet", false);
    assert_term(f, "[-] p/v@c: channel not read yet", false);
    send_release(f, 0, 1);
    send_release(f, 1, 1);
    send_checked(f, 0, 1);
    assert_term(f, "[+] p/v@c: release 0000000000000001, published", false);
    assert_term(f, "[+] p/v@c: channel read 0 s ago, bound 60 s", false);
    send_checked(f, 1, 1);
    assert_term(f, "[+] workers run", true);
    f->told_count = 0; /* two answers */
    pil_node_tick(f->node);
    assert_int_equal(f->told_count, 1);
    assert_true(f->told[0].kind == PIL_MESSAGE_READINESS && f->told[0].readiness.is_ready);
    f->time_ns += 61000000000;
    send_checked(f, 1, 1);
    assert_term(f, "[-] p/v@c: channel read 61 s ago, bound 60 s", false);
    pil_node_tick(f->node);
    assert_int_equal(f->told_count, 2);
    assert_false(f->told[1].readiness.is_ready);
    send_checked(f, 0, 1);
    f->node->is_draining = true;
    assert_term(f, "[-] not draining", false);
}

static void a_worker_that_makes_no_turn_makes_the_node_unready(void **state) {
    struct fixture *f = *state;
    for (uint32_t view = 0; view < 2; view++) {
        send_release(f, view, 1);
        send_checked(f, view, 1);
    }
    assert_term(f, "[+] workers run: 1, io_uring\n", true);
    f->is_stuck = true;
    f->time_ns += 900000000;
    assert_term(f, "[+] workers run: 1, io_uring\n", true);
    f->time_ns += 300000000;
    assert_term(f, "[-] workers run: worker 0 made no turn for 1.2 s, bound 1 s\n", false);
    f->is_stuck = false;
    assert_term(f, "[+] workers run: 1, io_uring\n", true);
    f->is_stuck = true;
    pil_server_note_turn(f->node->server, 0, 0);
    assert_term(f, "[-] workers run: worker 0 has not opened its event loop yet\n", false);
}

/* Two hours forward and back: what was fresh stays fresh, and what was not is not hidden. */
static void staleness_is_not_a_matter_of_the_wall_clock(void **state) {
    static const int64_t steps_us[] = {7200000000, -7200000000};
    struct fixture *f = *state;
    send_release(f, 0, 1);
    send_release(f, 1, 1);
    send_checked(f, 1, 1);
    for (size_t i = 0; i < 2; i++) {
        f->step_us = 0;
        send_checked(f, 0, 1);
        send_checked(f, 1, 1);
        f->step_us = steps_us[i];
        assert_term(f, "[+] p/v@c: channel read 0 s ago, bound 60 s", true);
        assert_true(wall_us(f) - pil_node_checked_us(f->node, 0) < 1000000);
        f->time_ns += 61000000000;
        assert_term(f, "[-] p/v@c: channel read 61 s ago, bound 60 s", false);
        assert_true(wall_us(f) - pil_node_checked_us(f->node, 0) >= 61000000);
    }
}

static void reports_are_counted_and_the_last_refusal_is_kept(void **state) {
    struct fixture *f = *state;
    struct pil_message report = {.kind = PIL_MESSAGE_REPORT,
                                 .report = {.release = "0123456789abcdef",
                                            .outcome = PIL_OUTCOME_WILL_NOT_FIT,
                                            .was_fetched = false,
                                            .why = "no room"}};
    take(f, report);
    assert_string_equal(f->node->views[0].refused_why, "no room");
    assert_metric(f, "pillion_fetches_total{view=\"p/v\",result=\"will_not_fit\"} 1\n", true);
    assert_metric(f, "pillion_fetch_duration_seconds_count", false);
    send_release(f, 0, 7);
    assert_int_equal(f->node->views[0].refused_outcome, PIL_OUTCOME_OK);
    send_publish(f, 0, 8); /* cannot be: the fetcher does not know, and reports that all went well */
    report.report.outcome = PIL_OUTCOME_OK;
    report.report.was_fetched = true;
    take(f, report);
    assert_string_equal(f->node->views[0].refused, "0000000000000008");
    assert_metric(f, "pillion_fetch_duration_seconds_count{view=\"p/v\",phase=\"collapse\"} 1\n", true);
    report.report.outcome = PIL_OUTCOME_CORRUPT;
    take(f, report);
    send_checked(f, 0, 2);
    assert_int_equal(f->node->views[0].refused_outcome, PIL_OUTCOME_CORRUPT);
    send_checked(f, 0, 7); /* the channel points to what is served again */
    assert_int_equal(f->node->views[0].refused_outcome, PIL_OUTCOME_OK);
    assert_true(f->node->views[0].is_pinned);
}

static void what_a_channel_wants_and_the_view_does_not_serve_is_timed(void **state) {
    struct fixture *f = *state;
    assert_int_equal(pil_node_behind_us(f->node, 0), 0); /* nobody knows what the channel wants */
    send_checked(f, 0, 1);
    assert_true(pil_node_behind_us(f->node, 0) > 0); /* at once */
    pil_node_tick(f->node);
    f->time_ns += 60000000000;
    pil_node_tick(f->node);
    assert_true(pil_node_behind_us(f->node, 0) >= 60000000);
    assert_int_equal(pil_node_behind_us(f->node, 1), 0);
    assert_metric(f, "pillion_release_behind_seconds{view=\"p/w\"} 0\n", true);
    send_release(f, 0, 1);
    settle(f);
    assert_metric(f, "pillion_release_behind_seconds{view=\"p/v\"} 0\n", true);
    pil_node_tick(f->node);
    send_checked(f, 0, 2);
    pil_node_tick(f->node);
    f->time_ns += 5000000000;
    send_checked(f, 0, 3); /* another wish: the view has been behind since the first */
    int64_t behind_us = pil_node_behind_us(f->node, 0);
    assert_true(behind_us >= 5000000 && behind_us < 10000000);
    send_checked(f, 0, 1); /* the channel goes back */
    assert_int_equal(pil_node_behind_us(f->node, 0), 0);
}

static void a_release_of_old_rows_is_past_its_ttl_and_says_so(void **state) {
    struct fixture *f = *state;
    send_release(f, 0, 1);
    settle(f);
    struct pil_view *view = (struct pil_view *)(uintptr_t)live(f, 0)->view; /* the fixture's has no ttl */
    view->ttl_us = 60000000;
    int64_t left_us = live(f, 0)->event_ts_us_max + view->ttl_us - wall_us(f);
    f->step_us += left_us - 10000000;
    assert_metric(f, "pillion_release_past_ttl{view=\"p/v\"} 0\n", true);
    f->step_us += 20000000;
    assert_metric(f, "pillion_release_past_ttl{view=\"p/v\"} 1\n", true);
    assert_metric(f, "pillion_release_past_ttl{view=\"p/w\"}", false);
}

static void restarts_and_memory_are_what_the_supervisor_says(void **state) {
    struct fixture *f = *state;
    take(f, (struct pil_message){.kind = PIL_MESSAGE_START, .start = {3}});
    take(f, (struct pil_message){.kind = PIL_MESSAGE_HELD,
                                 .held = {.view_index = 1, .bytes = 4096, .release_count = 2, .fetcher_restarts = 7}});
    assert_metric(f, "pillion_process_restarts_total{process=\"server\"} 3\n", true);
    assert_metric(f, "pillion_process_restarts_total{process=\"fetcher\"} 7\n", true);
    assert_metric(f, "pillion_memory_bytes{view=\"p/w\"} 4096\n", true);
    assert_int_equal(f->node->views[1].held_count, 2);
}

static void a_first_release_is_ready_when_every_worker_sees_it(void **state) {
    struct fixture *f = *state;
    pil_qsbr_online(qsbr_of(f), 0);
    for (uint32_t view = 0; view < 2; view++) {
        send_release(f, view, 1);
        send_checked(f, view, 1);
    }
    pil_node_tick(f->node);
    assert_term(f, "s ago; not all workers see it yet\n", false);
    pil_qsbr_quiescent(qsbr_of(f), 0);
    pil_node_tick(f->node);
    assert_term(f, "[+] p/v@c: release 0000000000000001, published", true);
    send_release(f, 0, 2); /* a swap: until a worker sees it, it answers from the release before */
    settle(f);
    assert_int_equal(live_number(f, 0), 2);
    assert_term(f, "[+] p/v@c: release 0000000000000002, published", true);
    pil_qsbr_offline(qsbr_of(f), 0);
}

/* ---- Views that come and go. */

static void a_view_that_is_removed_lets_go_of_everything(void **state) {
    struct fixture *f = *state;
    send_release(f, 0, 1);
    send_release(f, 1, 2);
    settle(f);
    send_release(f, 0, 3);  /* on its way in */
    send_shard(f, 0, 4, 0); /* and another one */
    send_checked(f, 0, 3);
    f->settings.views[0].is_removed = true;
    pil_node_views_changed(f->node);
    pil_node_validate(f->node);
    struct pil_cache *cache = pil_server_cache(f->node->server);
    assert_false(pil_cache_view_is_served(pil_cache_view_at(cache, 0)));
    assert_true(pil_cache_view_is_served(pil_cache_view_at(cache, 1)));
    settle(f);
    assert_int_equal(count_reclaimed(f, 0, 1), 1);
    assert_int_equal(count_reclaimed(f, 0, 3), 1);
    assert_int_equal(live_number(f, 1), 2);
    assert_metric(f, "release=\"0000000000000001\"", false);
    assert_metric(f, "pillion_release_rows{view=\"p/v\"}", false);
    assert_metric(f, "pillion_release_rows{view=\"p/w\"}", true);
    /* What was on its way for it goes back at once. */
    send_release(f, 0, 5);
    assert_int_equal(count_reclaimed(f, 0, 5), 1);
    assert_int_equal(count_answers(f, 5, PIL_OUTCOME_ERROR), 1);
    assert_null(live(f, 0));
}

static void a_view_that_is_added_takes_readiness_from_nobody(void **state) {
    struct fixture *f = *state;
    send_release(f, 0, 1);
    send_release(f, 1, 2);
    send_checked(f, 0, 1);
    send_checked(f, 1, 2);
    settle(f);
    add_settings(f, "x");
    f->settings.views[2].is_added = true; /* as pil_slots_reload does it */
    pil_node_views_changed(f->node);
    pil_node_validate(f->node);
    assert_term(f, "[+] p/x@c: no release yet; it was added by a reload and counts from its first release on", true);
    send_release(f, 2, 3);
    settle(f);
    assert_int_equal(live_number(f, 2), 3);
    assert_term(f, "[-] p/x@c: channel not read yet", false);
    send_checked(f, 2, 3);
    assert_term(f, "[+] p/x@c: release 0000000000000003", true);
    assert_metric(f, "pillion_lookups_total{view=\"p/x\",status=\"hit\"} 0\n", true);
}

static void a_view_that_was_added_is_known_to_the_next_server(void **state) {
    struct fixture *f = *state;
    add_settings(f, "x");
    f->settings.views[2].is_added = true;
    pil_node_destroy(&f->node);
    create_node(f);
    send_release(f, 0, 1);
    send_release(f, 1, 2);
    send_checked(f, 0, 1);
    send_checked(f, 1, 2);
    assert_term(f, "[+] p/x@c: no release yet; it was added by a reload and counts from its first release on", true);
}

static void a_view_may_come_back(void **state) {
    struct fixture *f = *state;
    for (uint64_t round = 1; round <= 5; round++) {
        send_release(f, 0, round);
        settle(f);
        assert_int_equal(live_number(f, 0), round);
        assert_int_equal(live(f, 0)->generation, round); /* clients see that it is another one */
        f->settings.views[0].is_removed = true;
        pil_node_views_changed(f->node);
        pil_node_validate(f->node);
        f->settings.views[0].is_removed = false;
        pil_node_views_changed(f->node);
        settle(f);
        assert_null(live(f, 0));
        assert_int_equal(count_reclaimed(f, 0, round), 1);
    }
}

/* The settings that a server which starts anew is given: a view has come back in a slot before those of its other
 * rules.
 */
static void a_server_starts_with_a_view_that_has_several_slots(void **state) {
    struct fixture *f = *state;
    pil_node_destroy(&f->node);
    add_settings(f, "v");
    add_settings(f, "v");
    f->settings.views[2].is_removed = f->settings.views[3].is_removed = true;
    create_node(f);
    struct pil_cache *cache = pil_server_cache(f->node->server);
    for (uint32_t i = 0; i < f->settings.view_count; i++) {
        assert_int_equal(pil_cache_view_is_served(pil_cache_view_at(cache, i)), i < 2);
    }
    send_release(f, 0, 1);
    settle(f);
    assert_int_equal(live_number(f, 0), 1);
}

static void every_slot_can_be_used(void **state) {
    struct fixture *f = *state;
    char name[16];
    while (f->settings.view_count < PIL_SETTINGS_VIEWS_MAX) {
        snprintf(name, sizeof name, "x%u", f->settings.view_count);
        add_settings(f, name);
        pil_node_views_changed(f->node);
        pil_node_validate(f->node);
    }
    send_release(f, PIL_SETTINGS_VIEWS_MAX - 1, 8);
    settle(f);
    assert_int_equal(live_number(f, PIL_SETTINGS_VIEWS_MAX - 1), 8);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(the_first_release_answers_before_it_is_prefaulted),
        TEST(a_release_that_replaces_another_is_ready_before_it_answers),
        TEST(no_slice_is_longer_than_one_step_more),
        TEST(a_release_is_made_ready_in_small_steps),
        TEST(the_newest_release_counts_and_the_other_is_given_back),
        TEST(a_release_that_did_not_come_whole_is_refused_and_told),
        TEST(shards_that_make_no_release_are_refused),
        TEST(a_release_without_room_is_asked_for_until_it_is_mapped),
        TEST(a_shard_whose_descriptor_was_lost_is_asked_for_again),
        TEST(a_worker_that_still_reads_holds_its_release),
        TEST(two_thousand_retired_releases_are_all_reported),
        TEST(a_worker_that_makes_no_turn_makes_the_node_unready),
        TEST(a_first_release_is_ready_when_every_worker_sees_it),
        TEST(readiness_names_every_term_and_is_told_when_it_turns),
        TEST(staleness_is_not_a_matter_of_the_wall_clock),
        TEST(reports_are_counted_and_the_last_refusal_is_kept),
        TEST(what_a_channel_wants_and_the_view_does_not_serve_is_timed),
        TEST(a_release_of_old_rows_is_past_its_ttl_and_says_so),
        TEST(restarts_and_memory_are_what_the_supervisor_says),
        TEST(a_view_that_is_removed_lets_go_of_everything),
        TEST(a_view_that_is_added_takes_readiness_from_nobody),
        TEST(a_view_that_was_added_is_known_to_the_next_server),
        TEST(a_view_may_come_back),
        TEST(a_server_starts_with_a_view_that_has_several_slots),
        TEST(every_slot_can_be_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
