/* SPDX-License-Identifier: Apache-2.0
 * Datagrams with descriptors over Unix sockets: SCM_RIGHTS, unix(7), cmsg(3). No other code packs or unpacks control
 * messages. Any thread. */
#pragma once

#include "base/bytes.h"
#include "base/status.h"

enum { PIL_FDPASS_MAX = 64 }; /* descriptors per datagram; the kernel's limit is 253 */

/* Sends all of `data` and the descriptors, which the caller keeps. `block` false: AGAIN when the socket's buffer is
 * full, or when this user's processes have as many descriptors in flight as they may (ETOOMANYREFS, which poll does not
 * report). `block` true: waits for the buffer; TIMEOUT after the socket's SO_SNDTIMEO. CLOSED: the peer is gone. One
 * system call. */
pil_status pil_fdpass_send(int socket, struct pil_bytes data, const int *fds, uint32_t fd_count,
                           bool block) PIL_CHECKED;

struct pil_fdpass_received {
    size_t bytes;
    uint32_t fd_count;
    int fds[PIL_FDPASS_MAX]; /* close-on-exec; owned by the caller */
};

/* Receives one datagram of at most `capacity` bytes. AGAIN: none has arrived (`block` false). CLOSED: the peer is gone.
 * TOO_LARGE: the datagram was longer, or had more than PIL_FDPASS_MAX descriptors. SYSTEM: the kernel dropped
 * descriptors, because this process has too many open (RLIMIT_NOFILE); the bytes are in the buffer, and ret_received
 * holds their number. On failure no descriptor is left open. One system call. */
pil_status pil_fdpass_receive(int socket, bool block, void *buffer, size_t capacity,
                              struct pil_fdpass_received *ret_received) PIL_CHECKED;

/* Closes all received descriptors. */
void pil_fdpass_close(struct pil_fdpass_received *received);
