/* SPDX-License-Identifier: Apache-2.0
 * View slots, publishing and reclaiming. Mapping is in release.c, the batch lookup in lookup.c. */
#include "cache/cache.h"
#include "base/clock.h"
#include "base/panic.h"

#include <stdlib.h>
#include <sys/mman.h>

struct pil_cache {
    uint32_t views_max;
    _Atomic uint32_t view_count; /* defined slots; release by the control thread, acquire by all */
    struct pil_qsbr *qsbr;
    _Atomic uint64_t publish_count; /* writer: control thread (release); readers: workers (acquire) */
    struct pil_release *retired;    /* oldest first */
    struct pil_release **retired_end;
    uint32_t retired_count;
    struct pil_cache_view views[];
};

struct pil_cache *pil_cache_create(uint32_t views_max, uint32_t worker_count) {
    struct pil_cache *cache = calloc(1, sizeof *cache + views_max * sizeof cache->views[0]);
    PIL_ASSERT(cache != NULL);
    cache->views_max = views_max;
    cache->qsbr = pil_qsbr_create(worker_count);
    cache->retired_end = &cache->retired;
    return cache;
}

void pil_cache_destroy(struct pil_cache **cache_pointer) {
    struct pil_cache *cache = *cache_pointer;
    if (cache == NULL) {
        return;
    }
    while (cache->retired != NULL) {
        struct pil_release *release = cache->retired;
        cache->retired = release->retired_next;
        pil_release_destroy(&release);
    }
    for (uint32_t i = 0; i < cache->views_max; i++) {
        struct pil_release *release = atomic_load_explicit(&cache->views[i].live, memory_order_relaxed);
        pil_release_destroy(&release);
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
    /* Release, both: whoever sees the slot sees its names. */
    atomic_store_explicit(&view->is_served, true, memory_order_release);
    if (index == count) {
        atomic_store_explicit(&cache->view_count, count + 1, memory_order_release);
    }
    return PIL_STATUS_OK;
}

/* What was unpublished is reclaimed after a grace period. */
static void retire(struct pil_cache *cache, const struct pil_cache_view *view, struct pil_release *release) {
    release->view_index = view->index;
    release->retire_ticket = pil_qsbr_begin(cache->qsbr);
    release->retired_next = NULL;
    *cache->retired_end = release;
    cache->retired_end = &release->retired_next;
    cache->retired_count++;
}

void pil_cache_view_remove(struct pil_cache *cache, uint32_t index) {
    struct pil_cache_view *view = pil_cache_view_at(cache, index);
    PIL_ASSERT(view->is_served);
    atomic_store_explicit(&view->is_served, false, memory_order_release);
    struct pil_release *old = atomic_exchange_explicit(&view->live, NULL, memory_order_acq_rel);
    atomic_fetch_add_explicit(&cache->publish_count, 1, memory_order_acq_rel);
    if (old != NULL) {
        retire(cache, view, old);
    }
}

static void add_earlier(struct pil_release *release, uint32_t *count, const char *id, int64_t created_us) {
    if (*count < PIL_CACHE_EARLIER_MAX && strcmp(id, release->id) != 0) {
        memcpy(release->earlier[*count].id, id, sizeof release->earlier[0].id);
        release->earlier[(*count)++].created_us = created_us;
    }
}

/* What the one before it knows, and that one. */
static void set_earlier(struct pil_release *release, const struct pil_release *before) {
    uint32_t count = 0;
    add_earlier(release, &count, before->id, before->created_us);
    for (uint32_t i = 0; i < PIL_CACHE_EARLIER_MAX && before->earlier[i].id[0] != '\0'; i++) {
        add_earlier(release, &count, before->earlier[i].id, before->earlier[i].created_us);
    }
}

bool pil_release_locate(const struct pil_release *live, struct pil_bytes id, int64_t *ret_created_us) {
    if (pil_bytes_equal_text(id, live->id)) {
        *ret_created_us = live->created_us;
        return true;
    }
    for (uint32_t i = 0; i < PIL_CACHE_EARLIER_MAX && live->earlier[i].id[0] != '\0'; i++) {
        if (pil_bytes_equal_text(id, live->earlier[i].id)) {
            *ret_created_us = live->earlier[i].created_us;
            return true;
        }
    }
    return false;
}

void pil_cache_publish(struct pil_cache *cache, struct pil_cache_view *view, struct pil_release *release) {
    PIL_ASSERT(release != NULL && release->magic == PIL_CACHE_MAGIC && release->generation == 0);
    PIL_ASSERT(view->is_served);
    const struct pil_release *before = atomic_load_explicit(&view->live, memory_order_relaxed);
    if (before != NULL) {
        set_earlier(release, before);
    }
    release->generation = ++view->generation;
    release->published_us = pil_clock_wall_us();
    /* Release: pairs with the acquire in pil_cache_live, so that whoever sees the pointer sees the open shards behind
     * it. */
    struct pil_release *old = atomic_exchange_explicit(&view->live, release, memory_order_acq_rel);
    atomic_fetch_add_explicit(&cache->publish_count, 1, memory_order_acq_rel);
    if (old != NULL) {
        retire(cache, view, old);
    }
}

uint64_t pil_cache_reclaim(struct pil_cache *cache, uint64_t bytes_max, pil_cache_reclaimed *on_reclaimed,
                           void *context) {
    uint64_t done = 0;
    while (cache->retired != NULL && pil_qsbr_passed(cache->qsbr, cache->retired->retire_ticket)) {
        struct pil_release *release = cache->retired;
        while (release->shard_count > 0 && done + 4096 <= bytes_max) {
            done += pil_release_unmap_slice(release, bytes_max - done);
        }
        if (release->shard_count > 0) {
            break;
        }
        cache->retired = release->retired_next;
        if (cache->retired == NULL) {
            cache->retired_end = &cache->retired;
        }
        PIL_ASSERT(cache->retired_count > 0);
        cache->retired_count--;
        if (on_reclaimed != NULL) {
            on_reclaimed(context, release->view_index, release);
        }
        pil_release_destroy(&release);
    }
    return done;
}

uint32_t pil_cache_retired_count(const struct pil_cache *cache) {
    return cache->retired_count;
}
