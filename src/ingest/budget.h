/* SPDX-License-Identifier: Apache-2.0
 * What a build may hold in memory, and how much it held at most. Thread: any. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct pil_budget {
    size_t cap;
    atomic_size_t used;
    atomic_size_t peak;
};

/* false, and nothing taken, when it would pass the cap. */
bool pil_budget_take(struct pil_budget *budget, size_t bytes);
void pil_budget_give(struct pil_budget *budget, size_t bytes);

/* Takes, then maps zeroed memory of its own, which goes back to the system when it is unmapped; NULL when either fails.
 * Unmap: fine with NULL. */
void *pil_budget_map(struct pil_budget *budget, size_t bytes);
void pil_budget_unmap(struct pil_budget *budget, void *memory, size_t bytes);
