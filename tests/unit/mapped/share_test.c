/* SPDX-License-Identifier: Apache-2.0
 * Goal: a client that does not read, does not speak, or takes all places harms itself alone, whatever it sends; the
 * descriptors that the kernel counts as in flight stay within the shares of ADR 33. Method: sessions of this process,
 * of children and of another user, on real sockets. The state is validated after every step. */
#include "unit/mapped/client.h"

#include <sys/epoll.h>
#include <sys/wait.h>

static void sessions_that_never_begin_make_room(void **state) {
    struct mapped_fixture *f = *state;
    struct mapped_answer answer;
    int fds[4], good = begin(f);
    for (int i = 0; i < 4; i++) {
        fds[i] = mapped_connect(f);
    }
    mapped_turn(f);
    assert_int_equal(f->mapped->session_count, 4);
    assert_int_equal(mapped_receive(fds[0], &answer), -1); /* the oldest that said nothing */
    assert_int_equal(mapped_receive(fds[3], &answer), 0);
    PIL_LIST_EACH(struct pil_mapped_session, link, at, &f->mapped->sessions) {
        at->since_ns -= 10000000000;
    }
    pil_mapped_tick(f->mapped);
    assert_int_equal(f->mapped->session_count, 1);
    assert_refused(f, good, 0, "has no release yet");
    for (int i = 0; i < 4; i++) {
        close(fds[i]);
    }
    close(good);
}

enum { OWN_USER = -1, OTHER_USER = 65534 };

/* A session of another process, and of another user if the test is root's: the kernel takes the identity of the process
 * that connects, whoever uses the socket afterwards. */
