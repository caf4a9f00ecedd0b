/* SPDX-License-Identifier: Apache-2.0 */
#include "peer/diag.h"

#include "base/bytes.h"
#include "base/panic.h"
#include "base/sys.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

enum {
    ANSWER_BYTES = 1024, /* an inet_diag_msg and the few attributes that the kernel adds */
    ANSWERS_MAX = 4,     /* messages read per question: late answers to earlier questions are skipped */
};

/* States in which a process may still own the socket and wait for an answer. */
static const uint32_t open_states =
    1u << TCP_ESTABLISHED | 1u << TCP_FIN_WAIT1 | 1u << TCP_FIN_WAIT2 | 1u << TCP_CLOSE_WAIT;

struct question {
    struct nlmsghdr head;
    struct inet_diag_req_v2 request;
};
PIL_STATIC_ASSERT(sizeof(struct question) == sizeof(struct nlmsghdr) + sizeof(struct inet_diag_req_v2));

struct answer {
    struct nlmsghdr head;
    struct inet_diag_msg socket;
};

pil_status pil_peer_diag_open(struct pil_peer_diag *ret_diag, struct pil_error *ret_error) {
    ret_diag->sequence = 0;
    ret_diag->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_SOCK_DIAG);
    if (ret_diag->fd < 0) {
        return pil_fail(ret_error, pil_status_from_errno(errno), "socket diagnosis of the kernel: %s", strerror(errno));
    }
    return PIL_STATUS_OK;
}

void pil_peer_diag_close(struct pil_peer_diag *diag) {
    pil_sys_close(&diag->fd);
}

/* One end of a connection. An IPv4-mapped IPv6 address counts as IPv4, because the other end may be a socket of either
 * family. */
struct end {
    uint8_t family;
    uint8_t address[16]; /* IPv4: in the first 4 bytes, the rest 0 */
    uint16_t port;       /* network order */
};

static struct end end_of(uint8_t family, const void *address, uint16_t port) {
    struct end end = {.family = family, .port = port};
    const uint8_t *bytes = address;
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (family == AF_INET6 && memcmp(bytes, mapped, sizeof mapped) == 0) {
        end.family = AF_INET;
        bytes += sizeof mapped;
    }
    memcpy(end.address, bytes, end.family == AF_INET ? 4 : 16);
    return end;
}

static bool end_from_sockaddr(const struct sockaddr_storage *address, struct end *ret_end) {
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)address;
        *ret_end = end_of(AF_INET, &in->sin_addr, in->sin_port);
        return true;
    }
    if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)address;
        *ret_end = end_of(AF_INET6, &in->sin6_addr, in->sin6_port);
        return true;
    }
    return false;
}

static bool end_equals(const struct end *a, const struct end *b) {
    return a->family == b->family && a->port == b->port && memcmp(a->address, b->address, sizeof a->address) == 0;
}

/* Whether the peer may be on this machine, judged by addresses alone; the socket table decides. */
static bool is_local(const struct end *own, const struct end *peer) {
    static const uint8_t loopback[16] = {[15] = 1};
    bool is_loopback =
        peer->family == AF_INET ? peer->address[0] == 127 : memcmp(peer->address, loopback, sizeof loopback) == 0;
    return is_loopback || memcmp(own->address, peer->address, sizeof own->address) == 0;
}

/* The peer is the source of the question: the kernel is to find the peer's socket. */
static bool ask(struct pil_peer_diag *diag, const struct end *own, const struct end *peer) {
    struct question question = {.head = {.nlmsg_len = sizeof question,
                                         .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                                         .nlmsg_flags = NLM_F_REQUEST,
                                         .nlmsg_seq = ++diag->sequence},
                                .request = {.sdiag_family = peer->family,
                                            .sdiag_protocol = IPPROTO_TCP,
                                            .idiag_states = open_states,
                                            .id = {.idiag_sport = peer->port,
                                                   .idiag_dport = own->port,
                                                   .idiag_cookie = {INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE}}}};
    memcpy(question.request.id.idiag_src, peer->address, sizeof peer->address);
    memcpy(question.request.id.idiag_dst, own->address, sizeof own->address);
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    return sendto(diag->fd, &question, sizeof question, MSG_DONTWAIT, (const struct sockaddr *)&kernel,
                  sizeof kernel) == (ssize_t)sizeof question;
}

/* Returns false for an error, an answer to another question, a message that is not from the kernel, or no message;
 * *ret_again says whether to read another message. */
static bool receive(const struct pil_peer_diag *diag, struct answer *ret_answer, bool *ret_again) {
    _Alignas(struct answer) uint8_t bytes[ANSWER_BYTES];
    struct sockaddr_nl from = {0};
    socklen_t from_len = sizeof from;
    struct answer answer;
    ssize_t got = recvfrom(diag->fd, bytes, sizeof bytes, MSG_DONTWAIT, (struct sockaddr *)&from, &from_len);
    *ret_again = got >= (ssize_t)sizeof answer.head;
    if (!*ret_again || from.nl_pid != 0) {
        return false;
    }
    memcpy(&answer.head, bytes, sizeof answer.head);
    if (answer.head.nlmsg_seq != diag->sequence) {
        return false;
    }
    *ret_again = false; /* one question, one answer */
    if (answer.head.nlmsg_type != SOCK_DIAG_BY_FAMILY || got < (ssize_t)sizeof answer) {
        return false;
    }
    memcpy(ret_answer, bytes, sizeof *ret_answer);
    return true;
}

/* For a connection that does not exist the kernel may return a matching listener. A socket that its process has closed
 * has inode 0, and the kernel reports root as its owner: such an answer must be rejected. */
static bool is_peer(const struct inet_diag_msg *socket, const struct end *own, const struct end *peer) {
    const struct end source = end_of(socket->idiag_family, socket->id.idiag_src, socket->id.idiag_sport);
    const struct end target = end_of(socket->idiag_family, socket->id.idiag_dst, socket->id.idiag_dport);
    bool is_open = socket->idiag_state < 32 && (open_states >> socket->idiag_state & 1) != 0;
    return is_open && socket->idiag_inode != 0 && end_equals(&source, peer) && end_equals(&target, own);
}

bool pil_peer_diag_find(struct pil_peer_diag *diag, const struct sockaddr_storage *own,
                        const struct sockaddr_storage *peer, struct pil_peer_socket *ret_socket) {
    struct end own_end, peer_end;
    struct answer answer;
    bool is_answered = false, again = true;
    if (diag->fd < 0 || !end_from_sockaddr(own, &own_end) || !end_from_sockaddr(peer, &peer_end) ||
        !is_local(&own_end, &peer_end) || !ask(diag, &own_end, &peer_end)) {
        return false;
    }
    for (uint32_t i = 0; i < ANSWERS_MAX && again && !is_answered; i++) {
        is_answered = receive(diag, &answer, &again);
    }
    if (!is_answered || !is_peer(&answer.socket, &own_end, &peer_end)) {
        return false;
    }
    PIL_ASSERT(answer.head.nlmsg_seq == diag->sequence);
    *ret_socket = (struct pil_peer_socket){.uid = answer.socket.idiag_uid, .inode = answer.socket.idiag_inode};
    return true;
}
