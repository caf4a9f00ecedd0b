/* SPDX-License-Identifier: Apache-2.0
 * A process that removes the socket files of a daemon which was started as root and has become another user, where that
 * user may not write to their folder. It holds no descriptor but a pipe and the locks, and no capability. Thread: one.
 */
#pragma once

#include "daemon/listener.h"

struct pil_janitor {
    pid_t pid; /* 0: there is none */
    int pipe;  /* it works when this is closed, also by the end of the process; -1: none */
};

/* Call it before privileges are dropped. `listeners` and `files` have the same count. SYSTEM, NO_MEMORY. */
pil_status pil_janitor_start(const struct pil_listener_settings *listeners, const struct pil_listener_file *files,
                             uint32_t count, struct pil_janitor *ret_janitor, struct pil_error *ret_error) PIL_CHECKED;
/* Waits until the files are gone. */
void pil_janitor_finish(struct pil_janitor *janitor);