static int connect_from_child(const struct mapped_fixture *f, int user) {
    struct pil_fdpass_received received;
    uint8_t byte;
    int pair[2], status = 0;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    pid_t child = fork();
    if (child == 0) {
        bool is_it = user == OWN_USER || (setgid((gid_t)user) == 0 && setuid((uid_t)user) == 0);
        int fd = is_it ? mapped_connect(f) : -1;
        _exit(fd >= 0 && pil_fdpass_send(pair[1], pil_bytes_from("x", 1), &fd, 1, true) == PIL_STATUS_OK ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(pil_fdpass_receive(pair[0], false, &byte, 1, &received), PIL_STATUS_OK);
    close(pair[0]);
    close(pair[1]);
    return received.fds[0];
}

static int begin_from_child(struct mapped_fixture *f, int user) {
    int fd = connect_from_child(f, user);
    struct mapped_answer answer = ask(f, fd, hello);
    assert_int_equal(answer.message.type, PIL_MAPPED_WELCOME);
    mapped_answer_deinit(&answer);
    return fd;
}

static void send_acquire(struct mapped_fixture *f, int fd) {
    mapped_send(fd, (struct pil_mapped_message){.type = PIL_MAPPED_ACQUIRE});
    mapped_turn(f);
}

/* Reads the packets of whole grants, letting the server go on after each; returns the number of descriptors. */
static uint32_t read_grants(struct mapped_fixture *f, int fd) {
    struct mapped_answer answer;
    uint32_t count = 0;
    while (mapped_receive(fd, &answer) == 1) {
        assert_int_equal(answer.message.type, PIL_MAPPED_GRANT);
        assert_int_equal(answer.message.index, count % answer.message.count);
        count += answer.fd_count;
        mapped_answer_deinit(&answer);
        mapped_turn(f);
    }
    return count;
}

static void a_client_has_one_answer_in_flight(void **state) {
    struct mapped_fixture *f = *state;
    mapped_publish(f, 0, 7);
    int fd = begin(f);
    for (int i = 0; i < 20; i++) {
        send_acquire(f, fd);
    }
    assert_int_equal(f->mapped->in_flight, PIL_MAPPED_FDS_MAX);
    assert_int_equal(read_grants(f, fd), 20 * 128);
    assert_int_equal(f->mapped->in_flight, 0);
    close(fd);
}

/* Sends a packet beside which the socket itself travels. */
static void send_with_itself(int fd, struct pil_bytes packet) {
    assert_int_equal(pil_fdpass_send(fd, packet, &fd, 1, false), PIL_STATUS_OK);
}

/* A socket that is on its way to the server stays open when its client has closed it, and is only freed when the server
 * receives it: whatever the session waits for, and whatever ended it. */
static void a_client_that_sends_its_own_socket_can_leave(void **state) {
    struct mapped_fixture *f = *state;
    enum { READS_NOTHING, SHARE_IS_USED_UP, SENT_RUBBISH, SENT_AN_EMPTY_PACKET, CASES };
    uint8_t say_hello[PIL_MAPPED_MESSAGE_BYTES_MAX], ask_for[PIL_MAPPED_MESSAGE_BYTES_MAX];
    size_t hello_bytes = pil_mapped_encode(&hello, say_hello);
    size_t ask_bytes = pil_mapped_encode(&(struct pil_mapped_message){.type = PIL_MAPPED_ACQUIRE}, ask_for);
    mapped_publish(f, 0, 7);
    uint32_t all = f->mapped->in_flight_max;
    for (int i = 0; i < CASES; i++) {
        int fd = mapped_connect(f);
        f->mapped->in_flight_max = i == SHARE_IS_USED_UP ? 0 : all;
        send_with_itself(fd, pil_bytes_from(say_hello, hello_bytes));
        send_with_itself(fd, pil_bytes_from(ask_for, ask_bytes));
        send_with_itself(fd, pil_bytes_from(ask_for, i == SENT_RUBBISH           ? 7
                                                     : i == SENT_AN_EMPTY_PACKET ? 0
                                                                                 : ask_bytes));
        send_with_itself(fd, pil_bytes_from(ask_for, i == SENT_AN_EMPTY_PACKET ? 0 : ask_bytes));
        mapped_turn(f);
        assert_int_equal(f->mapped->session_count, 1);
        send_with_itself(fd, pil_bytes_from(ask_for, ask_bytes)); /* while the session waits */
        close(fd);
        mapped_turn(f);
        assert_int_equal(f->mapped->session_count, 0);
        assert_int_equal(f->mapped->ended_count, 0);
        assert_int_equal(f->mapped->in_flight, 0);
    }
    f->mapped->in_flight_max = all;
}

/* What lies behind the packet that ends a session is received, too, also when it is more than may wait, and when the
 * client has not read the reason. */
static void a_session_that_ends_keeps_nothing_that_its_client_sent(void **state) {
    struct mapped_fixture *f = *state;
    static const uint8_t rubbish[PIL_MAPPED_MESSAGE_BYTES_MAX];
    int fd = begin(f);
    mapped_send(fd, hello); /* a second time: refused */
    for (uint32_t sent = 0; sent < MAPPED_AHEAD_BYTES + 4 * sizeof rubbish; sent += sizeof rubbish) {
        send_with_itself(fd, pil_bytes_from(rubbish, sizeof rubbish));
        send_with_itself(fd, pil_bytes_from(rubbish, 0));
    }
    close(fd);
    mapped_turn(f);
    assert_int_equal(f->mapped->session_count, 0);
    assert_int_equal(f->mapped->ended_count, 0);
}

/* Requests wait in the order in which they came, as many as fit; who sends more without reading is cut off. */
static void requests_that_wait_are_bounded(void **state) {
    struct mapped_fixture *f = *state;
    enum { MANY = 300 }; /* more than the holds of a client and the requests that libpillion leaves open */
    struct mapped_answer answer;
    int fd = begin(f), hostile = begin(f);
    for (uint32_t i = 0; i < MANY; i++) {
        mapped_send(fd, (struct pil_mapped_message){.type = PIL_MAPPED_ACQUIRE, .view = 1000 + i});
        mapped_turn(f);
    }
    for (uint32_t i = 0; i < MANY; i++) {
        assert_int_equal(mapped_receive(fd, &answer), 1);
        assert_int_equal(answer.message.type, PIL_MAPPED_REFUSE);
        assert_int_equal(answer.message.view, 1000 + i);
        mapped_turn(f);
    }
    for (uint32_t i = 0; i < 10000 && f->mapped->session_count == 2; i++) {
        mapped_send(hostile, (struct pil_mapped_message){.type = PIL_MAPPED_CATALOG});
        mapped_turn(f);
    }
    assert_int_equal(f->mapped->session_count, 1);
    assert_int_equal(f->mapped->ended_count, 1); /* it has not received the catalog */
    assert_gauge(f, "pillion_mapped_troubles_total{reason=\"invalid\"} 1\n", true);
    close(hostile);
    mapped_turn(f);
    assert_int_equal(f->mapped->ended_count, 0);
    close(fd);
}

/* The end of the connection is no event that comes again and again. */
static void a_session_that_has_ended_keeps_nobody_awake(void **state) {
    struct mapped_fixture *f = *state;
    struct epoll_event event;
    int fd = begin(f);
    mapped_turn(f);         /* the session waits for a request */
    mapped_send(fd, hello); /* a second time: refused, which it does not read */
    mapped_turn(f);
    assert_int_equal(f->mapped->ended_count, 1);
    assert_int_equal(epoll_wait(pil_mapped_descriptor(f->mapped), &event, 1, 0), 0);
    close(fd);
}

/* Looking at a packet leaves its descriptors where they are. */
static void a_client_that_peeks_has_not_received(void **state) {
    struct mapped_fixture *f = *state;
    uint8_t packet[PIL_MAPPED_MESSAGE_BYTES_MAX];
    mapped_publish(f, 0, 7);
    int fd = begin(f);
    send_acquire(f, fd);
    assert_true(recv(fd, packet, sizeof packet, MSG_PEEK) > 0);
    mapped_turn(f);
    assert_int_equal(f->mapped->in_flight, PIL_MAPPED_FDS_MAX);
    assert_int_equal(read_grants(f, fd), 128);
    close(fd);
}

/* A process has a quarter of all, so that others of its user have something left; half of that is for sessions that it
 * does not have yet. */
static void a_process_that_does_not_read_delays_itself_alone(void **state) {
    struct mapped_fixture *f = *state;
    int fds[3];
    mapped_publish(f, 0, 6);
    f->mapped->in_flight_max = 8;
    for (int i = 0; i < 3; i++) {
        fds[i] = begin(f);
    }
    int other = begin_from_child(f, OWN_USER);
    for (int i = 0; i < 3; i++) {
        send_acquire(f, fds[i]);
    }
    assert_int_equal(f->mapped->in_flight, 2);
    struct pil_mapped_session *third = mapped_last_session(f);
    assert_int_equal(third->wait, MAPPED_WAIT_SHARE);
    assert_int_equal(third->in_flight, 0);
    send_acquire(f, other);
    assert_int_equal(f->mapped->in_flight, 3);
    assert_int_equal(read_grants(f, other), 64);
    assert_int_equal(read_grants(f, fds[0]), 64);
    assert_int_equal(read_grants(f, fds[2]), 64); /* as soon as there was room */
    assert_int_equal(read_grants(f, fds[1]), 64);
    assert_int_equal(f->mapped->in_flight, 0);
    send_acquire(f, fds[0]);
    send_acquire(f, fds[1]);
    send_acquire(f, fds[2]);
    close(fds[2]); /* while it waits for its share */
    mapped_turn(f);
    assert_int_equal(f->mapped->session_count, 3);
    close(fds[0]);
    close(fds[1]);
    close(other);
}

static void a_user_that_does_not_read_leaves_half_to_others(void **state) {
    struct mapped_fixture *f = *state;
    int fds[3];
    if (geteuid() != 0) {
        print_message("skipped: only root can connect as another user\n");
        skip();
    }
    mapped_publish(f, 0, 6);
    f->mapped->in_flight_max = 16;
    for (int i = 0; i < 3; i++) {
        fds[i] = begin_from_child(f, OTHER_USER);
        send_acquire(f, fds[i]);
    }
    uint32_t of_other = f->mapped->in_flight;
    assert_true(of_other > 0 && of_other <= 8);
    int own = begin(f);
    send_acquire(f, own);
    assert_true(f->mapped->in_flight > of_other);
    assert_int_equal(read_grants(f, own), 64);
    for (int i = 0; i < 3; i++) {
        close(fds[i]);
    }
    close(own);
}

/* The descriptors stay in the client's queue, also when the connection is over. */
static void who_leaves_without_reading_is_counted_until_it_is_gone(void **state) {
    struct mapped_fixture *f = *state;
    struct mapped_answer answer;
    mapped_publish(f, 0, 7);
    for (int i = 0; i < 2; i++) {
        int fd = begin(f);
        send_acquire(f, fd);
        assert_int_equal(shutdown(fd, SHUT_RDWR), 0);
        mapped_turn(f);
        assert_int_equal(f->mapped->session_count, 0);
        assert_int_equal(f->mapped->ended_count, 1);
        assert_int_equal(f->mapped->in_flight, PIL_MAPPED_FDS_MAX);
        assert_false(pil_mapped_is_held(f->mapped, 0, 1));
        if (i == 0) { /* late, it reads */
            assert_int_equal(mapped_receive(fd, &answer), 1);
            mapped_answer_deinit(&answer);
            mapped_turn(f);
            assert_int_equal(f->mapped->ended_count, 0);
        }
        close(fd);
        mapped_turn(f);
        assert_int_equal(f->mapped->ended_count, 0);
        assert_int_equal(f->mapped->in_flight, 0);
    }
}

static void a_release_that_is_replaced_while_it_is_granted_is_asked_for_again(void **state) {
    struct mapped_fixture *f = *state;
    struct mapped_answer answer;
    mapped_publish(f, 0, 7);
    int fd = begin(f);
    send_acquire(f, fd);
    mapped_publish(f, 0, 0);
    mapped_turn(f);
    assert_int_equal(mapped_receive(fd, &answer), 1);
    assert_int_equal(answer.fd_count, PIL_MAPPED_FDS_MAX);
    mapped_answer_deinit(&answer);
    mapped_turn(f);
    assert_int_equal(mapped_receive(fd, &answer), 1);
    assert_int_equal(answer.message.type, PIL_MAPPED_REFUSE);
    assert_int_equal(answer.message.code, PIL_STATUS_AGAIN);
    assert_false(pil_mapped_is_held(f->mapped, 0, 1));
    assert_int_equal(acquire(f, fd, 0), 2);
    close(fd);
}

/* Places: 4, and 1 beside them. */
static void the_largest_process_makes_place_for_others(void **state) {
    struct mapped_fixture *f = *state;
    struct mapped_answer answer;
    int fds[5];
    mapped_publish(f, 0, 0);
    for (int i = 0; i < 4; i++) {
        fds[i] = begin(f);
        assert_int_equal(acquire(f, fds[i], 0), 1);
    }
    fds[4] = mapped_connect(f); /* it has most itself, and each of its sessions maps something */
    mapped_turn(f);
    assert_int_equal(mapped_receive(fds[4], &answer), -1);
    int other = begin_from_child(f, OWN_USER);
    assert_int_equal(f->mapped->session_count, 4);
    assert_int_equal(mapped_receive(fds[0], &answer), -1); /* answered longest ago */
    drop(f, fds[3], 0, 1);
    int again = begin(f); /* now one of its sessions maps nothing */
    assert_int_equal(mapped_receive(fds[3], &answer), -1);
    assert_int_equal(mapped_receive(other, &answer), 0);
    assert_int_equal(mapped_receive(fds[1], &answer), 0);
    for (int i = 0; i < 5; i++) {
        close(fds[i]);
    }
    close(other);
    close(again);
}

static void sessions_that_do_not_read_can_be_replaced_but_are_counted(void **state) {
    struct mapped_fixture *f = *state;
    struct mapped_answer answer;
    int fds[4], others[2];
    mapped_publish(f, 0, 7);
    for (int i = 0; i < 4; i++) {
        fds[i] = begin(f);
    }
    for (int i = 0; i < 4; i++) {
        send_acquire(f, fds[i]);
    }
    uint32_t in_flight = f->mapped->in_flight;
    others[0] = begin_from_child(f, OWN_USER);
    mapped_turn(f);
    assert_int_equal(f->mapped->session_count, 4);
    assert_int_equal(f->mapped->ended_count, 1);
    assert_int_equal(f->mapped->in_flight, in_flight);
    others[1] = connect_from_child(f, OWN_USER); /* no place beside the places is left */
    mapped_turn(f);
    assert_int_equal(mapped_receive(others[1], &answer), -1);
    close(fds[0]); /* the one that was ended is gone */
    mapped_turn(f);
    assert_int_equal(f->mapped->ended_count, 0);
    close(others[1]);
    others[1] = begin_from_child(f, OWN_USER);
    for (int i = 0; i < 4; i++) {
        close(i == 0 ? -1 : fds[i]);
    }
    close(others[0]);
    close(others[1]);
}

static void the_log_has_one_line_for_a_user_that_repeats_itself(void **state) {
    struct mapped_fixture *f = *state;
    const struct pil_mapped_complaint *complaint = &f->mapped->complaints[MAPPED_COMPLAINTS_MAX - 1];
    for (int i = 0; i < 10; i++) {
        int fd = mapped_connect(f);
        assert_int_equal(send(fd, "rubbish", 7, MSG_NOSIGNAL), 7);
        mapped_turn(f);
        close(fd);
    }
    assert_gauge(f, "pillion_mapped_troubles_total{reason=\"invalid\"} 10\n", true);
    assert_int_equal(complaint->trouble, MAPPED_TROUBLE_INVALID);
    assert_int_equal(complaint->uid, geteuid());
    assert_int_equal(complaint->count, 9); /* the first was logged */
    struct pil_peer_identity peer = {.known = PIL_PEER_UID};
    for (peer.uid = 1000; peer.uid < 1000 + 2 * MAPPED_COMPLAINTS_MAX; peer.uid++) { /* more users than places */
        pil_mapped_complain(f->mapped, &peer, MAPPED_TROUBLE_SILENT, "test");
    }
    assert_int_equal(complaint->count, 9);
    for (uint32_t i = 0; i < MAPPED_COMPLAINTS_MAX; i++) {
        assert_int_not_equal(f->mapped->complaints[i].until_ns, 0);
        f->mapped->complaints[i].until_ns = 1;
    }
    pil_mapped_tick(f->mapped);
    for (uint32_t i = 0; i < MAPPED_COMPLAINTS_MAX; i++) {
        assert_int_equal(f->mapped->complaints[i].until_ns, 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(sessions_that_never_begin_make_room, setup, teardown),
        cmocka_unit_test_setup_teardown(a_client_has_one_answer_in_flight, setup, teardown),
        cmocka_unit_test_setup_teardown(a_client_that_sends_its_own_socket_can_leave, setup, teardown),
        cmocka_unit_test_setup_teardown(a_session_that_ends_keeps_nothing_that_its_client_sent, setup, teardown),
        cmocka_unit_test_setup_teardown(requests_that_wait_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(a_session_that_has_ended_keeps_nobody_awake, setup, teardown),
        cmocka_unit_test_setup_teardown(a_client_that_peeks_has_not_received, setup, teardown),
        cmocka_unit_test_setup_teardown(a_process_that_does_not_read_delays_itself_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(a_user_that_does_not_read_leaves_half_to_others, setup, teardown),
        cmocka_unit_test_setup_teardown(who_leaves_without_reading_is_counted_until_it_is_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(a_release_that_is_replaced_while_it_is_granted_is_asked_for_again, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(the_largest_process_makes_place_for_others, setup, teardown),
        cmocka_unit_test_setup_teardown(sessions_that_do_not_read_can_be_replaced_but_are_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(the_log_has_one_line_for_a_user_that_repeats_itself, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
