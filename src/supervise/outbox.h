/* SPDX-License-Identifier: Apache-2.0
 * Messages that wait for room in a socket, so that the sender never waits: a busy child must not hold up the
 * supervisor, nor the supervisor the server's control thread. Order is kept. Thread: one. */
#pragma once

#include "base/list.h"
#include "supervise/message.h"

enum {
    /* More messages than all releases that a node can hold need: a process that leaves so many unread has stopped. */
    PIL_OUTBOX_MAX = 1 << 21,
};

struct pil_outbox {
    struct pil_list waiting;
    uint32_t count;
};

void pil_outbox_init(struct pil_outbox *outbox);
/* Drops the messages that wait. */
void pil_outbox_clear(struct pil_outbox *outbox);
/* Sends at once if no message waits and there is room; else a copy waits, with a duplicate of the descriptor. CLOSED:
 * the other side is gone. TOO_LARGE: PIL_OUTBOX_MAX messages wait. NO_MEMORY, SYSTEM: the message cannot wait because
 * memory or descriptors are short. */
pil_status pil_outbox_send(struct pil_outbox *outbox, int socket, const struct pil_message *message) PIL_CHECKED;
/* Sends messages that wait while there is room. AGAIN: some still wait; call again when the socket is writable. CLOSED:
 * the other side is gone. */
pil_status pil_outbox_flush(struct pil_outbox *outbox, int socket) PIL_CHECKED;
