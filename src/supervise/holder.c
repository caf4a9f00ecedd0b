/* SPDX-License-Identifier: Apache-2.0 */
#include "supervise/holder.h"
#include "base/panic.h"
#include "base/sys.h"

#include <stdio.h>
#include <stdlib.h>

#define EACH(held, holder) PIL_LIST_EACH(struct pil_held_release, link, held, &(holder)->releases)

static void close_fds(struct pil_held_release *held) {
    for (uint32_t i = 0; i < held->shard_count; i++) {
        pil_sys_close(&held->fds[i]);
    }
}

static void destroy(struct pil_held_release *held) {
    pil_list_remove(&held->link);
    close_fds(held);
    free(held->fds);
    free(held);
}

void pil_holder_init(struct pil_holder *holder) {
    *holder = (struct pil_holder){0};
    pil_list_init(&holder->releases);
}

void pil_holder_deinit(struct pil_holder *holder) {
    EACH(held, holder) {
        destroy(held);
    }
}

static bool is_whole(const struct pil_held_release *held) {
    return held->residency == PIL_RESIDENCY_OFFERED || held->residency == PIL_RESIDENCY_LIVE ||
           held->residency == PIL_RESIDENCY_KEPT;
}

static void validate_release(const struct pil_holder *holder, const struct pil_held_release *held) {
    uint32_t open = 0;
    for (uint32_t i = 0; i < held->shard_count; i++) {
        open += held->fds[i] >= 0;
    }
    PIL_ASSERT(held->residency < PIL_RESIDENCY_COUNT && held->view_index < PIL_SERVED_VIEWS_MAX);
    PIL_ASSERT(held->shards_here > 0 && held->shards_here <= held->shard_count);
    PIL_ASSERT(is_whole(held) ? held->shards_here == held->shard_count : true);
    PIL_ASSERT(held->residency == PIL_RESIDENCY_ARRIVING ? held->shards_here < held->shard_count : true);
    PIL_ASSERT(held->residency == PIL_RESIDENCY_UNMAPPING ? open == 0 && held->map_count > 0
                                                          : open == held->shards_here);
    PIL_ASSERT(held->used <= holder->use_counter);
    PIL_ASSERT(!held->is_offered_again || held->residency == PIL_RESIDENCY_LIVE);
    EACH(other, holder) {
        bool is_same = other != held && other->view_index == held->view_index;
        bool is_single = held->residency == PIL_RESIDENCY_LIVE || held->residency == PIL_RESIDENCY_OFFERED;
        PIL_ASSERT(!is_same || !is_single || other->residency != held->residency);
        PIL_ASSERT(!is_same || held->residency == PIL_RESIDENCY_UNMAPPING ||
                   other->residency == PIL_RESIDENCY_UNMAPPING || strcmp(held->release, other->release) != 0);
    }
}

void pil_holder_validate(const struct pil_holder *holder) {
    uint64_t by_residency = 0, by_view = 0;
    EACH(held, holder) {
        validate_release(holder, held);
    }
    for (uint32_t i = 0; i < PIL_RESIDENCY_COUNT; i++) {
        by_residency += pil_holder_bytes(holder, (pil_residency)i);
    }
    for (uint32_t i = 0; i < PIL_SERVED_VIEWS_MAX; i++) {
        by_view += pil_holder_bytes_of(holder, i);
    }
    PIL_ASSERT(by_residency == pil_holder_bytes_total(holder) && by_view == by_residency);
}

struct pil_held_release *pil_holder_find(const struct pil_holder *holder, uint32_t view_index, const char *release) {
    EACH(held, holder) {
        if (held->residency != PIL_RESIDENCY_UNMAPPING && held->view_index == view_index &&
            strcmp(held->release, release) == 0) {
            return held;
        }
    }
    return NULL;
}

bool pil_holder_has(const struct pil_holder *holder, uint32_t view_index, const char *release) {
    const struct pil_held_release *held = pil_holder_find(holder, view_index, release);
    return held != NULL && is_whole(held);
}

/* For residencies that at most one release of a view has. */
static struct pil_held_release *find_single(const struct pil_holder *holder, uint32_t view_index,
                                            pil_residency residency) {
    EACH(held, holder) {
        if (held->view_index == view_index && held->residency == residency) {
            return held;
        }
    }
    return NULL;
}

struct pil_held_release *pil_holder_live(const struct pil_holder *holder, uint32_t view_index) {
    return find_single(holder, view_index, PIL_RESIDENCY_LIVE);
}

struct pil_held_release *pil_holder_offered(const struct pil_holder *holder, uint32_t view_index) {
    return find_single(holder, view_index, PIL_RESIDENCY_OFFERED);
}

