/* SPDX-License-Identifier: Apache-2.0
 * Goal: releases are mapped only when they are sealed and whole, published by one store, and unmapped only after a
 * grace period; names find views; a batch finds what single lookups find. Method: small releases in memfds. */
#include "support/cache_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void grace_period_waits_for_each_online_worker(void **state) {
    struct pil_qsbr *qsbr = pil_qsbr_create(3);
    (void)state;
    assert_true(pil_qsbr_passed(qsbr, pil_qsbr_begin(qsbr))); /* all offline */
    pil_qsbr_online(qsbr, 0);
    pil_qsbr_online(qsbr, 1);
    uint64_t ticket = pil_qsbr_begin(qsbr);
    assert_int_equal(pil_qsbr_laggard(qsbr, ticket), 0);
    pil_qsbr_quiescent(qsbr, 0);
    assert_int_equal(pil_qsbr_laggard(qsbr, ticket), 1);
    assert_false(pil_qsbr_passed(qsbr, ticket));
    pil_qsbr_offline(qsbr, 1);
    assert_true(pil_qsbr_passed(qsbr, ticket));
    pil_qsbr_online(qsbr, 2); /* came after: cannot hold what was unpublished before */
    assert_true(pil_qsbr_passed(qsbr, ticket));
    uint64_t later = pil_qsbr_begin(qsbr);
    pil_qsbr_quiescent(qsbr, 0);
    assert_int_equal(pil_qsbr_laggard(qsbr, later), 2);
    pil_qsbr_destroy(&qsbr);
}

/* What a worker borrowed before it handed it over stays held when the worker has gone on, and only that. */
static void a_holder_goes_on_holding_what_a_worker_has_borrowed(void **state) {
    struct pil_qsbr *qsbr = pil_qsbr_create(3);
    (void)state;
    pil_qsbr_online(qsbr, 0);
    uint64_t before = pil_qsbr_begin(qsbr); /* the worker may have borrowed what was unpublished for this */
    pil_qsbr_hold(qsbr, 2, 0);
    uint64_t after = pil_qsbr_begin(qsbr);
    pil_qsbr_quiescent(qsbr, 0);
    assert_int_equal(pil_qsbr_laggard(qsbr, before), 2);
    assert_int_equal(pil_qsbr_laggard(qsbr, after), 2);
    pil_qsbr_offline(qsbr, 0);
    assert_false(pil_qsbr_passed(qsbr, before));
    pil_qsbr_offline(qsbr, 2);
    assert_true(pil_qsbr_passed(qsbr, before));
    assert_true(pil_qsbr_passed(qsbr, after));
    pil_qsbr_destroy(&qsbr);
}

static void unsealed_and_foreign_shards_are_refused(void **state) {
    struct pil_project *project = fixture_project(3), *other = fixture_project(4);
    const struct pil_view *view = project->views[0].view;
    struct pil_release *release = NULL;
    struct pil_error error = {0};
    (void)state;
    int unsealed = -1;
    assert_int_equal(pil_sys_memfd_create("x", &unsealed, &error), PIL_STATUS_OK);
    assert_int_equal(pil_cache_release_map("0123456789abcdef", &unsealed, 1, &release, &error), PIL_STATUS_DENIED);
    int mixed[2] = {fixture_shard(view, 10, 1, 0, 1), fixture_shard(other->views[0].view, 10, 1, 1, 1)};
    assert_int_equal(pil_cache_release_map("0123456789abcdef", mixed, 2, &release, &error), PIL_STATUS_CORRUPT);
    assert_non_null(strstr(error.text, "shard 1"));
    int swapped[2] = {fixture_shard(view, 10, 1, 1, 1), mixed[0]};
    assert_int_equal(pil_cache_release_map("0123456789abcdef", swapped, 2, &release, &error), PIL_STATUS_CORRUPT);
    assert_int_equal(pil_cache_release_map("0123456789abcdef", mixed, 3, &release, &error), PIL_STATUS_CORRUPT);
    assert_null(release);
    close(unsealed), close(mixed[0]), close(mixed[1]), close(swapped[0]);
    pil_project_destroy(&project);
    pil_project_destroy(&other);
}

