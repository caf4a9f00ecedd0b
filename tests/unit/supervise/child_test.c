/* SPDX-License-Identifier: Apache-2.0
 * Goal: a child that keeps failing is started ever more rarely, one that ran for a while at once; one that the
 * supervisor replaces has not failed; none is killed for what may pass. Method: a clock that the test moves; no process
 * is started, for want of descriptors where one is tried. */
#include "supervise/child.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define MS 1000000ull

/* Runs a child from start_ns on for so long; returns how long its next start waits. */
static uint64_t run(struct pil_child *child, uint64_t start_ns, uint64_t length_ns) {
    child->started_ns = start_ns;
    child->pid = 1;
    pil_child_ended(child, start_ns + length_ns);
    assert_int_equal(child->pid, 0);
    return child->restart_ns - (start_ns + length_ns);
}

static void failures_in_a_row_wait_longer_and_longer(void **state) {
    static const uint64_t expected_ms[] = {0, 100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000};
    struct pil_child child;
    (void)state;
    pil_child_init(&child, "server");
    for (size_t i = 0; i < sizeof expected_ms / sizeof expected_ms[0]; i++) {
        assert_int_equal(run(&child, 1000 * MS * i, 5 * MS), expected_ms[i] * MS);
        assert_int_equal(child.failures, i + 1);
        assert_int_equal(child.restarts, i + 1);
    }
    assert_int_equal(pil_child_backoff_ns(UINT32_MAX), 5000 * MS);
}

static void a_child_that_ran_for_ten_seconds_starts_at_once(void **state) {
    struct pil_child child;
    (void)state;
    pil_child_init(&child, "server");
    for (int i = 0; i < 5; i++) {
        (void)run(&child, 0, 9999 * MS);
    }
    assert_int_equal(child.failures, 5);
    assert_int_equal(run(&child, 0, 10000 * MS), 0);
    assert_int_equal(child.failures, 0);
    assert_int_equal(run(&child, 0, 1), 0); /* the first failure after that */
    assert_int_equal(run(&child, 0, 1), 100 * MS);
}

static void a_child_that_is_replaced_has_not_failed(void **state) {
    struct pil_child child;
    (void)state;
    pil_child_init(&child, "fetcher");
    for (int i = 0; i < 3; i++) {
        child.is_replaced = true;
        assert_int_equal(run(&child, 0, 1), 0);
        assert_int_equal(child.failures, 0);
        assert_int_equal(child.restarts, 0);
    }
}

/* Neither how long the child before ran, nor why it ended, says anything of one that does not start. */
static void a_child_that_cannot_be_started_waits_longer_and_longer(void **state) {
    struct pil_child child;
    struct pil_error error;
    struct rlimit files;
    uint64_t now_ns = 1000000 * MS;
    (void)state;
    pil_child_init(&child, "server");
    child.is_replaced = true;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &(struct rlimit){0, files.rlim_max}), 0);
    for (uint32_t failures = 1; failures <= 3; failures++) {
        assert_int_equal(pil_child_start(&child, now_ns, &error), PIL_STATUS_SYSTEM);
        pil_child_ended(&child, now_ns);
        assert_int_equal(child.failures, failures);
        assert_int_equal(child.restart_ns - now_ns, pil_child_backoff_ns(failures));
        now_ns = child.restart_ns;
    }
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
}

static void what_waited_for_a_child_that_ended_is_dropped(void **state) {
    struct pil_child child;
    struct pil_error error;
    struct pil_message drain = {.kind = PIL_MESSAGE_DRAIN};
    int pair[2];
    (void)state;
    pil_child_init(&child, "server");
    pil_child_send(&child, &drain); /* not running: nobody is told */
    assert_false(pil_child_has_mail(&child));
    assert_int_equal(pil_message_pair(pair, &error), PIL_STATUS_OK);
    child.socket = pair[0];
    while (!pil_child_has_mail(&child)) {
        pil_child_send(&child, &drain);
    }
    pil_child_flush(&child);
    assert_true(child.is_stuck); /* not a byte of room */
    close(pair[1]);
    pil_child_flush(&child);
    assert_false(pil_child_has_mail(&child) || child.is_stuck);
    (void)run(&child, 0, 1);
    assert_int_equal(child.socket, -1);
}

/* A child that runs loses its life only with a message, and what may pass loses none. */
static void a_child_lives_when_a_send_fails_for_a_while(void **state) {
    struct pil_child child;
    struct pil_error error;
    struct pil_message drain = {.kind = PIL_MESSAGE_DRAIN}, got;
    int pair[2], blob = -1, status = 0;
    (void)state;
    assert_int_equal(pil_message_pair(pair, &error), PIL_STATUS_OK);
    assert_int_equal(pil_message_blob("x", 1, &blob, &error), PIL_STATUS_OK);
    pil_child_init(&child, "server");
    child.pid = fork();
    if (child.pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a check that fails above leaves nobody behind */
        pause();
        _exit(0);
    }
    child.socket = blob; /* which nothing can be sent to */
    pil_child_send(&child, &drain);
    pil_child_flush(&child);
    assert_true(child.is_stuck && pil_child_has_mail(&child));
    assert_int_equal(waitpid(child.pid, &status, WNOHANG), 0);
    child.socket = pair[0];
    pil_child_flush(&child);
    assert_false(child.is_stuck || pil_child_has_mail(&child));
    assert_int_equal(pil_message_receive(pair[1], PIL_ROUTE_TO_SERVER, false, &got), PIL_STATUS_OK);
    assert_int_equal(got.kind, PIL_MESSAGE_DRAIN);
    assert_int_equal(kill(child.pid, SIGTERM), 0);
    assert_int_equal(waitpid(child.pid, &status, 0), child.pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM); /* not SIGKILL */
    (void)run(&child, 0, 1);
    close(pair[1]);
    close(blob);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failures_in_a_row_wait_longer_and_longer),
        cmocka_unit_test(a_child_that_ran_for_ten_seconds_starts_at_once),
        cmocka_unit_test(a_child_that_is_replaced_has_not_failed),
        cmocka_unit_test(a_child_that_cannot_be_started_waits_longer_and_longer),
        cmocka_unit_test(what_waited_for_a_child_that_ended_is_dropped),
        cmocka_unit_test(a_child_lives_when_a_send_fails_for_a_while),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
