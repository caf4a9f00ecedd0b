/* SPDX-License-Identifier: Apache-2.0
 * Goal: the kernel's word about a peer is taken as it is, and what the kernel does not tell stays unknown. Method: real
 * sockets between this process and children that are other users, that have ended, or that have closed their socket;
 * what needs root says so and is skipped without. */
#include "peer/identity.h"

#include "base/bytes.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { STRANGER_UID = 4321, STRANGER_GID = 4322, EVERYTHING = 0x7f };

/* ---- A listener, and a child that connects to it. */

struct listener {
    int fd;
    struct sockaddr_storage address;
    socklen_t len;
};

static void listen_on(struct listener *listener, int family) {
    *listener = (struct listener){.len = sizeof listener->address};
    socklen_t bytes = sizeof(sa_family_t); /* unix: the kernel names it */
    listener->address.ss_family = (sa_family_t)family;
    if (family == AF_INET) {
        ((struct sockaddr_in *)&listener->address)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        bytes = sizeof(struct sockaddr_in);
    } else if (family == AF_INET6) {
        ((struct sockaddr_in6 *)&listener->address)->sin6_addr = in6addr_loopback;
        bytes = sizeof(struct sockaddr_in6);
    }
    listener->fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener->fd < 0 || bind(listener->fd, (struct sockaddr *)&listener->address, bytes) != 0) {
        print_message("no socket of family %d: %s\n", family, strerror(errno));
        skip();
    }
    assert_int_equal(listen(listener->fd, 8), 0);
    assert_int_equal(getsockname(listener->fd, (struct sockaddr *)&listener->address, &listener->len), 0);
}

static int connect_to(const struct listener *listener) {
    int fd = socket(listener->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&listener->address, listener->len) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

struct child {
    pid_t pid;
    int end; /* closing it lets the child end */
};

typedef enum child_kind {
    CHILD_SELF,     /* connects as we are, and waits */
    CHILD_STRANGER, /* as another user with two supplementary groups */
    CHILD_CLOSES,   /* as another user; closes its socket and waits */
    CHILD_ENDS      /* connects and ends; its socket stays open in this process */
} child_kind;

static void become_stranger(void) {
    const gid_t groups[] = {STRANGER_GID + 1, STRANGER_GID + 2};
    if (setgroups(2, groups) != 0 || setgid(STRANGER_GID) != 0 || setuid(STRANGER_UID) != 0) {
        _exit(1);
    }
}

/* Forks a child that connects; accepted is our end. */
static struct child fork_child(const struct listener *listener, child_kind kind, int *ret_accepted) {
    int pipe_fds[2], told[2];
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC) | pipe2(told, O_CLOEXEC), 0);
    struct child child = {.pid = fork(), .end = pipe_fds[1]};
    assert_true(child.pid >= 0);
    if (child.pid == 0) {
        char byte = 'x';
        close(pipe_fds[1]);
        if (kind == CHILD_STRANGER || kind == CHILD_CLOSES) {
            become_stranger();
        }
        int fd = connect_to(listener);
        if (kind == CHILD_CLOSES) {
            close(fd);
        }
        bool is_fine = fd >= 0 && write(told[1], &byte, 1) == 1;
        _exit(is_fine && (kind == CHILD_ENDS || read(pipe_fds[0], &byte, 1) == 0) ? 0 : 1);
    }
    char byte;
    close(pipe_fds[0]);
    close(told[1]);
    assert_int_equal(read(told[0], &byte, 1), 1);
    close(told[0]);
    *ret_accepted = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC);
    assert_true(*ret_accepted >= 0);
    return child;
}

static void end_child(struct child *child) {
    int status = 0;
    close(child->end);
    assert_int_equal(waitpid(child->pid, &status, 0), child->pid);
    assert_int_equal(status, 0);
}

static void need_root(void) {
    if (geteuid() != 0) {
        print_message("only root can be another user\n");
        skip();
    }
}

static int open_diag(void **state) {
    static struct pil_peer_diag diag;
    struct pil_error error;
    if (pil_peer_diag_open(&diag, &error) != PIL_STATUS_OK) {
        print_message("%s\n", error.text);
    }
    *state = &diag;
    return 0;
}

static int close_diag(void **state) {
    pil_peer_diag_close(*state);
    return 0;
}

/* ---- Unix sockets. */

static void own_cgroup(char *to, size_t room) {
    char line[1024];
    FILE *file = fopen("/proc/self/cgroup", "re");
    to[0] = '\0';
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "0::", 3) == 0) {
            line[strcspn(line, "\n")] = '\0';
            snprintf(to, room, "%s", line + 3);
        }
    }
    if (file != NULL) {
        fclose(file);
    }
}

