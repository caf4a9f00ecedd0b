/* SPDX-License-Identifier: Apache-2.0
 * Goal: the collector removes what nobody needs, never what a channel needs or what is young, and nothing at all when
 * it cannot know; what a writer has leased stays, whoever looks first; shards go in and out whole. Method: releases of
 * one view with channels at some; age is made by the grace period and by file times; a store that lets writers act
 * between any two calls of the collector. */
#include "release/catalog.h"
#include "release/gc.h"
#include "release/lease.h"
#include "support/fault_store.h"
#include "unit/release/fixture.h"

#include <fcntl.h>

enum { RELEASES = 6 };

static struct pil_release_ref releases[RELEASES];
static struct pil_gc_result result;

static int setup(void **state) {
    if (folder_setup(state) != 0) {
        return -1;
    }
    memset(&result, 0, sizeof result);
    for (uint32_t i = 0; i < RELEASES; i++) {
        releases[i] = fixture_release(*state, i);
    }
    return 0;
}

static pil_status run(struct pil_store *store, uint32_t keep, int64_t grace_us, struct pil_error *error) {
    const struct pil_gc_options options = {.keep = keep, .grace_us = grace_us, .clock = &pil_clock_system};
    return pil_gc_run(store, &options, &result, error);
}

static bool has_release(struct pil_store *store, int i) {
    char name[PIL_STORE_NAME_BYTES];
    struct pil_manifest *manifest = NULL;
    pil_layout_manifest(&releases[i], name);
    if (!fixture_has(store, name)) {
        return false;
    }
    assert_int_equal(pil_manifest_read(store, &releases[i], &manifest, NULL), PIL_STATUS_OK);
    assert_int_equal(pil_manifest_check_shards(store, manifest, NULL), PIL_STATUS_OK); /* never without its shards */
    pil_manifest_destroy(&manifest);
    return true;
}

static void the_newest_and_the_needed_stay(void **state) {
    struct pil_store *store = *state;
    struct pil_channel channel;
    /* production: 0, then 1 (back to 0); staging: 2, pinned at 3; 4 and 5: nobody, 5 is the newest. */
    assert_int_equal(pil_channel_promote(store, &releases[0], "production", NULL, &channel, NULL), PIL_STATUS_OK);
    assert_int_equal(pil_channel_promote(store, &releases[1], "production", NULL, &channel, NULL), PIL_STATUS_OK);
    assert_int_equal(pil_channel_promote(store, &releases[2], "staging", NULL, &channel, NULL), PIL_STATUS_OK);
    assert_int_equal(pil_channel_pin(store, &releases[3], "staging", NULL, &channel, NULL), PIL_STATUS_OK);
    const struct pil_gc_options dry = {.keep = 1, .dry_run = true, .clock = &pil_clock_system};
    assert_int_equal(pil_gc_run(store, &dry, &result, NULL), PIL_STATUS_OK);
    assert_int_equal(result.releases_removed, 1);
    assert_int_equal(result.shards_removed, 1);
    assert_true(has_release(store, 4));
    assert_int_equal(run(store, 1, 0, NULL), PIL_STATUS_OK);
    assert_int_equal(result.releases_removed, 1);
    assert_int_equal(result.releases_kept, RELEASES - 1);
    assert_int_equal(result.shards_removed, 1);
    assert_int_equal(result.shards_kept, RELEASES - 1);
    assert_true(result.bytes_removed > 4096);
    for (int i = 0; i < RELEASES; i++) {
        assert_int_equal(has_release(store, i), i != 4);
    }
    assert_int_equal(pil_channel_rollback(store, &releases[0], "production", NULL, &channel, NULL), PIL_STATUS_OK);
    assert_int_equal(run(store, 0, 0, NULL), PIL_STATUS_OK);
    for (int i = 0; i < RELEASES; i++) {
        assert_int_equal(has_release(store, i), i == 0 || i == 2 || i == 3);
    }
}

static void what_is_young_stays(void **state) {
    struct pil_store *store = *state;
    struct pil_project *project = fixture_project(fixture_yaml);
    char name[PIL_STORE_NAME_BYTES];
    struct pil_manifest_shard orphan =
        fixture_put_shard(store, project->views[0].view, 77); /* a build that is uploading */
    pil_layout_shard(&orphan.id, name);
    assert_int_equal(run(store, 0, 3600 * 1000000ll, NULL), PIL_STATUS_OK);
    assert_int_equal(result.releases_removed + result.shards_removed, 0);
    assert_true(fixture_has(store, name));
    assert_int_equal(run(store, RELEASES, 0, NULL), PIL_STATUS_OK);
    assert_int_equal(result.shards_removed, 1);
    assert_false(fixture_has(store, name));
    assert_true(has_release(store, 0));
    pil_project_destroy(&project);
}