uint64_t pil_holder_bytes(const struct pil_holder *holder, pil_residency residency) {
    uint64_t bytes = 0;
    EACH(held, holder) {
        bytes += held->residency == residency ? held->bytes : 0;
    }
    return bytes;
}

uint64_t pil_holder_bytes_total(const struct pil_holder *holder) {
    uint64_t bytes = 0;
    EACH(held, holder) {
        bytes += held->bytes;
    }
    return bytes;
}

uint64_t pil_holder_bytes_of(const struct pil_holder *holder, uint32_t view_index) {
    uint64_t bytes = 0;
    EACH(held, holder) {
        bytes += held->view_index == view_index ? held->bytes : 0;
    }
    return bytes;
}

uint32_t pil_holder_count_of(const struct pil_holder *holder, uint32_t view_index) {
    uint32_t count = 0;
    EACH(held, holder) {
        count += held->view_index == view_index && is_whole(held);
    }
    return count;
}

static struct pil_held_release *add_release(struct pil_holder *holder, uint32_t view_index, const char *release,
                                            uint32_t shard_count) {
    struct pil_held_release *held = calloc(1, sizeof *held);
    int *fds = malloc(shard_count * sizeof fds[0]);
    if (held == NULL || fds == NULL) {
        free(held);
        free(fds);
        return NULL;
    }
    held->view_index = view_index;
    snprintf(held->release, sizeof held->release, "%s", release);
    held->shard_count = shard_count;
    held->fds = fds;
    for (uint32_t i = 0; i < shard_count; i++) {
        held->fds[i] = -1;
    }
    pil_list_prepend(&holder->releases, &held->link);
    return held;
}

/* Takes `fd` only if it returns OK. EXISTS: the shard is held already. */
static pil_status add_shard(struct pil_holder *holder, uint32_t view_index, const char *release,
                            const struct pil_shard_place *place, int fd) {
    size_t bytes = 0;
    bool fits = view_index < PIL_SERVED_VIEWS_MAX && place->count > 0 && place->count <= 1u << PIL_SHARD_BITS_MAX &&
                place->index < place->count && strlen(release) == PIL_RELEASE_ID_CHARS;
    if (!fits) {
        return PIL_STATUS_CORRUPT;
    }
    PIL_TRY(pil_sys_memfd_size(fd, &bytes, NULL));
    struct pil_held_release *held = pil_holder_find(holder, view_index, release);
    if (held == NULL) {
        held = add_release(holder, view_index, release, place->count);
    }
    if (held == NULL) {
        return PIL_STATUS_NO_MEMORY;
    }
    if (held->shard_count != place->count) {
        return PIL_STATUS_CORRUPT;
    }
    if (held->fds[place->index] >= 0) {
        return PIL_STATUS_EXISTS;
    }
    held->fds[place->index] = fd;
    held->shards_here++;
    held->bytes += bytes;
    held->residency = held->shards_here == held->shard_count ? PIL_RESIDENCY_KEPT : PIL_RESIDENCY_ARRIVING;
    return PIL_STATUS_OK;
}

pil_status pil_holder_add(struct pil_holder *holder, uint32_t view_index, const char *release,
                          const struct pil_shard_place *place, int fd) {
    pil_status status = add_shard(holder, view_index, release, place, fd);
    if (status != PIL_STATUS_OK) {
        pil_sys_close(&fd);
    }
    return status == PIL_STATUS_EXISTS ? PIL_STATUS_OK : status; /* the same shard again: keep the first */
}

/* Ends the offer of a view, if there is one. */
static void withdraw(const struct pil_holder *holder, uint32_t view_index) {
    struct pil_held_release *offered = pil_holder_offered(holder, view_index);
    struct pil_held_release *live = pil_holder_live(holder, view_index);
    if (offered != NULL) {
        offered->residency = PIL_RESIDENCY_KEPT;
    }
    if (live != NULL) {
        live->is_offered_again = false;
    }
}

pil_status pil_holder_offer(struct pil_holder *holder, uint32_t view_index, const char *release, int64_t created_us) {
    if (!pil_holder_has(holder, view_index, release)) {
        return PIL_STATUS_NOT_FOUND;
    }
    struct pil_held_release *held = pil_holder_find(holder, view_index, release);
    withdraw(holder, view_index);
    held->is_offered_again = held->residency == PIL_RESIDENCY_LIVE;
    held->residency = held->is_offered_again ? PIL_RESIDENCY_LIVE : PIL_RESIDENCY_OFFERED;
    held->used = ++holder->use_counter;
    held->created_us = created_us != 0 ? created_us : held->created_us;
    return PIL_STATUS_OK;
}

