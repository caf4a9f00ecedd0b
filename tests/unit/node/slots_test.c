/* SPDX-License-Identifier: Apache-2.0
 * Goal: a reload adds and removes views without ever changing what a slot is called; what it cannot take it says; a
 * child ends up with the supervisor's slots. Method: settings made by hand, then random reloads against the list of
 * wanted views (PIL_SEED replays). */
#include "node/slots.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void add(struct pil_settings *settings, const char *view, const char *channel) {
    struct pil_view_settings *slot = &settings->views[settings->view_count++];
    memset(slot, 0, sizeof *slot);
    snprintf(slot->project, sizeof slot->project, "p");
    snprintf(slot->view, sizeof slot->view, "%s", view);
    snprintf(slot->channel, sizeof slot->channel, "%s", channel);
}

static struct pil_settings *make(void) {
    struct pil_settings *settings = calloc(1, sizeof *settings);
    assert_non_null(settings);
    return settings;
}

/* "a@c b@c" with a minus before removed ones. */
static const char *shown(const struct pil_settings *settings) {
    static char text[4096];
    text[0] = '\0';
    for (uint32_t i = 0; i < settings->view_count; i++) {
        const struct pil_view_settings *view = &settings->views[i];
        size_t len = strlen(text);
        snprintf(text + len, sizeof text - len, "%s%s%s@%s", i > 0 ? " " : "", view->is_removed ? "-" : "", view->view,
                 view->channel);
    }
    return text;
}

static void views_come_and_go_and_keep_their_slots(void **state) {
    struct pil_settings *running = make(), *wanted = make();
    bool has_changed = true;
    (void)state;
    add(running, "a", "c");
    add(running, "b", "c");
    add(wanted, "b", "c"); /* the order does not matter */
    add(wanted, "a", "c");
    assert_true(pil_slots_reload(running, wanted, &has_changed));
    assert_false(has_changed);
    wanted->view_count = 0;
    add(wanted, "x", "c");
    add(wanted, "b", "c");
    assert_true(pil_slots_reload(running, wanted, &has_changed));
    assert_true(has_changed);
    assert_string_equal(shown(running), "-a@c b@c x@c");
    assert_false(running->views[1].is_added);
    assert_true(running->views[2].is_added);
    wanted->view_count = 0;
    add(wanted, "b", "c");
    add(wanted, "a", "c"); /* back in its place */
    assert_true(pil_slots_reload(running, wanted, &has_changed));
    assert_string_equal(shown(running), "a@c b@c -x@c");
    wanted->view_count = 0;
    add(wanted, "b", "c");
    assert_true(pil_slots_reload(running, wanted, &has_changed));
    add(wanted, "a", "other"); /* another channel is another slot: names never change */
    assert_true(pil_slots_reload(running, wanted, &has_changed));
    assert_string_equal(shown(running), "-a@c b@c -x@c a@other");
    free(running);
    free(wanted);
}

/* Whoever was judged by the old rule must not be taken for judged by the new one. */
static void another_rule_is_another_slot(void **state) {
    struct pil_settings *running = make(), *wanted = make(), *child = make();
    bool has_changed = true;
    (void)state;
    add(running, "a", "c");
    *child = *running;
    for (int i = 0; i < 3; i++) {
        wanted->view_count = 0;
        assert_true(pil_slots_reload(running, wanted, &has_changed));
        pil_slots_follow(child, running);
        add(wanted, "a", "c");
        wanted->views[0].read.is_given = i == 0;
        wanted->views[0].map.is_given = i == 1;
        assert_true(pil_slots_reload(running, wanted, &has_changed));
        pil_slots_follow(child, running);
    }
    assert_string_equal(shown(running), "a@c -a@c -a@c"); /* and the first one's rules have their slot back */
    assert_string_equal(shown(child), "a@c -a@c -a@c");
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(child->views[i].read.is_given, i == 1);
        assert_int_equal(child->views[i].map.is_given, i == 2);
        assert_true(child->views[i].is_added); /* the first one, too, by now */
    }
    free(running);
    free(wanted);
    free(child);
}

