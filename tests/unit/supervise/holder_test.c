/* SPDX-License-Identifier: Apache-2.0
 * Goal: the holder knows of each release where it stands, drops the longest unused one first and never the live one,
 * and counts memory until the server has let it go; the sum of a refusal adds up. Method: sealed memfds of known sizes;
 * the holder is validated after every step; then random steps against counts kept beside (PIL_SEED replays). */
#include "supervise/admission.h"

#include "base/sys.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static int sealed(size_t bytes) {
    struct pil_error error;
    int fd = -1;
    assert_int_equal(pil_sys_memfd_create("shard", &fd, &error), PIL_STATUS_OK);
    assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
    assert_int_equal(pil_sys_memfd_seal(fd, &error), PIL_STATUS_OK);
    return fd;
}

static const char *name_of(uint32_t number) {
    static char names[8][PIL_RELEASE_ID_CHARS + 1];
    static uint32_t next;
    char *name = names[next++ % 8];
    snprintf(name, PIL_RELEASE_ID_CHARS + 1, "%016x", number);
    return name;
}

static pil_status add_shard(struct pil_holder *holder, uint32_t view, uint32_t number, uint32_t index, uint32_t count,
                            size_t bytes) {
    pil_status status =
        pil_holder_add(holder, view, name_of(number), &(struct pil_shard_place){index, count}, sealed(bytes));
    pil_holder_validate(holder);
    return status;
}

/* A whole release of one shard. */
static void add(struct pil_holder *holder, uint32_t view, uint32_t number, size_t bytes) {
    assert_int_equal(add_shard(holder, view, number, 0, 1, bytes), PIL_STATUS_OK);
}

static void publish(struct pil_holder *holder, uint32_t view, uint32_t number) {
    assert_int_equal(pil_holder_offer(holder, view, name_of(number), 0), PIL_STATUS_OK);
    pil_holder_mapped(holder, pil_holder_find(holder, view, name_of(number)));
    pil_holder_validate(holder);
    assert_true(pil_holder_accepted(holder, view, name_of(number)));
    pil_holder_validate(holder);
}

static void unmapped(struct pil_holder *holder, uint32_t view, uint32_t number) {
    pil_holder_unmapped(holder, view, name_of(number));
    pil_holder_validate(holder);
}

/* A release that is served for a moment, or until the next one of its view. */
static void add_live(struct pil_holder *holder, uint32_t view, uint32_t number, size_t bytes) {
    add(holder, view, number, bytes);
    publish(holder, view, number);
    unmapped(holder, view, number);
}

static void a_release_is_held_once_all_its_shards_are_here(void **state) {
    struct pil_holder holder;
    (void)state;
    pil_holder_init(&holder);
    assert_int_equal(add_shard(&holder, 1, 7, 1, 2, 100), PIL_STATUS_OK);
    assert_false(pil_holder_has(&holder, 1, name_of(7)));
    assert_int_equal(pil_holder_offer(&holder, 1, name_of(7), 0), PIL_STATUS_NOT_FOUND);
    assert_false(pil_holder_accepted(&holder, 1, name_of(7)));
    assert_int_equal(pil_holder_bytes(&holder, PIL_RESIDENCY_ARRIVING), 100);
    assert_int_equal(add_shard(&holder, 1, 7, 1, 2, 100), PIL_STATUS_OK); /* again: counted once */
    assert_int_equal(add_shard(&holder, 1, 7, 0, 2, 50), PIL_STATUS_OK);
    assert_true(pil_holder_has(&holder, 1, name_of(7)));
    assert_false(pil_holder_has(&holder, 0, name_of(7)));
    assert_int_equal(pil_holder_bytes(&holder, PIL_RESIDENCY_KEPT), 150);
    assert_int_equal(pil_holder_offer(&holder, 1, name_of(7), 1234), PIL_STATUS_OK);
    assert_null(pil_holder_live(&holder, 1));
    assert_true(pil_holder_accepted(&holder, 1, name_of(7)));
    assert_int_equal(pil_holder_live(&holder, 1)->created_us, 1234);
    assert_int_equal(pil_holder_offer(&holder, 1, name_of(7), 0), PIL_STATUS_OK);
    assert_int_equal(pil_holder_live(&holder, 1)->created_us, 1234); /* 0: as known before */
    assert_int_equal(pil_holder_count_of(&holder, 1), 1);
    pil_holder_validate(&holder);
    pil_holder_deinit(&holder);
}

