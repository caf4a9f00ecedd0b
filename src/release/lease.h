/* SPDX-License-Identifier: Apache-2.0
 * Leases: how writers and collectors of one store keep out of each other's way (schemas/store.md, "Leases").
 *
 * A writer names each object that it is going to rely on, then looks whether the object is there. A collector posts
 * which objects it is about to remove, then looks who has named them. Both write before they look, so at least one of
 * them sees the other: the collector spares objects that are named, the writer waits until posted objects are gone. A
 * lease has an expiry, so that a writer that was killed holds nothing for ever. Any store will do whose reads see what
 * was written before. Thread: one at a time. */
#pragma once

#include "base/clock.h"
#include "release/layout.h"

enum {
    PIL_LEASE_WRITE_SECONDS = 600,   /* a writer's, renewed while the work goes on */
    PIL_LEASE_COLLECT_SECONDS = 600, /* a collector's while it reads; for a batch of removals it is … */
    PIL_LEASE_BATCH_SECONDS = 30,    /* … this: what writers wait for at most when a collector was killed */
    PIL_LEASE_SKEW_SECONDS = 60,     /* by how much the clocks of two machines may differ */
    PIL_LEASE_OBJECTS_MAX = 256,     /* in one document; a lease has as many documents as it needs */
};

/* Opaque. Owns: its documents in the store, until pil_lease_end. */
struct pil_lease;

/* Writes nothing yet. Store and clock are borrowed for the lease's life. `holder` is for people who look into the
 * store: "build rides/drivers". NULL: no memory. */
struct pil_lease *pil_lease_create(struct pil_store *store, const struct pil_clock *clock, pil_layout_lease kind,
                                   const char *holder);
/* Gives the lease back: removes its documents, unless a collection is under way that may rely on them; those expire.
 * NULL is fine. Whatever the lease protected must be named by a manifest or channel by now. */
void pil_lease_end(struct pil_lease **lease);

/* How long it still protects what it names; 0 or less: it expired. Not before something was written. */
int64_t pil_lease_left_us(const struct pil_lease *lease);

/* ---- Writers */

/* Names an object. From OK on no collector removes it, if it is there; look after this call, not before. Waits while a
 * collector is removing it. DENIED: names the rights that are needed. Cost: one small put, one list. */
pil_status pil_lease_add(struct pil_lease *lease, const char *name, struct pil_error *ret_error) PIL_CHECKED;
/* Call now and then while the work goes on, and before what makes it visible: keeps the lease from expiring. When it
 * did expire, for this process was stopped, it is made anew, which waits for collectors as pil_lease_add does: what was
 * named before may be gone, so look again. Cost: nothing until a third of its time is over. */
pil_status pil_lease_renew(struct pil_lease *lease, struct pil_error *ret_error) PIL_CHECKED;

/* ---- Collectors */

/* Posts the objects that are about to be removed; they replace those posted before. TIMEOUT: the collector was held up
 * for longer than its lease; it must not remove anything any more. */
pil_status pil_lease_post(struct pil_lease *lease, const char *const *names, uint32_t count, uint32_t seconds,
                          struct pil_error *ret_error) PIL_CHECKED;

/* Objects that writers' leases name. */
struct pil_lease_set {
    char **names; /* owned; sorted once pil_lease_set_read returned */
    size_t count;
};
/* All leases of writers that were alive at since_us or later. Fails when one cannot be read. */
pil_status pil_lease_set_read(struct pil_store *store, int64_t since_us, struct pil_lease_set *ret_set,
                              struct pil_error *ret_error) PIL_CHECKED;
bool pil_lease_set_has(const struct pil_lease_set *set, const char *name);
void pil_lease_set_deinit(struct pil_lease_set *set);

/* Removes documents of leases that ended before since_us, when this collector began. Those of writers stay while
 * another collector is alive: one that began earlier still asks for them. */
pil_status pil_lease_sweep(struct pil_lease *lease, int64_t since_us, struct pil_error *ret_error) PIL_CHECKED;
