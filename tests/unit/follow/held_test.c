/* SPDX-License-Identifier: Apache-2.0
 * Goal: as many releases as are held are known, each once, and one that there is no memory for is not. Method: more
 * releases than any bound of old; each allocation fails. */
#include "follow/held.h"
#include "support/fail_alloc.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

enum { MANY = 3000 };

static void there_is_room_for_all(void **state) {
    (void)state;
    struct pil_held held = {0};
    char release[PIL_RELEASE_ID_CHARS + 1];
    for (uint32_t i = 0; i < 2 * MANY; i++) { /* each one twice */
        snprintf(release, sizeof release, "%016x", i / 2);
        assert_int_equal(pil_held_add(&held, release), PIL_STATUS_OK);
    }
    assert_int_equal(held.count, MANY);
    for (uint32_t i = 0; i < MANY; i += 2) {
        snprintf(release, sizeof release, "%016x", i);
        pil_held_remove(&held, release);
        pil_held_remove(&held, release);
        assert_false(pil_held_has(&held, release));
    }
    assert_int_equal(held.count, MANY / 2);
    assert_true(pil_held_has(&held, "0000000000000bb7")); /* 2999, the last one */
    pil_held_deinit(&held);
}

static void no_memory_leaves_what_was_held(void **state) {
    (void)state;
    struct pil_held held = {0};
    char release[PIL_RELEASE_ID_CHARS + 1];
    uint32_t refused = 0;
    for (uint32_t i = 0; i < 100; i++) {
        snprintf(release, sizeof release, "%016x", i);
        pil_fail_alloc_arm(1);
        pil_status status = pil_held_add(&held, release);
        bool has_fired = pil_fail_alloc_disarm();
        assert_int_equal(status, has_fired ? PIL_STATUS_NO_MEMORY : PIL_STATUS_OK);
        assert_int_equal(pil_held_has(&held, release), !has_fired);
        if (has_fired) {
            refused++;
            assert_int_equal(pil_held_add(&held, release), PIL_STATUS_OK);
        }
        assert_int_equal(held.count, i + 1);
    }
    assert_true(refused > 2);
    assert_true(pil_held_has(&held, "0000000000000000"));
    pil_held_deinit(&held);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_is_room_for_all),
        cmocka_unit_test(no_memory_leaves_what_was_held),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
