/* SPDX-License-Identifier: Apache-2.0
 * Goal: the probe says epoll, and why, wherever io_uring cannot be used, and never fails the start. Method: children
 * that refuse themselves the system calls (seccomp, as container runtimes do) or the descriptors that it needs. */
#include "engine/engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Makes one system call fail with an errno, in this process from here on. */
static bool forbid(uint32_t number, uint32_t error_number) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error_number),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof filter / sizeof *filter, .filter = filter};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static bool forbid_setup(void) {
    return forbid(__NR_io_uring_setup, EPERM);
}

static bool forbid_enter(void) {
    return forbid(__NR_io_uring_enter, EPERM);
}

static bool hide_register(void) {
    return forbid(__NR_io_uring_register, ENOSYS);
}

static bool leave_one_descriptor(void) {
    int next = dup(0);
    struct rlimit limit = {(rlim_t)next + 1, (rlim_t)next + 1};
    close(next);
    return next > 0 && setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

enum { CANNOT_PREPARE = 50 };
static const struct pil_engine_options small = {.connections_max = 10};

/* What the probe says in a child that was prepared so. Exit codes: the kind, or CANNOT_PREPARE. */
static int probe_in_child(bool (*prepare)(void), char reason[PIL_ENGINE_REASON_BYTES]) {
    int pipe_fds[2];
    assert_int_equal(pipe(pipe_fds), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (!prepare()) {
            _exit(CANNOT_PREPARE);
        }
        char said[PIL_ENGINE_REASON_BYTES] = {0};
        pil_engine_kind kind = pil_engine_probe(&small, said);
        _exit(write(pipe_fds[1], said, sizeof said) == sizeof said ? (int)kind : 60);
    }
    close(pipe_fds[1]);
    memset(reason, 0, PIL_ENGINE_REASON_BYTES);
    ssize_t got = read(pipe_fds[0], reason, PIL_ENGINE_REASON_BYTES);
    assert_true(got == PIL_ENGINE_REASON_BYTES || got == 0);
    close(pipe_fds[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void expect_epoll(bool (*prepare)(void), const char *because) {
    char reason[PIL_ENGINE_REASON_BYTES];
    int kind = probe_in_child(prepare, reason);
    if (kind == CANNOT_PREPARE) {
        print_message("skipped: the kernel refuses what the child is prepared by\n");
        skip();
    }
    assert_int_equal(kind, PIL_ENGINE_EPOLL);
    if (strstr(reason, because) == NULL) {
        fail_msg("the reason is '%s' and does not say '%s'", reason, because);
    }
}

static pil_engine_kind kind_here;

static void names_seccomp_when_setup_is_refused(void **state) {
    (void)state;
    expect_epoll(forbid_setup, "seccomp");
}

/* The next three only mean something where io_uring works otherwise. */
static void notices_that_enter_is_refused(void **state) {
    (void)state;
    if (kind_here != PIL_ENGINE_IO_URING) {
        skip();
    }
    expect_epoll(forbid_enter, "Operation not permitted");
}

static void notices_that_register_is_missing(void **state) {
    (void)state;
    if (kind_here != PIL_ENGINE_IO_URING) {
        skip();
    }
    expect_epoll(hide_register, "Function not implemented");
}

static void notices_lack_of_descriptors(void **state) {
    (void)state;
    if (kind_here != PIL_ENGINE_IO_URING) {
        skip();
    }
    expect_epoll(leave_one_descriptor, "Too many open files");
}

static void leaves_no_descriptor_behind(void **state) {
    (void)state;
    char reason[PIL_ENGINE_REASON_BYTES];
    int before = dup(0);
    close(before);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(pil_engine_probe(&small, reason), kind_here);
    }
    int after = dup(0);
    close(after);
    assert_int_equal(before, after);
}

static void says_what_can_be_created(void **state) {
    (void)state;
    struct pil_engine_options options = {.kind = kind_here, .connections_max = 10};
    struct pil_engine *engine = NULL;
    struct pil_error error = {0};
    assert_int_equal(pil_engine_create(&options, &engine, &error), PIL_STATUS_OK);
    pil_engine_destroy(&engine);
    pil_engine_destroy(&engine); /* of nothing */
}

int main(void) {
    char reason[PIL_ENGINE_REASON_BYTES];
    kind_here = pil_engine_probe(&small, reason);
    print_message("%s: %s\n", pil_engine_kind_text(kind_here), reason);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_seccomp_when_setup_is_refused), cmocka_unit_test(notices_that_enter_is_refused),
        cmocka_unit_test(notices_that_register_is_missing),    cmocka_unit_test(notices_lack_of_descriptors),
        cmocka_unit_test(leaves_no_descriptor_behind),         cmocka_unit_test(says_what_can_be_created),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (failed == 0 && kind_here != PIL_ENGINE_IO_URING) {
        printf("skipped for io_uring: %s\n", reason);
        return 77;
    }
    return failed;
}
