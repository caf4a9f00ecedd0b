/* SPDX-License-Identifier: Apache-2.0
 * The memory cap of a build, and the peak of its use. Thread: any. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct pil_budget {
    size_t cap;
    atomic_size_t used;
    atomic_size_t peak;
};

/* Returns false, and takes nothing, if this would exceed the cap. */
bool pil_budget_take(struct pil_budget *budget, size_t bytes);
void pil_budget_give(struct pil_budget *budget, size_t bytes);

/* Takes the bytes from the budget and maps zeroed memory, which returns to the system when it is unmapped. NULL when
 * either fails. Unmap accepts NULL. */
void *pil_budget_map(struct pil_budget *budget, size_t bytes);
void pil_budget_unmap(struct pil_budget *budget, void *memory, size_t bytes);
