/* SPDX-License-Identifier: Apache-2.0
 * Goal: what runs on a fiber is left in the middle and gone on with, with all that its stack holds. */
#include "base/fiber.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

struct work {
    struct pil_fiber *fiber;
    uint32_t steps; /* how often to leave */
    uint32_t left, runs;
    char text[64];
};

/* What a fiber has on its stack is there after it was left, and large frames have room. */
static void run(void *context) {
    struct work *work = context;
    char own[16384];
    uint32_t sum = 0;
    memset(own, 7, sizeof own);
    for (uint32_t i = 0; i < work->steps; i++) {
        sum += i;
        own[i] = (char)i;
        work->left++;
        pil_fiber_leave(work->fiber);
    }
    for (uint32_t i = 0; i < work->steps; i++) {
        assert_int_equal(own[i], i);
    }
    assert_int_equal(own[sizeof own - 1], 7);
    work->runs++;
    snprintf(work->text, sizeof work->text, "%.1f %u", 0.5 * work->steps, sum);
}

static void a_fiber_is_left_and_gone_on_with(void **state) {
    (void)state;
    struct work work = {.steps = 3};
    work.fiber = pil_fiber_create(run, &work);
    assert_non_null(work.fiber);
    for (uint32_t i = 1; i <= 3; i++) {
        assert_false(pil_fiber_go(work.fiber));
        assert_int_equal(work.left, i);
    }
    assert_true(pil_fiber_go(work.fiber));
    assert_string_equal(work.text, "1.5 3");
    pil_fiber_destroy(&work.fiber);
    assert_null(work.fiber);
}

static void a_fiber_runs_again(void **state) {
    (void)state;
    struct work work = {.steps = 0};
    work.fiber = pil_fiber_create(run, &work);
    for (uint32_t i = 1; i <= 1000; i++) {
        assert_true(pil_fiber_go(work.fiber));
        assert_int_equal(work.runs, i);
    }
    pil_fiber_destroy(&work.fiber);
}

static void fibers_alternate(void **state) {
    (void)state;
    enum { COUNT = 5 };
    struct work works[COUNT];
    for (uint32_t i = 0; i < COUNT; i++) {
        works[i] = (struct work){.steps = 10 + i};
        works[i].fiber = pil_fiber_create(run, &works[i]);
    }
    for (uint32_t turn = 0; turn < 10; turn++) {
        for (uint32_t i = 0; i < COUNT; i++) {
            assert_false(pil_fiber_go(works[i].fiber));
            assert_int_equal(works[i].left, turn + 1);
        }
    }
    assert_true(pil_fiber_go(works[0].fiber));
    assert_int_equal(works[0].runs, 1);
    for (uint32_t i = 0; i < COUNT; i++) { /* four of them were left in the middle */
        pil_fiber_destroy(&works[i].fiber);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fiber_is_left_and_gone_on_with),
        cmocka_unit_test(a_fiber_runs_again),
        cmocka_unit_test(fibers_alternate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