bool pil_holder_accepted(struct pil_holder *holder, uint32_t view_index, const char *release) {
    if (!pil_holder_has(holder, view_index, release)) {
        return false;
    }
    struct pil_held_release *held = pil_holder_find(holder, view_index, release);
    struct pil_held_release *before = pil_holder_live(holder, view_index);
    if (before != NULL && before != held) {
        before->residency = before->is_offered_again ? PIL_RESIDENCY_OFFERED : PIL_RESIDENCY_KEPT;
        before->is_offered_again = false;
    }
    held->residency = PIL_RESIDENCY_LIVE;
    held->is_offered_again = false;
    return true;
}

bool pil_holder_refused(struct pil_holder *holder, uint32_t view_index, const char *release) {
    struct pil_held_release *held = pil_holder_find(holder, view_index, release);
    if (held == NULL || (held->residency != PIL_RESIDENCY_OFFERED && held->residency != PIL_RESIDENCY_LIVE)) {
        return false;
    }
    held->residency = PIL_RESIDENCY_KEPT;
    held->is_offered_again = false;
    return true;
}

static void drop(struct pil_held_release *held) {
    if (held->map_count == 0) {
        destroy(held);
        return;
    }
    close_fds(held);
    held->residency = PIL_RESIDENCY_UNMAPPING; /* until pil_holder_unmapped */
    held->is_offered_again = false;
}

static bool evict(struct pil_held_release *held, struct pil_evicted *ret_evicted) {
    if (held == NULL) {
        return false;
    }
    PIL_ASSERT(held->residency == PIL_RESIDENCY_KEPT);
    ret_evicted->view_index = held->view_index;
    memcpy(ret_evicted->release, held->release, sizeof ret_evicted->release);
    ret_evicted->bytes = held->bytes;
    drop(held);
    return true;
}

/* Returns `held` if it is kept and less recently used than `oldest`, which may be NULL; else `oldest`. */
static struct pil_held_release *older(struct pil_held_release *oldest, struct pil_held_release *held) {
    bool is_candidate = held->residency == PIL_RESIDENCY_KEPT;
    return is_candidate && (oldest == NULL || held->used < oldest->used) ? held : oldest;
}

bool pil_holder_evict_any(struct pil_holder *holder, struct pil_evicted *ret_evicted) {
    struct pil_held_release *oldest = NULL;
    EACH(held, holder) {
        oldest = older(oldest, held);
    }
    return evict(oldest, ret_evicted);
}

bool pil_holder_evict_of(struct pil_holder *holder, uint32_t view_index, uint32_t keep,
                         struct pil_evicted *ret_evicted) {
    struct pil_held_release *oldest = NULL;
    if (pil_holder_count_of(holder, view_index) <= keep) {
        return false;
    }
    EACH(held, holder) {
        oldest = held->view_index == view_index ? older(oldest, held) : oldest;
    }
    return evict(oldest, ret_evicted);
}

void pil_holder_give_up(struct pil_holder *holder, uint32_t view_index, const char *release) {
    struct pil_held_release *held = pil_holder_find(holder, view_index, release);
    if (held != NULL && held->residency == PIL_RESIDENCY_ARRIVING) {
        drop(held);
    }
}

void pil_holder_drop_arriving(struct pil_holder *holder) {
    EACH(held, holder) {
        if (held->residency == PIL_RESIDENCY_ARRIVING) {
            drop(held);
        }
    }
}

void pil_holder_drop_view(struct pil_holder *holder, uint32_t view_index) {
    EACH(held, holder) {
        if (held->view_index == view_index && held->residency != PIL_RESIDENCY_UNMAPPING) {
            drop(held);
        }
    }
}

void pil_holder_mapped(struct pil_holder *holder, struct pil_held_release *held) {
    PIL_ASSERT(pil_holder_find(holder, held->view_index, held->release) == held && is_whole(held));
    held->map_count++;
}

static void unmap(struct pil_held_release *held, uint32_t left) {
    held->map_count = left;
    if (held->residency == PIL_RESIDENCY_UNMAPPING && left == 0) {
        destroy(held);
    }
}

void pil_holder_unmapped(struct pil_holder *holder, uint32_t view_index, const char *release) {
    struct pil_held_release *found = NULL;
    EACH(held, holder) {
        bool is_meant = held->view_index == view_index && held->map_count > 0 && strcmp(held->release, release) == 0;
        /* A release that was dropped and fetched again is listed twice, with the same size: free the dropped one first.
         */
        if (is_meant && (found == NULL || held->residency == PIL_RESIDENCY_UNMAPPING)) {
            found = held;
        }
    }
    if (found != NULL) {
        unmap(found, found->map_count - 1);
    }
}

void pil_holder_unmapped_all(struct pil_holder *holder) {
    EACH(held, holder) {
        unmap(held, 0);
    }
}