static void a_unix_peer_is_known_by_everything(void **state) {
    struct pil_peer_identity peer;
    char expected[64], cgroup[1024];
    gid_t groups[PIL_PEER_GROUPS_MAX];
    int fds[2], group_count = getgroups(PIL_PEER_GROUPS_MAX, groups);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    pil_peer_identity_take(fds[0], EVERYTHING, *state, &peer);
    assert_int_equal(peer.known & (PIL_PEER_UID | PIL_PEER_GID | PIL_PEER_PID | PIL_PEER_GROUPS),
                     PIL_PEER_UID | PIL_PEER_GID | PIL_PEER_PID | PIL_PEER_GROUPS);
    assert_true(peer.uid == geteuid() && peer.gid == getegid() && peer.pid == getpid());
    assert_int_equal(peer.group_count, group_count);
    assert_memory_equal(peer.groups, groups, peer.group_count * sizeof groups[0]);
    own_cgroup(cgroup, sizeof cgroup);
    assert_int_equal((peer.known & PIL_PEER_CGROUP) != 0, cgroup[0] != '\0');
    assert_string_equal(peer.cgroup, cgroup);
    snprintf(expected, sizeof expected, "unix:pid=%d,uid=%u", getpid(), geteuid());
    assert_string_equal(peer.address, expected);
    close(fds[0]);
    close(fds[1]);
}

static void what_is_not_wanted_is_not_asked_for(void **state) {
    struct pil_peer_identity peer;
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    int next = dup(0);
    close(next);
    pil_peer_identity_take(fds[0], 0, *state, &peer);
    assert_int_equal(peer.known, PIL_PEER_UID | PIL_PEER_GID | PIL_PEER_PID);
    pil_peer_identity_take(fds[0], PIL_PEER_CGROUP, *state, &peer);
    int again = dup(0);
    assert_int_equal(again, next); /* no descriptor is left open */
    close(again);
    close(fds[0]);
    close(fds[1]);
}

static void another_user_is_told_by_a_unix_socket(void **state) {
    struct listener listener;
    struct pil_peer_identity peer;
    char text[PIL_PEER_DESCRIPTION_BYTES], expected[64];
    int fd;
    need_root();
    listen_on(&listener, AF_UNIX);
    struct child child = fork_child(&listener, CHILD_STRANGER, &fd);
    pil_peer_identity_take(fd, EVERYTHING, *state, &peer);
    assert_true(peer.uid == STRANGER_UID && peer.gid == STRANGER_GID && peer.pid == child.pid);
    assert_int_equal(peer.group_count, 2);
    assert_int_equal(peer.groups[0], STRANGER_GID + 1);
    assert_int_equal(peer.groups[1], STRANGER_GID + 2);
    pil_peer_identity_describe(&peer, text);
    snprintf(expected, sizeof expected, "uid %d, gid %d, cgroup ", STRANGER_UID, STRANGER_GID);
    assert_memory_equal(text, expected, strlen(expected));
    end_child(&child);
    close(fd);
    close(listener.fd);
}

/* Its number may be another process's by now, so no cgroup that is read by the number is believed. */
static void a_process_that_has_ended_has_no_cgroup(void **state) {
    struct listener listener;
    struct pil_peer_identity peer;
    siginfo_t info;
    int fd;
    listen_on(&listener, AF_UNIX);
    struct child child = fork_child(&listener, CHILD_ENDS, &fd);
    assert_int_equal(waitid(P_PID, (id_t)child.pid, &info, WEXITED | WNOWAIT), 0); /* its number is still its own */
    for (int i = 0; i < 2; i++) {
        pil_peer_identity_take(fd, EVERYTHING, *state, &peer);
        assert_int_equal(peer.known & PIL_PEER_CGROUP, 0);
        assert_string_equal(peer.cgroup, "");
        assert_int_equal(peer.known & PIL_PEER_UID, PIL_PEER_UID); /* who connected stays known */
        assert_int_equal(peer.uid, geteuid());
        if (i == 0) {
            end_child(&child); /* now it is not */
        }
    }
    close(fd);
    close(listener.fd);
}

/* ---- TCP. */

static void need_diag(const struct pil_peer_diag *diag) {
    if (diag->fd < 0) {
        print_message("skipped: no netlink socket of the kind NETLINK_SOCK_DIAG\n");
        skip();
    }
}