static void retired_releases_are_unmapped_in_slices_after_the_grace_period(void **state) {
    struct pil_project *project = fixture_project(10);
    const struct pil_view *view = project->views[0].view;
    struct pil_cache *cache = pil_cache_create(1, 1);
    (void)state;
    assert_int_equal(pil_cache_view_define(cache, 0, "p", "v", "production"), PIL_STATUS_OK);
    struct pil_cache_view *slot = pil_cache_view_at(cache, 0);
    fixture_publish(cache, 0, fixture_release(view, 2000, 1, 1));
    pil_qsbr_online(pil_cache_qsbr(cache), 0);
    const struct pil_release *held = pil_cache_live(slot);
    fixture_publish(cache, 0, fixture_release(view, 2000, 2, 1));
    pil_cache_reclaim(cache, 1 << 30, NULL, NULL);
    assert_int_equal(pil_cache_retired_count(cache), 1); /* the worker may still read it */
    assert_true(held->shards[0].superblock->row_count + held->shards[1].superblock->row_count == 2000);
    pil_qsbr_quiescent(pil_cache_qsbr(cache), 0);
    uint32_t slices = 0;
    while (pil_cache_retired_count(cache) > 0 && pil_cache_reclaim(cache, 8192, NULL, NULL) > 0) {
        slices++;
    }
    assert_true(slices > 10);
    assert_true(pil_cache_live(slot)->generation == 2);
    fixture_publish(cache, 0, fixture_release(view, 100, 3, 0));
    pil_qsbr_offline(pil_cache_qsbr(cache), 0);
    pil_cache_reclaim(cache, 4096, NULL, NULL);
    pil_cache_destroy(&cache); /* one partly unmapped, one live */
    assert_null(cache);
    pil_project_destroy(&project);
}

/* The only references are the cache's: what is not published does not count, and a serving goes with its release. */
static void what_is_published_is_whole(void **state) {
    struct pil_project *project = fixture_project(3);
    const struct pil_view *view = project->views[0].view;
    struct pil_cache *cache = pil_cache_create(2, 1);
    (void)state;
    assert_int_equal(pil_cache_view_define(cache, 0, "p", "v", "c"), PIL_STATUS_OK);
    assert_int_equal(pil_cache_view_define(cache, 1, "p", "w", "c"), PIL_STATUS_OK);
    assert_null(pil_cache_serving(pil_cache_view_at(cache, 0)));
    assert_null(pil_cache_live(pil_cache_view_at(cache, 0)));
    assert_true(pil_cache_validate(cache));
    struct pil_release *release = fixture_release(view, 10, 1, 1);
    fixture_publish(cache, 0, release);
    const struct pil_serving *serving = pil_cache_serving(pil_cache_view_at(cache, 0));
    assert_ptr_equal(serving->release, release);
    assert_ptr_equal(pil_cache_live(pil_cache_view_at(cache, 0)), release);
    assert_ptr_equal(serving->chain.view, release->view);
    assert_null(pil_cache_serving(pil_cache_view_at(cache, 1)));
    uint64_t key = 7;
    struct pil_lookup lookup = pil_lookup_make(&serving->chain, pil_bytes_from(&key, 8), 0, 1);
    pil_chain_lookup(&lookup, 1);
    assert_int_equal(lookup.status, PIL_VALUE_PRESENT);
    assert_true(pil_load_f32(lookup.row.fields + view->features[1].offset) == fixture_value(7, 1, 1));
    pil_cache_destroy(&cache);
    pil_project_destroy(&project);
}

static void validate_finds_what_is_broken(void **state) {
    struct pil_project *project = fixture_project(3);
    const struct pil_view *view = project->views[0].view;
    struct pil_cache *cache = pil_cache_create(1, 1);
    struct pil_cache_view *slot = pil_cache_view_at(cache, 0);
    struct pil_serving *retired[3];
    (void)state;
    assert_int_equal(pil_cache_view_define(cache, 0, "p", "v", "c"), PIL_STATUS_OK);
    pil_qsbr_online(pil_cache_qsbr(cache), 0); /* nothing is reclaimed */
    for (uint64_t i = 0; i < 3; i++) {
        fixture_publish(cache, 0, fixture_release(view, 10, i + 1, 0));
        retired[i] = atomic_load(&slot->serving);
    }
    fixture_publish(cache, 0, fixture_release(view, 10, 9, 0));
    assert_true(pil_cache_validate(cache));
    uint64_t ticket = retired[1]->retire_ticket;
    retired[1]->retire_ticket = retired[0]->retire_ticket; /* out of order */
    assert_false(pil_cache_validate(cache));
    retired[1]->retire_ticket = ticket;
    retired[2]->release->unmap_offset = 4096; /* before those that are older */
    assert_false(pil_cache_validate(cache));
    retired[2]->release->unmap_offset = 0;
    struct pil_serving *next = retired[1]->retired_next;
    retired[1]->retired_next = NULL; /* the end is not where the list ends */
    assert_false(pil_cache_validate(cache));
    retired[1]->retired_next = next;
    slot->generation++; /* of a release that was never published */
    assert_false(pil_cache_validate(cache));
    slot->generation--;
    assert_true(pil_cache_validate(cache));
    pil_cache_destroy(&cache);
    pil_project_destroy(&project);
}

