/* SPDX-License-Identifier: Apache-2.0
 * Parts of tests that give up their rights, or have mounts of their own: each in a child. It returns 0 when all is as
 * expected. */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <cmocka.h>
#include <grp.h>
#include <stdio.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHILD __attribute__((unused)) static

enum { CHILD_SKIPPED = 77 };

/* Before anything is made: skipping is no way to clean up. */
CHILD void need_root(void) {
    if (geteuid() != 0) {
        print_message("skipped: this needs root\n");
        skip();
    }
}

CHILD void expect_child(int (*child)(void)) {
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        _exit(child());
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == CHILD_SKIPPED) {
        print_message("skipped: this needs root\n");
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* Goes on when `condition` holds, else says which one did not. */
#define CHILD_EXPECT(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            return 1; \
        } \
    } while (0)

enum { NOBODY = 65534 };

/* false when we are somebody who may not. */
CHILD bool become_nobody(void) {
    return geteuid() == 0 && setgroups(0, NULL) == 0 && setresgid(NOBODY, NOBODY, NOBODY) == 0 &&
           setresuid(NOBODY, NOBODY, NOBODY) == 0;
}