static void a_served_view_keeps_its_channel_and_its_rule(void **state) {
    struct pil_settings *running = make(), *wanted = make();
    bool has_changed = true;
    (void)state;
    add(running, "a", "c");
    add(running, "b", "c");
    add(wanted, "a", "other");
    add(wanted, "b", "c");
    assert_false(pil_slots_reload(running, wanted, &has_changed));
    assert_false(has_changed);
    assert_string_equal(shown(running), "a@c b@c");
    wanted->view_count = 0;
    add(wanted, "a", "c");
    add(wanted, "b", "c");
    wanted->views[1].map.is_given = true;
    assert_false(pil_slots_reload(running, wanted, &has_changed));
    assert_false(running->views[1].map.is_given);
    wanted->views[1].map.is_given = false;
    wanted->views[1].read.is_given = true;
    assert_false(pil_slots_reload(running, wanted, &has_changed));
    assert_false(running->views[1].read.is_given);
    free(running);
    free(wanted);
}

static void more_views_than_slots_are_told(void **state) {
    struct pil_settings *running = make(), *wanted = make();
    bool has_changed = false;
    char name[16];
    (void)state;
    for (uint32_t i = 0; i < PIL_SETTINGS_VIEWS_MAX; i++) {
        snprintf(name, sizeof name, "v%u", i);
        wanted->view_count = 0;
        add(wanted, name, "c");
        assert_true(pil_slots_reload(running, wanted, &has_changed));
    }
    assert_int_equal(running->view_count, PIL_SETTINGS_VIEWS_MAX);
    add(wanted, "new", "c");
    assert_false(pil_slots_reload(running, wanted, &has_changed)); /* all slots have names */
    assert_false(has_changed);
    wanted->view_count = 0;
    add(wanted, "v0", "c"); /* those that were there may come back */
    assert_true(pil_slots_reload(running, wanted, &has_changed));
    assert_false(running->views[0].is_removed);
    free(running);
    free(wanted);
}

static uint32_t below(uint64_t *seed, uint32_t bound) {
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*seed >> 33) % bound;
}

static void random_reloads_serve_what_is_wanted(void **state) {
    enum { NAMES = 20 };
    const char *text = getenv("PIL_SEED");
    uint64_t seed = text != NULL ? strtoull(text, NULL, 10) : 1;
    struct pil_settings *running = make(), *wanted = make(), *child = make(), *before = make();
    (void)state;
    printf("PIL_SEED=%llu\n", (unsigned long long)seed);
    for (int round = 0; round < 2000; round++) {
        bool is_wanted[NAMES] = {false}, has_changed = false;
        wanted->view_count = 0;
        for (uint32_t i = 0; i < NAMES; i++) {
            char name[16];
            is_wanted[i] = below(&seed, 2) == 1;
            snprintf(name, sizeof name, "v%u", i);
            if (is_wanted[i]) {
                add(wanted, name, "c");
            }
        }
        *before = *running;
        assert_true(pil_slots_reload(running, wanted, &has_changed));
        pil_slots_follow(child, running);
        assert_memory_equal(child->views, running->views, sizeof child->views);
        uint32_t served = 0;
        for (uint32_t i = 0; i < running->view_count; i++) {
            served += !running->views[i].is_removed;
            assert_true(running->views[i].is_removed || is_wanted[strtoul(running->views[i].view + 1, NULL, 10)]);
            assert_true(i >= before->view_count || strcmp(before->views[i].view, running->views[i].view) == 0);
        }
        assert_int_equal(served, wanted->view_count);
    }
    free(running);
    free(wanted);
    free(child);
    free(before);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(views_come_and_go_and_keep_their_slots),
        cmocka_unit_test(another_rule_is_another_slot),
        cmocka_unit_test(a_served_view_keeps_its_channel_and_its_rule),
        cmocka_unit_test(more_views_than_slots_are_told),
        cmocka_unit_test(random_reloads_serve_what_is_wanted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
