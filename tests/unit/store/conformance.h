/* SPDX-License-Identifier: Apache-2.0
 * What every store must do, whatever is behind its struct of functions. A test of one kind of store runs
 * STORE_CONFORMANCE_TESTS with *state pointing to an empty, open store (setup) that it closes (teardown). */
#pragma once

#include "store/store.h"

#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#define CONFORMANCE __attribute__((unused)) static

CONFORMANCE void put_text(struct pil_store *store, const char *name, const char *text) {
    struct pil_error error = {0};
    pil_status status = pil_store_put(store, name, pil_bytes_from_text(text), pil_store_if_absent(), NULL, &error);
    if (status != PIL_STATUS_OK) {
        fail_msg("put %s: %s", name, error.text);
    }
}

/* The tag of the object, after checking its content. */
CONFORMANCE struct pil_store_tag expect_text(struct pil_store *store, const char *name, const char *text) {
    struct pil_text content = {0};
    struct pil_store_tag tag = {0};
    assert_int_equal(pil_store_get(store, name, 1 << 20, &content, &tag, NULL), PIL_STATUS_OK);
    assert_string_equal(pil_text_chars(&content), text);
    pil_text_deinit(&content);
    return tag;
}

CONFORMANCE void what_was_put_is_read_back(void **state) {
    struct pil_store *store = *state;
    put_text(store, "a/b/object.json", "hello");
    struct pil_store_tag tag = expect_text(store, "a/b/object.json", "hello"), stat_tag;
    uint64_t bytes;
    assert_int_equal(pil_store_stat(store, "a/b/object.json", &bytes, &stat_tag, NULL), PIL_STATUS_OK);
    assert_int_equal(bytes, 5);
    assert_string_equal(tag.text, stat_tag.text);
    assert_int_equal(pil_store_stat(store, "a/b/object.json", &bytes, NULL, NULL), PIL_STATUS_OK);
    put_text(store, "empty", "");
    expect_text(store, "empty", "");
}

CONFORMANCE void ranges_end_with_the_object(void **state) {
    struct pil_store *store = *state;
    uint8_t buffer[8];
    size_t len = 99;
    put_text(store, "ranges", "0123456789");
    assert_int_equal(pil_store_get_range(store, &(struct pil_store_range){"ranges", 2, buffer, 4}, &len, NULL),
                     PIL_STATUS_OK);
    assert_int_equal(len, 4);
    assert_memory_equal(buffer, "2345", 4);
    assert_int_equal(pil_store_get_range(store, &(struct pil_store_range){"ranges", 7, buffer, 8}, &len, NULL),
                     PIL_STATUS_OK);
    assert_int_equal(len, 3);
    assert_int_equal(pil_store_get_range(store, &(struct pil_store_range){"ranges", 10, buffer, 8}, &len, NULL),
                     PIL_STATUS_OK);
    assert_int_equal(len, 0);
    assert_int_equal(pil_store_get_range(store, &(struct pil_store_range){"ranges", UINT64_MAX, buffer, 8}, &len, NULL),
                     PIL_STATUS_INVALID);
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
        assert_int_equal(pil_store_get(store, names[i], 10, &content, NULL, &error), PIL_STATUS_NOT_FOUND);
        assert_non_null(strstr(error.text, names[i]));
        assert_int_equal(pil_store_stat(store, names[i], &bytes, NULL, NULL), PIL_STATUS_NOT_FOUND);
        assert_int_equal(pil_store_get_range(store, &(struct pil_store_range){names[i], 0, &byte, 1}, &len, NULL),
                         PIL_STATUS_NOT_FOUND);
        assert_int_equal(pil_store_remove(store, names[i], pil_store_always(), NULL), PIL_STATUS_NOT_FOUND);
        struct pil_store_condition match = pil_store_if_match(&(struct pil_store_tag){.text = "x"});
        assert_int_equal(pil_store_remove(store, names[i], match, NULL), PIL_STATUS_NOT_FOUND);
        assert_int_equal(pil_store_put(store, names[i], pil_bytes_from_text("x"), match, NULL, NULL),
                         PIL_STATUS_CONFLICT);
    }
    assert_null(content.data);
}

