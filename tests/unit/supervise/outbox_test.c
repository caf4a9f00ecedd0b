/* SPDX-License-Identifier: Apache-2.0
 * Goal: a side that does not read for a long while loses no message, no descriptor and no order, and never holds the
 * other one up, nor does a kernel that is short of something; what cannot be sent says so. Method: a pair of sockets in
 * one thread: whoever waited would wait for ever. */
#include "supervise/child.h"

#include "base/sys.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { MANY = 20000 };

struct fixture {
    struct pil_outbox outbox;
    int pair[2];
    int blob;
    ino_t inode;
};

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    struct pil_error error;
    struct stat info;
    pil_outbox_init(&f->outbox);
    assert_int_equal(pil_message_pair(f->pair, &error), PIL_STATUS_OK);
    assert_int_equal(pil_message_blob("x", 1, &f->blob, &error), PIL_STATUS_OK);
    assert_int_equal(fstat(f->blob, &info), 0);
    f->inode = info.st_ino;
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    pil_outbox_clear(&f->outbox);
    pil_sys_close(&f->pair[0]);
    pil_sys_close(&f->pair[1]);
    pil_sys_close(&f->blob);
    free(f);
    return 0;
}

static struct pil_message numbered(const struct fixture *f, uint32_t number) {
    if (number % 64 == 0) {
        return (struct pil_message){.kind = PIL_MESSAGE_LISTENER, .fd = f->blob, .listener = {number}};
    }
    return (struct pil_message){.kind = PIL_MESSAGE_START, .start = {number}};
}

static void check(const struct fixture *f, struct pil_message *got, uint32_t number) {
    struct stat info;
    if (number % 64 == 0) {
        assert_int_equal(got->kind, PIL_MESSAGE_LISTENER);
        assert_int_equal(got->listener.listener_index, number);
        assert_int_equal(fstat(got->fd, &info), 0);
        assert_int_equal(info.st_ino, f->inode);
        close(got->fd);
    } else {
        assert_int_equal(got->kind, PIL_MESSAGE_START);
        assert_int_equal(got->start.restarts, number);
    }
}

static void a_side_that_does_not_read_loses_nothing(void **state) {
    struct fixture *f = *state;
    struct pil_message got;
    for (uint32_t i = 0; i < MANY; i++) {
        struct pil_message message = numbered(f, i);
        assert_int_equal(pil_outbox_send(&f->outbox, f->pair[0], &message), PIL_STATUS_OK);
    }
    assert_true(f->outbox.count > MANY / 2); /* far more than any socket takes */
    pil_sys_close(&f->blob);                 /* what waits has its own */
    for (uint32_t i = 0; i < MANY; i++) {
        pil_status status = pil_message_receive(f->pair[1], PIL_ROUTE_TO_SERVER, false, &got);
        if (status == PIL_STATUS_AGAIN) {
            assert_int_not_equal(pil_outbox_flush(&f->outbox, f->pair[0]), PIL_STATUS_CLOSED);
            status = pil_message_receive(f->pair[1], PIL_ROUTE_TO_SERVER, false, &got);
        }
        assert_int_equal(status, PIL_STATUS_OK);
        check(f, &got, i);
    }
    assert_int_equal(pil_outbox_flush(&f->outbox, f->pair[0]), PIL_STATUS_OK);
    assert_int_equal(f->outbox.count, 0);
    assert_int_equal(pil_message_receive(f->pair[1], PIL_ROUTE_TO_SERVER, false, &got), PIL_STATUS_AGAIN);
}

static void a_message_never_overtakes_those_that_wait(void **state) {
    struct fixture *f = *state;
    struct pil_message got;
    uint32_t sent = 0;
    while (f->outbox.count < 2) {
        struct pil_message message = numbered(f, sent++);
        assert_int_equal(pil_outbox_send(&f->outbox, f->pair[0], &message), PIL_STATUS_OK);
    }
    for (uint32_t i = 0; i < sent / 2; i++) { /* there is room again */
        assert_int_equal(pil_message_receive(f->pair[1], PIL_ROUTE_TO_SERVER, false, &got), PIL_STATUS_OK);
        check(f, &got, i);
    }
    struct pil_message last = numbered(f, sent);
    assert_int_equal(pil_outbox_send(&f->outbox, f->pair[0], &last), PIL_STATUS_OK);
    for (uint32_t i = sent / 2; i <= sent; i++) {
        assert_int_equal(pil_message_receive(f->pair[1], PIL_ROUTE_TO_SERVER, false, &got), PIL_STATUS_OK);
        check(f, &got, i);
    }
}

