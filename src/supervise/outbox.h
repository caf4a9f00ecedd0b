/* SPDX-License-Identifier: Apache-2.0
 * Messages that wait for room in a socket, so that whoever sends them never waits: the supervisor must not be held up
 * by a child that is busy, nor the control thread by the supervisor. Order is kept. Thread: one. */
#pragma once

#include "base/list.h"
#include "supervise/message.h"

enum {
    /* More than any number of releases that a node can hold: a process that leaves so many unread has stopped. */
    PIL_OUTBOX_MAX = 1 << 21,
};

struct pil_outbox {
    struct pil_list waiting;
    uint32_t count;
};

void pil_outbox_init(struct pil_outbox *outbox);
/* Drops what waits. */
void pil_outbox_clear(struct pil_outbox *outbox);
/* Sends at once when nothing waits and there is room; else a copy waits, with a duplicate of the descriptor. CLOSED:
 * the other side is gone. TOO_LARGE: PIL_OUTBOX_MAX wait. NO_MEMORY, SYSTEM: it cannot wait for want of memory or
 * descriptors. */
pil_status pil_outbox_send(struct pil_outbox *outbox, int socket, const struct pil_message *message) PIL_CHECKED;
/* Sends what waits, for as long as there is room. AGAIN: some still waits; call again when the socket is writable.
 * CLOSED: the other side is gone. */
pil_status pil_outbox_flush(struct pil_outbox *outbox, int socket) PIL_CHECKED;
