/* SPDX-License-Identifier: Apache-2.0
 * Goal: a manifest is judged by what the channel wants. Method: a manifest of another view, a channel that went on. */
#include "follow/judge.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

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
        cmocka_unit_test(a_release_is_judged_by_its_channel_and_view),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
