/* SPDX-License-Identifier: Apache-2.0
 * Goal: whichever allocation fails, what is read from a store and written to it is whole or not there, and nothing is
 * called damaged for want of memory. Method: the allocations of each act, jansson's too, are counted; then some of them
 * fail, one at a time, in even steps, and the store is looked at with memory. */
#include "release/catalog.h"
#include "release/gc.h"
#include "support/fail_alloc.h"
#include "unit/release/fixture.h"

enum { SAMPLES = 150 };

struct scene {
    struct pil_store *store;
    struct pil_release_ref refs[3];
    struct pil_error error;
};

typedef pil_status (*act)(struct scene *scene);

static const char *channel_release(struct scene *scene, char ret_release[PIL_RELEASE_ID_CHARS + 1]) {
    struct pil_channel channel;
    assert_int_equal(pil_channel_read(scene->store, &scene->refs[0], "production", &channel, &scene->error),
                     PIL_STATUS_OK);
    memcpy(ret_release, channel.release, sizeof channel.release);
    return ret_release;
}

static pil_status read_manifest(struct scene *scene) {
    struct pil_manifest *manifest = NULL;
    pil_status status = pil_manifest_read(scene->store, &scene->refs[0], &manifest, &scene->error);
    assert_true(status != PIL_STATUS_OK || strcmp(manifest->ref.release, scene->refs[0].release) == 0);
    pil_manifest_destroy(&manifest);
    return status;
}

static pil_status read_catalog(struct scene *scene) {
    struct pil_catalog catalog = {0};
    PIL_TRY(pil_catalog_read(scene->store, "", "", &catalog, &scene->error));
    assert_int_equal(catalog.release_count, 3);
    assert_int_equal(catalog.channel_count, 1);
    assert_int_equal(catalog.channels[0].status, PIL_STATUS_OK);
    pil_catalog_deinit(&catalog);
    return PIL_STATUS_OK;
}

static pil_status promote(struct scene *scene) {
    struct pil_channel channel;
    return pil_channel_promote(scene->store, &scene->refs[1], "production", NULL, &channel, &scene->error);
}

static pil_status rollback(struct scene *scene) {
    struct pil_channel channel;
    return pil_channel_rollback(scene->store, &scene->refs[0], "production", NULL, &channel, &scene->error);
}

static pil_status publish(struct scene *scene) {
    struct pil_manifest *manifest = NULL;
    char name[PIL_STORE_NAME_BYTES];
    PIL_TRY(pil_manifest_read(scene->store, &scene->refs[2], &manifest, &scene->error));
    pil_layout_manifest(&scene->refs[2], name);
    pil_status status = pil_store_remove(scene->store, name, pil_store_always(), &scene->error);
    status = status == PIL_STATUS_OK ? pil_manifest_publish(scene->store, manifest, &scene->error) : status;
    bool was_armed = pil_fail_alloc.is_armed; /* what was taken away for the test comes back */
    pil_fail_alloc.is_armed = false;
    if (status != PIL_STATUS_OK && !fixture_has(scene->store, name)) {
        assert_int_equal(pil_manifest_publish(scene->store, manifest, NULL), PIL_STATUS_OK);
    }
    pil_fail_alloc.is_armed = was_armed;
    pil_manifest_destroy(&manifest);
    return status;
}

static pil_status collect(struct scene *scene) {
    const struct pil_gc_options options = {.keep = 3, .clock = &pil_clock_system};
    struct pil_gc_result result;
    return pil_gc_run(scene->store, &options, &result, &scene->error);
}

static pil_status apply(struct scene *scene) {
    struct pil_project *project = NULL, *read = NULL;
    struct pil_text lines = {0};
    struct pil_project_published published;
    bool was_armed = pil_fail_alloc.is_armed;
    pil_fail_alloc.is_armed = false;
    project = fixture_project(fixture_yaml);
    pil_fail_alloc.is_armed = was_armed;
    pil_status status = pil_project_publish(scene->store, project, false, &published, &lines, &scene->error);
    status = status == PIL_STATUS_OK ? pil_project_read(scene->store, "rides", &read, NULL, &scene->error) : status;
    pil_project_destroy(&read);
    pil_project_destroy(&project);
    pil_text_deinit(&lines);
    return status;
}

