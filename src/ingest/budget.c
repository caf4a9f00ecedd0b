/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest/budget.h"
#include "base/panic.h"

#include <sys/mman.h>

bool pil_budget_take(struct pil_budget *budget, size_t bytes) {
    size_t used = atomic_load(&budget->used);
    do {
        if (bytes > budget->cap - used) {
            return false;
        }
    } while (!atomic_compare_exchange_weak(&budget->used, &used, used + bytes));
    size_t peak = atomic_load(&budget->peak);
    while (peak < used + bytes && !atomic_compare_exchange_weak(&budget->peak, &peak, used + bytes)) {
    }
    return true;
}

void pil_budget_give(struct pil_budget *budget, size_t bytes) {
    PIL_ASSERT(atomic_fetch_sub(&budget->used, bytes) >= bytes);
}

static size_t whole_mib(size_t bytes) {
    return (bytes + (1u << 20) - 1) >> 20;
}

size_t pil_budget_limit_mib(const struct pil_budget *budget) {
    return whole_mib(budget->outside + budget->cap);
}

size_t pil_budget_needed_mib(const struct pil_budget *budget, size_t bytes) {
    return whole_mib(budget->outside + bytes);
}

void *pil_budget_map(struct pil_budget *budget, size_t bytes) {
    if (bytes == 0 || !pil_budget_take(budget, bytes)) {
        return NULL;
    }
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        pil_budget_give(budget, bytes);
        return NULL;
    }
    return memory;
}

void pil_budget_unmap(struct pil_budget *budget, void *memory, size_t bytes) {
    if (memory != NULL) {
        munmap(memory, bytes);
        pil_budget_give(budget, bytes);
    }
}
