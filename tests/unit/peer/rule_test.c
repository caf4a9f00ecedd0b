/* SPDX-License-Identifier: Apache-2.0
 * Goal: a rule lets exactly the peers that its lists name, and what is not known of a peer is in no list. Method:
 * identities made by hand. */
#include "peer/rule.h"

#include "base/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { ALL_FACTS = PIL_PEER_UID | PIL_PEER_GID | PIL_PEER_GROUPS | PIL_PEER_CGROUP };

static struct pil_peer_identity peer_with(uint32_t known) {
    struct pil_peer_identity peer;
    pil_peer_identity_init(&peer);
    peer.known = known;
    peer.uid = 1000;
    peer.gid = 100;
    peer.groups[0] = 27;
    peer.groups[1] = 44;
    peer.group_count = 2;
    snprintf(peer.cgroup, sizeof peer.cgroup, "/pods/a/web");
    return peer;
}

static void without_a_rule_everybody_may(void **state) {
    struct pil_peer_rule rule = {.uids = {1}, .uid_count = 1};
    struct pil_peer_identity known = peer_with(ALL_FACTS), unknown = peer_with(0);
    (void)state;
    assert_true(pil_peer_rule_allows(&rule, &known));
    assert_true(pil_peer_rule_allows(&rule, &unknown));
    assert_int_equal(pil_peer_rule_facts(&rule), 0);
}

static void empty_lists_name_nobody(void **state) {
    struct pil_peer_rule rule = {.is_given = true};
    struct pil_peer_identity known = peer_with(ALL_FACTS);
    known.uid = known.gid = 0; /* not even the zeros that the lists hold behind their end */
    known.group_count = 0;
    known.cgroup[0] = '\0';
    (void)state;
    assert_false(pil_peer_rule_allows(&rule, &known));
    assert_int_equal(pil_peer_rule_facts(&rule), 0);
}

static void assert_allows(const struct pil_peer_rule *rule, uint32_t known, bool expected) {
    struct pil_peer_identity peer = peer_with(known);
    assert_int_equal(pil_peer_rule_allows(rule, &peer), expected);
}

static void users_are_named_by_number(void **state) {
    struct pil_peer_rule rule = {.is_given = true, .uids = {7, 1000}, .uid_count = 2};
    (void)state;
    assert_int_equal(pil_peer_rule_facts(&rule), PIL_PEER_UID);
    assert_allows(&rule, ALL_FACTS, true);
    assert_allows(&rule, ALL_FACTS & ~PIL_PEER_UID, false);
    rule.uid_count = 1;
    assert_allows(&rule, ALL_FACTS, false);
}

static void groups_are_primary_or_supplementary(void **state) {
    struct pil_peer_rule rule = {.is_given = true, .gids = {100}, .gid_count = 1};
    (void)state;
    assert_int_equal(pil_peer_rule_facts(&rule), PIL_PEER_GID | PIL_PEER_GROUPS);
    assert_allows(&rule, PIL_PEER_GID, true);
    assert_allows(&rule, PIL_PEER_GROUPS, false);
    rule.gids[0] = 44;
    assert_allows(&rule, PIL_PEER_GID, false);
    assert_allows(&rule, PIL_PEER_GROUPS, true);
    rule.gids[0] = 1000; /* a uid is no gid */
    assert_allows(&rule, ALL_FACTS, false);
}

static void cgroups_are_globs(void **state) {
    static const struct {
        const char *glob;
        bool expected;
    } cases[] = {{"/pods/a/web", true}, {"/pods/*", true},   {"*", true}, {"/pods/?/web", true},
                 {"/pods/a", false},    {"/pods/b*", false}, {"", false}, {"/pods/a/we[^b]", false}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct pil_peer_rule rule = {.is_given = true, .cgroup_count = 2};
        snprintf(rule.cgroups[0], sizeof rule.cgroups[0], "/nowhere");
        snprintf(rule.cgroups[1], sizeof rule.cgroups[1], "%s", cases[i].glob);
        assert_int_equal(pil_peer_rule_facts(&rule), PIL_PEER_CGROUP);
        assert_allows(&rule, ALL_FACTS, cases[i].expected);
        assert_allows(&rule, ALL_FACTS & ~PIL_PEER_CGROUP, false);
    }
}

static void one_list_that_names_the_peer_is_enough(void **state) {
    struct pil_peer_rule rule = {
        .is_given = true, .uids = {1}, .uid_count = 1, .gids = {2, 27}, .gid_count = 2, .cgroup_count = 1};
    (void)state;
    snprintf(rule.cgroups[0], sizeof rule.cgroups[0], "/other");
    assert_allows(&rule, ALL_FACTS, true);
    rule.gid_count = 1;
    assert_allows(&rule, ALL_FACTS, false);
    snprintf(rule.cgroups[0], sizeof rule.cgroups[0], "/pods*");
    assert_allows(&rule, ALL_FACTS, true);
}

static void the_views_of_a_peer_are_a_set_of_bits(void **state) {
    struct pil_peer_rule open = {0}, closed = {.is_given = true};
    struct pil_peer_rule named = {.is_given = true, .uids = {1000}, .uid_count = 1};
    const struct pil_peer_rule *rules[PIL_PEER_VIEWS_MAX];
    struct pil_peer_identity peer = peer_with(ALL_FACTS);
    (void)state;
    for (uint32_t i = 0; i < PIL_PEER_VIEWS_MAX; i++) {
        rules[i] = i % 3 == 0 ? &open : i % 3 == 1 ? &closed : &named;
    }
    pil_peer_views views = pil_peer_views_allowed(rules, PIL_PEER_VIEWS_MAX, &peer);
    for (uint32_t i = 0; i < PIL_PEER_VIEWS_MAX; i++) {
        assert_int_equal(pil_peer_views_has(views, i), i % 3 != 1);
    }
    assert_true(pil_peer_views_allowed(rules, 2, &peer) == 1); /* views that are not there are nobody's */
    assert_true(pil_peer_views_allowed(rules, 0, &peer) == PIL_PEER_VIEWS_NONE);
    assert_false(pil_peer_views_has(PIL_PEER_VIEWS_ALL, PIL_PEER_VIEWS_MAX));
    assert_false(pil_peer_views_has(PIL_PEER_VIEWS_ALL, UINT32_MAX));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_rule_everybody_may),
        cmocka_unit_test(empty_lists_name_nobody),
        cmocka_unit_test(users_are_named_by_number),
        cmocka_unit_test(groups_are_primary_or_supplementary),
        cmocka_unit_test(cgroups_are_globs),
        cmocka_unit_test(one_list_that_names_the_peer_is_enough),
        cmocka_unit_test(the_views_of_a_peer_are_a_set_of_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
