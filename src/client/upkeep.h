/* SPDX-License-Identifier: Apache-2.0
 * Keeping a client up to date: calls do it as they come by, since the library has no thread of its own. For this module
 * only. */
#pragma once

#include "client/client.h"

/* For calls: does what is due, unless another thread is at it. Waits at most refresh_us, and only for an answer that
 * was not awaited before. */
void pil_upkeep_poll(struct pillion_client *client);
/* Under the lock: connects, asks, receives, compiles, frees; waits until `until_ns` for answers, and spends about
 * `work_ns` on prefaulting and unmapping. */
void pil_upkeep_maintain(struct pillion_client *client, uint64_t until_ns, uint64_t work_ns);
/* Under the lock: a plan has gone; frees what only that plan needed. */
void pil_upkeep_clean(struct pillion_client *client);
