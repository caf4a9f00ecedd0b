/* SPDX-License-Identifier: Apache-2.0
 * Goal: a change of a channel or a project makes the watcher's descriptor readable, also in a store that comes later or
 * that the path leads to later. Method: a real folder; the test waits for the descriptor. */
#include "follow/watcher.h"
#include "unit/store/child.h"
#include "unit/store/conformance.h"
#include "unit/store/folder.h"

static struct pil_follow_view views[2] = {{"rides", "a", "production"}, {"rides", "b", "production"}};
static char url[PATH_MAX + 8];

static pil_status open_url(void *context, struct pil_store **ret_store, struct pil_error *error) {
    (void)context;
    return pil_store_open(url, false, ret_store, error);
}

static struct pil_watcher make(const char *name) {
    snprintf(url, sizeof url, "dir:%s", in_folder(name));
    return (struct pil_watcher){.views = views, .view_count = 2, .open = open_url, .fd = -1};
}

static void expect_change(struct pil_watcher *watcher) {
    assert_true(becomes_readable(watcher->fd));
    pil_watcher_drain(watcher, 0);
    assert_false(is_readable(watcher->fd));
}

static void channels_and_projects_are_watched_and_nothing_else(void **state) {
    struct pil_watcher watcher = make("");
    pil_watcher_attend(&watcher);
    assert_true(watcher.fd >= 0);
    put_text(*state, "views/rides/b/channels/production.json", "1");
    expect_change(&watcher);
    put_text(*state, "views/rides/a/channels/production.json", "1");
    expect_change(&watcher);
    put_text(*state, "projects/rides.json", "1");
    expect_change(&watcher);
    put_text(*state, "shards/ab/x", "1");
    pil_watcher_drain(&watcher, 0); /* the folder is new */
    put_text(*state, "shards/ab/y", "1");
    assert_false(is_readable(watcher.fd));
    pil_watcher_deinit(&watcher);
}

/* A storm of changes costs one reading in each pause; none is lost. */
static void a_storm_is_one_change(void **state) {
    struct pil_watcher watcher = make("");
    const uint64_t now_ns = 5000000000;
    uint64_t due_ns = UINT64_MAX;
    pil_watcher_attend(&watcher);
    assert_int_equal(pil_watcher_descriptor(&watcher, now_ns, &due_ns), watcher.fd); /* the first one is seen at once */
    put_text(*state, "projects/rides.json", "1");
    assert_true(becomes_readable(watcher.fd));
    pil_watcher_drain(&watcher, now_ns);
    put_text(*state, "projects/other.json", "1");
    assert_int_equal(pil_watcher_descriptor(&watcher, now_ns + PIL_WATCHER_PAUSE_NS - 1, &due_ns), -1);
    assert_int_equal(due_ns, now_ns + PIL_WATCHER_PAUSE_NS);
    assert_int_equal(pil_watcher_descriptor(&watcher, due_ns, &due_ns), watcher.fd);
    assert_true(is_readable(watcher.fd));
    pil_watcher_deinit(&watcher);
}

static void a_store_that_comes_later_is_watched_and_followed(void **state) {
    struct pil_watcher watcher = make("link");
    struct pil_store *stores[2];
    char target[2][PATH_MAX + 8];
    (void)state;
    pil_watcher_attend(&watcher);
    assert_int_equal(watcher.fd, -1);
    for (int i = 0; i < 2; i++) {
        snprintf(target[i], sizeof target[i], "dir:%s", in_folder(i == 0 ? "one" : "two"));
        assert_int_equal(pil_store_open(target[i], true, &stores[i], NULL), PIL_STATUS_OK);
    }
    assert_int_equal(symlink("one", in_folder("link")), 0);
    pil_watcher_attend(&watcher);
    put_text(stores[0], "views/rides/a/channels/production.json", "1");
    expect_change(&watcher);
    assert_int_equal(unlink(in_folder("link")), 0);
    pil_watcher_attend(&watcher); /* it leads nowhere for a moment */
    assert_int_equal(symlink("two", in_folder("link")), 0);
    pil_watcher_attend(&watcher);
    put_text(stores[1], "views/rides/a/channels/production.json", "1");
    expect_change(&watcher);
    for (int i = 0; i < 2; i++) {
        pil_store_close(&stores[i]);
    }
    pil_watcher_deinit(&watcher);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(channels_and_projects_are_watched_and_nothing_else, folder_setup,
                                        folder_teardown),
        cmocka_unit_test_setup_teardown(a_storm_is_one_change, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(a_store_that_comes_later_is_watched_and_followed, folder_setup,
                                        folder_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
