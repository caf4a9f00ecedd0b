/* SPDX-License-Identifier: Apache-2.0
 * A generation: one release of one view, published to clients of mapped reads, with its descriptors while it is live
 * and the number of sessions that hold it. Each view has a list of generations, newest first: the live one, if there is
 * one, then retired ones that sessions still hold. Thread: control. */
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

/* Adds a live generation at the front of its view's list; a former live one must have been retired. Takes the
 * descriptors, not the array. NULL when memory is short; the caller then keeps the descriptors. */
struct pil_mapped_generation *pil_mapped_generation_add(struct pil_list *generations, const struct pil_release *release,
                                                        const int *fds, uint32_t shard_count);
/* Retires a generation, so that it is not granted any more, and closes its descriptors. It stays in the list until a
 * sweep finds it without holders. */
void pil_mapped_generation_retire(struct pil_mapped_generation *generation, uint64_t now_ns);
/* The live generation; NULL: none is live. */
struct pil_mapped_generation *pil_mapped_generation_live(const struct pil_list *generations);
/* The generation with this number, live or retired; NULL: there is none. */
struct pil_mapped_generation *pil_mapped_generation_find(const struct pil_list *generations, uint64_t number);
/* The number of retired generations that sessions hold. */
uint32_t pil_mapped_generation_count_retired(const struct pil_list *generations);
/* Frees the retired generations that no session holds. */
void pil_mapped_generation_sweep(struct pil_list *generations);
/* Frees all generations; no session may hold one. */
void pil_mapped_generation_clear(struct pil_list *generations);
/* Panics if the list is inconsistent. Returns the sum of the holder counts. */
uint32_t pil_mapped_generation_validate(const struct pil_list *generations);
