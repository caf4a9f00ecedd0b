/* SPDX-License-Identifier: Apache-2.0
 * Goal: the collector removes what nobody needs, never what a channel needs or what is young, and nothing at all when
 * it cannot know; shards go in and out whole. Method: releases of one view with channels at some; age is made by the
 * grace period and by file times. */
#include "release/catalog.h"
#include "release/gc.h"
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
    const struct pil_gc_options options = {.keep = keep, .grace_us = grace_us};
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
    assert_int_equal(pil_channel_promote(store, &releases[0], "production", &channel, NULL), PIL_STATUS_OK);
    assert_int_equal(pil_channel_promote(store, &releases[1], "production", &channel, NULL), PIL_STATUS_OK);
    assert_int_equal(pil_channel_promote(store, &releases[2], "staging", &channel, NULL), PIL_STATUS_OK);
    assert_int_equal(pil_channel_pin(store, &releases[3], "staging", &channel, NULL), PIL_STATUS_OK);
    const struct pil_gc_options dry = {.keep = 1, .dry_run = true};
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
    assert_int_equal(pil_channel_rollback(store, &releases[0], "production", &channel, NULL), PIL_STATUS_OK);
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

/* A build finds an old shard of a release that is being removed and relies on it: its touch is what saves it. */
static void what_a_build_relies_on_becomes_young(void **state) {
    struct pil_store *store = *state;
    char manifest_name[PIL_STORE_NAME_BYTES], name[PIL_STORE_NAME_BYTES];
    for (int i = 0; i < 2; i++) {
        pil_layout_manifest(&releases[i], manifest_name);
        fixture_shard_name(store, &releases[i], name);
        make_old(manifest_name);
        make_old(name);
    }
    struct pil_project *project = fixture_project(fixture_yaml);
    fixture_put_shard(store, project->views[0].view, 0); /* the bytes of release 0 */
    assert_int_equal(run(store, 0, 3600 * 1000000ll, NULL), PIL_STATUS_OK);
    assert_int_equal(result.releases_removed, 2);
    assert_int_equal(result.shards_removed, 1);
    assert_false(fixture_has(store, name));
    struct pil_release_ref again = fixture_release(store, 0);
    assert_string_equal(again.release, releases[0].release);
    assert_true(has_release(store, 0));
    /* Promoting an old release makes it young, too. */
    struct pil_channel channel;
    pil_layout_manifest(&releases[2], manifest_name);
    make_old(manifest_name);
    assert_int_equal(pil_channel_promote(store, &releases[2], "production", &channel, NULL), PIL_STATUS_OK);
    struct pil_catalog catalog;
    assert_int_equal(pil_catalog_read(store, "rides", "drivers", &catalog, NULL), PIL_STATUS_OK);
    assert_int_equal(catalog.channel_count, 1);
    for (size_t i = 0; i < catalog.release_count; i++) {
        assert_true(catalog.releases[i].modified_us > 1500000000000000);
    }
    pil_catalog_deinit(&catalog);
    pil_project_destroy(&project);
}

static void nothing_is_removed_when_something_cannot_be_read(void **state) {
    struct pil_store *store = *state;
    struct pil_error error = {0};
    const char *const damaged[] = {"views/rides/drivers/channels/broken.json",
                                   "views/rides/drivers/releases/0123456789abcdef.json",
                                   "views/other/view/releases/0123456789abcdef.json"};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(store->ops->put_if_absent(store, damaged[i], pil_bytes_from_text("{}"), NULL), PIL_STATUS_OK);
        assert_int_equal(run(store, 0, 0, &error), PIL_STATUS_CORRUPT);
        assert_non_null(strstr(error.text, damaged[i]));
        assert_non_null(strstr(error.text, "nothing was removed"));
        for (int r = 0; r < RELEASES; r++) {
            assert_true(has_release(store, r));
        }
        assert_int_equal(store->ops->remove(store, damaged[i], INT64_MAX, NULL), PIL_STATUS_OK);
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
    assert_int_equal(store->ops->put_if_absent(store, foreign, pil_bytes_from_text("hands off"), NULL), PIL_STATUS_OK);
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
    assert_int_equal(store->ops->remove(store, name, INT64_MAX, NULL), PIL_STATUS_OK);
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
        cmocka_unit_test_setup_teardown(what_a_build_relies_on_becomes_young, setup, folder_teardown),
        cmocka_unit_test_setup_teardown(nothing_is_removed_when_something_cannot_be_read, setup, folder_teardown),
        cmocka_unit_test_setup_teardown(what_is_not_ours_and_what_killed_writers_left, setup, folder_teardown),
        cmocka_unit_test_setup_teardown(shards_go_in_and_out_whole, setup, folder_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