CONFORMANCE void objects_over_the_limit_are_refused(void **state) {
    struct pil_store *store = *state;
    struct pil_text content = {0};
    put_text(store, "large", "0123456789");
    assert_int_equal(pil_store_get(store, "large", 9, &content, NULL, NULL), PIL_STATUS_TOO_LARGE);
    assert_null(content.data);
    assert_int_equal(pil_store_get(store, "large", 10, &content, NULL, NULL), PIL_STATUS_OK);
    pil_text_deinit(&content);
}

CONFORMANCE void the_first_put_if_absent_wins(void **state) {
    struct pil_store *store = *state;
    struct pil_error error = {0};
    put_text(store, "once", "first");
    struct pil_bytes second = pil_bytes_from_text("second");
    assert_int_equal(pil_store_put(store, "once", second, pil_store_if_absent(), NULL, &error), PIL_STATUS_EXISTS);
    assert_non_null(strstr(error.text, "once"));
    expect_text(store, "once", "first");
}

CONFORMANCE pil_status put_if(struct pil_store *store, const char *name, const char *text,
                              const struct pil_store_tag *tag, struct pil_store_tag *ret_tag) {
    return pil_store_put(store, name, pil_bytes_from_text(text), pil_store_if_match(tag), ret_tag, NULL);
}

CONFORMANCE void only_the_matching_version_is_replaced(void **state) {
    struct pil_store *store = *state;
    struct pil_store_tag put_a = {0}, put_b = {0}, never = {.text = "0123"};
    struct pil_bytes a = pil_bytes_from_text("a"), c = pil_bytes_from_text("c");
    assert_int_equal(put_if(store, "pointer", "a", &never, NULL), PIL_STATUS_CONFLICT); /* none is there */
    assert_int_equal(pil_store_put(store, "pointer", a, pil_store_if_absent(), &put_a, NULL), PIL_STATUS_OK);
    assert_int_equal(pil_store_put(store, "pointer", c, pil_store_if_absent(), NULL, NULL), PIL_STATUS_EXISTS);
    assert_int_equal(put_if(store, "pointer", "b", &never, NULL), PIL_STATUS_CONFLICT);
    struct pil_store_tag of_a = expect_text(store, "pointer", "a");
    assert_string_equal(of_a.text, put_a.text); /* a put tells the version that a read finds */
    assert_int_equal(put_if(store, "pointer", "b", &of_a, &put_b), PIL_STATUS_OK);
    assert_string_not_equal(put_b.text, put_a.text);
    assert_int_equal(put_if(store, "pointer", "c", &of_a, NULL), PIL_STATUS_CONFLICT);
    struct pil_store_tag of_b = expect_text(store, "pointer", "b");
    assert_string_equal(of_b.text, put_b.text);
    assert_int_equal(pil_store_remove(store, "pointer", pil_store_always(), NULL), PIL_STATUS_OK);
    assert_int_equal(put_if(store, "pointer", "c", &of_b, NULL), PIL_STATUS_CONFLICT);
    assert_int_equal(pil_store_put(store, "pointer", c, pil_store_if_absent(), NULL, NULL), PIL_STATUS_OK);
}

CONFORMANCE void a_put_without_condition_replaces_anything(void **state) {
    struct pil_store *store = *state;
    assert_int_equal(pil_store_put(store, "any", pil_bytes_from_text("1"), pil_store_always(), NULL, NULL),
                     PIL_STATUS_OK);
    struct pil_store_tag first = expect_text(store, "any", "1"), second = {0};
    assert_int_equal(pil_store_put(store, "any", pil_bytes_from_text("22"), pil_store_always(), &second, NULL),
                     PIL_STATUS_OK);
    assert_string_not_equal(first.text, second.text);
    assert_string_equal(expect_text(store, "any", "22").text, second.text);
}

CONFORMANCE void only_the_matching_version_is_removed(void **state) {
    struct pil_store *store = *state;
    struct pil_error error = {0};
    put_text(store, "doomed", "1");
    struct pil_store_tag first = expect_text(store, "doomed", "1"), second;
    assert_int_equal(put_if(store, "doomed", "2", &first, &second), PIL_STATUS_OK);
    assert_int_equal(pil_store_remove(store, "doomed", pil_store_if_match(&first), &error), PIL_STATUS_CONFLICT);
    assert_non_null(strstr(error.text, "doomed"));
    expect_text(store, "doomed", "2");
    assert_int_equal(pil_store_remove(store, "doomed", pil_store_if_match(&second), NULL), PIL_STATUS_OK);
    assert_int_equal(pil_store_remove(store, "doomed", pil_store_if_match(&second), NULL), PIL_STATUS_NOT_FOUND);
}

