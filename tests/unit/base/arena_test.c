/* SPDX-License-Identifier: Apache-2.0
 * Goal: an arena hands out disjoint, aligned memory, refuses what does not fit without changing, and rewinds. */
#include "base/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdalign.h>
#include <cmocka.h>

static alignas(64) uint8_t block[256];

static void hands_out_aligned_memory(void **state) {
    (void)state;
    struct pil_arena arena;
    pil_arena_init(&arena, block, sizeof block);
    uint8_t *first = pil_arena_alloc(&arena, 3, 1);
    uint64_t *second = PIL_ARENA_NEW(&arena, uint64_t, 2);
    uint8_t *third = pil_arena_alloc(&arena, 1, 64);
    assert_ptr_equal(first, block);
    assert_ptr_equal(second, block + 8);
    assert_ptr_equal(third, block + 64);
    assert_int_equal(pil_arena_left(&arena), sizeof block - 65);
}

static void refuses_what_does_not_fit(void **state) {
    (void)state;
    struct pil_arena arena;
    pil_arena_init(&arena, block, sizeof block);
    assert_non_null(pil_arena_alloc(&arena, 250, 1));
    assert_null(pil_arena_alloc(&arena, 7, 1));
    assert_null(pil_arena_alloc(&arena, SIZE_MAX, 1));
    assert_null(pil_arena_alloc(&arena, SIZE_MAX - 4, 8));
    assert_null(pil_arena_alloc(&arena, 1, 64)); /* the alignment alone passes the end */
    assert_int_equal(pil_arena_left(&arena), 6);
    assert_ptr_equal(pil_arena_alloc(&arena, 6, 1), block + 250);
    assert_int_equal(pil_arena_left(&arena), 0);
    assert_ptr_equal(pil_arena_alloc(&arena, 0, 1), block + 256);
}

static void rewinds(void **state) {
    (void)state;
    struct pil_arena arena;
    pil_arena_init(&arena, block, sizeof block);
    (void)pil_arena_alloc(&arena, 10, 1);
    size_t mark = pil_arena_mark(&arena);
    assert_ptr_equal(pil_arena_alloc(&arena, 100, 1), block + 10);
    pil_arena_rewind(&arena, mark);
    assert_ptr_equal(pil_arena_alloc(&arena, 1, 1), block + 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hands_out_aligned_memory),
        cmocka_unit_test(refuses_what_does_not_fit),
        cmocka_unit_test(rewinds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