static void shards_that_do_not_fit_are_refused_and_closed(void **state) {
    struct pil_holder holder;
    struct pil_error error;
    int unsealed = -1;
    (void)state;
    pil_holder_init(&holder);
    assert_int_equal(pil_sys_memfd_create("shard", &unsealed, &error), PIL_STATUS_OK);
    assert_int_equal(pil_holder_add(&holder, 0, name_of(1), &(struct pil_shard_place){0, 1}, unsealed),
                     PIL_STATUS_DENIED);
    assert_int_equal(fcntl(unsealed, F_GETFD), -1);
    assert_int_equal(add_shard(&holder, 0, 1, 1, 1, 1), PIL_STATUS_CORRUPT);
    assert_int_equal(add_shard(&holder, 0, 1, 0, 0, 1), PIL_STATUS_CORRUPT);
    assert_int_equal(add_shard(&holder, 0, 1, 0, 1u << 17, 1), PIL_STATUS_CORRUPT);
    assert_int_equal(add_shard(&holder, PIL_SERVED_VIEWS_MAX, 1, 0, 1, 1), PIL_STATUS_CORRUPT);
    assert_int_equal(pil_holder_add(&holder, 0, "short", &(struct pil_shard_place){0, 1}, sealed(1)),
                     PIL_STATUS_CORRUPT);
    assert_int_equal(pil_holder_bytes_total(&holder), 0);
    assert_int_equal(add_shard(&holder, 0, 1, 0, 2, 1), PIL_STATUS_OK);
    assert_int_equal(add_shard(&holder, 0, 1, 1, 4, 1), PIL_STATUS_CORRUPT); /* of another number of shards */
    pil_holder_deinit(&holder);
}

static void the_longest_unused_goes_first_and_the_live_one_never(void **state) {
    struct pil_holder holder;
    struct pil_evicted evicted;
    (void)state;
    pil_holder_init(&holder);
    for (uint32_t i = 1; i <= 4; i++) {
        add_live(&holder, 0, i, 10 * i);
    }
    publish(&holder, 0, 1); /* rolled back: 2 is the longest unused now, and 1 is live */
    add(&holder, 1, 9, 5);
    publish(&holder, 1, 9);
    assert_true(pil_holder_evict_of(&holder, 0, 2, &evicted));
    pil_holder_validate(&holder);
    assert_string_equal(evicted.release, name_of(2));
    assert_int_equal(evicted.bytes, 20);
    assert_true(pil_holder_evict_of(&holder, 0, 2, &evicted));
    assert_string_equal(evicted.release, name_of(3));
    assert_false(pil_holder_evict_of(&holder, 0, 2, &evicted)); /* two are to be kept */
    assert_true(pil_holder_evict_any(&holder, &evicted));
    assert_string_equal(evicted.release, name_of(4));
    assert_false(pil_holder_evict_any(&holder, &evicted)); /* only live ones are left */
    pil_holder_validate(&holder);
    assert_string_equal(pil_holder_live(&holder, 0)->release, name_of(1));
    assert_int_equal(pil_holder_live(&holder, 1)->view_index, 1);
    pil_holder_deinit(&holder);
}

