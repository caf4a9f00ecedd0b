/* SPDX-License-Identifier: Apache-2.0
 * How calls protect what they read without a lock, and when it is freed: hazard pointers (Michael, IEEE TPDS 2004), one
 * for each call in flight. For this module only. */
#pragma once

#include "client/compile.h"

enum { PIL_EPOCH_SLOTS = 255, PIL_EPOCH_IS_OURS = 1, PIL_EPOCH_IS_BEING_ADOPTED = 2 };

/* One call in flight, in its own cache line: the compiled plan is not freed while the slot points to it. The kernel
 * wipes the memory in a forked child (MADV_WIPEONFORK), so that the child has no call in flight and can tell that it is
 * a child. */
struct pil_epoch_slot {
    _Alignas(64) _Atomic(struct pil_compiled *) reads;
};
struct pil_epoch_block {
    _Alignas(64) _Atomic(struct pil_epoch_block *) next; /* never removed during the client's life */
    _Atomic uint32_t is_ours;                            /* in the first block: 0 in a child that has not adopted the
                                                            client */
    struct pil_epoch_slot slots[PIL_EPOCH_SLOTS];
};

/* Creates the first block. NO_MEMORY; UNSUPPORTED: Linux before 4.14. */
pil_status pil_epoch_create(struct pil_epoch_block **ret_first, struct pil_error *ret_error) PIL_CHECKED;
void pil_epoch_destroy(struct pil_epoch_block **first);

/* ---- Calls. They take no lock, and allocate only a block of slots when 255 calls are in flight. */

/* The compiled plan that a call reads until it leaves; NULL: no memory for a slot. ret_is_due may be NULL; it is set to
 * true when the call should poll first (upkeep.h): there is a newer release, the server is gone, or work is pending. */
const struct pil_compiled *pil_epoch_enter(struct pillion_plan *plan, bool *ret_is_due,
                                           struct pil_epoch_slot **ret_slot);
void pil_epoch_leave(struct pil_epoch_slot *slot);
/* For how long the server has not confirmed that the compiled plan is current; 0: it does. */
int64_t pil_epoch_staleness_us(const struct pil_compiled *compiled);

/* ---- Under the lock */

/* From now on calls read `new`; the previous compiled plan is retired. */
void pil_epoch_publish(struct pillion_client *client, struct pillion_plan *plan, struct pil_compiled *new);
/* Frees the retired plans that no call reads. Returns whether some are left. */
bool pil_epoch_reclaim(struct pillion_client *client);