static void make_old(const char *name) {
    const struct timespec times[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    assert_int_equal(utimensat(AT_FDCWD, in_folder(name), times, 0), 0);
}

/* ---- Leases */

static struct pil_lease *write_lease(struct pil_store *store) {
    return pil_lease_create(store, &pil_clock_system, PIL_LAYOUT_LEASE_WRITE, "test");
}

static pil_status count_object(void *context, const struct pil_store_object *object) {
    (void)object;
    ++*(uint64_t *)context;
    return PIL_STATUS_OK;
}

static uint64_t count_leases(struct pil_store *store) {
    uint64_t count = 0;
    assert_int_equal(pil_store_list(store, PIL_LAYOUT_LEASES, count_object, &count, NULL), PIL_STATUS_OK);
    return count;
}

/* A build finds an old shard of a release that is being removed and relies on it: its lease is what saves it. */
static void what_a_build_relies_on_stays(void **state) {
    struct pil_store *store = *state;
    char manifest_name[PIL_STORE_NAME_BYTES], name[PIL_STORE_NAME_BYTES];
    for (int i = 0; i < 2; i++) {
        pil_layout_manifest(&releases[i], manifest_name);
        fixture_shard_name(store, &releases[i], name);
        make_old(manifest_name);
        make_old(name);
    }
    fixture_shard_name(store, &releases[0], name);
    struct pil_lease *lease = write_lease(store);
    assert_int_equal(pil_lease_add(lease, name, NULL), PIL_STATUS_OK);
    assert_int_equal(run(store, 0, 3600 * 1000000ll, NULL), PIL_STATUS_OK);
    assert_int_equal(result.releases_removed, 2);
    assert_int_equal(result.shards_removed, 1); /* that of release 1 */
    assert_true(fixture_has(store, name));
    struct pil_release_ref again = fixture_release(store, 0);
    assert_string_equal(again.release, releases[0].release);
    pil_lease_end(&lease);
    assert_int_equal(count_leases(store), 0);
    assert_int_equal(run(store, 0, 3600 * 1000000ll, NULL), PIL_STATUS_OK);
    assert_true(has_release(store, 0)); /* its manifest is young */
}

static void a_leased_manifest_keeps_its_shards(void **state) {
    struct pil_store *store = *state;
    char name[PIL_STORE_NAME_BYTES];
    struct pil_lease *lease = write_lease(store);
    pil_layout_manifest(&releases[2], name);
    assert_int_equal(pil_lease_add(lease, name, NULL), PIL_STATUS_OK);
    assert_int_equal(run(store, 0, 0, NULL), PIL_STATUS_OK);
    assert_int_equal(result.releases_kept, 1);
    assert_int_equal(result.shards_kept, 1);
    assert_true(has_release(store, 2));
    pil_lease_end(&lease);
    assert_int_equal(run(store, 0, 0, NULL), PIL_STATUS_OK);
    assert_int_equal(result.releases_removed, 1);
}

static pil_status remove_name(void *context, const struct pil_store_object *object) {
    pil_text_format(context, "%s\n", object->name);
    return PIL_STATUS_OK;
}

static void remove_leases(struct pil_store *store) {
    struct pil_text names = {0};
    char *at = NULL;
    assert_int_equal(pil_store_list(store, PIL_LAYOUT_LEASES, remove_name, &names, NULL), PIL_STATUS_OK);
    for (char *name = names.len > 0 ? strtok_r(names.data, "\n", &at) : NULL; name != NULL;
         name = strtok_r(NULL, "\n", &at)) {
        assert_int_equal(pil_store_remove(store, name, pil_store_always(), NULL), PIL_STATUS_OK);
    }
    pil_text_deinit(&names);
}

/* A writer that acts between two calls of a collector, as another process does. */
struct intruder {
    struct pil_store *store; /* without the collector's hooks */
    uint64_t at;             /* index of the collector's call that it acts before */
    bool promotes;           /* a whole build and its promotion; otherwise it only begins */
    bool has_acted, has_waited;
    struct pil_lease *lease; /* of a build that only began */
};

static char shard_name[PIL_STORE_NAME_BYTES], manifest_name[PIL_STORE_NAME_BYTES]; /* of release 0 */

static pil_status see_posted(void *context, const struct pil_store_object *object) {
    if (strstr(object->name, "/collect-") != NULL) {
        pil_text_format(context, "%s\n", object->name);
    }
    return PIL_STATUS_OK;
}

/* Whether the collector is removing what the build needs: then the build waits, and puts it again afterwards. */
static bool would_wait(struct pil_store *store) {
    struct pil_text names = {0}, document = {0};
    bool is_posted = false;
    assert_int_equal(pil_store_list(store, PIL_LAYOUT_LEASES, see_posted, &names, NULL), PIL_STATUS_OK);
    if (names.len > 0) {
        names.data[strcspn(names.data, "\n")] = '\0'; /* one collector runs */
        assert_int_equal(pil_store_get(store, names.data, 1 << 20, &document, NULL, NULL), PIL_STATUS_OK);
        is_posted = strstr(document.data, shard_name) != NULL || strstr(document.data, manifest_name) != NULL;
    }
    pil_text_deinit(&names);
    pil_text_deinit(&document);
    return is_posted;
}

static void intrude(struct intruder *intruder) {
    struct pil_channel channel;
    intruder->has_acted = true;
    intruder->has_waited = would_wait(intruder->store);
    if (intruder->has_waited) {
        return;
    }
    intruder->lease = write_lease(intruder->store);
    assert_int_equal(pil_lease_add(intruder->lease, shard_name, NULL), PIL_STATUS_OK);
    if (!intruder->promotes) {
        struct pil_project *project = fixture_project(fixture_yaml);
        fixture_put_shard(intruder->store, project->views[0].view, 0);
        pil_project_destroy(&project);
        return;
    }
    assert_int_equal(pil_lease_add(intruder->lease, manifest_name, NULL), PIL_STATUS_OK);
    struct pil_release_ref ref = fixture_release(intruder->store, 0);
    pil_lease_end(&intruder->lease);
    assert_int_equal(pil_channel_promote(intruder->store, &ref, "production", NULL, &channel, NULL), PIL_STATUS_OK);
}

static struct fault intrude_at(void *context, const struct fault_call *call) {
    struct intruder *intruder = context;
    if (call->index == intruder->at) {
        intrude(intruder);
    }
    return (struct fault){.status = PIL_STATUS_OK};
}

/* Release 0 is there and nobody needs it; only its shard when `orphan`. */
static void prepare(struct pil_store *store, bool orphan) {
    char channel_name[PIL_STORE_NAME_BYTES];
    (void)fixture_release(store, 0);
    pil_layout_channel(&releases[0], "production", channel_name);
    pil_ignore(pil_store_remove(store, channel_name, pil_store_always(), NULL), "it may not be there");
    if (orphan) {
        assert_int_equal(pil_store_remove(store, manifest_name, pil_store_always(), NULL), PIL_STATUS_OK);
    }
    remove_leases(store);
}

static void collect_with_intruder(struct pil_store *store, struct intruder *intruder) {
    struct fault_plan plan = {.choose = intrude_at, .context = intruder};
    struct pil_store *again = NULL;
    assert_int_equal(pil_store_open_again(store, &again, NULL), PIL_STATUS_OK);
    struct pil_store *watched = fault_store_open(again, &plan);
    assert_int_equal(run(watched, 0, 0, NULL), PIL_STATUS_OK);
    pil_store_close(&watched);
}

static void a_build_at_any_moment_of_a_collection_loses_nothing(void **state) {
    struct pil_store *store = *state;
    fixture_shard_name(store, &releases[0], shard_name);
    pil_layout_manifest(&releases[0], manifest_name);
    for (int kind = 0; kind < 4; kind++) {
        uint32_t acted = 0, waited = 0;
        bool is_over = false;
        for (uint64_t at = 0; !is_over; at++) {
            struct intruder intruder = {.store = store, .at = at, .promotes = kind % 2 != 0};
            prepare(store, kind / 2 != 0);
            collect_with_intruder(store, &intruder);
            is_over = !intruder.has_acted;
            acted += intruder.has_acted && !intruder.has_waited;
            waited += intruder.has_waited;
            if (intruder.has_acted && !intruder.has_waited) {
                assert_true(fixture_has(store, shard_name));
                assert_true(!intruder.promotes || has_release(store, 0));
            }
            pil_lease_end(&intruder.lease);
        }
        assert_true(acted >= 4);
        assert_true(waited > 1);
    }
}

/* A build stopped for longer than its lease finds out before anything is visible. */
static int64_t virtual_us;

static int64_t virtual_wall_us(void *context) {
    (void)context;
    return virtual_us;
}

static void a_lease_that_ran_out_holds_nothing_and_is_made_anew(void **state) {
    struct pil_store *store = *state;
    const struct pil_clock clock = {.wall_us = virtual_wall_us};
    fixture_shard_name(store, &releases[0], shard_name);
    virtual_us = pil_clock_wall_us() - (PIL_LEASE_WRITE_SECONDS + PIL_LEASE_SKEW_SECONDS + 5) * 1000000ll;
    struct pil_lease *lease = pil_lease_create(store, &clock, PIL_LAYOUT_LEASE_WRITE, "stopped");
    assert_int_equal(pil_lease_add(lease, shard_name, NULL), PIL_STATUS_OK);
    assert_int_equal(count_leases(store), 1);
    assert_int_equal(run(store, 0, 0, NULL), PIL_STATUS_OK);
    assert_false(fixture_has(store, shard_name));
    assert_int_equal(count_leases(store), 0); /* swept */
    virtual_us = pil_clock_wall_us();
    assert_int_equal(pil_lease_renew(lease, NULL), PIL_STATUS_OK);
    (void)fixture_release(store, 0); /* looks whether its shards are there, and they are put again */
    assert_int_equal(run(store, 0, 0, NULL), PIL_STATUS_OK);
    assert_true(fixture_has(store, shard_name));
    pil_lease_end(&lease);
}

static void a_lease_is_renewed_while_the_work_goes_on(void **state) {
    struct pil_store *store = *state;
    const struct pil_clock clock = {.wall_us = virtual_wall_us};
    struct pil_lease_set set = {0};
    virtual_us = pil_clock_wall_us();
    struct pil_lease *lease = pil_lease_create(store, &clock, PIL_LAYOUT_LEASE_WRITE, "long");
    char name[64];
    for (uint32_t i = 0; i < PIL_LEASE_OBJECTS_MAX + 3; i++) { /* more than one document holds */
        snprintf(name, sizeof name, "shards/%u", i);
        assert_int_equal(pil_lease_add(lease, name, NULL), PIL_STATUS_OK);
    }
    assert_int_equal(count_leases(store), 2);
    for (int minute = 0; minute < 30; minute++) {
        virtual_us += 60 * 1000000ll;
        assert_int_equal(pil_lease_renew(lease, NULL), PIL_STATUS_OK);
        assert_int_equal(pil_lease_set_read(store, virtual_us + PIL_LEASE_SKEW_SECONDS * 1000000ll, &set, NULL),
                         PIL_STATUS_OK);
        assert_int_equal(set.count, PIL_LEASE_OBJECTS_MAX + 3);
        assert_true(pil_lease_set_has(&set, "shards/0") && pil_lease_set_has(&set, name));
        assert_false(pil_lease_set_has(&set, "shards/x"));
        pil_lease_set_deinit(&set);
    }
    pil_lease_end(&lease);
    assert_int_equal(count_leases(store), 0);
}

/* A clock that each look moves: who waits for a time sees it come. */
static int64_t moving_us;

static int64_t moving_wall_us(void *context) {
    (void)context;
    return moving_us += 100000;
}

/* A writer waits for what a collector is removing, as long as that one lives. */
static void a_writer_waits_for_a_collector_and_not_for_a_dead_one(void **state) {
    struct pil_store *store = *state;
    const struct pil_clock clock = {.wall_us = virtual_wall_us}, moving = {.wall_us = moving_wall_us};
    const char *const names[] = {"shards/x"};
    virtual_us = moving_us = pil_clock_wall_us();
    struct pil_lease *killed = pil_lease_create(store, &clock, PIL_LAYOUT_LEASE_COLLECT, "killed");
    assert_int_equal(pil_lease_post(killed, names, 1, PIL_LEASE_BATCH_SECONDS, NULL), PIL_STATUS_OK);
    int64_t dies_us = virtual_us + (PIL_LEASE_BATCH_SECONDS + PIL_LEASE_SKEW_SECONDS) * 1000000ll;
    moving_us = dies_us - 2000000;
    struct pil_lease *writer = pil_lease_create(store, &moving, PIL_LAYOUT_LEASE_WRITE, "test");
    assert_int_equal(pil_lease_add(writer, "shards/other", NULL), PIL_STATUS_OK);
    assert_true(moving_us < dies_us);
    assert_int_equal(pil_lease_add(writer, names[0], NULL), PIL_STATUS_OK);
    assert_true(moving_us >= dies_us);
    virtual_us += (PIL_LEASE_BATCH_SECONDS + 1) * 1000000ll; /* it comes back: it may not go on */
    assert_int_equal(pil_lease_post(killed, names, 1, PIL_LEASE_BATCH_SECONDS, NULL), PIL_STATUS_TIMEOUT);
    pil_lease_end(&killed);
    pil_lease_end(&writer);
}

/* What it named before may have been posted since: it waits as if it named all of it for the first time. */
static void a_lease_made_anew_waits_for_collectors(void **state) {
    struct pil_store *store = *state;
    const struct pil_clock clock = {.wall_us = virtual_wall_us}, moving = {.wall_us = moving_wall_us};
    const char *const names[] = {"shards/x"};
    moving_us = pil_clock_wall_us();
    struct pil_lease *writer = pil_lease_create(store, &moving, PIL_LAYOUT_LEASE_WRITE, "stopped");
    assert_int_equal(pil_lease_add(writer, names[0], NULL), PIL_STATUS_OK);
    assert_int_equal(pil_lease_add(writer, "shards/other", NULL), PIL_STATUS_OK);
    virtual_us = moving_us += (PIL_LEASE_WRITE_SECONDS + PIL_LEASE_SKEW_SECONDS) * 1000000ll;
    struct pil_lease *collector = pil_lease_create(store, &clock, PIL_LAYOUT_LEASE_COLLECT, "test");
    assert_int_equal(pil_lease_post(collector, names, 1, PIL_LEASE_BATCH_SECONDS, NULL), PIL_STATUS_OK);
    int64_t dies_us = virtual_us + (PIL_LEASE_BATCH_SECONDS + PIL_LEASE_SKEW_SECONDS) * 1000000ll;
    moving_us = dies_us - 2000000;
    assert_int_equal(pil_lease_renew(writer, NULL), PIL_STATUS_OK);
    assert_true(moving_us >= dies_us);
    pil_lease_end(&collector);
    pil_lease_end(&writer);
}

static void a_name_that_could_not_be_written_is_not_leased(void **state) {
    struct pil_store *store = *state, *again = NULL;
    struct fault_plan plan = {.fail_at = 0, .fault = {.status = PIL_STATUS_IO}};
    struct pil_lease_set set = {0};
    assert_int_equal(pil_store_open_again(store, &again, NULL), PIL_STATUS_OK);
    struct pil_store *failing = fault_store_open(again, &plan);
    struct pil_lease *lease = write_lease(failing);
    assert_int_equal(pil_lease_add(lease, "shards/a", NULL), PIL_STATUS_IO);
    assert_int_equal(pil_lease_add(lease, "shards/b", NULL), PIL_STATUS_OK);
    plan.fail_at = plan.calls;
    assert_int_equal(pil_lease_add(lease, "shards/c", NULL), PIL_STATUS_IO);
    plan.fail_at = plan.calls; /* it is asked for again, and written */
    assert_int_equal(pil_lease_add(lease, "shards/c", NULL), PIL_STATUS_IO);
    assert_int_equal(pil_lease_add(lease, "shards/c", NULL), PIL_STATUS_OK);
    assert_int_equal(pil_lease_set_read(store, 0, &set, NULL), PIL_STATUS_OK);
    assert_true(pil_lease_set_has(&set, "shards/b") && pil_lease_set_has(&set, "shards/c"));
    assert_false(pil_lease_set_has(&set, "shards/a"));
    pil_lease_set_deinit(&set);
    pil_lease_end(&lease);
    pil_store_close(&failing);
}

/* ---- A slow store, and collectors side by side */

/* Calls of one kind take time. At each removal the collector's lease must be alive. */
struct slow {
    struct pil_store *store; /* without the collector's hooks */
    fault_op op;
    const char *prefix;
    int64_t takes_us;
    uint64_t slow_calls, removals, posts;
    void (*before)(struct slow *slow); /* NULL: nothing happens before a slow call */
    struct pil_release_ref published;
};

static int64_t collect_expires_us(struct pil_store *store) {
    struct pil_text names = {0}, document = {0};
    assert_int_equal(pil_store_list(store, PIL_LAYOUT_LEASES, see_posted, &names, NULL), PIL_STATUS_OK);
    assert_true(names.len > 0);
    names.data[strcspn(names.data, "\n")] = '\0'; /* one collector runs */
    assert_int_equal(pil_store_get(store, names.data, 1 << 20, &document, NULL, NULL), PIL_STATUS_OK);
    const char *member = "\"expires_us\":";
    const char *at = strstr(document.data, member);
    assert_non_null(at);
    int64_t expires_us = strtoll(at + strlen(member), NULL, 10);
    pil_text_deinit(&names);
    pil_text_deinit(&document);
    return expires_us;
}

static struct fault take_time(void *context, const struct fault_call *call) {
    struct slow *slow = context;
    bool is_lease = strstr(call->name, "/collect-") != NULL;
    if (call->op == FAULT_REMOVE && !is_lease) {
        assert_true(virtual_us < collect_expires_us(slow->store));
        slow->removals++;
    }
    slow->posts += call->op == FAULT_PUT && is_lease;
    if (call->op == slow->op && strncmp(call->name, slow->prefix, strlen(slow->prefix)) == 0) {
        if (slow->before != NULL) {
            slow->before(slow);
        }
        virtual_us += slow->takes_us;
        slow->slow_calls++;
    }
    return (struct fault){.status = PIL_STATUS_OK};
}

static pil_status run_slowly(struct pil_store *store, uint32_t keep, struct slow *slow) {
    const struct pil_clock clock = {.wall_us = virtual_wall_us};
    const struct pil_gc_options options = {.keep = keep, .clock = &clock};
    struct fault_plan plan = {.choose = take_time, .context = slow};
    struct pil_store *again = NULL;
    int64_t start_us = pil_clock_wall_us() + 3600 * 1000000ll; /* everything is old */
    virtual_us = virtual_us > start_us ? virtual_us : start_us;
    slow->store = store;
    assert_int_equal(pil_store_open_again(store, &again, NULL), PIL_STATUS_OK);
    struct pil_store *watched = fault_store_open(again, &plan);
    pil_status status = pil_gc_run(watched, &options, &result, NULL);
    pil_store_close(&watched);
    return status;
}

static void a_collector_keeps_its_lease_while_it_reads(void **state) {
    struct pil_store *store = *state;
    struct slow manifests = {.op = FAULT_GET, .prefix = "views/rides/drivers/releases/", .takes_us = 250 * 1000000ll};
    assert_int_equal(run_slowly(store, RELEASES, &manifests), PIL_STATUS_OK);
    assert_int_equal(manifests.slow_calls, RELEASES);
    assert_true(manifests.posts >= RELEASES - 1);
    /* Listing shards comes after a batch of removals, whose lease is short. */
    fixture_shard_name(store, &releases[0], shard_name);
    struct slow shards = {.op = FAULT_LIST, .prefix = "shards/", .takes_us = 300 * 1000000ll};
    assert_int_equal(run_slowly(store, 1, &shards), PIL_STATUS_OK);
    assert_int_equal(shards.slow_calls, 1);
    assert_int_equal(result.releases_removed, RELEASES - 1);
    assert_int_equal(result.shards_removed, RELEASES - 1);
}

static void post_ever_slower(struct slow *slow) {
    slow->takes_us = (int64_t)slow->slow_calls * 20 * 1000000;
}

static void a_collector_removes_under_its_lease_alone(void **state) {
    struct pil_store *store = *state;
    struct slow removals = {.op = FAULT_REMOVE, .prefix = "views/", .takes_us = 10 * 1000000ll};
    assert_int_equal(run_slowly(store, 3, &removals), PIL_STATUS_OK);
    assert_int_equal(result.releases_removed, 3);
    assert_int_equal(removals.posts, 5); /* begin, batch, again in the middle of it, hold, batch */
    struct slow reading = {.op = FAULT_LIST, .prefix = PIL_LAYOUT_LEASES, .takes_us = 20 * 1000000ll};
    assert_int_equal(run_slowly(store, 2, &reading), PIL_STATUS_OK);
    assert_int_equal(result.releases_removed, 1);
    reading.takes_us = 40 * 1000000ll; /* longer than the lease of a batch */
    reading.removals = 0;
    assert_int_equal(run_slowly(store, 0, &reading), PIL_STATUS_TIMEOUT);
    struct slow posting = {.op = FAULT_PUT, .prefix = PIL_LAYOUT_LEASES, .before = post_ever_slower};
    assert_int_equal(run_slowly(store, 0, &posting), PIL_STATUS_TIMEOUT);
    assert_int_equal(posting.slow_calls, 3); /* begin, batch, and again because half of that one's time was over */
    assert_int_equal(reading.removals + posting.removals, 0);
    assert_true(has_release(store, RELEASES - 1));
}

/* A build comes and goes when the collector has listed the releases; much later another collector runs. */
static void build_then_collect(struct slow *slow) {
    const struct pil_clock clock = {.wall_us = virtual_wall_us};
    if (slow->slow_calls == 0) {
        struct pil_lease *lease = pil_lease_create(slow->store, &clock, PIL_LAYOUT_LEASE_WRITE, "build");
        assert_int_equal(pil_lease_add(lease, shard_name, NULL), PIL_STATUS_OK);
        assert_int_equal(pil_lease_add(lease, manifest_name, NULL), PIL_STATUS_OK);
        slow->published = fixture_release(slow->store, 0);
        pil_lease_end(&lease);
    } else if (slow->slow_calls == RELEASES - 2) { /* the last manifest */
        const struct pil_gc_options options = {.keep = RELEASES, .clock = &clock};
        struct pil_gc_result other;
        assert_int_equal(pil_gc_run(slow->store, &options, &other, NULL), PIL_STATUS_OK);
        assert_int_equal(other.releases_removed + other.shards_removed, 0);
    }
}

static void a_collector_leaves_what_another_one_needs_to_know(void **state) {
    struct pil_store *store = *state;
    fixture_shard_name(store, &releases[0], shard_name);
    pil_layout_manifest(&releases[0], manifest_name);
    prepare(store, true);
    struct slow slow = {.op = FAULT_GET,
                        .prefix = "views/rides/drivers/releases/",
                        .takes_us = 250 * 1000000ll,
                        .before = build_then_collect};
    assert_int_equal(run_slowly(store, RELEASES, &slow), PIL_STATUS_OK);
    assert_int_equal(slow.slow_calls, RELEASES - 1);
    assert_string_equal(slow.published.release, releases[0].release);
    assert_true(has_release(store, 0));
    assert_int_equal(count_leases(store), 1);
    virtual_us += 600 * 1000000ll;
    slow = (struct slow){.op = FAULT_GET, .prefix = "none"};
    assert_int_equal(run_slowly(store, RELEASES, &slow), PIL_STATUS_OK); /* alone: it sweeps */
    assert_int_equal(count_leases(store), 0);
}

static void nothing_is_removed_when_something_cannot_be_read(void **state) {
    struct pil_store *store = *state;
    struct pil_error error = {0};
    const char *const damaged[] = {
        "views/rides/drivers/channels/broken.json", "views/rides/drivers/releases/0123456789abcdef.json",
        "views/other/view/releases/0123456789abcdef.json", "leases/write-0123456789abcdef.json"};
    for (size_t i = 0; i < sizeof damaged / sizeof damaged[0]; i++) {
        assert_int_equal(pil_store_put(store, damaged[i], pil_bytes_from_text("{}"), pil_store_if_absent(), NULL, NULL),
                         PIL_STATUS_OK);
        assert_int_equal(run(store, 0, 0, &error), PIL_STATUS_CORRUPT);
        assert_non_null(strstr(error.text, damaged[i]));
        assert_non_null(strstr(error.text, i < 3 ? "nothing was removed" : "nothing more was removed"));
        for (int r = 0; r < RELEASES; r++) {
            assert_true(has_release(store, r));
        }
        assert_int_equal(pil_store_remove(store, damaged[i], pil_store_always(), NULL), PIL_STATUS_OK);
    }
    assert_int_equal(run(store, 0, 0, &error), PIL_STATUS_OK);
    assert_int_equal(result.releases_removed, RELEASES);
    assert_int_equal(result.shards_removed, RELEASES);
    assert_int_equal(run(store, 0, 0, &error), PIL_STATUS_OK);
    assert_int_equal(result.releases_removed + result.shards_removed, 0);
}

static void what_is_not_ours_and_what_killed_writers_left(void **state) {
    struct pil_store *store = *state;
    const char *const foreign = "shards/README";
    assert_int_equal(pil_store_put(store, foreign, pil_bytes_from_text("hands off"), pil_store_if_absent(), NULL, NULL),
                     PIL_STATUS_OK);
    int fd = open(in_folder(".tmp/0123456789abcdef"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    struct pil_store *next = open_folder(); /* another run */
    assert_int_equal(temporary_count(), 1);
    assert_int_equal(run(next, 0, 0, NULL), PIL_STATUS_OK);
    assert_int_equal(temporary_count(), 0);
    assert_true(fixture_has(next, foreign));
    pil_store_close(&next);
}

static uint64_t progress_bytes;
static void on_progress(void *context, uint64_t bytes_done) {
    (*(int *)context)++;
    progress_bytes = bytes_done;
}

static void shards_go_in_and_out_whole(void **state) {
    struct pil_store *store = *state;
    struct pil_manifest *manifest = NULL;
    struct pil_error error = {0};
    char name[PIL_STORE_NAME_BYTES];
    int calls = 0;
    bool is_new = true;
    assert_int_equal(pil_manifest_read(store, &releases[0], &manifest, NULL), PIL_STATUS_OK);
    struct pil_manifest_shard shard = manifest->shards[0];
    uint8_t *bytes = malloc(shard.bytes);
    assert_int_equal(pil_shard_io_read(store, &shard, bytes, on_progress, &calls, NULL), PIL_STATUS_OK);
    assert_int_equal(calls, 1);
    assert_int_equal(progress_bytes, shard.bytes);
    struct pil_bytes file = pil_bytes_from(bytes, (size_t)shard.bytes);
    assert_int_equal(pil_shard_io_put(store, &shard.id, file, &is_new, NULL), PIL_STATUS_OK);
    assert_false(is_new);
    assert_int_equal(pil_shard_io_put(store, &shard.id, pil_bytes_from(bytes, 10), &is_new, &error),
                     PIL_STATUS_CORRUPT);
    shard.bytes--;
    assert_int_equal(pil_shard_io_read(store, &shard, bytes, NULL, NULL, &error), PIL_STATUS_CORRUPT);
    pil_layout_shard(&shard.id, name);
    assert_int_equal(pil_store_remove(store, name, pil_store_always(), NULL), PIL_STATUS_OK);
    assert_int_equal(pil_shard_io_read(store, &shard, bytes, NULL, NULL, &error), PIL_STATUS_NOT_FOUND);
    assert_int_equal(pil_shard_io_put(store, &shard.id, file, &is_new, NULL), PIL_STATUS_OK);
    assert_true(is_new);
    free(bytes);
    pil_manifest_destroy(&manifest);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_newest_and_the_needed_stay, setup, folder_teardown),
        cmocka_unit_test_setup_teardown(what_is_young_stays, setup, folder_teardown),
        cmocka_unit_test_setup_teardown(what_a_build_relies_on_stays, setup, folder_teardown),
        cmocka_unit_test_setup_teardown(a_leased_manifest_keeps_its_shards, setup, folder_teardown),
        cmocka_unit_test_setup_teardown(a_build_at_any_moment_of_a_collection_loses_nothing, setup, folder_teardown),
        cmocka_unit_test_setup_teardown(a_lease_that_ran_out_holds_nothing_and_is_made_anew, setup, folder_teardown),
        cmocka_unit_test_setup_teardown(a_lease_is_renewed_while_the_work_goes_on, setup, folder_teardown),
        cmocka_unit_test_setup_teardown(a_writer_waits_for_a_collector_and_not_for_a_dead_one, setup, folder_teardown),
        cmocka_unit_test_setup_teardown(a_lease_made_anew_waits_for_collectors, setup, folder_teardown),
        cmocka_unit_test_setup_teardown(a_name_that_could_not_be_written_is_not_leased, setup, folder_teardown),
        cmocka_unit_test_setup_teardown(a_collector_keeps_its_lease_while_it_reads, setup, folder_teardown),
        cmocka_unit_test_setup_teardown(a_collector_removes_under_its_lease_alone, setup, folder_teardown),
        cmocka_unit_test_setup_teardown(a_collector_leaves_what_another_one_needs_to_know, setup, folder_teardown),
        cmocka_unit_test_setup_teardown(nothing_is_removed_when_something_cannot_be_read, setup, folder_teardown),
        cmocka_unit_test_setup_teardown(what_is_not_ours_and_what_killed_writers_left, setup, folder_teardown),
        cmocka_unit_test_setup_teardown(shards_go_in_and_out_whole, setup, folder_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