/* Either family; the peer runs as `uid`. */
static void check_tcp(struct pil_peer_diag *diag, int family, child_kind kind, uint32_t uid) {
    struct listener listener;
    struct pil_peer_identity peer;
    char expected[64];
    int fd;
    need_diag(diag);
    listen_on(&listener, family);
    struct child child = fork_child(&listener, kind, &fd);
    pil_peer_identity_take(fd, EVERYTHING, diag, &peer);
    assert_int_equal(peer.known, PIL_PEER_UID);
    assert_int_equal(peer.uid, uid);
    struct sockaddr_storage name = {0};
    socklen_t len = sizeof name;
    assert_int_equal(getpeername(fd, (struct sockaddr *)&name, &len), 0);
    snprintf(expected, sizeof expected, family == AF_INET ? "127.0.0.1:%u" : "[::1]:%u",
             ntohs(((struct sockaddr_in *)&name)->sin_port)); /* the port has the same place in both */
    assert_string_equal(peer.address, expected);
    pil_peer_identity_take(fd, EVERYTHING, NULL, &peer); /* nobody to ask */
    assert_int_equal(peer.known, 0);
    assert_string_equal(peer.address, expected);
    pil_peer_identity_take(fd, PIL_PEER_GID, diag, &peer); /* not asked for what nobody wants */
    assert_int_equal(peer.known, 0);
    end_child(&child);
    close(fd);
    close(listener.fd);
}

static void a_tcp_peer_is_known_by_its_user(void **state) {
    check_tcp(*state, AF_INET, CHILD_SELF, geteuid());
}

static void a_tcp_peer_over_ipv6_is_known_by_its_user(void **state) {
    check_tcp(*state, AF_INET6, CHILD_SELF, geteuid());
}

static void another_user_is_told_over_tcp(void **state) {
    need_root();
    check_tcp(*state, AF_INET, CHILD_STRANGER, STRANGER_UID);
}

static void another_user_is_told_over_ipv6(void **state) {
    need_root();
    check_tcp(*state, AF_INET6, CHILD_STRANGER, STRANGER_UID);
}

/* An IPv6 listener that takes IPv4 connections, too, sees their addresses within IPv6. */
static void ipv4_within_ipv6_is_found(void **state) {
    struct pil_peer_identity peer;
    struct listener listener;
    need_diag(*state);
    listen_on(&listener, AF_INET6);
    close(listener.fd);
    listener.fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_addr = in6addr_any};
    int off = 0;
    assert_int_equal(setsockopt(listener.fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off), 0);
    assert_int_equal(bind(listener.fd, (struct sockaddr *)&any, sizeof any), 0);
    assert_int_equal(listen(listener.fd, 1), 0);
    socklen_t len = sizeof any;
    assert_int_equal(getsockname(listener.fd, (struct sockaddr *)&any, &len), 0);
    struct sockaddr_in *to = (struct sockaddr_in *)&listener.address;
    *to = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = any.sin6_port, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    listener.len = sizeof *to;
    int client = connect_to(&listener), fd = accept4(listener.fd, NULL, NULL, SOCK_CLOEXEC);
    assert_true(client >= 0 && fd >= 0);
    pil_peer_identity_take(fd, PIL_PEER_UID, *state, &peer);
    assert_int_equal(peer.known, PIL_PEER_UID);
    assert_int_equal(peer.uid, geteuid());
    close(client);
    close(fd);
    close(listener.fd);
}

/* The kernel says of a socket that nobody has open any more that root owns it. */
static void a_tcp_socket_that_was_closed_is_nobodys(void **state) {
    struct listener listener;
    struct pil_peer_identity peer;
    int fd;
    need_root();
    need_diag(*state);
    listen_on(&listener, AF_INET);
    struct child child = fork_child(&listener, CHILD_CLOSES, &fd);
    pil_peer_identity_take(fd, EVERYTHING, *state, &peer);
    assert_int_equal(peer.known, 0);
    end_child(&child);
    close(fd);
    close(listener.fd);
}

/* A client that has sent all it will send waits for its answer. */
static void a_tcp_peer_that_has_shut_down_its_half_is_known(void **state) {
    struct listener listener;
    struct pil_peer_identity peer;
    need_diag(*state);
    listen_on(&listener, AF_INET);
    int client = connect_to(&listener), fd = accept4(listener.fd, NULL, NULL, SOCK_CLOEXEC);
    assert_int_equal(shutdown(client, SHUT_WR), 0);
    pil_peer_identity_take(fd, PIL_PEER_UID, *state, &peer);
    assert_int_equal(peer.known, PIL_PEER_UID);
    close(client);
    close(fd);
    close(listener.fd);
}