static void memory_counts_until_the_server_has_unmapped_it(void **state) {
    struct pil_holder holder;
    struct pil_evicted evicted;
    (void)state;
    pil_holder_init(&holder);
    add(&holder, 0, 1, 100);
    publish(&holder, 0, 1);
    add(&holder, 0, 2, 10);
    publish(&holder, 0, 2);
    assert_true(pil_holder_evict_any(&holder, &evicted));
    pil_holder_validate(&holder);
    assert_int_equal(pil_holder_bytes(&holder, PIL_RESIDENCY_UNMAPPING), 100);
    assert_int_equal(pil_holder_bytes_of(&holder, 0), 110);
    assert_int_equal(pil_holder_count_of(&holder, 0), 1);
    assert_false(pil_holder_has(&holder, 0, name_of(1)));
    /* It is fetched again and dropped again: both memories count, and each mapping ends on its own. */
    add(&holder, 0, 1, 100);
    publish(&holder, 0, 1);
    assert_int_equal(pil_holder_bytes_total(&holder), 210);
    unmapped(&holder, 0, 1);
    assert_int_equal(pil_holder_bytes_total(&holder), 110);
    assert_true(pil_holder_has(&holder, 0, name_of(1)));
    unmapped(&holder, 0, 99);
    unmapped(&holder, 3, 1);
    assert_int_equal(pil_holder_bytes_total(&holder), 110);
    /* The server ends: whatever it mapped is free. */
    assert_true(pil_holder_evict_any(&holder, &evicted));
    assert_int_equal(pil_holder_bytes(&holder, PIL_RESIDENCY_UNMAPPING), 10);
    pil_holder_unmapped_all(&holder);
    pil_holder_validate(&holder);
    assert_int_equal(pil_holder_bytes_total(&holder), 100);
    pil_holder_deinit(&holder);
}

static void a_view_that_is_removed_takes_everything_along(void **state) {
    struct pil_holder holder;
    (void)state;
    pil_holder_init(&holder);
    add(&holder, 0, 1, 100);
    publish(&holder, 0, 1);
    add(&holder, 0, 2, 10);
    assert_int_equal(add_shard(&holder, 0, 3, 0, 2, 1), PIL_STATUS_OK);
    add(&holder, 1, 1, 7);
    publish(&holder, 1, 1);
    pil_holder_drop_view(&holder, 0);
    pil_holder_validate(&holder);
    assert_null(pil_holder_live(&holder, 0));
    assert_int_equal(pil_holder_bytes_of(&holder, 0), 100); /* until the server has let it go */
    unmapped(&holder, 0, 1);
    assert_int_equal(pil_holder_bytes_total(&holder), 7);
    assert_string_equal(pil_holder_live(&holder, 1)->release, name_of(1));
    pil_holder_deinit(&holder);
}

/* ---- Admission. */

struct gone {
    uint32_t count;
    uint64_t bytes;
};

static void on_evicted(void *context, const struct pil_evicted *evicted) {
    struct gone *gone = context;
    gone->count++;
    gone->bytes += evicted->bytes;
}

static void kept_releases_make_room_only_when_that_helps(void **state) {
    struct pil_holder holder;
    struct gone gone = {0};
    struct pil_eviction_hook hook = {on_evicted, &gone};
    struct pil_admission answer;
    (void)state;
    pil_holder_init(&holder);
    add_live(&holder, 0, 1, 100);
    add(&holder, 0, 2, 100);
    publish(&holder, 0, 2);
    pil_admission_ask(&holder, 1000, 800, name_of(3), &hook, &answer);
    assert_true(answer.is_admitted);
    assert_int_equal(gone.count, 0); /* it fits as it is */
    pil_admission_ask(&holder, 1000, 901, name_of(3), &hook, &answer);
    assert_false(answer.is_admitted);
    assert_int_equal(gone.count, 0); /* 100 are served: giving up the kept ones would not help */
    assert_string_equal(answer.why, "it will not fit: 100 bytes served + 0 being unmapped + 901 of release "
                                    "0000000000000003 = 1001 bytes, over the 0 MiB (1000 bytes) that "
                                    "memory_budget leaves for releases; raise it or serve less");
    pil_admission_ask(&holder, 1000, 900, name_of(3), &hook, &answer);
    assert_true(answer.is_admitted);
    assert_int_equal(gone.count, 1);
    assert_int_equal(gone.bytes, 100);
    assert_string_equal(answer.why, "");
    pil_admission_ask(&holder, 1000, UINT64_MAX, name_of(3), &hook, &answer);
    assert_false(answer.is_admitted);
    pil_holder_validate(&holder);
    pil_holder_deinit(&holder);
}

