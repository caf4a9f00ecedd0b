/* SPDX-License-Identifier: Apache-2.0
 * Goal: as many releases as are held are known, each once. Method: more releases than any bound of old. */
#include "follow/held.h"

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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_is_room_for_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
