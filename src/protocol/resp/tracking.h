/* SPDX-License-Identifier: Apache-2.0
 * CLIENT TRACKING: tells clients that cache answers when to forget them. All values of a view change at once, with the
 * swap of its release, and at no other time; so what a connection has read is one bit per view, and the message says
 * "forget everything" (schemas/wire.md, "Caching in the client"). Thread: the worker. */
#pragma once

#include "protocol/resp/internal.h"

/* To be called before the answer to a request is encoded: says "forget" if a view that the connection has read was
 * swapped since, and notes what the answer tells the connection. */
void pil_redis_track(struct pil_turn *turn, struct pil_redis_call *call, struct pil_sink *sink);
/* Writes "forget". A refusal that replaces such an answer says it again (call->says_forget). */
void pil_redis_put_forget(struct pil_sink *sink);
/* The same as pil_redis_track for a connection that asks nothing, a few times a second. */
void pil_redis_tracking_sweep(struct pil_turn *turn, struct pil_redis_connection *connection);
/* Turns tracking off. */
void pil_redis_tracking_end(struct pil_redis_connection *connection);