/* 200 bytes are served, 300 are being unmapped, `kept` could make room. */
static void prepare_unmapping(struct pil_holder *holder, size_t kept) {
    pil_holder_init(holder);
    add(holder, 0, 1, 300);
    publish(holder, 0, 1);
    add_live(holder, 1, 2, kept);
    add_live(holder, 1, 3, 200);
    pil_holder_drop_view(holder, 0);
    pil_holder_validate(holder);
}

static void what_is_being_unmapped_leaves_less_room_to_trim_to(void **state) {
    struct pil_holder holder;
    struct gone gone = {0};
    struct pil_eviction_hook hook = {on_evicted, &gone};
    struct pil_admission answer;
    (void)state;
    prepare_unmapping(&holder, 300);
    pil_admission_ask(&holder, 1000, 300, name_of(4), &hook, &answer);
    assert_true(answer.is_admitted);
    assert_int_equal(gone.bytes, 300); /* 200 + 300 + 300 fit once it has gone */
    pil_holder_deinit(&holder);
    gone = (struct gone){0};
    prepare_unmapping(&holder, 400);
    pil_admission_ask(&holder, 1000, 600, name_of(4), &hook, &answer);
    assert_false(answer.is_admitted);
    assert_int_equal(gone.count, 0); /* 200 + 300 + 600 would not fit without it, either */
    pil_holder_deinit(&holder);
}

static void a_shard_whose_descriptor_was_lost_is_a_shortage(void **state) {
    struct pil_holder holder;
    const struct pil_shard_place place = {0, 2};
    (void)state;
    pil_holder_init(&holder);
    assert_int_equal(pil_holder_add(&holder, 0, name_of(1), &place, -1), PIL_STATUS_NO_MEMORY);
    assert_int_equal(pil_holder_bytes_total(&holder), 0);
    pil_holder_validate(&holder);
    pil_holder_deinit(&holder);
}

static void what_is_being_unmapped_still_counts(void **state) {
    struct pil_holder holder;
    struct gone gone = {0};
    struct pil_eviction_hook hook = {on_evicted, &gone};
    struct pil_admission answer;
    (void)state;
    pil_holder_init(&holder);
    add(&holder, 0, 1, 300);
    publish(&holder, 0, 1);
    add(&holder, 0, 2, 200);
    publish(&holder, 0, 2);
    assert_int_equal(add_shard(&holder, 0, 3, 0, 2, 50), PIL_STATUS_OK); /* arrives: counts as well */
    pil_admission_ask(&holder, 1000, 600, name_of(4), &hook, &answer);
    assert_false(answer.is_admitted);
    assert_non_null(strstr(answer.why, "250 bytes served + 300 being unmapped + 600 of release"));
    assert_non_null(strstr(answer.why, "= 1150 bytes"));
    pil_admission_ask(&holder, 1000, 451, name_of(4), &hook, &answer);
    assert_false(answer.is_admitted);           /* by one byte */
    pil_holder_give_up(&holder, 0, name_of(2)); /* is whole: stays */
    pil_holder_give_up(&holder, 1, name_of(3)); /* another view's */
    assert_int_equal(pil_holder_bytes(&holder, PIL_RESIDENCY_ARRIVING), 50);
    pil_holder_give_up(&holder, 0, name_of(3));
    assert_int_equal(pil_holder_bytes(&holder, PIL_RESIDENCY_ARRIVING), 0);
    assert_int_equal(pil_holder_bytes_total(&holder), 500);
    unmapped(&holder, 0, 1);
    pil_admission_ask(&holder, 1000, 600, name_of(4), &hook, &answer);
    assert_true(answer.is_admitted);
    pil_holder_deinit(&holder);
}

