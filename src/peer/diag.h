/* SPDX-License-Identifier: Apache-2.0
 * Who owns the other end of a TCP connection within this machine: one question to the kernel's socket table, by the
 * addresses of both ends (NETLINK_SOCK_DIAG, sock_diag(7)). It looks into no process and reads nothing of /proc. */
#pragma once

#include "base/status.h"

#include <stdint.h>
#include <sys/socket.h>

/* A netlink socket of one thread. Opened before a sandbox forbids it; needs no privilege. */
struct pil_peer_diag {
    int fd; /* -1: closed, every question stays without an answer */
    uint32_t sequence;
};

/* SYSTEM and others: this kernel has no socket diagnosis; the diag is closed then, and may be used as it is. */
pil_status pil_peer_diag_open(struct pil_peer_diag *ret_diag, struct pil_error *ret_error) PIL_CHECKED;
/* Closing twice is fine. */
void pil_peer_diag_close(struct pil_peer_diag *diag);

struct pil_peer_socket {
    uint32_t uid;   /* of the user that created the socket */
    uint32_t inode; /* as in /proc/net/tcp; never 0 */
};

/* The peer's socket of a connection between `own` and `peer` (getsockname, getpeername). false: the peer is on another
 * machine, in another network namespace, has closed its socket, or the kernel does not tell.
 * Thread: the one that opened it. Cost: two system calls, no allocation, never blocks. */
bool pil_peer_diag_find(struct pil_peer_diag *diag, const struct sockaddr_storage *own,
                        const struct sockaddr_storage *peer, struct pil_peer_socket *ret_socket);
