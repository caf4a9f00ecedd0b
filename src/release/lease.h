/* SPDX-License-Identifier: Apache-2.0
 * Leases: they coordinate the writers and collectors of one store (schemas/store.md, "Leases").
 *
 * A writer names each object that it is going to rely on, then checks whether the object exists. A collector posts the
 * objects that it is about to remove, then reads which of them writers have named. Both write before they read, so at
 * least one of them sees the other: the collector spares named objects, and the writer waits until posted objects are
 * gone. A lease expires, so that a killed writer does not hold objects for ever. The store's reads must see all earlier
 * writes. Thread: one at a time. */
#pragma once

#include "base/clock.h"
#include "release/layout.h"

enum {
    PIL_LEASE_WRITE_SECONDS = 600,   /* of a writer, which renews it while it works */
    PIL_LEASE_COLLECT_SECONDS = 600, /* of a collector while it reads */
    PIL_LEASE_BATCH_SECONDS = 30,    /* of a collector during a batch; with the skew, the wait for a killed collector */
    PIL_LEASE_SKEW_SECONDS = 60,     /* the most that the clocks of two machines may differ */
    PIL_LEASE_OBJECTS_MAX = 256,     /* in one document; a lease has as many documents as it needs */
};

/* Owns its documents in the store until pil_lease_end. */
struct pil_lease;

/* Creates a lease and writes nothing yet. Borrows store and clock until pil_lease_end. `holder` tells people who read
 * the store what the lease is for: "build rides/drivers". NULL when memory is short. */
struct pil_lease *pil_lease_create(struct pil_store *store, const struct pil_clock *clock, pil_layout_lease kind,
                                   const char *holder);
/* Ends the lease. Removes its documents, unless a collection that may need them is running or the store cannot tell:
 * then they expire. Accepts NULL. By now a manifest or a channel must name all objects that still need protection. */
void pil_lease_end(struct pil_lease **lease);

/* How long the lease still protects its objects; 0 or less: it has expired. Meaningless before something was written.
 */
int64_t pil_lease_left_us(const struct pil_lease *lease);

/* ---- Writers */

/* Names an object. Once this returns OK, no collector removes the object if it exists; check that after this call, not
 * before. Waits while a collector is removing it. DENIED: the message names the rights that are needed. Cost: one small
 * put, one listing, one read for each collector's lease. */
pil_status pil_lease_add(struct pil_lease *lease, const char *name, struct pil_error *ret_error) PIL_CHECKED;
/* Keeps the lease from expiring. Call it from time to time during the work, and before the step that makes the result
 * visible. If the lease has expired, because this process was stopped, it is written again and collectors are waited
 * for as in pil_lease_add; objects that were named before may be gone, so check them again. Cost: nothing until a third
 * of the lease's time has passed. */
pil_status pil_lease_renew(struct pil_lease *lease, struct pil_error *ret_error) PIL_CHECKED;

/* ---- Collectors */

/* Posts the objects that are about to be removed, in place of those posted before. TIMEOUT: the collector was held up
 * for longer than its lease and must not remove anything any more. */
pil_status pil_lease_post(struct pil_lease *lease, const char *const *names, uint32_t count, uint32_t seconds,
                          struct pil_error *ret_error) PIL_CHECKED;

/* The objects that writers' leases name. */
struct pil_lease_set {
    char **names; /* owned; sorted */
    size_t count;
};
/* Reads all leases of writers that had not expired at since_us. Fails if one cannot be read. */
pil_status pil_lease_set_read(struct pil_store *store, int64_t since_us, struct pil_lease_set *ret_set,
                              struct pil_error *ret_error) PIL_CHECKED;
bool pil_lease_set_has(const struct pil_lease_set *set, const char *name);
void pil_lease_set_deinit(struct pil_lease_set *set);

/* Removes the documents of leases that expired before since_us, the start of this collector. Those of writers stay
 * while another collector is active: if it began earlier, it still needs them. */
pil_status pil_lease_sweep(struct pil_lease *lease, int64_t since_us, struct pil_error *ret_error) PIL_CHECKED;
