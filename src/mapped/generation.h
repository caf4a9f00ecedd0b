/* SPDX-License-Identifier: Apache-2.0
 * One release of one view, as it was published to clients of mapped reads: its descriptors while it is live, and how
 * many sessions hold it. A view has a list of them, newest first: the live one, if there is one, then retired ones that
 * somebody still holds. Thread: control. */
#pragma once

#include "base/list.h"
#include "cache/cache.h"

struct pil_mapped_generation {
    struct pil_list_link link;
    uint64_t number;
    char release[PIL_RELEASE_ID_CHARS + 1];
    int64_t created_us;
    uint64_t bytes;
    uint64_t retired_ns; /* 0: live */
    uint32_t holder_count;
    uint32_t shard_count;
    int fds[]; /* sealed memfds, one for each shard; -1 once retired */
};

/* A live generation that is first in its view's list. Takes the descriptors, not the array. NULL: no memory, and the
 * descriptors are the caller's. The live one of the list must have been retired. */
struct pil_mapped_generation *pil_mapped_generation_add(struct pil_list *generations, const struct pil_release *release,
                                                        const int *fds, uint32_t shard_count);
/* It is granted to nobody any more: closes its descriptors. It stays in the list until the next sweep. */
void pil_mapped_generation_retire(struct pil_mapped_generation *generation, uint64_t now_ns);
/* NULL: nothing is live. */
struct pil_mapped_generation *pil_mapped_generation_live(const struct pil_list *generations);
/* Live or retired; NULL: none has this number. */
struct pil_mapped_generation *pil_mapped_generation_find(const struct pil_list *generations, uint64_t number);
/* How many generations sessions hold, the live one left out. */
uint32_t pil_mapped_generation_count_retired(const struct pil_list *generations);
/* Frees the retired ones that nobody holds. */
void pil_mapped_generation_sweep(struct pil_list *generations);
/* Frees all; nobody may hold one. */
void pil_mapped_generation_clear(struct pil_list *generations);
/* Panics when a list contradicts itself. Returns the sum of the holder counts. */
uint32_t pil_mapped_generation_validate(const struct pil_list *generations);
