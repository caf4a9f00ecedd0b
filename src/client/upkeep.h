/* SPDX-License-Identifier: Apache-2.0
 * Keeps a client up to date. Calls do this work, because the library has no thread of its own. For this module only. */
#pragma once

#include "client/client.h"

/* For calls: does the work that is due, unless another thread is doing it. Waits at most refresh_us, and only for an
 * answer that no call has waited for. */
void pil_upkeep_poll(struct pillion_client *client);
/* Under the lock: connects, requests, receives, compiles, frees. Waits for answers until `until_ns`, and spends about
 * `work_ns` on prefaulting and unmapping. */
void pil_upkeep_maintain(struct pillion_client *client, uint64_t until_ns, uint64_t work_ns);
/* Under the lock: maintains, and asks for the catalog again if views and services were added since it was read. */
void pil_upkeep_renew_catalog(struct pillion_client *client, uint64_t until_ns);
/* Under the lock, after a plan was removed: frees what only that plan needed. */
void pil_upkeep_clean(struct pillion_client *client);
