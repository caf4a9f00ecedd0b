/* SPDX-License-Identifier: Apache-2.0
 * Quiescent-state based reclamation for a fixed set of workers. A worker holds no borrowed pointer when it calls
 * `quiescent` (once per loop turn) or while it is `offline` (parked in the kernel). A grace period has passed once
 * every worker was quiescent or offline since its start; the reclaimer waits for it. Source: Hart, McKenney, Brown,
 * "Making Lockless Synchronization Fast", IPDPS 2006. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct pil_qsbr;

/* A worker may have work that it leaves for other work and goes on with later. What that work has borrowed is held by a
 * holder (pil_qsbr_hold): one more worker of this count, with a number behind those that run. NULL: no memory. */
struct pil_qsbr *pil_qsbr_create(uint32_t worker_count);
void pil_qsbr_destroy(struct pil_qsbr **qsbr);

/* Called by worker thread `worker`, which starts offline. Cost: quiescent is one load and one store; online adds an
 * atomic read-modify-write. */
void pil_qsbr_online(struct pil_qsbr *qsbr, uint32_t worker);
void pil_qsbr_offline(struct pil_qsbr *qsbr, uint32_t worker);
void pil_qsbr_quiescent(struct pil_qsbr *qsbr, uint32_t worker);

/* `holder` holds on to what the worker has borrowed since its last quiescent state, until pil_qsbr_offline. It must be
 * offline, and its number above the worker's: numbers are looked at from the lowest, so that one of the two is seen. */
void pil_qsbr_hold(struct pil_qsbr *qsbr, uint32_t holder, uint32_t worker);

/* Control thread: opens a grace period for pointers unpublished before this call; pil_qsbr_passed tells whether it has
 * passed. */
uint64_t pil_qsbr_begin(struct pil_qsbr *qsbr);
bool pil_qsbr_passed(const struct pil_qsbr *qsbr, uint64_t ticket);
/* A worker that delays the ticket, or -1; for the watchdog. */
int32_t pil_qsbr_laggard(const struct pil_qsbr *qsbr, uint64_t ticket);
