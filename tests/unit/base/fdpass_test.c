/* SPDX-License-Identifier: Apache-2.0
 * Goal: bytes and descriptors arrive together, and no failure leaves a descriptor open.
 * Method: a socket pair; the number of this process's open descriptors before and after. */
#include "base/fdpass.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static uint32_t open_count(void) {
    DIR *folder = opendir("/proc/self/fd");
    uint32_t count = 0;
    assert_non_null(folder);
    while (readdir(folder) != NULL) {
        count++;
    }
    closedir(folder);
    return count;
}

struct pair {
    int ends[2];
    uint32_t open_before;
};

static int set_up(void **state) {
    static struct pair pair;
    pair.open_before = open_count();
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair.ends), 0);
    *state = &pair;
    return 0;
}

static int tear_down(void **state) {
    struct pair *pair = *state;
    close(pair->ends[0]);
    close(pair->ends[1]);
    assert_int_equal(open_count(), pair->open_before);
    return 0;
}

static void bytes_and_descriptors_arrive_together(void **state) {
    struct pair *pair = *state;
    int fds[PIL_FDPASS_MAX];
    for (uint32_t i = 0; i < PIL_FDPASS_MAX; i++) {
        fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
    assert_int_equal(pil_fdpass_send(pair->ends[0], pil_bytes_from_text("hello"), fds, PIL_FDPASS_MAX, false),
                     PIL_STATUS_OK);
    for (uint32_t i = 0; i < PIL_FDPASS_MAX; i++) {
        close(fds[i]);
    }
    struct pil_fdpass_received received;
    char buffer[8];
    assert_int_equal(pil_fdpass_receive(pair->ends[1], true, buffer, sizeof buffer, &received), PIL_STATUS_OK);
    assert_int_equal(received.bytes, 5);
    assert_memory_equal(buffer, "hello", 5);
    assert_int_equal(received.fd_count, PIL_FDPASS_MAX);
    assert_int_equal(fcntl(received.fds[63], F_GETFD), FD_CLOEXEC);
    pil_fdpass_close(&received);
    assert_int_equal(received.fd_count, 0);
}

static void says_why_nothing_came(void **state) {
    struct pair *pair = *state;
    struct pil_fdpass_received received = {.bytes = 77};
    char buffer[4];
    int fd = pair->ends[0];
    assert_int_equal(pil_fdpass_receive(pair->ends[1], false, buffer, sizeof buffer, &received), PIL_STATUS_AGAIN);
    assert_int_equal(pil_fdpass_send(fd, pil_bytes_from_text("too long"), &fd, 1, false), PIL_STATUS_OK);
    assert_int_equal(pil_fdpass_receive(pair->ends[1], true, buffer, sizeof buffer, &received), PIL_STATUS_TOO_LARGE);
    shutdown(pair->ends[0], SHUT_WR);
    assert_int_equal(pil_fdpass_receive(pair->ends[1], true, buffer, sizeof buffer, &received), PIL_STATUS_CLOSED);
    assert_int_equal(received.bytes, 77);
}

static void a_full_buffer_is_not_waited_for(void **state) {
    struct pair *pair = *state;
    pil_status status = PIL_STATUS_OK;
    for (uint32_t i = 0; i < 1000000 && status == PIL_STATUS_OK; i++) {
        status = pil_fdpass_send(pair->ends[0], pil_bytes_from_text("x"), NULL, 0, false);
    }
    assert_int_equal(status, PIL_STATUS_AGAIN);
}

static void lost_descriptors_are_told(void **state) {
    struct pair *pair = *state;
    int fds[2] = {pair->ends[0], pair->ends[1]};
    struct rlimit limit, low;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(pil_fdpass_send(pair->ends[0], pil_bytes_from_text("x"), fds, 2, false), PIL_STATUS_OK);
    int next = dup(0);
    close(next);
    low = (struct rlimit){.rlim_cur = (rlim_t)next, .rlim_max = limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    struct pil_fdpass_received received;
    char buffer[4];
    pil_status status = pil_fdpass_receive(pair->ends[1], true, buffer, sizeof buffer, &received);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(status, PIL_STATUS_SYSTEM);
    assert_int_equal(received.bytes, 1); /* the data came */
    assert_int_equal(received.fd_count, 0);
}

/* Few descriptors may be on their way from a process without privileges. Sends until something else than OK comes. */
static pil_status send_as_nobody(int socket) {
    int fds[PIL_FDPASS_MAX];
    pil_status status = PIL_STATUS_OK;
    struct rlimit low = {.rlim_cur = PIL_FDPASS_MAX, .rlim_max = PIL_FDPASS_MAX};
    if ((geteuid() == 0 && setuid(65534) != 0) || setrlimit(RLIMIT_NOFILE, &low) != 0) {
        return PIL_STATUS_DENIED;
    }
    for (uint32_t i = 0; i < PIL_FDPASS_MAX; i++) {
        fds[i] = socket;
    }
    for (uint32_t i = 0; i < 8 && status == PIL_STATUS_OK; i++) {
        status = pil_fdpass_send(socket, pil_bytes_from_text("x"), fds, PIL_FDPASS_MAX, false);
    }
    return status;
}

static void too_many_descriptors_on_their_way_are_a_reason_to_wait(void **state) {
    struct pair *pair = *state;
    int wait_status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        _exit((int)send_as_nobody(pair->ends[0]));
    }
    assert_int_equal(waitpid(pid, &wait_status, 0), pid);
    assert_true(WIFEXITED(wait_status));
    if (WEXITSTATUS(wait_status) == PIL_STATUS_DENIED) {
        print_message("skipped: only root can be another user\n");
        skip();
    }
    assert_int_equal(WEXITSTATUS(wait_status), PIL_STATUS_AGAIN);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(bytes_and_descriptors_arrive_together, set_up, tear_down),
        cmocka_unit_test_setup_teardown(says_why_nothing_came, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_full_buffer_is_not_waited_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(lost_descriptors_are_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(too_many_descriptors_on_their_way_are_a_reason_to_wait, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
