/* SPDX-License-Identifier: Apache-2.0
 * What a peer may read: takes its identity (src/peer) and applies the read rules of the views. Thread: the worker that
 * accepted the connection. */
#pragma once

#include "server/connection.h"

/* Takes the identity of a connection's peer, once. Cost: that of pil_peer_identity_take for the facts that rules ask
 * about. */
void pil_admission_identify(struct pil_turn *turn, struct pil_connection *connection, int fd);
/* Which views the peer may read, one bit each. Computed for a new connection and again after views were added, always
 * from the identity that was taken when the peer connected. */
uint64_t pil_admission_readable(const struct pil_turn *turn, struct pil_connection *connection);
