/* SPDX-License-Identifier: Apache-2.0
 * Live releases. Each served view has one published pointer; workers borrow it within a turn (rules:
 * src/cache/README.md). Releases are mapped, published, retired and unmapped by the control thread only. */
#pragma once

#include "base/bounds.h"
#include "cache/qsbr.h"
#include "snapshot/reader.h"

enum { PIL_CACHE_MAGIC = 0x50434c52, PIL_CACHE_BATCH_MAX = 1024, PIL_CACHE_EARLIER_MAX = 63 };

/* A release that was served before, and when it was made; 0: not known. */
struct pil_earlier {
    char id[PIL_RELEASE_ID_CHARS + 1];
    int64_t created_us;
};

/* A mapped release. Immutable from publish to reclaim. */
struct pil_release {
    uint32_t magic;
    char id[PIL_RELEASE_ID_CHARS + 1];
    const struct pil_view *view; /* of shard 0; all shards agree (checked) */
    struct pil_shard *shards;
    uint32_t shard_count;
    uint32_t shard_bits;
    uint64_t row_count;
    uint64_t bytes;
    int64_t event_ts_us_max;
    int64_t published_us;
    int64_t created_us; /* when it was made; 0: not known */
    uint64_t generation;
    struct pil_earlier
        earlier[PIL_CACHE_EARLIER_MAX]; /* set by publish: those of its view, newest first; id "": none */
    /* Control thread only, once retired. */
    uint32_t view_index;
    uint64_t retire_ticket;
    uint64_t unmap_offset; /* of the last shard still mapped; what is past it is unmapped */
    struct pil_release *retired_next;
};

/* A slot for a view. Its names are written once, before `is_served` is, and never change; a view that is removed and
 * comes back finds its slot again. `live` is NULL until the first release is published. */
struct pil_cache_view {
    /* Writer: control thread (release); readers: workers (acquire). */
    _Atomic bool is_served;
    char project[PIL_NAME_BYTES_MAX + 1];
    char name[PIL_NAME_BYTES_MAX + 1];
    char channel[PIL_NAME_BYTES_MAX + 1];
    uint32_t index;
    /* Writer: control thread (release, pairs with the acquire in pil_cache_live). Readers: workers. */
    _Atomic(struct pil_release *) live;
    uint64_t generation;
};

struct pil_cache;
struct pil_cache *pil_cache_create(uint32_t views_max, uint32_t worker_count);
/* Workers must be gone. Unmaps everything. */
void pil_cache_destroy(struct pil_cache **cache);

struct pil_qsbr *pil_cache_qsbr(struct pil_cache *cache);
/* Slots that were ever defined. Any thread. */
uint32_t pil_cache_view_count(const struct pil_cache *cache);
struct pil_cache_view *pil_cache_view_at(struct pil_cache *cache, uint32_t index);
/* Raised behind each publish and removal. Any thread. */
uint64_t pil_cache_publish_count(const struct pil_cache *cache);
/* Control thread: serves a view in the next slot, or again in the one that it had. INVALID: project/name is served
 * already, or the slot has other names. */
pil_status pil_cache_view_define(struct pil_cache *cache, uint32_t index, const char *project, const char *name,
                                 const char *channel) PIL_CHECKED;
/* Control thread: names no longer lead to the view, and its release is retired. */
void pil_cache_view_remove(struct pil_cache *cache, uint32_t index);
static inline bool pil_cache_view_is_served(const struct pil_cache_view *view) {
    return atomic_load_explicit(&view->is_served, memory_order_acquire);
}

/* Worker: the release to use for one request, from start to end; valid until this worker's next quiescent state. */
static inline const struct pil_release *pil_cache_live(const struct pil_cache_view *view) {
    return atomic_load_explicit(&view->live, memory_order_acquire);
}

/* When that release of the same view was made, if it is this one or one of those published before it. Any thread. */
bool pil_release_locate(const struct pil_release *live, struct pil_bytes id, int64_t *ret_created_us);