CONFORMANCE void what_did_not_change_is_not_read_again(void **state) {
    struct pil_store *store = *state;
    struct pil_store_content content = {0};
    struct pil_store_tag none = {0}, other = {.text = "0123"};
    put_text(store, "polled", "one");
    struct pil_store_tag tag = expect_text(store, "polled", "one");
    assert_int_equal(pil_store_get_if_changed(store, "polled", 10, &tag, &content, NULL), PIL_STATUS_OK);
    assert_true(content.is_unchanged);
    assert_null(content.text.data);
    const struct pil_store_tag *const stale[] = {&none, &other, NULL};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(pil_store_get_if_changed(store, "polled", 10, stale[i], &content, NULL), PIL_STATUS_OK);
        assert_false(content.is_unchanged);
        assert_string_equal(pil_text_chars(&content.text), "one");
        assert_string_equal(content.tag.text, tag.text);
        pil_text_deinit(&content.text);
    }
    assert_int_equal(put_if(store, "polled", "two", &tag, NULL), PIL_STATUS_OK);
    assert_int_equal(pil_store_get_if_changed(store, "polled", 10, &tag, &content, NULL), PIL_STATUS_OK);
    assert_false(content.is_unchanged);
    assert_string_equal(pil_text_chars(&content.text), "two");
    pil_text_deinit(&content.text);
    assert_int_equal(pil_store_remove(store, "polled", pil_store_always(), NULL), PIL_STATUS_OK);
    assert_int_equal(pil_store_get_if_changed(store, "polled", 10, &tag, &content, NULL), PIL_STATUS_NOT_FOUND);
}

CONFORMANCE void a_second_handle_is_the_same_store(void **state) {
    struct pil_store *store = *state, *other = NULL;
    put_text(store, "shared", "1");
    assert_int_equal(pil_store_open_again(store, &other, NULL), PIL_STATUS_OK);
    assert_string_equal(pil_store_url(other), pil_store_url(store));
    struct pil_store_tag tag = expect_text(other, "shared", "1");
    assert_int_equal(put_if(other, "shared", "2", &tag, NULL), PIL_STATUS_OK);
    expect_text(store, "shared", "2");
    assert_int_equal(pil_store_renew(other, NULL), PIL_STATUS_OK);
    pil_store_cancel(other); /* one handle alone */
    expect_text(store, "shared", "2");
    pil_store_close(&other);
}

CONFORMANCE void a_cancelled_handle_answers_closed(void **state) {
    struct pil_store *store = NULL;
    struct pil_text text = {0};
    uint64_t bytes;
    uint8_t byte;
    size_t len;
    put_text(*state, "there", "1");
    assert_int_equal(pil_store_open_again(*state, &store, NULL), PIL_STATUS_OK);
    pil_store_cancel(store);
    assert_int_equal(pil_store_get(store, "there", 10, &text, NULL, NULL), PIL_STATUS_CLOSED);
    assert_int_equal(pil_store_stat(store, "there", &bytes, NULL, NULL), PIL_STATUS_CLOSED);
    assert_int_equal(pil_store_get_range(store, &(struct pil_store_range){"there", 0, &byte, 1}, &len, NULL),
                     PIL_STATUS_CLOSED);
    assert_int_equal(pil_store_list(store, "", NULL, NULL, NULL), PIL_STATUS_CLOSED);
    assert_int_equal(pil_store_renew(store, NULL), PIL_STATUS_CLOSED);
    assert_int_equal(pil_store_put(store, "new", pil_bytes_from_text("1"), pil_store_always(), NULL, NULL),
                     PIL_STATUS_CLOSED);
    pil_store_close(&store);
    expect_text(*state, "there", "1");
    assert_int_equal(pil_store_stat(*state, "new", &bytes, NULL, NULL), PIL_STATUS_NOT_FOUND);
}

/* ---- Races: threads, each with its own handle */

enum { RACE_THREADS = 4, RACE_ROUNDS = 20 };