static void publish_made_at(struct pil_cache *cache, const struct pil_view *view, const char *id, int64_t created_us) {
    struct pil_release *release = fixture_release(view, 1, 1, 0);
    memcpy(release->id, id, sizeof release->id);
    release->created_us = created_us;
    fixture_publish(cache, 0, release);
}

static int64_t made_at(struct pil_cache *cache, const char *id) {
    int64_t created_us = -1;
    const struct pil_release *live = pil_cache_live(pil_cache_view_at(cache, 0));
    bool found = pil_cache_release_time(live, pil_bytes_from_text(id), &created_us);
    assert_int_equal(found, created_us != -1);
    return created_us;
}

static void a_release_knows_those_before_it(void **state) {
    struct pil_project *project = fixture_project(1);
    const struct pil_view *view = project->views[0].view;
    struct pil_cache *cache = pil_cache_create(1, 1);
    (void)state;
    assert_int_equal(pil_cache_view_define(cache, 0, "p", "v", "production"), PIL_STATUS_OK);
    publish_made_at(cache, view, "000000000000000a", 10);
    assert_int_equal(made_at(cache, "000000000000000a"), 10);
    assert_int_equal(made_at(cache, "000000000000000b"), -1);
    assert_int_equal(made_at(cache, ""), -1);
    publish_made_at(cache, view, "000000000000000b", 20);
    publish_made_at(cache, view, "000000000000000a", 10); /* rolled back: each is known once */
    assert_int_equal(made_at(cache, "000000000000000b"), 20);
    assert_string_equal(pil_cache_live(pil_cache_view_at(cache, 0))->history[1].id, "");
    for (int i = 0; i < PIL_RELEASE_HISTORY_MAX + 1; i++) {
        char id[PIL_RELEASE_ID_CHARS + 1];
        snprintf(id, sizeof id, "%016d", i);
        publish_made_at(cache, view, id, 100 + i);
    }
    assert_int_equal(made_at(cache, "000000000000000a"), -1); /* too many have come since */
    assert_int_equal(made_at(cache, "0000000000000000"), 100);
    pil_cache_destroy(&cache);
    pil_project_destroy(&project);
}

static void a_view_has_a_slot_of_its_own(void **state) {
    struct pil_cache *cache = pil_cache_create(3, 1);
    (void)state;
    assert_int_equal(pil_cache_view_define(cache, 0, "p", "a", "c"), PIL_STATUS_OK);
    assert_int_equal(pil_cache_view_define(cache, 1, "p", "a", "d"), PIL_STATUS_INVALID);
    assert_int_equal(pil_cache_view_define(cache, 1, "q", "a", "c"), PIL_STATUS_OK);
    assert_int_equal(pil_cache_view_count(cache), 2);
    pil_cache_view_remove(cache, 0);
    assert_false(pil_cache_view_is_served(pil_cache_view_at(cache, 0)));
    assert_int_equal(pil_cache_view_define(cache, 0, "p", "b", "c"), PIL_STATUS_INVALID); /* the slot has other names */
    assert_int_equal(pil_cache_view_define(cache, 0, "p", "a", "c"), PIL_STATUS_OK);
    assert_true(pil_cache_view_is_served(pil_cache_view_at(cache, 0)));
    assert_int_equal(pil_cache_view_count(cache), 2);
    pil_cache_destroy(&cache);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grace_period_waits_for_each_online_worker),
        cmocka_unit_test(a_holder_goes_on_holding_what_a_worker_has_borrowed),
        cmocka_unit_test(unsealed_and_foreign_shards_are_refused),
        cmocka_unit_test(retired_releases_are_unmapped_in_slices_after_the_grace_period),
        cmocka_unit_test(what_is_published_is_whole),
        cmocka_unit_test(validate_finds_what_is_broken),
        cmocka_unit_test(a_release_knows_those_before_it),
        cmocka_unit_test(a_view_has_a_slot_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
