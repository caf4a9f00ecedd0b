/* SPDX-License-Identifier: Apache-2.0
 * View slots, publishing and reclaiming. */
#include "cache/cache.h"
#include "base/clock.h"
#include "base/panic.h"

#include <pthread.h>
#include <stdlib.h>

struct pil_cache {
    uint32_t views_max;
    _Atomic uint32_t view_count; /* slots defined so far; writer: control thread (release); readers: all threads
                                  * (acquire) */
    struct pil_qsbr *qsbr;
    _Atomic uint64_t publish_count; /* writer: control thread (release); readers: workers (acquire) */
    pthread_t control;              /* the thread that created the cache, the only one that publishes and reclaims */
    struct pil_serving *retired;    /* oldest first */
    struct pil_serving **retired_end;
    uint32_t retired_count;
    struct pil_cache_view views[];
};

struct pil_cache *pil_cache_create(uint32_t views_max, uint32_t worker_count) {
    struct pil_cache *cache = calloc(1, sizeof *cache + views_max * sizeof cache->views[0]);
    struct pil_qsbr *qsbr = pil_qsbr_create(worker_count);
    if (cache == NULL || qsbr == NULL) {
        free(cache);
        pil_qsbr_destroy(&qsbr);
        return NULL;
    }
    cache->views_max = views_max;
    cache->control = pthread_self();
    cache->qsbr = qsbr;
    cache->retired_end = &cache->retired;
    return cache;
}

void pil_cache_destroy(struct pil_cache **cache_pointer) {
    struct pil_cache *cache = *cache_pointer;
    if (cache == NULL) {
        return;
    }
    while (cache->retired != NULL) {
        struct pil_serving *serving = cache->retired;
        cache->retired = serving->retired_next;
        pil_serving_destroy(&serving);
    }
    for (uint32_t i = 0; i < cache->views_max; i++) {
        struct pil_serving *serving = atomic_load_explicit(&cache->views[i].serving, memory_order_relaxed);
        pil_serving_destroy(&serving);
    }
    pil_qsbr_destroy(&cache->qsbr);
    free(cache);
    *cache_pointer = NULL;
}

struct pil_qsbr *pil_cache_qsbr(struct pil_cache *cache) {
    return cache->qsbr;
}

uint32_t pil_cache_view_count(const struct pil_cache *cache) {
    return atomic_load_explicit(&cache->view_count, memory_order_acquire);
}

uint64_t pil_cache_publish_count(const struct pil_cache *cache) {
    return atomic_load_explicit(&cache->publish_count, memory_order_acquire);
}

struct pil_cache_view *pil_cache_view_at(struct pil_cache *cache, uint32_t index) {
    PIL_ASSERT(index < cache->views_max);
    return &cache->views[index];
}

static bool is_name(const char *name) {
    size_t len = strlen(name);
    return len > 0 && len <= PIL_NAME_BYTES_MAX;
}

static bool has_names(const struct pil_cache_view *view, const char *project, const char *name) {
    return strcmp(view->project, project) == 0 && strcmp(view->name, name) == 0;
}

pil_status pil_cache_view_define(struct pil_cache *cache, uint32_t index, const char *project, const char *name,
                                 const char *channel) {
    struct pil_cache_view *view = pil_cache_view_at(cache, index);
    uint32_t count = cache->view_count;
    PIL_ASSERT(index <= count && !view->is_served);
    if (!is_name(project) || !is_name(name) || !is_name(channel)) {
        return PIL_STATUS_INVALID;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (cache->views[i].is_served && has_names(&cache->views[i], project, name)) {
            return PIL_STATUS_INVALID;
        }
    }
    if (index < count && (!has_names(view, project, name) || strcmp(view->channel, channel) != 0)) {
        return PIL_STATUS_INVALID;
    }
    if (index == count) {
        memcpy(view->project, project, strlen(project) + 1);
        memcpy(view->name, name, strlen(name) + 1);
        memcpy(view->channel, channel, strlen(channel) + 1);
        view->index = index;
    }
    /* Both stores are releases: a thread that sees the slot also sees its names. */
    atomic_store_explicit(&view->is_served, true, memory_order_release);
    if (index == count) {
        atomic_store_explicit(&cache->view_count, count + 1, memory_order_release);
    }
    return PIL_STATUS_OK;
}

/* Queues an unpublished serving for reclaiming after a grace period. */
static void retire(struct pil_cache *cache, const struct pil_cache_view *view, struct pil_serving *serving) {
    serving->view_index = view->index;
    serving->retire_ticket = pil_qsbr_begin(cache->qsbr);
    serving->retired_next = NULL;
    *cache->retired_end = serving;
    cache->retired_end = &serving->retired_next;
    cache->retired_count++;
}

void pil_cache_view_remove(struct pil_cache *cache, uint32_t index) {
    struct pil_cache_view *view = pil_cache_view_at(cache, index);
    PIL_ASSERT(view->is_served);
    atomic_store_explicit(&view->is_served, false, memory_order_release);
    struct pil_serving *old = atomic_exchange_explicit(&view->serving, NULL, memory_order_acq_rel);
    atomic_fetch_add_explicit(&cache->publish_count, 1, memory_order_acq_rel);
    if (old != NULL) {
        retire(cache, view, old);
    }
}

