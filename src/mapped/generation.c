/* SPDX-License-Identifier: Apache-2.0 */
#include "mapped/generation.h"

#include "base/panic.h"
#include "base/sys.h"

#include <stdlib.h>

static void close_fds(struct pil_mapped_generation *generation) {
    for (uint32_t i = 0; i < generation->shard_count; i++) {
        pil_sys_close(&generation->fds[i]);
    }
}

static void destroy(struct pil_mapped_generation *generation) {
    PIL_ASSERT(generation->holder_count == 0);
    pil_list_remove(&generation->link);
    close_fds(generation);
    free(generation);
}

struct pil_mapped_generation *pil_mapped_generation_add(struct pil_list *generations, const struct pil_release *release,
                                                        const int *fds, uint32_t shard_count) {
    PIL_ASSERT(shard_count > 0 && release->generation != 0);
    PIL_ASSERT(pil_mapped_generation_live(generations) == NULL);
    struct pil_mapped_generation *generation = calloc(1, sizeof *generation + shard_count * sizeof generation->fds[0]);
    if (generation == NULL) {
        return NULL;
    }
    memcpy(generation->fds, fds, shard_count * sizeof fds[0]);
    generation->shard_count = shard_count;
    generation->number = release->generation;
    generation->bytes = release->bytes;
    generation->created_us = release->created_us;
    memcpy(generation->release, release->id, sizeof generation->release);
    pil_list_prepend(generations, &generation->link);
    return generation;
}

void pil_mapped_generation_retire(struct pil_mapped_generation *generation, uint64_t now_ns) {
    PIL_ASSERT(generation->retired_ns == 0 && now_ns != 0);
    generation->retired_ns = now_ns;
    close_fds(generation);
}

struct pil_mapped_generation *pil_mapped_generation_live(const struct pil_list *generations) {
    struct pil_list_link *first = pil_list_first(generations);
    struct pil_mapped_generation *newest =
        first != NULL ? PIL_LIST_ENTRY(struct pil_mapped_generation, link, first) : NULL;
    return newest != NULL && newest->retired_ns == 0 ? newest : NULL;
}

struct pil_mapped_generation *pil_mapped_generation_find(const struct pil_list *generations, uint64_t number) {
    PIL_LIST_EACH(struct pil_mapped_generation, link, at, generations) {
        if (at->number == number) {
            return at;
        }
    }
    return NULL;
}

uint32_t pil_mapped_generation_count_retired(const struct pil_list *generations) {
    uint32_t count = 0;
    PIL_LIST_EACH(struct pil_mapped_generation, link, at, generations) {
        count += at->retired_ns != 0 && at->holder_count > 0;
    }
    return count;
}

void pil_mapped_generation_sweep(struct pil_list *generations) {
    PIL_LIST_EACH(struct pil_mapped_generation, link, at, generations) {
        if (at->retired_ns != 0 && at->holder_count == 0) {
            destroy(at);
        }
    }
}

void pil_mapped_generation_clear(struct pil_list *generations) {
    PIL_LIST_EACH(struct pil_mapped_generation, link, at, generations) {
        destroy(at);
    }
    PIL_ASSERT(pil_list_is_empty(generations));
}

uint32_t pil_mapped_generation_validate(const struct pil_list *generations) {
    uint32_t holders = 0;
    bool is_first = true;
    PIL_LIST_EACH(struct pil_mapped_generation, link, at, generations) {
        PIL_ASSERT(is_first || at->retired_ns != 0);             /* only the first may be live */
        PIL_ASSERT(at->retired_ns == 0 || at->holder_count > 0); /* retired generations remain only while they are held
                                                                  */
        PIL_ASSERT(at->number != 0 && at->shard_count > 0);
        for (uint32_t i = 0; i < at->shard_count; i++) {
            PIL_ASSERT((at->fds[i] >= 0) == (at->retired_ns == 0));
        }
        holders += at->holder_count;
        is_first = false;
    }
    return holders;
}
