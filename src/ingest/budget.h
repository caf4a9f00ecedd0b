/* SPDX-License-Identifier: Apache-2.0
 * The memory cap of a build, and the peak of its use. Thread: any. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct pil_budget {
    size_t cap;
    size_t outside; /* what the user's limit has beside the cap, for the rest of the process: messages name the sum */
    atomic_size_t used;
    atomic_size_t peak;
};

/* Returns false, and takes nothing, if this would exceed the cap. */
bool pil_budget_take(struct pil_budget *budget, size_t bytes);
void pil_budget_give(struct pil_budget *budget, size_t bytes);

/* Whole MiB, rounded up: of the limit that the user gave, and of what it would have to be to hold `bytes` in the
 * budget.
 */
size_t pil_budget_limit_mib(const struct pil_budget *budget);
size_t pil_budget_needed_mib(const struct pil_budget *budget, size_t bytes);

/* Takes the bytes from the budget and maps zeroed memory, which returns to the system when it is unmapped. NULL when
 * either fails. Unmap accepts NULL. */
void *pil_budget_map(struct pil_budget *budget, size_t bytes);
void pil_budget_unmap(struct pil_budget *budget, void *memory, size_t bytes);