static void a_smaller_budget_gives_up_kept_releases_only(void **state) {
    struct pil_holder holder;
    struct gone gone = {0};
    struct pil_eviction_hook hook = {on_evicted, &gone};
    (void)state;
    pil_holder_init(&holder);
    for (uint32_t i = 1; i <= 3; i++) {
        add_live(&holder, 0, i, 100);
    }
    pil_admission_trim(&holder, 300, &hook);
    assert_int_equal(gone.count, 0);
    pil_admission_trim(&holder, 299, &hook);
    assert_int_equal(gone.count, 1);
    pil_admission_trim(&holder, 0, &hook);
    assert_int_equal(gone.count, 2);
    assert_string_equal(pil_holder_live(&holder, 0)->release, name_of(3));
    pil_holder_deinit(&holder);
}

static bool is_live(const struct pil_holder *holder, uint32_t number) {
    const struct pil_held_release *live = pil_holder_live(holder, 0);
    return number == 0 ? live == NULL : live != NULL && strcmp(live->release, name_of(number)) == 0;
}

static bool is_offered(const struct pil_holder *holder, uint32_t number) {
    const struct pil_held_release *offered = pil_holder_offered(holder, 0);
    return number == 0 ? offered == NULL : offered != NULL && strcmp(offered->release, name_of(number)) == 0;
}

static void offer(struct pil_holder *holder, uint32_t number) {
    assert_int_equal(pil_holder_offer(holder, 0, name_of(number), 0), PIL_STATUS_OK);
    pil_holder_validate(holder);
}

static void a_release_is_live_when_the_server_says_so_and_not_before(void **state) {
    struct pil_holder holder;
    struct pil_evicted evicted;
    (void)state;
    pil_holder_init(&holder);
    for (uint32_t i = 1; i <= 3; i++) {
        add(&holder, 0, i, 100);
    }
    offer(&holder, 1);
    assert_true(is_live(&holder, 0) && is_offered(&holder, 1));
    assert_true(pil_holder_accepted(&holder, 0, name_of(1)));
    offer(&holder, 2);
    assert_true(is_live(&holder, 1) && is_offered(&holder, 2));
    assert_true(pil_holder_refused(&holder, 0, name_of(2)));
    assert_false(pil_holder_refused(&holder, 0, name_of(2))); /* it is neither offered nor live any more */
    assert_true(is_live(&holder, 1) && is_offered(&holder, 0));
    offer(&holder, 2);
    offer(&holder, 3); /* in its place */
    assert_true(is_live(&holder, 1) && is_offered(&holder, 3));
    assert_true(pil_holder_accepted(&holder, 0, name_of(2))); /* late: it is served, if not for long */
    assert_true(is_live(&holder, 2) && is_offered(&holder, 3));
    assert_true(pil_holder_evict_any(&holder, &evicted));
    assert_string_equal(evicted.release, name_of(1));
    assert_false(pil_holder_evict_any(&holder, &evicted)); /* neither what is live nor what is offered */
    pil_holder_deinit(&holder);
}

/* Back to the live release while another one is offered: whatever the server does first, both are safe. */
static void the_live_release_may_be_offered_again(void **state) {
    struct pil_holder holder;
    (void)state;
    pil_holder_init(&holder);
    add_live(&holder, 0, 1, 100);
    add(&holder, 0, 2, 100);
    offer(&holder, 2);
    offer(&holder, 1);
    assert_true(is_live(&holder, 1) && is_offered(&holder, 0));
    assert_true(pil_holder_accepted(&holder, 0, name_of(2))); /* before it saw the other offer */
    pil_holder_validate(&holder);
    assert_true(is_live(&holder, 2) && is_offered(&holder, 1));
    assert_true(pil_holder_accepted(&holder, 0, name_of(1)));
    assert_true(is_live(&holder, 1) && is_offered(&holder, 0));
    pil_holder_validate(&holder);
    pil_holder_deinit(&holder);
}

