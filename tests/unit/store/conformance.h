/* SPDX-License-Identifier: Apache-2.0
 * What every store must do, whatever is behind its struct of functions. A test of one kind of store runs
 * STORE_CONFORMANCE_TESTS with *state pointing to an empty, open store (setup) that it closes (teardown). */
#pragma once

#include "store/store.h"

#include <poll.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#define CONFORMANCE __attribute__((unused)) static

CONFORMANCE void put_text(struct pil_store *store, const char *name, const char *text) {
    struct pil_error error = {0};
    pil_status status = store->ops->put_if_absent(store, name, pil_bytes_from_text(text), &error);
    if (status != PIL_STATUS_OK) {
        fail_msg("put %s: %s", name, error.text);
    }
}

/* The tag of the object, after checking its content. */
CONFORMANCE struct pil_store_tag expect_text(struct pil_store *store, const char *name, const char *text) {
    struct pil_text content = {0};
    struct pil_store_tag tag = {{0}};
    assert_int_equal(store->ops->get(store, name, 1 << 20, &content, &tag, NULL), PIL_STATUS_OK);
    assert_string_equal(pil_text_chars(&content), text);
    pil_text_deinit(&content);
    return tag;
}

CONFORMANCE void what_was_put_is_read_back(void **state) {
    struct pil_store *store = *state;
    put_text(store, "a/b/object.json", "hello");
    struct pil_store_tag tag = expect_text(store, "a/b/object.json", "hello"), stat_tag;
    uint64_t bytes;
    assert_int_equal(store->ops->stat(store, "a/b/object.json", &bytes, &stat_tag, NULL), PIL_STATUS_OK);
    assert_int_equal(bytes, 5);
    assert_string_equal(tag.text, stat_tag.text);
    assert_int_equal(store->ops->stat(store, "a/b/object.json", &bytes, NULL, NULL), PIL_STATUS_OK);
    put_text(store, "empty", "");
    expect_text(store, "empty", "");
}

CONFORMANCE void ranges_end_with_the_object(void **state) {
    struct pil_store *store = *state;
    uint8_t buffer[8];
    size_t len = 99;
    put_text(store, "ranges", "0123456789");
    assert_int_equal(store->ops->get_range(store, "ranges", 2, buffer, 4, &len, NULL), PIL_STATUS_OK);
    assert_int_equal(len, 4);
    assert_memory_equal(buffer, "2345", 4);
    assert_int_equal(store->ops->get_range(store, "ranges", 7, buffer, 8, &len, NULL), PIL_STATUS_OK);
    assert_int_equal(len, 3);
    assert_int_equal(store->ops->get_range(store, "ranges", 10, buffer, 8, &len, NULL), PIL_STATUS_OK);
    assert_int_equal(len, 0);
    assert_int_equal(store->ops->get_range(store, "ranges", UINT64_MAX, buffer, 8, &len, NULL), PIL_STATUS_INVALID);
}

CONFORMANCE void what_is_not_there_is_not_found(void **state) {
    struct pil_store *store = *state;
    struct pil_error error = {0};
    struct pil_text content = {0};
    uint64_t bytes;
    size_t len;
    uint8_t byte;
    put_text(store, "folder/object", "x");
    const char *const names[] = {"nothing", "folder/other", "none/at/all", "folder/object/below"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_int_equal(store->ops->get(store, names[i], 10, &content, NULL, &error), PIL_STATUS_NOT_FOUND);
        assert_non_null(strstr(error.text, names[i]));
        assert_int_equal(store->ops->stat(store, names[i], &bytes, NULL, NULL), PIL_STATUS_NOT_FOUND);
        assert_int_equal(store->ops->get_range(store, names[i], 0, &byte, 1, &len, NULL), PIL_STATUS_NOT_FOUND);
        assert_int_equal(store->ops->remove(store, names[i], INT64_MAX, NULL), PIL_STATUS_NOT_FOUND);
        assert_int_equal(store->ops->touch(store, names[i], NULL), PIL_STATUS_NOT_FOUND);
    }
    assert_null(content.data);
}

CONFORMANCE void objects_over_the_limit_are_refused(void **state) {
    struct pil_store *store = *state;
    struct pil_text content = {0};
    put_text(store, "large", "0123456789");
    assert_int_equal(store->ops->get(store, "large", 9, &content, NULL, NULL), PIL_STATUS_TOO_LARGE);
    assert_null(content.data);
    assert_int_equal(store->ops->get(store, "large", 10, &content, NULL, NULL), PIL_STATUS_OK);
    pil_text_deinit(&content);
}

CONFORMANCE void the_first_put_if_absent_wins(void **state) {
    struct pil_store *store = *state;
    struct pil_error error = {0};
    put_text(store, "once", "first");
    struct pil_bytes second = pil_bytes_from_text("second");
    assert_int_equal(store->ops->put_if_absent(store, "once", second, &error), PIL_STATUS_EXISTS);
    assert_non_null(strstr(error.text, "once"));
    expect_text(store, "once", "first");
}

