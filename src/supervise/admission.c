/* SPDX-License-Identifier: Apache-2.0 */
#include "supervise/admission.h"

#include <stdio.h>

/* Bytes of the releases that are served or about to be. */
static uint64_t in_use(const struct pil_holder *holder) {
    return pil_holder_bytes(holder, PIL_RESIDENCY_LIVE) + pil_holder_bytes(holder, PIL_RESIDENCY_OFFERED);
}

void pil_admission_trim(struct pil_holder *holder, uint64_t bytes, const struct pil_eviction_hook *hook) {
    uint64_t used = in_use(holder) + pil_holder_bytes(holder, PIL_RESIDENCY_KEPT);
    struct pil_evicted evicted;
    while (used > bytes && pil_holder_evict_any(holder, &evicted)) {
        used -= evicted.bytes;
        hook->evicted(hook->context, &evicted);
    }
}

/* All terms are in bytes, so that the sum adds up. A release that arrives or is offered counts as served. Kept releases
 * are not in the sum: they would have been evicted to make room. */
static void explain(const struct pil_holder *holder, uint64_t budget, uint64_t wanted, const char *release,
                    struct pil_admission *admission) {
    uint64_t live = in_use(holder) + pil_holder_bytes(holder, PIL_RESIDENCY_ARRIVING);
    uint64_t unmapping = pil_holder_bytes(holder, PIL_RESIDENCY_UNMAPPING);
    snprintf(admission->why, sizeof admission->why,
             "it will not fit: %llu bytes served + %llu being unmapped + %llu of release %s = %llu bytes, over the "
             "%llu MiB (%llu bytes) that memory_budget leaves for releases; raise it or serve less",
             (unsigned long long)live, (unsigned long long)unmapping, (unsigned long long)wanted, release,
             (unsigned long long)(live + unmapping + wanted), (unsigned long long)(budget >> 20),
             (unsigned long long)budget);
}

void pil_admission_ask(struct pil_holder *holder, uint64_t budget, uint64_t wanted, const char *release,
                       const struct pil_eviction_hook *hook, struct pil_admission *ret_admission) {
    *ret_admission = (struct pil_admission){0};
    uint64_t stays =
        pil_holder_bytes(holder, PIL_RESIDENCY_UNMAPPING) + pil_holder_bytes(holder, PIL_RESIDENCY_ARRIVING);
    if (wanted <= budget && in_use(holder) + stays <= budget - wanted) {
        pil_admission_trim(holder, budget - wanted - stays, hook);
    }
    ret_admission->is_admitted = wanted <= budget && pil_holder_bytes_total(holder) <= budget - wanted;
    if (!ret_admission->is_admitted) {
        explain(holder, budget, wanted, release, ret_admission);
    }
}
