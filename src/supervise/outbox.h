/* SPDX-License-Identifier: Apache-2.0
 * Messages that wait for room in a socket, so that the sender does not: a busy child must not hold up the supervisor,
 * nor the supervisor the server's control thread. Order is kept. What the kernel is short of at the moment (descriptors
 * in flight, memory) is no reason to lose a message: it waits, too. Thread: one. */
#pragma once

#include "base/list.h"
#include "supervise/message.h"

enum {
    /* More messages than all releases that a node can hold need: a process that leaves so many unread has stopped. */
    PIL_OUTBOX_MAX = 1 << 21,
    PIL_OUTBOX_WAIT_MS = 10000,
};

struct pil_outbox {
    struct pil_list waiting;
    uint32_t count;
    uint32_t wait_ms; /* PIL_OUTBOX_WAIT_MS; tests wait less */
};

void pil_outbox_init(struct pil_outbox *outbox);
/* Drops the messages that wait. */
void pil_outbox_clear(struct pil_outbox *outbox);
/* Sends at once if no message waits and there is room; else a copy waits, with a duplicate of the descriptor. Only when
 * this process has no memory or no descriptor for the copy, the caller waits, up to wait_ms: until it has, or the other
 * side has read. CLOSED: the other side is gone. TOO_LARGE: PIL_OUTBOX_MAX messages wait. NO_MEMORY, SYSTEM: memory or
 * descriptors were short for wait_ms. */
pil_status pil_outbox_send(struct pil_outbox *outbox, int socket, const struct pil_message *message) PIL_CHECKED;
/* Sends messages that wait while there is room. AGAIN: some still wait; call again when the socket is writable, and not
 * at once if none was sent. CLOSED: the other side is gone. Never waits. */
pil_status pil_outbox_flush(struct pil_outbox *outbox, int socket) PIL_CHECKED;
