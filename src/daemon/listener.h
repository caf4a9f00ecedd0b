/* SPDX-License-Identifier: Apache-2.0
 * Opens listening sockets, and says who holds an address that is taken. */
#pragma once

#include "server/settings.h"

/* Unix: a socket file that nobody listens on any more is replaced; mode and group are set. TCP: loopback only, unless
 * the listener is public. BUSY names the process that holds the address, when it can be found. */
pil_status pil_listener_open(const struct pil_listener_settings *settings, int *ret_fd,
                             struct pil_error *ret_error) PIL_CHECKED;
/* Removes the socket file of a Unix listener. */
void pil_listener_remove(const struct pil_listener_settings *settings);