/* ---- Control thread */

/* Maps the sealed descriptors (kept open by the caller) of a verified release. shard i is fds[i]. CORRUPT when the
 * shards do not make one release; DENIED when one is not sealed. */
pil_status pil_release_map(const char *release_id, const int *fds, uint32_t shard_count,
                           struct pil_release **ret_release, struct pil_error *ret_error) PIL_CHECKED;
/* Fills page tables of one shard, at most bytes_max from offset, so that no reader takes the faults: some milliseconds
 * a GiB in huge pages, up to 100 ms in others. Returns for how many bytes; 0: Linux before 5.14 leaves it to faults. */
uint64_t pil_release_prefault(const struct pil_release *release, uint32_t shard_index, uint64_t offset,
                              uint64_t bytes_max);
/* Reads a byte of each page of one shard, at most bytes_max from offset, once for all processes: a virtual machine's
 * memory may have to be given by its host again when it is read first, tens of microseconds a page, even if it was
 * written seconds ago. Returns for how many bytes; 0: that was all. */
uint64_t pil_release_touch(const struct pil_release *release, uint32_t shard_index, uint64_t offset,
                           uint64_t bytes_max);
/* Unmaps some of what is still mapped: at most a huge page and at most bytes_max (4096 or more), so that the address
 * space lock is never held for long. Returns how much; destroy does the rest, when shard_count is 0 nothing of it. */
uint64_t pil_release_unmap_slice(struct pil_release *release, uint64_t bytes_max);
/* Unmaps a release that is not published (any more); NULLs the pointer. */
void pil_release_destroy(struct pil_release **release);
/* A retired release that was unmapped whole; its view is the slot that it was served in. */
typedef void pil_cache_reclaimed(void *context, uint32_t view_index, const struct pil_release *release);
/* One pointer store. The old release, if any, is retired: reclaimed after a grace period by pil_cache_reclaim. */
void pil_cache_publish(struct pil_cache *cache, struct pil_cache_view *view, struct pil_release *release);
/* Unmaps a slice (at most bytes_max) of what is past its grace period; a release that is gone is named, before it is
 * freed, to on_reclaimed (NULL: to nobody). Returns how many bytes were unmapped. */
uint64_t pil_cache_reclaim(struct pil_cache *cache, uint64_t bytes_max, pil_cache_reclaimed *on_reclaimed,
                           void *context);
/* Retired releases that are not unmapped yet. */
uint32_t pil_cache_retired_count(const struct pil_cache *cache);

/* ---- Worker: the batch pipeline */

struct pil_lookup {
    const struct pil_release *release;
    const uint8_t *key; /* canonical bytes */
    uint32_t key_len;
    uint32_t view_index;  /* the caller's: which view this is, for its accounts */
    uint32_t shard_index; /* private */
    uint64_t line_mask;   /* 64-byte lines of the row that the answer needs; bit 63 = that one and all after it */
    const uint8_t *row;   /* result; NULL when missing; valid until the next quiescent state */
    uint64_t hash;        /* private */
};
/* Looks all up together: hash and prefetch pilots, prefetch row lines, compare. Any mix of releases; any count. */
void pil_cache_lookup(struct pil_lookup *lookups, uint32_t count);
/* Its three steps, for callers that have other work while memory is on its way; each on what the one before has left:
 * find the pilots, fetch the rows, drop those with other keys. Until then `row` is private. */
void pil_cache_lookup_hash(struct pil_lookup *lookups, uint32_t count);
void pil_cache_lookup_fetch(struct pil_lookup *lookups, uint32_t count);
void pil_cache_lookup_compare(struct pil_lookup *lookups, uint32_t count);
static inline const struct pil_shard *pil_lookup_shard(const struct pil_lookup *lookup) {
    return &lookup->release->shards[lookup->shard_index];
}
/* Mask of the lines that hold key, timestamp, null bitmap and the given features. */
uint64_t pil_cache_line_mask(const struct pil_view *view, const uint32_t *features, uint32_t feature_count);
