/* SPDX-License-Identifier: Apache-2.0
 * Goal: as many releases as are held are known, each once, and a manifest is judged by what the channel wants. Method:
 * more releases than any bound of old; a manifest of another view and a channel that went on. */
#include "follow/held.h"
#include "follow/judge.h"

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
        pil_held_add(&held, release);
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

static void a_release_is_judged_by_its_channel_and_view(void **state) {
    (void)state;
    static struct pil_channel channel = {.name = "production", .release = "aaaaaaaaaaaaaaaa"};
    struct pil_release_ref wanted = {.project = "p", .view = "v", .release = "aaaaaaaaaaaaaaaa"};
    struct pil_manifest manifest = {.ref = wanted};
    struct pil_error error = {0};
    const struct pil_judge_case judged = {.wanted = &wanted, .channel = &channel, .manifest = &manifest};
    assert_int_equal(pil_judge_release(&judged, &error), PIL_STATUS_OK);
    memcpy(channel.pinned, "bbbbbbbbbbbbbbbb", sizeof "bbbbbbbbbbbbbbbb");
    assert_int_equal(pil_judge_release(&judged, &error), PIL_STATUS_CONFLICT);
    assert_non_null(strstr(error.text, "wants release bbbbbbbbbbbbbbbb"));
    channel.pinned[0] = '\0';
    memcpy(manifest.ref.view, "w", sizeof "w");
    assert_int_equal(pil_judge_release(&judged, &error), PIL_STATUS_CORRUPT);
    assert_non_null(strstr(error.text, "p/w@"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_is_room_for_all),
        cmocka_unit_test(a_release_is_judged_by_its_channel_and_view),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