struct race {
    struct pil_store *store;
    pthread_barrier_t *barrier;
    uint32_t number;
    int wins[3][RACE_ROUNDS], losses[3][RACE_ROUNDS]; /* of put if absent, put if match, remove if match */
};

CONFORMANCE void race_count(struct race *race, int kind, int round, pil_status status, pil_status lost) {
    race->wins[kind][round] = status == PIL_STATUS_OK;
    race->losses[kind][round] = status == lost || (kind == 2 && status == PIL_STATUS_NOT_FOUND);
}

CONFORMANCE void *race_run(void *context) {
    struct race *race = context;
    for (int round = 0; round < RACE_ROUNDS; round++) {
        char name[32], text[32];
        struct pil_text content = {0};
        struct pil_store_tag tag = {0};
        snprintf(name, sizeof name, "race/%d", round);
        snprintf(text, sizeof text, "round %d thread %u", round, race->number);
        pthread_barrier_wait(race->barrier);
        struct pil_bytes bytes = pil_bytes_from_text(text);
        race_count(race, 0, round, pil_store_put(race->store, name, bytes, pil_store_if_absent(), NULL, NULL),
                   PIL_STATUS_EXISTS);
        pthread_barrier_wait(race->barrier);
        pil_status status = pil_store_get(race->store, name, 100, &content, &tag, NULL);
        pil_text_deinit(&content);
        snprintf(text, sizeof text, "again %d thread %u", round, race->number);
        pthread_barrier_wait(race->barrier);
        if (status == PIL_STATUS_OK) {
            bytes = pil_bytes_from_text(text);
            race_count(race, 1, round, pil_store_put(race->store, name, bytes, pil_store_if_match(&tag), NULL, NULL),
                       PIL_STATUS_CONFLICT);
        }
        pthread_barrier_wait(race->barrier);
        status = pil_store_get(race->store, name, 100, &content, &tag, NULL);
        pil_text_deinit(&content);
        pthread_barrier_wait(race->barrier);
        if (status == PIL_STATUS_OK) {
            race_count(race, 2, round, pil_store_remove(race->store, name, pil_store_if_match(&tag), NULL),
                       PIL_STATUS_CONFLICT);
        }
    }
    return NULL;
}

