/* SPDX-License-Identifier: Apache-2.0
 * The release holder: the sealed shards that the supervisor keeps open. With them a restarted server is warm at once
 * and a rollback needs no I/O. Bounded by the memory budget (admission.h) and by keep_releases. Thread: one. */
#pragma once

#include "base/bounds.h"
#include "base/list.h"
#include "base/status.h"

#include <stdint.h>

/* The state of a release. Each byte that is held counts in exactly one of them. */
typedef enum pil_residency {
    PIL_RESIDENCY_ARRIVING,  /* some of its shards have not arrived */
    PIL_RESIDENCY_OFFERED,   /* to the server, which has not answered; at most one of each view */
    PIL_RESIDENCY_LIVE,      /* the server said that it serves it; at most one of each view */
    PIL_RESIDENCY_KEPT,      /* whole, neither offered nor live: for a rollback */
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
    uint64_t used;      /* use_counter at its last offer: the smallest is evicted first */
    uint32_t map_count; /* how many times the server maps it */
    bool
        is_offered_again; /* LIVE, and the last offer: it becomes OFFERED if the server serves an earlier offer first */
};

struct pil_holder {
    struct pil_list releases; /* of struct pil_held_release, newest first */
    uint64_t use_counter;
};

void pil_holder_init(struct pil_holder *holder);
void pil_holder_deinit(struct pil_holder *holder);
/* Panics when the holder contradicts itself. Walks all releases. */
void pil_holder_validate(const struct pil_holder *holder);

/* NULL: the release is not held, or it is being unmapped. */
struct pil_held_release *pil_holder_find(const struct pil_holder *holder, uint32_t view_index, const char *release);
/* Whether the release is held whole. */
bool pil_holder_has(const struct pil_holder *holder, uint32_t view_index, const char *release);
/* The live release of a view, and the one that was offered last and not answered yet; NULL: none. */
struct pil_held_release *pil_holder_live(const struct pil_holder *holder, uint32_t view_index);
struct pil_held_release *pil_holder_offered(const struct pil_holder *holder, uint32_t view_index);
uint64_t pil_holder_bytes(const struct pil_holder *holder, pil_residency residency);
uint64_t pil_holder_bytes_total(const struct pil_holder *holder);
/* The bytes of all releases of one view. */
uint64_t pil_holder_bytes_of(const struct pil_holder *holder, uint32_t view_index);
/* The number of whole releases of one view. */
uint32_t pil_holder_count_of(const struct pil_holder *holder, uint32_t view_index);

/* Shard `index` of `count`. */
struct pil_shard_place {
    uint32_t index, count;
};
/* Takes a shard and, also on failure, ownership of its descriptor. A shard that is held already: OK. CORRUPT: it does
 * not fit the shards that came before. NO_MEMORY. Or as pil_sys_memfd_size. */
pil_status pil_holder_add(struct pil_holder *holder, uint32_t view_index, const char *release,
                          const struct pil_shard_place *place, int fd) PIL_CHECKED;
/* A whole release is about to be offered to the server, in place of an earlier offer of its view; the live release
 * stays live, also if it is offered again. NOT_FOUND when it is not held whole. created_us 0: keep the known value. */
pil_status pil_holder_offer(struct pil_holder *holder, uint32_t view_index, const char *release,
                            int64_t created_us) PIL_CHECKED;
/* The server serves a release: it becomes the live one of its view, also if another one was offered since. Returns
 * false, and changes nothing, if it is not held whole any more. */
bool pil_holder_accepted(struct pil_holder *holder, uint32_t view_index, const char *release);
/* The server does not serve a release that was offered, or live with an earlier server: it is kept. Returns whether
 * there was such a release. */
bool pil_holder_refused(struct pil_holder *holder, uint32_t view_index, const char *release);
/* The server was sent a release, or reports that it has unmapped one. pil_holder_unmapped ignores unknown releases. */
void pil_holder_mapped(struct pil_holder *holder, struct pil_held_release *held);
void pil_holder_unmapped(struct pil_holder *holder, uint32_t view_index, const char *release);
/* The server has ended, and all its mappings with it. */
void pil_holder_unmapped_all(struct pil_holder *holder);

struct pil_evicted {
    uint32_t view_index;
    char release[PIL_RELEASE_ID_CHARS + 1];
    uint64_t bytes;
};
/* Drops the least recently used kept release, never one that is live or offered. Returns whether there was one. */
bool pil_holder_evict_any(struct pil_holder *holder, struct pil_evicted *ret_evicted);
/* The same within one view, and only while it has more than `keep` whole releases. */
bool pil_holder_evict_of(struct pil_holder *holder, uint32_t view_index, uint32_t keep,
                         struct pil_evicted *ret_evicted);
/* The fetch of a release was given up: drops the release if it is still arriving. */
void pil_holder_give_up(struct pil_holder *holder, uint32_t view_index, const char *release);
/* Drops all arriving releases: the process that fetched them has ended. */
void pil_holder_drop_arriving(struct pil_holder *holder);
/* Drops all releases, also those live and offered, of a view that is no longer served. */
void pil_holder_drop_view(struct pil_holder *holder, uint32_t view_index);
