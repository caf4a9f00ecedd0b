/* SPDX-License-Identifier: Apache-2.0
 * Opens listening sockets, and names the process that holds an address in use. */
#pragma once

#include "server/settings.h"

/* Unix: replaces a stale socket file; sets mode and group. TCP: DENIED for an address that is not loopback, unless the
 * listener is public. BUSY: the message names the process that holds the address, if it can be found. Owns: caller. */
pil_status pil_listener_open(const struct pil_listener_settings *settings, int *ret_fd,
                             struct pil_error *ret_error) PIL_CHECKED;
/* Removes the socket file of a Unix listener. */
void pil_listener_remove(const struct pil_listener_settings *settings);