static struct sockaddr_storage ipv4(const char *host, uint16_t port) {
    struct sockaddr_storage address = {0};
    struct sockaddr_in *in = (struct sockaddr_in *)&address;
    in->sin_family = AF_INET;
    in->sin_port = htons(port);
    assert_int_equal(inet_pton(AF_INET, host, &in->sin_addr), 1);
    return address;
}

static void ends_that_fit_no_connection_are_not_found(void **state) {
    struct listener listener;
    struct pil_peer_socket found = {.uid = 77};
    need_diag(*state);
    listen_on(&listener, AF_INET);
    uint16_t port = ntohs(((struct sockaddr_in *)&listener.address)->sin_port);
    struct sockaddr_storage own = ipv4("127.0.0.1", 9), unrelated = {.ss_family = AF_UNIX};
    struct sockaddr_storage far_away = ipv4("192.0.2.1", port), gone = ipv4("127.0.0.1", 1);
    assert_false(pil_peer_diag_find(*state, &own, &listener.address, &found)); /* a listener is no peer */
    assert_false(pil_peer_diag_find(*state, &own, &far_away, &found));
    assert_false(pil_peer_diag_find(*state, &own, &gone, &found));
    assert_false(pil_peer_diag_find(*state, &own, &unrelated, &found));
    assert_int_equal(found.uid, 77); /* untouched */
    close(listener.fd);
    struct pil_peer_diag closed = {.fd = -1};
    assert_false(pil_peer_diag_find(&closed, &own, &gone, &found));
    pil_peer_diag_close(&closed);
}

static uint32_t inode_of_peer(struct pil_peer_diag *diag, int fd) {
    struct sockaddr_storage own = {0}, peer = {0};
    struct pil_peer_socket found = {0};
    socklen_t own_len = sizeof own, peer_len = sizeof peer;
    assert_int_equal(getsockname(fd, (struct sockaddr *)&own, &own_len), 0);
    assert_int_equal(getpeername(fd, (struct sockaddr *)&peer, &peer_len), 0);
    assert_true(pil_peer_diag_find(diag, &own, &peer, &found));
    return found.inode;
}

/* Answers to earlier questions that are still there are not taken for the answer to this one. */
static void many_questions_in_a_row_have_their_own_answers(void **state) {
    struct listener listener;
    uint32_t inodes[3];
    int clients[3], fds[3];
    need_diag(*state);
    listen_on(&listener, AF_INET);
    for (int i = 0; i < 3; i++) {
        clients[i] = connect_to(&listener);
        fds[i] = accept4(listener.fd, NULL, NULL, SOCK_CLOEXEC);
        inodes[i] = inode_of_peer(*state, fds[i]);
    }
    assert_true(inodes[0] != inodes[1] && inodes[1] != inodes[2] && inodes[0] != inodes[2]);
    for (int i = 0; i < 30; i++) {
        assert_int_equal(inode_of_peer(*state, fds[i % 3]), inodes[i % 3]);
    }
    for (int i = 0; i < 3; i++) {
        close(clients[i]);
        close(fds[i]);
    }
    close(listener.fd);
}

static void what_is_not_connected_is_unknown(void **state) {
    struct pil_peer_identity peer;
    char text[PIL_PEER_DESCRIPTION_BYTES];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int cases[] = {fd, -1};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pil_peer_identity_take(cases[i], EVERYTHING, *state, &peer);
        assert_int_equal(peer.known, 0);
        assert_string_equal(peer.address, "unknown");
        pil_peer_identity_describe(&peer, text);
        assert_string_equal(text, "uid unknown, gid unknown, cgroup unknown");
    }
    close(fd);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_unix_peer_is_known_by_everything),
        cmocka_unit_test(what_is_not_wanted_is_not_asked_for),
        cmocka_unit_test(another_user_is_told_by_a_unix_socket),
        cmocka_unit_test(a_process_that_has_ended_has_no_cgroup),
        cmocka_unit_test(a_tcp_peer_is_known_by_its_user),
        cmocka_unit_test(a_tcp_peer_over_ipv6_is_known_by_its_user),
        cmocka_unit_test(another_user_is_told_over_tcp),
        cmocka_unit_test(another_user_is_told_over_ipv6),
        cmocka_unit_test(ipv4_within_ipv6_is_found),
        cmocka_unit_test(a_tcp_socket_that_was_closed_is_nobodys),
        cmocka_unit_test(a_tcp_peer_that_has_shut_down_its_half_is_known),
        cmocka_unit_test(ends_that_fit_no_connection_are_not_found),
        cmocka_unit_test(many_questions_in_a_row_have_their_own_answers),
        cmocka_unit_test(what_is_not_connected_is_unknown),
    };
    return cmocka_run_group_tests(tests, open_diag, close_diag);
}