static void a_side_that_is_gone_is_told_apart(void **state) {
    struct fixture *f = *state;
    struct pil_message message = numbered(f, 1);
    while (f->outbox.count < 2) {
        assert_int_equal(pil_outbox_send(&f->outbox, f->pair[0], &message), PIL_STATUS_OK);
    }
    pil_sys_close(&f->pair[1]);
    assert_int_equal(pil_outbox_flush(&f->outbox, f->pair[0]), PIL_STATUS_CLOSED);
    assert_int_equal(pil_outbox_send(&f->outbox, f->pair[0], &message), PIL_STATUS_CLOSED);
    pil_outbox_clear(&f->outbox);
    assert_int_equal(f->outbox.count, 0);
}

static void clearing_closes_the_descriptors_that_waited(void **state) {
    struct fixture *f = *state;
    struct pil_message message = numbered(f, 1), with_fd = numbered(f, 0);
    while (f->outbox.count < 1) {
        assert_int_equal(pil_outbox_send(&f->outbox, f->pair[0], &message), PIL_STATUS_OK);
    }
    int next = dup(f->blob);
    close(next);
    assert_int_equal(pil_outbox_send(&f->outbox, f->pair[0], &with_fd), PIL_STATUS_OK);
    assert_int_not_equal(fcntl(next, F_GETFD), -1);
    pil_outbox_clear(&f->outbox);
    assert_int_equal(fcntl(next, F_GETFD), -1);
}

/* A send that fails for a reason that may pass: here the descriptor is no socket. */
static void what_the_kernel_does_not_send_now_waits(void **state) {
    struct fixture *f = *state;
    struct pil_message got;
    for (uint32_t i = 0; i < 3; i++) {
        struct pil_message message = numbered(f, i);
        assert_int_equal(pil_outbox_send(&f->outbox, f->blob, &message), PIL_STATUS_OK);
    }
    assert_int_equal(pil_outbox_flush(&f->outbox, f->blob), PIL_STATUS_AGAIN);
    assert_int_equal(f->outbox.count, 3);
    assert_int_equal(pil_outbox_flush(&f->outbox, f->pair[0]), PIL_STATUS_OK);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(pil_message_receive(f->pair[1], PIL_ROUTE_TO_SERVER, false, &got), PIL_STATUS_OK);
        check(f, &got, i);
    }
}

static struct rlimit files;

static void forbid_new_files(void) {
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &(struct rlimit){.rlim_cur = 0, .rlim_max = files.rlim_max}), 0);
}

static void *allow_new_files_later(void *argument) {
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    return setrlimit(RLIMIT_NOFILE, &files) == 0 ? argument : NULL;
}

/* Without a descriptor for the copy, the message is lost only if none is there for long. */
static void a_copy_waits_for_a_descriptor(void **state) {
    struct fixture *f = *state;
    struct pil_message message = numbered(f, 1), with_fd = numbered(f, 0), got;
    pthread_t thread;
    void *result = NULL;
    uint32_t sent = 0;
    for (; f->outbox.count < 1; sent++) {
        assert_int_equal(pil_outbox_send(&f->outbox, f->pair[0], &message), PIL_STATUS_OK);
    }
    forbid_new_files();
    f->outbox.wait_ms = 5;
    pil_status short_wait = pil_outbox_send(&f->outbox, f->pair[0], &with_fd);
    f->outbox.wait_ms = PIL_OUTBOX_WAIT_MS;
    assert_int_equal(pthread_create(&thread, NULL, allow_new_files_later, f), 0);
    pil_status long_wait = pil_outbox_send(&f->outbox, f->pair[0], &with_fd);
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_ptr_equal(result, f);
    assert_int_equal(short_wait, PIL_STATUS_SYSTEM);
    assert_int_equal(long_wait, PIL_STATUS_OK);
    assert_int_equal(f->outbox.count, 2);
    for (uint32_t i = 0; i < sent; i++) {
        pil_ignore(pil_outbox_flush(&f->outbox, f->pair[0]), "there may be no room yet");
        assert_int_equal(pil_message_receive(f->pair[1], PIL_ROUTE_TO_SERVER, false, &got), PIL_STATUS_OK);
        check(f, &got, 1);
    }
    assert_int_equal(pil_message_receive(f->pair[1], PIL_ROUTE_TO_SERVER, false, &got), PIL_STATUS_OK);
    check(f, &got, 0); /* once */
    assert_int_equal(pil_message_receive(f->pair[1], PIL_ROUTE_TO_SERVER, false, &got), PIL_STATUS_AGAIN);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_side_that_does_not_read_loses_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_message_never_overtakes_those_that_wait, setup, teardown),
        cmocka_unit_test_setup_teardown(a_side_that_is_gone_is_told_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(clearing_closes_the_descriptors_that_waited, setup, teardown),
        cmocka_unit_test_setup_teardown(what_the_kernel_does_not_send_now_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(a_copy_waits_for_a_descriptor, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
