/* SPDX-License-Identifier: Apache-2.0
 * Who may connect, and what a peer may read: how many connections there are, who is at the other end (src/peer), and
 * which views its rules let it read. Thread: the worker that accepted the connection. */
#pragma once

#include "server/connection.h"

/* Counts a connection in; false: limits.connections is reached, and nothing was counted. */
bool pil_admission_enter(struct pil_server *server);
void pil_admission_leave(struct pil_server *server);
/* Takes the identity of a connection's peer, once. Cost: pil_peer_identity_take, for the facts that rules ask about. */
void pil_admission_identify(struct pil_turn *turn, struct pil_connection *connection, int fd);
/* Which views the peer may read, one bit each. Judged when the connection is new, and again when views were added
 * since: what the kernel told of the peer then is what counts. */
uint64_t pil_admission_readable(const struct pil_turn *turn, struct pil_connection *connection);
