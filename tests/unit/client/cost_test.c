/* SPDX-License-Identifier: Apache-2.0
 * Goal: a steady get allocates nothing and makes no system call. Method: malloc and its like are counted by standing in
 * front of the C library's; a child that only gets runs under a seccomp filter that kills it for any system call but
 * the one that ends it. Sanitizers bring their own allocator and calls: skipped there. */
#include "unit/client/fixture.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)

int main(void) {
    printf("sanitizers allocate and call the kernel by themselves\n");
    return 77;
}

#else

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { CALLS = 100000, BATCH = 100 };

static _Atomic uint64_t allocations;

void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *memory, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);

void *malloc(size_t bytes) {
    allocations++;
    return __libc_malloc(bytes);
}
void *calloc(size_t count, size_t bytes) {
    allocations++;
    return __libc_calloc(count, bytes);
}
void *realloc(void *memory, size_t bytes) {
    allocations++;
    return __libc_realloc(memory, bytes);
}
void *aligned_alloc(size_t alignment, size_t bytes) {
    allocations++;
    return __libc_memalign(alignment, bytes);
}

struct calls {
    struct pillion_plan *plan;
    int64_t ids[BATCH];
    float values[BATCH][FEATURES];
    uint8_t statuses[BATCH][FEATURES];
    struct pillion_keys keys;
    struct pillion_output output;
    struct pillion_answer answer;
};

static void calls_init(struct calls *calls, struct fixture *fixture) {
    calls->plan = fixture_service(fixture->client, "every");
    for (int64_t i = 0; i < BATCH; i++) {
        calls->ids[i] = i * 7;
    }
    calls->keys = fixture_keys(calls->ids, BATCH);
    calls->output = fixture_output(&calls->values[0][0], sizeof calls->values);
    calls->output.statuses = &calls->statuses[0][0];
    calls->answer.size = sizeof calls->answer;
}

static bool run(struct calls *calls, int count) {
    bool is_right = true;
    for (int i = 0; i < count; i++) {
        calls->keys.count = (size_t)(i % BATCH) + 1;
        is_right &= pillion_get(calls->plan, &calls->keys, &calls->output, &calls->answer) == PILLION_OK;
        is_right &= calls->values[i % BATCH][2] == fixture_value((uint64_t)calls->ids[i % BATCH], 2, 1);
    }
    return is_right;
}

static void a_get_allocates_nothing(void **state) {
    struct calls calls = {0};
    calls_init(&calls, *state);
    assert_true(run(&calls, BATCH));
    uint64_t before = allocations;
    assert_true(before > 0); /* the counter counts */
    assert_true(run(&calls, CALLS));
    assert_int_equal(allocations - before, 0);
    pillion_plan_free(&calls.plan);
}

/* Kills this thread for any system call but exit_group. */
static bool forbid_system_calls(void) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    struct sock_fprog program = {.len = sizeof filter / sizeof filter[0], .filter = filter};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0;
}

/* The server is this process's thread: it goes on while the child, connected by itself, gets. */
static int child(struct fixture *fixture) {
    struct calls calls = {0};
    struct pillion_client *own = fixture_open(fixture), *inherited = fixture->client;
    fixture->client = own;
    calls_init(&calls, fixture);
    fixture->client = inherited;
    if (!run(&calls, BATCH)) {
        return 1;
    }
    if (!forbid_system_calls()) {
        return 77;
    }
    syscall(SYS_exit_group, run(&calls, CALLS) ? 0 : 2);
    return 3;
}

static void a_get_calls_no_kernel(void **state) {
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        _exit(child(*state));
    }
    int code = -1;
    assert_int_equal(waitpid(pid, &code, 0), pid);
    if (WIFEXITED(code) && WEXITSTATUS(code) == 77) {
        print_message("skipped: no seccomp here\n");
        skip();
    }
    assert_int_equal(code, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_get_allocates_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_get_calls_no_kernel, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
