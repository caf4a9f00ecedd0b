/* SPDX-License-Identifier: Apache-2.0
 * Goal: no peer can hold so much memory or so many places that others find none. Method: peers that take all that they
 * are given, against the shares that server/account.h promises. */
#include "server/account.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { MIB = 1 << 20, BUDGET = 256 * MIB, PLACES = 1000, STEP = 32 << 10, LITTLE = 256 << 10 };

static struct pil_accounts accounts;

static int setup(void **state) {
    (void)state;
    pil_accounts_init(&accounts, BUDGET, PLACES, 7);
    return 0;
}

static struct pil_peer_identity process(uint32_t uid, int32_t pid) {
    struct pil_peer_identity identity = {.known = PIL_PEER_UID | PIL_PEER_PID, .uid = uid, .pid = pid};
    snprintf(identity.address, sizeof identity.address, "unix:pid=%d,uid=%u", pid, uid);
    return identity;
}

static struct pil_peer_identity remote(const char *address) {
    struct pil_peer_identity identity = {0};
    snprintf(identity.address, sizeof identity.address, "%s", address);
    return identity;
}

static struct pil_account_use enter(struct pil_peer_identity identity) {
    struct pil_account_use use;
    assert_int_equal(pil_accounts_enter(&accounts, &identity, &use), PIL_PLACE_FULL);
    return use;
}

/* Takes one step, as a chunk of output does. */
static bool take(struct pil_account_use *use) {
    if (!pil_accounts_charge(&accounts, use, STEP)) {
        return false;
    }
    if (!pil_accounts_allocate(&accounts, STEP)) {
        pil_account_remove(use, STEP);
        return false;
    }
    return true;
}

static void take_all(struct pil_account_use *use) {
    while (take(use)) {
    }
}

static void give_all(struct pil_account_use *use) {
    pil_accounts_free(&accounts, use->bytes);
    pil_accounts_leave(&accounts, use);
}

static void assert_about(uint64_t value, double wanted) {
    assert_in_range(value, (uint64_t)(wanted * 0.98), (uint64_t)(wanted * 1.02));
}

static void one_peer_gets_half_and_two_get_a_third_each(void **state) {
    (void)state;
    double common = BUDGET * 7.0 / 8;
    struct pil_account_use first = enter(process(1, 10)), second = enter(process(2, 20));
    take_all(&first);
    assert_about(first.bytes, common / 2);
    take_all(&second);
    assert_about(second.bytes, common / 4); /* half of what was left */
    give_all(&first);
    give_all(&second);
    first = enter(process(1, 10));
    second = enter(process(2, 20));
    for (bool goes_on = true; goes_on;) {
        goes_on = take(&first);
        goes_on = take(&second) || goes_on;
    }
    assert_about(first.bytes, common / 3);
    assert_about(second.bytes, common / 3);
    give_all(&first);
    give_all(&second);
    assert_int_equal(accounts.allocated, 0);
}

static void the_connections_of_a_process_share(void **state) {
    (void)state;
    struct pil_account_use uses[50];
    uint64_t sum = 0;
    for (size_t i = 0; i < 50; i++) {
        uses[i] = enter(process(1, 10));
        take_all(&uses[i]);
        sum += uses[i].bytes;
    }
    assert_about(sum, BUDGET * 7.0 / 8 / 2);
    for (size_t i = 0; i < 50; i++) {
        give_all(&uses[i]);
    }
}

/* Nine hundred processes of one user, each as greedy as it can be: the last sixteenth is there for another user. */
static void a_user_leaves_a_sixteenth_to_others(void **state) {
    (void)state;
    static struct pil_account_use uses[800];
    for (int i = 0; i < 800; i++) {
        uses[i] = enter(process(1, 100 + i));
        take_all(&uses[i]);
    }
    assert_in_range(accounts.allocated, 0, BUDGET / 16 * 15 + STEP);
    struct pil_account_use other = enter(process(2, 5));
    for (int i = 0; i < LITTLE / STEP; i++) {
        assert_true(take(&other));
    }
    assert_false(take(&other)); /* it holds little no longer */
    for (int i = 0; i < 800; i++) {
        give_all(&uses[i]);
    }
    give_all(&other);
}

