/* SPDX-License-Identifier: Apache-2.0
 * A child process of the supervisor: started by exec of the same binary, restarted with back-off. Thread: one. */
#pragma once

#include "base/status.h"
#include "supervise/outbox.h"

#include <stdint.h>
#include <sys/types.h>

struct pil_child {
    const char *role; /* "server", "fetcher" */
    pid_t pid;        /* 0: not running */
    int socket;       /* -1: not running, or it has closed its end */
    struct pil_outbox outbox;
    bool is_stuck; /* the last flush sent nothing: the kernel is short of something, and poll does not show that */
    uint64_t started_ns;
    uint64_t restart_ns; /* when to start it again; 0: at once */
    uint32_t failures;   /* in a row, each within ten seconds of its start */
    uint32_t restarts;   /* in total, without those that the supervisor asked for */
    bool is_replaced;    /* the supervisor asked it to end: it is restarted at once, and its end is not a failure */
};

void pil_child_init(struct pil_child *child, const char *role);
/* Starts the process; the supervisor's end of the control socket is child->socket. */
pil_status pil_child_start(struct pil_child *child, uint64_t now_ns, struct pil_error *ret_error) PIL_CHECKED;
/* The process has ended: closes the socket, drops the messages that wait, and sets restart_ns. */
void pil_child_ended(struct pil_child *child, uint64_t now_ns);
/* How long to wait before the next start after this many failures in a row: not at all after the first, then 100 ms,
 * doubling up to 5 s. */
uint64_t pil_child_backoff_ns(uint32_t failures);

/* Waits only as pil_outbox_send. Does nothing if the child has ended; kills a child that has left PIL_OUTBOX_MAX
 * messages unread, or to which the message could not be sent for PIL_OUTBOX_WAIT_MS: it would never get it, and a new
 * one gets all anew. */
void pil_child_send(struct pil_child *child, const struct pil_message *message);
/* Sends the messages that wait. Call it when the socket is writable, or after a pause while is_stuck is set. */
void pil_child_flush(struct pil_child *child);
/* Whether the supervisor should wait for the socket to become writable. */
bool pil_child_has_mail(const struct pil_child *child);