/* ---- Random steps. */

static uint32_t below(uint64_t *seed, uint32_t bound) {
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*seed >> 33) % bound;
}

static void random_steps_never_contradict_themselves(void **state) {
    const char *text = getenv("PIL_SEED");
    uint64_t seed = text != NULL ? strtoull(text, NULL, 10) : 1;
    struct gone gone = {0};
    struct pil_eviction_hook hook = {on_evicted, &gone};
    struct pil_admission answer;
    struct pil_holder holder;
    (void)state;
    printf("PIL_SEED=%llu\n", (unsigned long long)seed);
    pil_holder_init(&holder);
    for (int step = 0; step < 20000; step++) {
        uint32_t view = below(&seed, 3), number = below(&seed, 6), before = gone.count;
        uint64_t live_before = pil_holder_bytes(&holder, PIL_RESIDENCY_LIVE);
        uint64_t offered_before = pil_holder_bytes(&holder, PIL_RESIDENCY_OFFERED);
        switch (below(&seed, 11)) {
        case 0:
        case 1: (void)add_shard(&holder, view, number, below(&seed, 2), 2, 1 + number); break;
        case 2:
            offered_before = 0;
            if (pil_holder_offer(&holder, view, name_of(number), step) == PIL_STATUS_OK) {
                pil_holder_mapped(&holder, pil_holder_find(&holder, view, name_of(number)));
            }
            break;
        case 8:
        case 9:
            /* Answers, also old ones and such as nobody asked for. */
            (void)(below(&seed, 2) == 0 ? pil_holder_accepted(&holder, view, name_of(number))
                                        : pil_holder_refused(&holder, view, name_of(number)));
            live_before = offered_before = 0;
            break;
        case 3: pil_holder_unmapped(&holder, view, name_of(number)); break;
        case 4: pil_admission_ask(&holder, 20, below(&seed, 20), name_of(number), &hook, &answer); break;
        case 5: pil_admission_trim(&holder, below(&seed, 40), &hook); break;
        case 7: pil_holder_give_up(&holder, view, name_of(number)); break;
        case 6: {
            struct pil_evicted evicted;
            (void)pil_holder_evict_of(&holder, view, below(&seed, 3), &evicted);
            break;
        }
        default:
            if (below(&seed, 20) == 0) {
                pil_holder_unmapped_all(&holder);
            } else if (below(&seed, 20) == 0) {
                pil_holder_drop_view(&holder, view);
                live_before = offered_before = 0;
            }
        }
        pil_holder_validate(&holder);
        assert_true(gone.count >= before);
        assert_true(pil_holder_bytes(&holder, PIL_RESIDENCY_LIVE) >= live_before);       /* what is served stays */
        assert_true(pil_holder_bytes(&holder, PIL_RESIDENCY_OFFERED) >= offered_before); /* and what may be soon */
    }
    pil_holder_deinit(&holder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_release_is_live_when_the_server_says_so_and_not_before),
        cmocka_unit_test(the_live_release_may_be_offered_again),
        cmocka_unit_test(a_release_is_held_once_all_its_shards_are_here),
        cmocka_unit_test(shards_that_do_not_fit_are_refused_and_closed),
        cmocka_unit_test(the_longest_unused_goes_first_and_the_live_one_never),
        cmocka_unit_test(memory_counts_until_the_server_has_unmapped_it),
        cmocka_unit_test(a_view_that_is_removed_takes_everything_along),
        cmocka_unit_test(kept_releases_make_room_only_when_that_helps),
        cmocka_unit_test(what_is_being_unmapped_leaves_less_room_to_trim_to),
        cmocka_unit_test(a_shard_whose_descriptor_was_lost_is_a_shortage),
        cmocka_unit_test(what_is_being_unmapped_still_counts),
        cmocka_unit_test(a_smaller_budget_gives_up_kept_releases_only),
        cmocka_unit_test(random_steps_never_contradict_themselves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
