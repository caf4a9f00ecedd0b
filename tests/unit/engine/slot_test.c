/* SPDX-License-Identifier: Apache-2.0
 * Goal: the table of handles never confuses owners, and its lists hold under any order of joining and leaving. Method:
 * a small table filled, emptied and refilled; random list operations against a plain array. PIL_SEED= repeats a run. */
#include "engine/slot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static struct pil_slot *take(struct pil_slot_table *table) {
    struct pil_slot *slot;
    assert_int_equal(pil_slot_acquire(table, &slot), PIL_STATUS_OK);
    slot->kind = PIL_SLOT_CONNECTION;
    return slot;
}

static void stops_at_its_maximum(void **state) {
    (void)state;
    struct pil_slot_table table;
    assert_int_equal(pil_slot_table_init(&table, 100), PIL_STATUS_OK);
    for (uint32_t i = 0; i < 100; i++) {
        assert_int_equal(take(&table)->index, i);
    }
    struct pil_slot *none = NULL;
    assert_int_equal(pil_slot_acquire(&table, &none), PIL_STATUS_TOO_LARGE);
    assert_null(none);
    pil_slot_release(&table, pil_slot_at(&table, 42));
    assert_int_equal(take(&table)->index, 42);
    pil_slot_table_deinit(&table);
}

static void old_handles_find_nothing(void **state) {
    (void)state;
    struct pil_slot_table table;
    assert_int_equal(pil_slot_table_init(&table, 3), PIL_STATUS_OK);
    assert_null(pil_slot_find(&table, 0));
    assert_null(pil_slot_find(&table, UINT64_MAX));
    struct pil_slot *slot = take(&table);
    uint64_t first = pil_slot_handle(slot);
    assert_int_not_equal(first, 0);
    assert_ptr_equal(pil_slot_find(&table, first), slot);
    assert_ptr_equal(pil_slot_find(&table, first | (uint64_t)3 << PIL_SLOT_INDEX_BITS), slot);
    pil_slot_release(&table, slot);
    assert_null(pil_slot_find(&table, first));
    assert_ptr_equal(take(&table), slot);
    assert_null(pil_slot_find(&table, first));
    slot->generation = UINT32_MAX; /* the count starts anew, past 0, which is no handle's */
    pil_slot_release(&table, slot);
    assert_int_equal(slot->generation, 1);
    pil_slot_table_deinit(&table);
}

static void lists_keep_their_order(void **state) {
    (void)state;
    enum { SLOTS = 12, STEPS = 20000 };
    const char *given = getenv("PIL_SEED");
    unsigned seed = given != NULL ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
    print_message("PIL_SEED=%u\n", seed);
    struct pil_slot slots[SLOTS] = {0};
    struct pil_slot *model[SLOTS];
    struct pil_slot_list list = {0};
    uint32_t count = 0;
    for (int step = 0; step < STEPS; step++) {
        struct pil_slot *slot = &slots[(unsigned)rand_r(&seed) % SLOTS];
        uint32_t at = 0;
        while (at < count && model[at] != slot) {
            at++;
        }
        if ((rand_r(&seed) & 1) != 0) {
            pil_slot_list_add(&list, PIL_SLOT_LINK(rearm), slot);
            if (at == count) {
                model[count++] = slot;
            }
        } else {
            pil_slot_list_remove(&list, PIL_SLOT_LINK(rearm), slot);
            if (at < count) {
                memmove(&model[at], &model[at + 1], (--count - at) * sizeof *model);
            }
        }
        assert_int_equal(list.count, count);
        struct pil_slot *forward = list.first, *backward = list.last;
        for (uint32_t i = 0; i < count; i++) {
            assert_ptr_equal(forward, model[i]);
            assert_ptr_equal(backward, model[count - 1 - i]);
            forward = forward->rearm.next;
            backward = backward->rearm.prev;
        }
        assert_null(forward);
        assert_null(backward);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stops_at_its_maximum),
        cmocka_unit_test(old_handles_find_nothing),
        cmocka_unit_test(lists_keep_their_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
