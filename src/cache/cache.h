/* SPDX-License-Identifier: Apache-2.0
 * The views that are served. Each has one published pointer; within a turn, workers borrow the serving that it points
 * to (rules: src/cache/README.md). The control thread, which is the thread that created the cache, publishes and
 * reclaims. */
#pragma once

#include "cache/qsbr.h"
#include "cache/serving.h"

/* A slot for a view. Its names are written once, before `is_served`, and never change; a view that is removed and
 * defined again reuses its slot. `serving` is NULL until the first release is published. */
struct pil_cache_view {
    /* Writer: control thread (release); readers: workers (acquire). */
    _Atomic bool is_served;
    char project[PIL_NAME_BYTES_MAX + 1];
    char name[PIL_NAME_BYTES_MAX + 1];
    char channel[PIL_NAME_BYTES_MAX + 1];
    uint32_t index;
    /* Writer: control thread (release, pairs with the acquire in pil_cache_serving). Readers: workers. */
    _Atomic(struct pil_serving *) serving;
    uint64_t generation; /* of the release published last; 0: none yet */
};

struct pil_cache;
/* worker_count: those that run, and their holders (pil_qsbr_create). NULL: no memory. */
struct pil_cache *pil_cache_create(uint32_t views_max, uint32_t worker_count);
/* Unmaps all releases. Workers must have ended. */
void pil_cache_destroy(struct pil_cache **cache);

struct pil_qsbr *pil_cache_qsbr(struct pil_cache *cache);
/* Number of slots ever defined, removed views included. Any thread. */
uint32_t pil_cache_view_count(const struct pil_cache *cache);
struct pil_cache_view *pil_cache_view_at(struct pil_cache *cache, uint32_t index);
/* Incremented after each publish and removal. Any thread. */
uint64_t pil_cache_publish_count(const struct pil_cache *cache);
/* Control thread: serves a view in the next slot, or again in its former slot. INVALID: project/name is served already,
 * the slot has other names, or a name is empty or too long. */
pil_status pil_cache_view_define(struct pil_cache *cache, uint32_t index, const char *project, const char *name,
                                 const char *channel) PIL_CHECKED;
/* Control thread: stops serving the view and retires its release. */
void pil_cache_view_remove(struct pil_cache *cache, uint32_t index);
static inline bool pil_cache_view_is_served(const struct pil_cache_view *view) {
    return atomic_load_explicit(&view->is_served, memory_order_acquire);
}

/* Worker: the serving that one request uses of the view from start to end; valid until this worker's next quiescent
 * state. NULL: nothing is published. */
static inline const struct pil_serving *pil_cache_serving(const struct pil_cache_view *view) {
    return atomic_load_explicit(&view->serving, memory_order_acquire);
}
/* The release of pil_cache_serving; NULL: nothing is published. */
static inline const struct pil_release *pil_cache_live(const struct pil_cache_view *view) {
    const struct pil_serving *serving = pil_cache_serving(view);
    return serving != NULL ? serving->release : NULL;
}

/* ---- Control thread */

/* Called for each retired release that is unmapped completely, before it is freed; view_index is the slot that served
 * it. */
typedef void pil_cache_reclaimed(void *context, uint32_t view_index, const struct pil_release *release);
/* One pointer store. The cache owns `serving` from here on; the serving published before it is retired, and
 * pil_cache_reclaim reclaims it after a grace period. */
void pil_cache_publish(struct pil_cache *cache, struct pil_cache_view *view, struct pil_serving *serving);
/* Unmaps a slice (at most bytes_max) of retired releases whose grace period has passed; calls on_reclaimed (may be
 * NULL) before it frees a release. Returns the number of bytes unmapped. */
uint64_t pil_cache_reclaim(struct pil_cache *cache, uint64_t bytes_max, pil_cache_reclaimed *on_reclaimed,
                           void *context);
/* Number of retired releases that are not unmapped completely. */
uint32_t pil_cache_retired_count(const struct pil_cache *cache);
/* Whether the invariants of the cache hold; walks all views and all retired servings. */
bool pil_cache_validate(const struct pil_cache *cache);
