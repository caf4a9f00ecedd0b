/* SPDX-License-Identifier: Apache-2.0
 * View slots, publishing and reclaiming. Mapping is in release.c, the batch lookup in lookup.c. */
#include "cache/cache.h"
#include "base/clock.h"
#include "base/panic.h"

#include <stdlib.h>
#include <sys/mman.h>

struct pil_cache {
    uint32_t view_count;
    uint32_t project_count; /* distinct projects served; with one, a bare view name is enough */
    struct pil_qsbr *qsbr;
    _Atomic uint64_t publish_count; /* writer: control thread (release); readers: workers (acquire) */
    struct pil_release *retired;    /* oldest first */
    struct pil_release **retired_end;
    struct pil_cache_view views[];
};

struct pil_cache *pil_cache_create(uint32_t view_count, uint32_t worker_count) {
    struct pil_cache *cache = calloc(1, sizeof *cache + view_count * sizeof cache->views[0]);
    PIL_ASSERT(cache != NULL);
    cache->view_count = view_count;
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
    for (uint32_t i = 0; i < cache->view_count; i++) {
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
    return cache->view_count;
}

uint64_t pil_cache_publish_count(const struct pil_cache *cache) {
    return atomic_load_explicit(&cache->publish_count, memory_order_acquire);
}

struct pil_cache_view *pil_cache_view_at(struct pil_cache *cache, uint32_t index) {
    PIL_ASSERT(index < cache->view_count);
    return &cache->views[index];
}

static pil_status copy_name(char to[PIL_NAME_BYTES_MAX + 1], const char *from) {
    size_t len = strlen(from);
    if (len == 0 || len > PIL_NAME_BYTES_MAX) {
        return PIL_STATUS_INVALID;
    }
    memcpy(to, from, len + 1);
    return PIL_STATUS_OK;
}

pil_status pil_cache_view_define(struct pil_cache *cache, uint32_t index, const char *project, const char *name,
                                 const char *channel) {
    struct pil_cache_view *view = pil_cache_view_at(cache, index);
    bool project_is_new = true;
    for (uint32_t i = 0; i < index; i++) {
        if (strcmp(cache->views[i].project, project) == 0) {
            project_is_new = false;
            if (strcmp(cache->views[i].name, name) == 0) {
                return PIL_STATUS_INVALID;
            }
        }
    }
    PIL_TRY(copy_name(view->project, project));
    PIL_TRY(copy_name(view->name, name));
    PIL_TRY(copy_name(view->channel, channel));
    view->index = index;
    cache->project_count += project_is_new;
    return PIL_STATUS_OK;
}

/* A node serves a handful of views: comparing lengths and bytes beats hashing. */
struct pil_cache_view *pil_cache_view_find_in(const struct pil_cache *cache, struct pil_bytes project,
                                              struct pil_bytes name) {
    if (project.len == 0 && cache->project_count != 1) {
        return NULL;
    }
    for (uint32_t i = 0; i < cache->view_count; i++) {
        const struct pil_cache_view *view = &cache->views[i];
        if (pil_bytes_equal_text(name, view->name) &&
            (project.len == 0 || pil_bytes_equal_text(project, view->project))) {
            return (struct pil_cache_view *)view;
        }
    }
    return NULL;
}

struct pil_cache_view *pil_cache_view_find(const struct pil_cache *cache, struct pil_bytes name) {
    const uint8_t *slash = name.len > 0 ? memchr(name.data, '/', name.len) : NULL;
    if (slash == NULL) {
        return pil_cache_view_find_in(cache, (struct pil_bytes){0}, name);
    }
    size_t project_len = (size_t)(slash - name.data);
    return project_len == 0 ? NULL
                            : pil_cache_view_find_in(cache, pil_bytes_from(name.data, project_len),
                                                     pil_bytes_from(slash + 1, name.len - project_len - 1));
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
        old->retire_ticket = pil_qsbr_begin(cache->qsbr);
        old->retired_next = NULL;
        *cache->retired_end = old;
        cache->retired_end = &old->retired_next;
    }
}

uint32_t pil_cache_reclaim(struct pil_cache *cache, uint64_t bytes_max) {
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
        pil_release_destroy(&release);
    }
    uint32_t left = 0;
    for (const struct pil_release *release = cache->retired; release != NULL; release = release->retired_next) {
        left++;
    }
    return left;
}