CONFORMANCE void only_the_matching_version_is_replaced(void **state) {
    struct pil_store *store = *state;
    struct pil_bytes a = pil_bytes_from_text("a"), b = pil_bytes_from_text("b"), c = pil_bytes_from_text("c");
    assert_int_equal(store->ops->put_if_match(store, "pointer", a, NULL, NULL), PIL_STATUS_OK);
    assert_int_equal(store->ops->put_if_match(store, "pointer", b, NULL, NULL), PIL_STATUS_CONFLICT);
    struct pil_store_tag of_a = expect_text(store, "pointer", "a");
    assert_int_equal(store->ops->put_if_match(store, "pointer", b, &of_a, NULL), PIL_STATUS_OK);
    assert_int_equal(store->ops->put_if_match(store, "pointer", c, &of_a, NULL), PIL_STATUS_CONFLICT);
    expect_text(store, "pointer", "b");
    assert_int_equal(store->ops->remove(store, "pointer", INT64_MAX, NULL), PIL_STATUS_OK);
    assert_int_equal(store->ops->put_if_match(store, "pointer", c, &of_a, NULL), PIL_STATUS_CONFLICT);
    assert_int_equal(store->ops->put_if_match(store, "pointer", c, NULL, NULL), PIL_STATUS_OK);
}

CONFORMANCE pil_status visit_name(void *context, const struct pil_store_object *object) {
    pil_text_format(context, "%s %llu\n", object->name, (unsigned long long)object->bytes);
    return PIL_STATUS_OK;
}

CONFORMANCE pil_status visit_first(void *context, const struct pil_store_object *object) {
    pil_text_format(context, "%s\n", object->name);
    return PIL_STATUS_AGAIN;
}

CONFORMANCE void listings_are_in_byte_order_of_names(void **state) {
    struct pil_store *store = *state;
    struct pil_text names = {0};
    /* '-' < '.' < '/' < digits < letters: a walk in the order of folders would get "a" wrong. */
    const char *const put[] = {"l/b", "l/a/x", "l/a.json", "l/a-b", "l/a/w/deep", "l/A", "l/a0", "m/other"};
    for (size_t i = 0; i < sizeof put / sizeof put[0]; i++) {
        put_text(store, put[i], "12");
    }
    assert_int_equal(store->ops->list(store, "l/", visit_name, &names, NULL), PIL_STATUS_OK);
    assert_string_equal(names.data, "l/A 2\nl/a-b 2\nl/a.json 2\nl/a/w/deep 2\nl/a/x 2\nl/a0 2\nl/b 2\n");
    pil_text_clear(&names);
    assert_int_equal(store->ops->list(store, "l/a/", visit_name, &names, NULL), PIL_STATUS_OK);
    assert_string_equal(names.data, "l/a/w/deep 2\nl/a/x 2\n");
    pil_text_clear(&names);
    assert_int_equal(store->ops->list(store, "", visit_first, &names, NULL), PIL_STATUS_AGAIN);
    assert_string_equal(names.data, "l/A\n");
    pil_text_clear(&names);
    assert_int_equal(store->ops->list(store, "none/", visit_name, &names, NULL), PIL_STATUS_OK);
    assert_int_equal(names.len, 0);
    assert_int_equal(store->ops->list(store, "l", visit_name, &names, NULL), PIL_STATUS_INVALID);
    assert_int_equal(store->ops->list(store, "../", visit_name, &names, NULL), PIL_STATUS_INVALID);
    pil_text_deinit(&names);
}

CONFORMANCE pil_status visit_modified(void *context, const struct pil_store_object *object) {
    *(int64_t *)context = object->modified_us;
    return PIL_STATUS_OK;
}

CONFORMANCE void what_was_touched_since_is_not_removed(void **state) {
    struct pil_store *store = *state;
    int64_t written_us = 0, touched_us = 0;
    put_text(store, "shards/one", "x");
    assert_int_equal(store->ops->list(store, "shards/", visit_modified, &written_us, NULL), PIL_STATUS_OK);
    do { /* clocks of file systems are coarse */
        assert_int_equal(store->ops->touch(store, "shards/one", NULL), PIL_STATUS_OK);
        assert_int_equal(store->ops->list(store, "shards/", visit_modified, &touched_us, NULL), PIL_STATUS_OK);
    } while (touched_us == written_us);
    assert_true(touched_us > written_us);
    assert_int_equal(store->ops->remove(store, "shards/one", written_us, NULL), PIL_STATUS_CONFLICT);
    expect_text(store, "shards/one", "x");
    assert_int_equal(store->ops->remove(store, "shards/one", touched_us, NULL), PIL_STATUS_OK);
    assert_int_equal(store->ops->remove(store, "shards/one", touched_us, NULL), PIL_STATUS_NOT_FOUND);
}

