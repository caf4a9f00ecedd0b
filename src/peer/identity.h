/* SPDX-License-Identifier: Apache-2.0
 * Who is at the other end of a connection, according to the kernel: taken once, when the connection is accepted, and
 * never changed. Facts that the kernel does not provide are marked as unknown, never guessed. The identity is that of
 * the process that connected; a process that it passes the socket to acts in its name.
 *
 * Unix sockets provide all facts. TCP within this machine provides the user that created the peer's socket
 * (peer/diag.h). TCP from elsewhere provides only the address. */
#pragma once

#include "peer/diag.h"

enum {
    PIL_PEER_GROUPS_MAX = 64,
    PIL_PEER_CGROUP_BYTES = 256,
    PIL_PEER_ADDRESS_BYTES = 48,
    PIL_PEER_DESCRIPTION_BYTES = PIL_PEER_CGROUP_BYTES + 64,
};

/* Bits of a set of facts. */
typedef enum pil_peer_fact {
    PIL_PEER_UID = 1 << 0,
    PIL_PEER_GID = 1 << 1,
    PIL_PEER_PID = 1 << 2,    /* unknown across PID namespaces */
    PIL_PEER_GROUPS = 1 << 3, /* Linux 4.13; unknown if the process has more than PIL_PEER_GROUPS_MAX */
    PIL_PEER_CGROUP = 1 << 4, /* of the unified hierarchy; printable ASCII that fits PIL_PEER_CGROUP_BYTES, else unknown
                               */
} pil_peer_fact;

/* The struct is public because connections embed it. */
struct pil_peer_identity {
    uint32_t known; /* set of pil_peer_fact; fields of other facts are meaningless */
    uint32_t uid, gid;
    int32_t pid;
    uint32_t group_count;
    uint32_t groups[PIL_PEER_GROUPS_MAX]; /* supplementary groups */
    char cgroup[PIL_PEER_CGROUP_BYTES];
    char address[PIL_PEER_ADDRESS_BYTES]; /* "unix:pid=7,uid=1000", "127.0.0.1:4711", "[::1]:4711", "unknown" */
};

/* Sets everything to unknown. */
void pil_peer_identity_init(struct pil_peer_identity *ret_identity);
/* Takes the identity of the peer of a connected socket. `wanted` (pil_peer_fact) says which facts are worth further
 * system calls: uid, gid and pid of a Unix socket are always taken. diag may be NULL: then the uid of TCP peers is
 * unknown.
 * Cost: no allocation; leaves no descriptor open. System calls: getpeername, and
 *   Unix: SO_PEERCRED; groups 1; cgroup 7 more (pidfd, open, read, read, close, poll, close)
 *   TCP:  uid: getsockname and 2
 * The cgroup takes the kernel's cgroup lock for a moment: workers want it only if a rule needs it. */
void pil_peer_identity_take(int fd, uint32_t wanted, struct pil_peer_diag *diag,
                            struct pil_peer_identity *ret_identity);

/* For messages: "uid 1000, gid 100, cgroup /a", with "unknown" for unknown facts. */
void pil_peer_identity_describe(const struct pil_peer_identity *identity, char ret_text[PIL_PEER_DESCRIPTION_BYTES]);
