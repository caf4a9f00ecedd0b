/* SPDX-License-Identifier: Apache-2.0
 * What each user, and each process of a user, may take of the places and of the descriptors in flight (ADR 33).
 *
 * Descriptors in flight: the kernel counts those that were sent and not received for all processes of the sender's user
 * together, and refuses to send when they are more than RLIMIT_NOFILE (unix(7), ETOOMANYREFS): then the supervisor
 * cannot hand shards to the server either. Closing a session takes back nothing, because what was sent stays in the
 * client's queue. So clients together may have a part of the limit in flight; a user at most half of what other users
 * leave of it, and a process at most half of what the other processes of its user leave. A process that never reads
 * therefore delays others, and stops only itself. Thread: control. */
#pragma once

#include "base/list.h"
#include "peer/identity.h"

struct pil_mapped;
struct pil_mapped_session;

/* A process that has sessions, or the user of such processes: what its sessions take together (share.c). */
struct pil_mapped_peer {
    struct pil_list_link link;    /* on pil_mapped.peers */
    struct pil_mapped_peer *user; /* of a process; NULL: this is a user */
    uint32_t uid;
    int32_t pid; /* 0: of another PID namespace; such processes of a user count as one */
    uint32_t session_count;
    uint32_t in_flight; /* descriptors */
};

/* Counts a session for its user and its process, which the next call returns. NULL when memory is short. */
struct pil_mapped_peer *pil_mapped_share_join(struct pil_mapped *mapped, const struct pil_peer_identity *identity);
void pil_mapped_share_leave(struct pil_mapped *mapped, struct pil_mapped_peer *process);
/* How many descriptors may be sent to the process with one packet, at most PIL_MAPPED_FDS_MAX; 0: none now. */
uint32_t pil_mapped_share_packet(const struct pil_mapped *mapped, const struct pil_mapped_peer *process);
/* Descriptors were sent to a client, or its client has received those that were. */
void pil_mapped_share_sent(struct pil_mapped *mapped, struct pil_mapped_session *session, uint32_t count);
void pil_mapped_share_received(struct pil_mapped *mapped, struct pil_mapped_session *session);
/* The session that loses its place to a new one of this process, which is counted already. NULL: none; the new one is
 * refused. */
struct pil_mapped_session *pil_mapped_share_victim(const struct pil_mapped *mapped,
                                                   const struct pil_mapped_peer *process);
/* Panics if what is counted is not what the sessions have. */
void pil_mapped_share_validate(const struct pil_mapped *mapped);