/* Peers of one user that hold little are served beside a greedy one. */
static void who_holds_little_goes_on_beside_a_greedy_one_of_its_user(void **state) {
    (void)state;
    struct pil_account_use greedy[4];
    for (int i = 0; i < 4; i++) {
        greedy[i] = enter(process(1, 10 + i));
        take_all(&greedy[i]);
    }
    struct pil_account_use modest = enter(process(1, 99));
    for (int i = 0; i < LITTLE / STEP; i++) {
        assert_true(take(&modest));
    }
    for (int i = 0; i < 4; i++) {
        give_all(&greedy[i]);
    }
    give_all(&modest);
}

static void who_owes_is_found_only_when_memory_is_short(void **state) {
    (void)state;
    struct pil_account_use greedy = enter(process(1, 10)), modest = enter(process(2, 20));
    take_all(&greedy);
    assert_false(pil_accounts_owes(&accounts, &greedy));
    assert_true(pil_accounts_allocate(&accounts, BUDGET - accounts.allocated)); /* others */
    pil_account_add(&modest, STEP);
    assert_true(pil_accounts_owes(&accounts, &greedy));
    assert_false(pil_accounts_owes(&accounts, &modest));
}

static void the_budget_is_never_exceeded(void **state) {
    (void)state;
    assert_true(pil_accounts_allocate(&accounts, BUDGET));
    assert_false(pil_accounts_allocate(&accounts, 1));
    assert_int_equal(accounts.allocated, BUDGET);
}

static void a_process_gets_nine_tenths_of_the_places(void **state) {
    (void)state;
    struct pil_peer_identity greedy = process(1, 10), other = process(1, 11);
    struct pil_account_use use;
    for (int i = 0; i < PLACES / 10 * 9; i++) {
        enter(greedy);
    }
    assert_int_equal(pil_accounts_enter(&accounts, &greedy, &use), PIL_PLACE_SPARE);
    for (int i = 0; i < PLACES / 10; i++) {
        enter(other);
    }
    for (int i = 1; i < PIL_PLACES_SPARE; i++) {
        assert_int_equal(pil_accounts_enter(&accounts, &other, &use), PIL_PLACE_SPARE);
    }
    assert_int_equal(pil_accounts_enter(&accounts, &other, &use), PIL_PLACE_NONE);
    assert_int_equal(accounts.places, PLACES);
    use.is_spare = true;
    pil_accounts_leave(&accounts, &use);
    assert_int_equal(accounts.spare_places, PIL_PLACES_SPARE - 1);
}

/* A few places are not worth a share. */
static void few_places_are_for_anybody(void **state) {
    (void)state;
    struct pil_account_use use;
    struct pil_peer_identity peer = process(1, 10);
    pil_accounts_init(&accounts, BUDGET, 4, 7);
    for (int i = 0; i < 4; i++) {
        enter(peer);
    }
    assert_int_equal(pil_accounts_enter(&accounts, &peer, &use), PIL_PLACE_SPARE);
}

static void connections_over_tcp_are_peers_and_hosts_are_users(void **state) {
    (void)state;
    struct pil_account_use a = enter(remote("10.0.0.1:1")), b = enter(remote("10.0.0.1:2")),
                           c = enter(remote("[::1]:1"));
    assert_ptr_not_equal(a.peer, b.peer);
    assert_ptr_equal(a.user, b.user);
    assert_ptr_not_equal(a.user, c.user);
    assert_ptr_equal(a.places, b.places);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(one_peer_gets_half_and_two_get_a_third_each, setup),
        cmocka_unit_test_setup(the_connections_of_a_process_share, setup),
        cmocka_unit_test_setup(a_user_leaves_a_sixteenth_to_others, setup),
        cmocka_unit_test_setup(who_holds_little_goes_on_beside_a_greedy_one_of_its_user, setup),
        cmocka_unit_test_setup(who_owes_is_found_only_when_memory_is_short, setup),
        cmocka_unit_test_setup(the_budget_is_never_exceeded, setup),
        cmocka_unit_test_setup(a_process_gets_nine_tenths_of_the_places, setup),
        cmocka_unit_test_setup(few_places_are_for_anybody, setup),
        cmocka_unit_test_setup(connections_over_tcp_are_peers_and_hosts_are_users, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