CONFORMANCE void bad_names_are_refused_everywhere(void **state) {
    struct pil_store *store = *state;
    static char long_name[PIL_STORE_NAME_BYTES + 1], long_segment[300];
    memset(long_name, 'a', sizeof long_name - 1);
    memset(long_segment, 'a', sizeof long_segment - 1);
    const char *const names[] = {"",
                                 "/",
                                 "/etc/passwd",
                                 "a/",
                                 "a//b",
                                 "..",
                                 "../a",
                                 "a/../b",
                                 ".",
                                 "a/./b",
                                 ".lock",
                                 "a b",
                                 "a\\b",
                                 "a\n",
                                 "caf\xc3\xa9",
                                 "a/.tmp/b",
                                 "a:b",
                                 "~",
                                 "$HOME",
                                 "a*",
                                 long_name,
                                 long_segment,
                                 "1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct pil_text content = {0};
        uint64_t bytes;
        uint8_t byte;
        size_t len;
        struct pil_bytes x = pil_bytes_from_text("x");
        assert_false(pil_store_name_ok(names[i]));
        assert_int_equal(store->ops->get(store, names[i], 10, &content, NULL, NULL), PIL_STATUS_INVALID);
        assert_int_equal(store->ops->stat(store, names[i], &bytes, NULL, NULL), PIL_STATUS_INVALID);
        assert_int_equal(store->ops->get_range(store, names[i], 0, &byte, 1, &len, NULL), PIL_STATUS_INVALID);
        assert_int_equal(store->ops->put_if_absent(store, names[i], x, NULL), PIL_STATUS_INVALID);
        assert_int_equal(store->ops->put_if_match(store, names[i], x, NULL, NULL), PIL_STATUS_INVALID);
        assert_int_equal(store->ops->touch(store, names[i], NULL), PIL_STATUS_INVALID);
        assert_int_equal(store->ops->remove(store, names[i], INT64_MAX, NULL), PIL_STATUS_INVALID);
    }
    assert_true(pil_store_name_ok("views/rides/driver_stats/releases/0123.json"));
    assert_true(pil_store_name_ok("A-Z.a=b@c+d_e"));
}

CONFORMANCE bool becomes_readable(int fd) {
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    return poll(&poll_fd, 1, 5000) == 1;
}

CONFORMANCE bool is_readable(int fd) {
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    return poll(&poll_fd, 1, 0) == 1;
}

/* The folder is made after the watch, level by level; then objects come, change and go. */
CONFORMANCE void a_watch_sees_folders_that_come_later(void **state) {
    struct pil_store *store = *state;
    int fd = store->ops->watch(store, "views/p/v/channels/");
    if (fd < 0) {
        print_message("skipped: this store is polled\n");
        skip();
    }
    assert_false(is_readable(fd));
    const char *const names[] = {"views/x/first", "views/p/other", "views/p/v/releases/r.json",
                                 "views/p/v/channels/c.json"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        put_text(store, names[i], "1");
        assert_true(becomes_readable(fd));
        store->ops->changed(store);
        assert_false(is_readable(fd));
    }
    struct pil_store_tag tag = expect_text(store, "views/p/v/channels/c.json", "1");
    assert_int_equal(store->ops->put_if_match(store, "views/p/v/channels/c.json", pil_bytes_from_text("2"), &tag, NULL),
                     PIL_STATUS_OK);
    assert_true(becomes_readable(fd));
    store->ops->changed(store);
    assert_int_equal(store->ops->watch(store, "views/q/w/channels/"), fd);
    put_text(store, "views/q/w/channels/c.json", "1");
    assert_true(becomes_readable(fd));
    store->ops->changed(store);
    put_text(store, "shards/ab/elsewhere", "1");
    store->ops->changed(store);
    put_text(store, "shards/ab/elsewhere2", "1");
    assert_false(is_readable(fd));
    assert_int_equal(store->ops->remove(store, "views/p/v/channels/c.json", INT64_MAX, NULL), PIL_STATUS_OK);
    assert_true(becomes_readable(fd));
}

#define STORE_CONFORMANCE_TESTS(setup, teardown)                                                                       \
    cmocka_unit_test_setup_teardown(what_was_put_is_read_back, setup, teardown),                                       \
        cmocka_unit_test_setup_teardown(ranges_end_with_the_object, setup, teardown),                                  \
        cmocka_unit_test_setup_teardown(what_is_not_there_is_not_found, setup, teardown),                              \
        cmocka_unit_test_setup_teardown(objects_over_the_limit_are_refused, setup, teardown),                          \
        cmocka_unit_test_setup_teardown(the_first_put_if_absent_wins, setup, teardown),                                \
        cmocka_unit_test_setup_teardown(only_the_matching_version_is_replaced, setup, teardown),                       \
        cmocka_unit_test_setup_teardown(listings_are_in_byte_order_of_names, setup, teardown),                         \
        cmocka_unit_test_setup_teardown(what_was_touched_since_is_not_removed, setup, teardown),                       \
        cmocka_unit_test_setup_teardown(bad_names_are_refused_everywhere, setup, teardown),                            \
        cmocka_unit_test_setup_teardown(a_watch_sees_folders_that_come_later, setup, teardown)
