/* SPDX-License-Identifier: Apache-2.0
 * One io_uring with a provided-buffer ring, set up identically for the back end and the probe. Needs liburing 2.3 and
 * Linux 6.1. */
#pragma once

#include "base/bytes.h"

#include <liburing.h>

struct pil_ring {
    struct io_uring uring;
    struct io_uring_buf_ring *buffers;
    uint32_t buffer_count; /* a power of two */
};

enum { PIL_RING_BUFFER_GROUP = 0 };

/* Returns 0 or -errno; -ENOMEM only after half a second of retries. The ring belongs to the calling thread
 * (SINGLE_ISSUER): only it may submit and wait. */
int pil_ring_init(struct pil_ring *ring, uint32_t submit_entries, uint32_t complete_entries, uint32_t buffer_count);
/* The usual cause of a failed pil_ring_init, in parentheses after a blank; "": none is known. */
const char *pil_ring_hint(int error_number);
void pil_ring_deinit(struct pil_ring *ring);

/* Gives a receive buffer to the kernel. */
void pil_ring_provide(struct pil_ring *ring, void *data, uint32_t bytes, uint16_t number);

/* Receive into provided buffers: multishot, or once, into one buffer of at most `bytes`. (Multishot takes no length:
 * before Linux 6.17 any length but 0 is EINVAL.) */
void pil_ring_prepare_receive(struct io_uring_sqe *sqe, int fd);
void pil_ring_prepare_receive_once(struct io_uring_sqe *sqe, int fd, uint32_t bytes);

/* Takes one completion off the ring. */
bool pil_ring_next(struct pil_ring *ring, struct io_uring_cqe *ret_completion);

/* Whether the kernel has completions that become visible only after an enter: deferred task work, or a full completion
 * ring. */
bool pil_ring_needs_enter(const struct pil_ring *ring);
bool pil_ring_has_overflowed(const struct pil_ring *ring);