static void add_past(struct pil_release *release, uint32_t *count, const char *id, int64_t created_us) {
    if (*count < PIL_RELEASE_HISTORY_MAX && strcmp(id, release->id) != 0) {
        memcpy(release->history[*count].id, id, sizeof release->history[0].id);
        release->history[(*count)++].created_us = created_us;
    }
}

/* The history of `release` is the release before it, followed by that one's history. */
static void set_history(struct pil_release *release, const struct pil_release *before) {
    uint32_t count = 0;
    add_past(release, &count, before->id, before->created_us);
    for (uint32_t i = 0; i < PIL_RELEASE_HISTORY_MAX && before->history[i].id[0] != '\0'; i++) {
        add_past(release, &count, before->history[i].id, before->history[i].created_us);
    }
}

void pil_cache_publish(struct pil_cache *cache, struct pil_cache_view *view, struct pil_serving *serving) {
    PIL_ASSERT(pthread_equal(cache->control, pthread_self()));
    PIL_ASSERT(view == &cache->views[view->index] && view->is_served);
    PIL_ASSERT(serving->magic == PIL_SERVING_MAGIC && serving->release->generation == 0);
    struct pil_release *release = serving->release;
    const struct pil_serving *before = atomic_load_explicit(&view->serving, memory_order_relaxed);
    if (before != NULL) {
        set_history(release, before->release);
    }
    release->generation = ++view->generation;
    release->published_us = pil_clock_wall_us();
    /* Release: pairs with the acquire in pil_cache_serving, so that a worker that sees the pointer also sees the open
     * shards behind it. */
    struct pil_serving *old = atomic_exchange_explicit(&view->serving, serving, memory_order_acq_rel);
    atomic_fetch_add_explicit(&cache->publish_count, 1, memory_order_acq_rel);
    if (old != NULL) {
        retire(cache, view, old);
    }
    PIL_ASSERT_SLOW(pil_cache_validate(cache));
}

/* Unmaps slices of the oldest retired release; returns true if all of it is unmapped. */
static bool unmap(struct pil_release *release, uint64_t bytes_max, uint64_t *done) {
    while (release->shard_count > 0 && *done + 4096 <= bytes_max) {
        *done += pil_cache_release_unmap_slice(release, bytes_max - *done);
    }
    return release->shard_count == 0;
}

uint64_t pil_cache_reclaim(struct pil_cache *cache, uint64_t bytes_max, pil_cache_reclaimed *on_reclaimed,
                           void *context) {
    PIL_ASSERT(pthread_equal(cache->control, pthread_self()));
    uint64_t done = 0;
    while (cache->retired != NULL && pil_qsbr_passed(cache->qsbr, cache->retired->retire_ticket)) {
        struct pil_serving *serving = cache->retired;
        if (!unmap(serving->release, bytes_max, &done)) {
            break;
        }
        cache->retired = serving->retired_next;
        if (cache->retired == NULL) {
            cache->retired_end = &cache->retired;
        }
        PIL_ASSERT(cache->retired_count > 0);
        cache->retired_count--;
        if (on_reclaimed != NULL) {
            on_reclaimed(context, serving->view_index, serving->release);
        }
        pil_serving_destroy(&serving);
    }
    PIL_ASSERT_SLOW(pil_cache_validate(cache));
    return done;
}

uint32_t pil_cache_retired_count(const struct pil_cache *cache) {
    return cache->retired_count;
}

/* ---- Invariants. */

static bool is_serving_valid(const struct pil_serving *serving) {
    const struct pil_release *release = serving->release;
    return serving->magic == PIL_SERVING_MAGIC && release->magic == PIL_RELEASE_MAGIC && release->generation > 0 &&
           serving->chain.view == release->view && serving->chain.release.data == release;
}

static bool are_views_valid(const struct pil_cache *cache) {
    for (uint32_t i = 0; i < cache->view_count; i++) {
        const struct pil_cache_view *view = &cache->views[i];
        const struct pil_serving *serving = atomic_load_explicit(&view->serving, memory_order_relaxed);
        if (serving != NULL && !view->is_served) {
            return false;
        }
        if (serving != NULL && (!is_serving_valid(serving) || serving->release->generation != view->generation ||
                                serving->release->shard_count != 1u << serving->release->shard_bits)) {
            return false;
        }
    }
    return true;
}

bool pil_cache_validate(const struct pil_cache *cache) {
    PIL_ASSERT(pthread_equal(cache->control, pthread_self()));
    uint64_t ticket = 0;
    uint32_t count = 0;
    struct pil_serving *const *end = &cache->retired;
    for (const struct pil_serving *serving = cache->retired; serving != NULL; serving = serving->retired_next) {
        if (!is_serving_valid(serving) || serving->retire_ticket <= ticket) {
            return false;
        }
        if (serving != cache->retired && serving->release->unmap_offset != 0) {
            return false; /* only the oldest is being unmapped */
        }
        ticket = serving->retire_ticket;
        count++;
        end = &serving->retired_next;
    }
    return cache->retired_end == end && cache->retired_count == count && are_views_valid(cache);
}
