/* SPDX-License-Identifier: Apache-2.0
 * Opens listening sockets, and names the process that holds an address in use. */
#pragma once

#include "server/settings.h"

/* The socket file of a Unix listener. */
struct pil_listener_file {
    int lock_fd; /* holds the lock PATH.lock, so that one daemon at a time works on the path; -1: not a Unix listener */
    uint64_t device, inode;
};

/* Unix: replaces a stale socket file in one step, by a socket that listens already and has its mode and group. TCP:
 * DENIED for an address that is not loopback, unless the listener is public. BUSY: the message names the process that
 * holds the address, if it can be found. Owns: caller, also ret_file->lock_fd (pil_listener_remove). */
pil_status pil_listener_open(const struct pil_listener_settings *settings, int *ret_fd,
                             struct pil_listener_file *ret_file, struct pil_error *ret_error) PIL_CHECKED;
/* Removes the socket file if it still is this listener's, and gives up the lock. */
void pil_listener_remove(const struct pil_listener_settings *settings, struct pil_listener_file *file);
