/* SPDX-License-Identifier: Apache-2.0
 * A child of the supervisor: started by exec of this very binary, restarted with back-off. */
#pragma once

#include "base/status.h"

#include <stdint.h>
#include <sys/types.h>

struct pil_child {
    const char *role; /* "server", "fetcher" */
    pid_t pid;        /* 0: not running */
    int socket;       /* -1: not running */
    uint64_t started_ns;
    uint64_t restart_ns; /* when to start it again; 0: not waiting */
    uint32_t failures;   /* in a row, each within 10 s of its start */
    uint32_t restarts;   /* ever */
};

/* Starts it; the supervisor's end of the control socket is child->socket. */
pil_status pil_child_start(struct pil_child *child, struct pil_error *ret_error) PIL_CHECKED;
/* It ended: closes the socket and sets restart_ns: at once, then after 100 ms, doubling up to 5 s while it keeps
 * failing early. */
void pil_child_ended(struct pil_child *child);
