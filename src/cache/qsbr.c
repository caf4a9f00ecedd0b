/* SPDX-License-Identifier: Apache-2.0
 * Epochs. `now` only grows. A worker's epoch is the value of `now` that the worker saw last, or 0 while it is offline.
 * A ticket is the value of `now` after an increment; it has passed when every worker is offline or has seen that value.
 *
 * Why there is no fence: going online must order the store of the epoch before the loads of live pointers, which is a
 * store-load order. Both sides do a read-modify-write on `now`, and read-modify-writes of one location are totally
 * ordered: either the reclaimer's comes later and the reclaimer sees the worker's epoch, or the worker's comes later
 * and the worker no longer sees the unpublished pointer. ThreadSanitizer understands this form but not stand-alone
 * fences. */
#include "cache/qsbr.h"
#include "base/panic.h"

#include <stdalign.h>
#include <stdlib.h>

enum { OFFLINE = 0 };

struct worker_epoch {
    alignas(64) _Atomic uint64_t epoch; /* writer: the worker; readers: control thread */
};

struct pil_qsbr {
    alignas(64) _Atomic uint64_t now;
    uint32_t worker_count;
    struct worker_epoch workers[];
};

struct pil_qsbr *pil_qsbr_create(uint32_t worker_count) {
    struct pil_qsbr *qsbr = aligned_alloc(64, sizeof *qsbr + worker_count * sizeof qsbr->workers[0]);
    if (qsbr == NULL) {
        return NULL;
    }
    atomic_init(&qsbr->now, 1);
    qsbr->worker_count = worker_count;
    for (uint32_t i = 0; i < worker_count; i++) {
        atomic_init(&qsbr->workers[i].epoch, OFFLINE);
    }
    return qsbr;
}

void pil_qsbr_destroy(struct pil_qsbr **qsbr) {
    free(*qsbr);
    *qsbr = NULL;
}

void pil_qsbr_online(struct pil_qsbr *qsbr, uint32_t worker) {
    uint64_t now = atomic_load_explicit(&qsbr->now, memory_order_acquire);
    atomic_store_explicit(&qsbr->workers[worker].epoch, now, memory_order_relaxed);
    atomic_fetch_add_explicit(&qsbr->now, 0, memory_order_acq_rel); /* pairs with pil_qsbr_begin */
}

void pil_qsbr_offline(struct pil_qsbr *qsbr, uint32_t worker) {
    atomic_store_explicit(&qsbr->workers[worker].epoch, OFFLINE, memory_order_release); /* pairs with pil_qsbr_passed */
}

void pil_qsbr_quiescent(struct pil_qsbr *qsbr, uint32_t worker) {
    uint64_t now = atomic_load_explicit(&qsbr->now, memory_order_acquire);          /* pairs with pil_qsbr_begin */
    atomic_store_explicit(&qsbr->workers[worker].epoch, now, memory_order_release); /* pairs with pil_qsbr_passed */
}

/* The holder's store comes before the worker's next quiescent state, and the reclaimer looks at the worker first: when
 * it sees that state, it sees the holder, too. */
void pil_qsbr_hold(struct pil_qsbr *qsbr, uint32_t holder, uint32_t worker) {
    PIL_ASSERT(holder > worker && holder < qsbr->worker_count);
    uint64_t epoch = atomic_load_explicit(&qsbr->workers[worker].epoch, memory_order_relaxed);
    PIL_ASSERT(epoch != OFFLINE);
    atomic_store_explicit(&qsbr->workers[holder].epoch, epoch, memory_order_release); /* pairs with pil_qsbr_passed */
}

uint64_t pil_qsbr_begin(struct pil_qsbr *qsbr) {
    return atomic_fetch_add_explicit(&qsbr->now, 1, memory_order_acq_rel) + 1;
}

int32_t pil_qsbr_laggard(const struct pil_qsbr *qsbr, uint64_t ticket) {
    for (uint32_t i = 0; i < qsbr->worker_count; i++) {
        uint64_t epoch = atomic_load_explicit(&qsbr->workers[i].epoch, memory_order_acquire);
        if (epoch != OFFLINE && epoch < ticket) {
            return (int32_t)i;
        }
    }
    return -1;
}

bool pil_qsbr_passed(const struct pil_qsbr *qsbr, uint64_t ticket) {
    return pil_qsbr_laggard(qsbr, ticket) < 0;
}
