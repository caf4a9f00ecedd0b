/* SPDX-License-Identifier: Apache-2.0
 * Who owns the other end of a TCP connection within this machine: one question to the kernel's socket table, by the
 * addresses of both ends (NETLINK_SOCK_DIAG, sock_diag(7)). Inspects no process and does not read /proc. */
#pragma once

#include "base/status.h"

#include <stdint.h>
#include <sys/socket.h>

/* A netlink socket, used by one thread. Open it before a sandbox forbids that; it needs no privilege. */
struct pil_peer_diag {
    int fd; /* -1: closed, pil_peer_diag_find returns false */
    uint32_t sequence;
};

/* SYSTEM and others: this kernel has no socket diagnosis; *ret_diag is then closed, but may be used. */
pil_status pil_peer_diag_open(struct pil_peer_diag *ret_diag, struct pil_error *ret_error) PIL_CHECKED;
/* Closing twice is harmless. */
void pil_peer_diag_close(struct pil_peer_diag *diag);

struct pil_peer_socket {
    uint32_t uid;   /* of the user that created the socket */
    uint32_t inode; /* as in /proc/net/tcp; never 0 */
};

/* The peer's socket of a connection between `own` and `peer` (getsockname, getpeername). Returns false if the peer is
 * on another machine or in another network namespace, has closed its socket, or the kernel does not answer.
 * Thread: the one that opened the diag. Cost: two system calls, no allocation, never blocks. */
bool pil_peer_diag_find(struct pil_peer_diag *diag, const struct sockaddr_storage *own,
                        const struct sockaddr_storage *peer, struct pil_peer_socket *ret_socket);