/* The store as it must be after any act; its channel as it was before. */
static void look(struct scene *scene) {
    char release[PIL_RELEASE_ID_CHARS + 1];
    struct pil_channel channel;
    channel_release(scene, release);
    assert_true(strcmp(release, scene->refs[0].release) == 0 || strcmp(release, scene->refs[1].release) == 0);
    for (int i = 0; i < 3; i++) {
        struct pil_manifest *manifest = NULL;
        assert_int_equal(pil_manifest_read(scene->store, &scene->refs[i], &manifest, NULL), PIL_STATUS_OK);
        assert_int_equal(pil_manifest_check_shards(scene->store, manifest, NULL), PIL_STATUS_OK);
        pil_manifest_destroy(&manifest);
    }
    assert_int_equal(pil_channel_promote(scene->store, &scene->refs[0], "production", NULL, &channel, NULL),
                     PIL_STATUS_OK);
}

static void fail_each(struct scene *scene, act go, uint64_t at_least) {
    pil_fail_alloc_arm(0);
    assert_int_equal(go(scene), PIL_STATUS_OK);
    uint64_t count = pil_fail_alloc_count(), step = count / SAMPLES + 1;
    (void)pil_fail_alloc_disarm();
    assert_true(count > at_least);
    look(scene);
    for (uint64_t nth = 1; nth <= count; nth += step) {
        memset(&scene->error, 0, sizeof scene->error);
        pil_fail_alloc_arm(nth);
        pil_status status = go(scene);
        bool has_fired = pil_fail_alloc_disarm();
        if (status != PIL_STATUS_OK && (status != PIL_STATUS_NO_MEMORY || !has_fired)) {
            fail_msg("allocation %llu: %s: %s", (unsigned long long)nth, pil_status_text(status), scene->error.text);
        }
        if (status != PIL_STATUS_OK && strstr(scene->error.text, "memory") == NULL) {
            fail_msg("allocation %llu: it says: %s", (unsigned long long)nth, scene->error.text);
        }
        look(scene);
    }
}

static void set_scene(struct scene *scene, void **state) {
    struct pil_channel channel;
    *scene = (struct scene){.store = *state};
    for (uint32_t i = 0; i < 3; i++) {
        scene->refs[i] = fixture_release(scene->store, i + 1);
    }
    for (int i = 1; i >= 0; i--) { /* so that there is something to go back to */
        assert_int_equal(pil_channel_promote(scene->store, &scene->refs[i], "production", NULL, &channel, NULL),
                         PIL_STATUS_OK);
    }
}

static void what_is_read_is_whole_or_no_memory(void **state) {
    struct scene scene;
    set_scene(&scene, state);
    fail_each(&scene, read_manifest, 100);
    fail_each(&scene, read_catalog, 30);
}

static void channels_are_written_whole_or_not(void **state) {
    struct scene scene;
    set_scene(&scene, state);
    fail_each(&scene, promote, 100);
    fail_each(&scene, rollback, 100);
}

static void documents_are_written_whole_or_not(void **state) {
    struct scene scene;
    set_scene(&scene, state);
    fail_each(&scene, publish, 100);
    fail_each(&scene, apply, 100);
}

static void a_collection_that_lacks_memory_removes_nothing_that_is_needed(void **state) {
    struct scene scene;
    set_scene(&scene, state);
    fail_each(&scene, collect, 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_read_is_whole_or_no_memory, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(channels_are_written_whole_or_not, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(documents_are_written_whole_or_not, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(a_collection_that_lacks_memory_removes_nothing_that_is_needed, folder_setup,
                                        folder_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
