/* SPDX-License-Identifier: Apache-2.0
 * Goal: each status has a text, errno maps to what the caller does, details are never cut into garbage.
 * Method: the table itself, and messages up to the size of the buffer. */
#include "base/status.h"

#include <errno.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static void each_status_has_its_own_text(void **state) {
    (void)state;
    for (int i = 0; i < PIL_STATUS_COUNT; i++) {
        const char *text = pil_status_text((pil_status)i);
        assert_true(strlen(text) > 0);
        for (int k = 0; k < i; k++) {
            assert_string_not_equal(text, pil_status_text((pil_status)k));
        }
    }
    assert_string_equal(pil_status_text(PIL_STATUS_COUNT), "unknown status");
}

static void errno_becomes_an_action(void **state) {
    (void)state;
    assert_int_equal(pil_status_from_errno(0), PIL_STATUS_OK);
    assert_int_equal(pil_status_from_errno(ENOENT), PIL_STATUS_NOT_FOUND);
    assert_int_equal(pil_status_from_errno(EACCES), PIL_STATUS_DENIED);
    assert_int_equal(pil_status_from_errno(EDQUOT), PIL_STATUS_NO_SPACE);
    assert_int_equal(pil_status_from_errno(EPIPE), PIL_STATUS_CLOSED);
    assert_int_equal(pil_status_from_errno(EINTR), PIL_STATUS_AGAIN);
    assert_int_equal(pil_status_from_errno(EBADF), PIL_STATUS_SYSTEM);
    assert_int_equal(pil_status_from_errno(-1), PIL_STATUS_SYSTEM);
}

static void what_the_machine_lacks_may_pass_and_a_verdict_does_not(void **state) {
    static const int passing[] = {ENOMEM, EMFILE, ENFILE, ENOBUFS, EAGAIN, ENOSPC, EIO};
    static const pil_status verdicts[] = {PIL_STATUS_OK,       PIL_STATUS_CORRUPT, PIL_STATUS_UNSUPPORTED,
                                          PIL_STATUS_INVALID,  PIL_STATUS_DENIED,  PIL_STATUS_TOO_LARGE,
                                          PIL_STATUS_NOT_FOUND};
    (void)state;
    for (size_t i = 0; i < sizeof passing / sizeof passing[0]; i++) {
        assert_true(pil_status_may_pass(pil_status_from_errno(passing[i])));
    }
    for (size_t i = 0; i < sizeof verdicts / sizeof verdicts[0]; i++) {
        assert_false(pil_status_may_pass(verdicts[i]));
    }
}

static void failing_formats_and_returns(void **state) {
    (void)state;
    struct pil_error error;
    assert_int_equal(pil_fail(&error, PIL_STATUS_INVALID, "%s: no such view", "v"), PIL_STATUS_INVALID);
    assert_string_equal(error.text, "v: no such view");
    assert_int_equal(pil_fail_in(&error, PIL_STATUS_CORRUPT, "shard %d", 3), PIL_STATUS_CORRUPT);
    assert_string_equal(error.text, "shard 3: v: no such view");
    assert_int_equal(pil_fail(NULL, PIL_STATUS_IO, "unused"), PIL_STATUS_IO);
    assert_int_equal(pil_fail_in(NULL, PIL_STATUS_IO, "unused"), PIL_STATUS_IO);
}

static void long_details_are_cut_at_the_end(void **state) {
    (void)state;
    char text[2 * PIL_ERROR_TEXT_BYTES];
    for (size_t len = PIL_ERROR_TEXT_BYTES - 6; len < PIL_ERROR_TEXT_BYTES + 6; len++) {
        struct pil_error error;
        memset(text, 'x', len);
        text[len] = '\0';
        assert_int_equal(pil_fail(&error, PIL_STATUS_IO, "%s", text), PIL_STATUS_IO);
        size_t kept = strlen(error.text);
        assert_int_equal(kept, len < PIL_ERROR_TEXT_BYTES ? len : PIL_ERROR_TEXT_BYTES - 1);
        assert_int_equal(pil_fail_in(&error, PIL_STATUS_IO, "outer"), PIL_STATUS_IO);
        assert_memory_equal(error.text, "outer: xxx", 10);
        assert_true(strlen(error.text) < PIL_ERROR_TEXT_BYTES);
        /* An outer text that leaves no room for the inner one. */
        assert_int_equal(pil_fail(&error, PIL_STATUS_IO, "inner"), PIL_STATUS_IO);
        assert_int_equal(pil_fail_in(&error, PIL_STATUS_IO, "%s", text), PIL_STATUS_IO);
        assert_int_equal(error.text[0], 'x');
        assert_true(strlen(error.text) < PIL_ERROR_TEXT_BYTES);
    }
}

static pil_status tries(pil_status inner, int *ret_reached) {
    PIL_TRY(inner);
    *ret_reached = 1;
    return PIL_STATUS_EXISTS;
}

static void try_returns_at_once(void **state) {
    (void)state;
    int reached = 0;
    assert_int_equal(tries(PIL_STATUS_BUSY, &reached), PIL_STATUS_BUSY);
    assert_int_equal(reached, 0);
    assert_int_equal(tries(PIL_STATUS_OK, &reached), PIL_STATUS_EXISTS);
    assert_int_equal(reached, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_status_has_its_own_text),
        cmocka_unit_test(errno_becomes_an_action),
        cmocka_unit_test(what_the_machine_lacks_may_pass_and_a_verdict_does_not),
        cmocka_unit_test(failing_formats_and_returns),
        cmocka_unit_test(long_details_are_cut_at_the_end),
        cmocka_unit_test(try_returns_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
