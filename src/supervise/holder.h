/* SPDX-License-Identifier: Apache-2.0
 * The release holder: the sealed shards that the supervisor keeps open. They make a restarted server warm and a
 * rollback free of I/O. Bounded by the memory budget (admission.h) and by keep_releases. Thread: one. */
#pragma once

#include "base/bounds.h"
#include "base/list.h"
#include "base/status.h"

#include <stdint.h>

/* Where a release stands. Each byte that is held is counted in exactly one of them. */
typedef enum pil_residency {
    PIL_RESIDENCY_ARRIVING,  /* not all of its shards are here */
    PIL_RESIDENCY_LIVE,      /* the one that is served; at most one of a view */
    PIL_RESIDENCY_KEPT,      /* whole, for a rollback */
    PIL_RESIDENCY_UNMAPPING, /* dropped here, still mapped by the server: its memory is not free yet */
    PIL_RESIDENCY_COUNT
} pil_residency;

struct pil_held_release {
    struct pil_list_link link;
    uint32_t view_index;
    char release[PIL_RELEASE_ID_CHARS + 1];
    pil_residency residency;
    int *fds; /* -1: not here yet, or closed */
    uint32_t shard_count;
    uint32_t shards_here;
    uint64_t bytes;
    int64_t created_us; /* when the release was made; 0: not known */
    uint64_t used;      /* counter of its last publish: the smallest goes first */
    uint32_t map_count; /* times that the server maps it */
};

struct pil_holder {
    struct pil_list releases; /* of struct pil_held_release, newest first */
    uint64_t use_counter;
};

void pil_holder_init(struct pil_holder *holder);
void pil_holder_deinit(struct pil_holder *holder);
/* Panics when the holder contradicts itself. Walks all releases. */
void pil_holder_validate(const struct pil_holder *holder);

/* NULL: it is not here, or it is being unmapped. */
struct pil_held_release *pil_holder_find(const struct pil_holder *holder, uint32_t view_index, const char *release);
/* Whether all its shards are here. */
bool pil_holder_has(const struct pil_holder *holder, uint32_t view_index, const char *release);
/* The release of a view that is served, or NULL. */
struct pil_held_release *pil_holder_live(const struct pil_holder *holder, uint32_t view_index);
uint64_t pil_holder_bytes(const struct pil_holder *holder, pil_residency residency);
uint64_t pil_holder_bytes_total(const struct pil_holder *holder);
/* All bytes of one view. */
uint64_t pil_holder_bytes_of(const struct pil_holder *holder, uint32_t view_index);
/* Whole releases of one view. */
uint32_t pil_holder_count_of(const struct pil_holder *holder, uint32_t view_index);

/* Which shard of how many. */
struct pil_shard_place {
    uint32_t index, count;
};
/* Takes a shard; the descriptor is the holder's from here, also on failure. DENIED: it is not sealed. CORRUPT: it does
 * not fit the shards that came before. NO_MEMORY: that, or `fd` is -1, for it was lost on its way. */
pil_status pil_holder_add(struct pil_holder *holder, uint32_t view_index, const char *release,
                          const struct pil_shard_place *place, int fd) PIL_CHECKED;
/* Makes a whole release the live one of its view; NOT_FOUND when it is not held whole. created_us 0: as known before.
 */
pil_status pil_holder_publish(struct pil_holder *holder, uint32_t view_index, const char *release,
                              int64_t created_us) PIL_CHECKED;
/* The server was sent a release, or tells that it has unmapped one. A release that the holder does not know is ignored.
 */
void pil_holder_mapped(struct pil_holder *holder, struct pil_held_release *held);
void pil_holder_unmapped(struct pil_holder *holder, uint32_t view_index, const char *release);
/* The server is gone, and all its mappings with it. */
void pil_holder_unmapped_all(struct pil_holder *holder);

struct pil_evicted {
    uint32_t view_index;
    char release[PIL_RELEASE_ID_CHARS + 1];
    uint64_t bytes;
};
/* Drops the longest unused kept release. Returns whether there was one. */
bool pil_holder_evict_any(struct pil_holder *holder, struct pil_evicted *ret_evicted);
/* The same within one view, and only while it has more than `keep` whole releases. */
bool pil_holder_evict_of(struct pil_holder *holder, uint32_t view_index, uint32_t keep,
                         struct pil_evicted *ret_evicted);
/* Drops a release if only some of its shards came: its fetch was given up. */
void pil_holder_give_up(struct pil_holder *holder, uint32_t view_index, const char *release);
/* Drops all of them: the process that fetched them has ended. */
void pil_holder_drop_arriving(struct pil_holder *holder);
/* Drops everything of a view that is served no more, the live release too. */
void pil_holder_drop_view(struct pil_holder *holder, uint32_t view_index);
