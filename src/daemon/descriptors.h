/* SPDX-License-Identifier: Apache-2.0
 * The budget of file descriptors: what the limits need, and what the hard limit of open files allows. */
#pragma once

#include "daemon/config.h"

/* Descriptors that the server keeps free of clients: listeners, event loops, the admin console, the supervisor's
 * socket, and the shards of releases on their way. */
uint32_t pil_descriptors_reserved(const struct pil_settings *settings);

/* Raises the soft limit of open files to the hard one, for this process and its children. If the hard limit does not
 * reach, lowers limits.connections and limits.mapped_sessions in *settings; each is told by one line of *warnings,
 * which names the option, both numbers and the remedy. TOO_LARGE: what is reserved alone does not fit. */
pil_status pil_descriptors_settle(struct pil_settings *settings, struct pil_text *warnings,
                                  struct pil_error *ret_error) PIL_CHECKED;
/* The same for a hard limit of `available` descriptors, without any system call. */
pil_status pil_descriptors_fit(struct pil_settings *settings, uint64_t available, struct pil_text *warnings,
                               struct pil_error *ret_error) PIL_CHECKED;