CONFORMANCE void of_racing_handles_exactly_one_wins(void **state) {
    static struct race races[RACE_THREADS];
    pthread_t threads[RACE_THREADS];
    pthread_barrier_t barrier;
    memset(races, 0, sizeof races);
    assert_int_equal(pthread_barrier_init(&barrier, NULL, RACE_THREADS), 0);
    for (uint32_t i = 0; i < RACE_THREADS; i++) {
        races[i].barrier = &barrier;
        races[i].number = i;
        assert_int_equal(pil_store_open_again(*state, &races[i].store, NULL), PIL_STATUS_OK);
    }
    for (uint32_t i = 0; i < RACE_THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, race_run, &races[i]), 0);
    }
    for (uint32_t i = 0; i < RACE_THREADS; i++) {
        pthread_join(threads[i], NULL);
        pil_store_close(&races[i].store);
    }
    for (int kind = 0; kind < 3; kind++) {
        for (int round = 0; round < RACE_ROUNDS; round++) {
            int wins = 0, losses = 0;
            for (uint32_t i = 0; i < RACE_THREADS; i++) {
                wins += races[i].wins[kind][round];
                losses += races[i].losses[kind][round];
            }
            assert_int_equal(wins, 1);
            assert_int_equal(losses, RACE_THREADS - 1);
        }
    }
    pthread_barrier_destroy(&barrier);
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
    assert_int_equal(pil_store_list(store, "l/", visit_name, &names, NULL), PIL_STATUS_OK);
    assert_string_equal(names.data, "l/A 2\nl/a-b 2\nl/a.json 2\nl/a/w/deep 2\nl/a/x 2\nl/a0 2\nl/b 2\n");
    pil_text_clear(&names);
    assert_int_equal(pil_store_list(store, "l/a/", visit_name, &names, NULL), PIL_STATUS_OK);
    assert_string_equal(names.data, "l/a/w/deep 2\nl/a/x 2\n");
    pil_text_clear(&names);
    assert_int_equal(pil_store_list(store, "", visit_first, &names, NULL), PIL_STATUS_AGAIN);
    assert_string_equal(names.data, "l/A\n");
    pil_text_clear(&names);
    assert_int_equal(pil_store_list(store, "none/", visit_name, &names, NULL), PIL_STATUS_OK);
    assert_int_equal(names.len, 0);
    assert_int_equal(pil_store_list(store, "l", visit_name, &names, NULL), PIL_STATUS_INVALID);
    assert_int_equal(pil_store_list(store, "../", visit_name, &names, NULL), PIL_STATUS_INVALID);
    pil_text_deinit(&names);
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
        assert_int_equal(pil_store_get(store, names[i], 10, &content, NULL, NULL), PIL_STATUS_INVALID);
        assert_int_equal(pil_store_stat(store, names[i], &bytes, NULL, NULL), PIL_STATUS_INVALID);
        assert_int_equal(pil_store_get_range(store, &(struct pil_store_range){names[i], 0, &byte, 1}, &len, NULL),
                         PIL_STATUS_INVALID);
        assert_int_equal(pil_store_put(store, names[i], x, pil_store_if_absent(), NULL, NULL), PIL_STATUS_INVALID);
        assert_int_equal(pil_store_put(store, names[i], x, pil_store_if_absent(), NULL, NULL), PIL_STATUS_INVALID);
        assert_int_equal(pil_store_put(store, names[i], x, pil_store_always(), NULL, NULL), PIL_STATUS_INVALID);
        assert_int_equal(pil_store_remove(store, names[i], pil_store_always(), NULL), PIL_STATUS_INVALID);
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
    int fd = pil_store_watch(store, "views/p/v/channels/");
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
        pil_store_changed(store);
        assert_false(is_readable(fd));
    }
    struct pil_store_tag tag = expect_text(store, "views/p/v/channels/c.json", "1");
    assert_int_equal(pil_store_put(store, "views/p/v/channels/c.json", pil_bytes_from_text("2"),
                                   pil_store_if_match(&tag), NULL, NULL),
                     PIL_STATUS_OK);
    assert_true(becomes_readable(fd));
    pil_store_changed(store);
    assert_int_equal(pil_store_watch(store, "views/q/w/channels/"), fd);
    put_text(store, "views/q/w/channels/c.json", "1");
    assert_true(becomes_readable(fd));
    pil_store_changed(store);
    put_text(store, "shards/ab/elsewhere", "1");
    pil_store_changed(store);
    put_text(store, "shards/ab/elsewhere2", "1");
    assert_false(is_readable(fd));
    assert_int_equal(pil_store_remove(store, "views/p/v/channels/c.json", pil_store_always(), NULL), PIL_STATUS_OK);
    assert_true(becomes_readable(fd));
}

#define STORE_CONFORMANCE_TESTS(setup, teardown) \
    cmocka_unit_test_setup_teardown(what_was_put_is_read_back, setup, teardown), \
        cmocka_unit_test_setup_teardown(ranges_end_with_the_object, setup, teardown), \
        cmocka_unit_test_setup_teardown(what_is_not_there_is_not_found, setup, teardown), \
        cmocka_unit_test_setup_teardown(objects_over_the_limit_are_refused, setup, teardown), \
        cmocka_unit_test_setup_teardown(the_first_put_if_absent_wins, setup, teardown), \
        cmocka_unit_test_setup_teardown(only_the_matching_version_is_replaced, setup, teardown), \
        cmocka_unit_test_setup_teardown(a_put_without_condition_replaces_anything, setup, teardown), \
        cmocka_unit_test_setup_teardown(only_the_matching_version_is_removed, setup, teardown), \
        cmocka_unit_test_setup_teardown(what_did_not_change_is_not_read_again, setup, teardown), \
        cmocka_unit_test_setup_teardown(a_second_handle_is_the_same_store, setup, teardown), \
        cmocka_unit_test_setup_teardown(a_cancelled_handle_answers_closed, setup, teardown), \
        cmocka_unit_test_setup_teardown(of_racing_handles_exactly_one_wins, setup, teardown), \
        cmocka_unit_test_setup_teardown(listings_are_in_byte_order_of_names, setup, teardown), \
        cmocka_unit_test_setup_teardown(bad_names_are_refused_everywhere, setup, teardown), \
        cmocka_unit_test_setup_teardown(a_watch_sees_folders_that_come_later, setup, teardown)
