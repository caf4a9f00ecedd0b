/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/vault.h"
#include "base/panic.h"
#include "base/sys.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static void close_fds(struct pil_held_release *held) {
    for (uint32_t i = 0; i < held->shard_count; i++) {
        pil_sys_close(&held->fds[i]);
    }
}

static void destroy(struct pil_held_release *held) {
    close_fds(held);
    free(held->fds);
    free(held);
}

void pil_vault_deinit(struct pil_vault *vault) {
    while (vault->releases != NULL) {
        struct pil_held_release *held = vault->releases;
        vault->releases = held->next;
        destroy(held);
    }
}

struct pil_held_release *pil_vault_find(const struct pil_vault *vault, uint32_t view_index, const char *release) {
    for (struct pil_held_release *held = vault->releases; held != NULL; held = held->next) {
        if (!held->is_dropped && held->view_index == view_index && strcmp(held->release, release) == 0) {
            return held;
        }
    }
    return NULL;
}

bool pil_vault_is_held(const struct pil_vault *vault, uint32_t view_index, const char *release) {
    const struct pil_held_release *held = pil_vault_find(vault, view_index, release);
    return held != NULL && held->shards_here == held->shard_count;
}

uint64_t pil_vault_bytes(const struct pil_vault *vault, uint32_t view_index, bool all_views) {
    uint64_t bytes = 0;
    for (const struct pil_held_release *held = vault->releases; held != NULL; held = held->next) {
        bytes += all_views || held->view_index == view_index ? held->bytes : 0;
    }
    return bytes;
}

uint32_t pil_vault_count(const struct pil_vault *vault, uint32_t view_index) {
    uint32_t count = 0;
    for (const struct pil_held_release *held = vault->releases; held != NULL; held = held->next) {
        count += held->view_index == view_index && !held->is_dropped && held->shards_here == held->shard_count;
    }
    return count;
}

static bool is_live(const struct pil_vault *vault, const struct pil_held_release *held) {
    return !held->is_dropped && strcmp(vault->live[held->view_index], held->release) == 0;
}

/* Whole, and only held for a rollback. */
static bool is_kept(const struct pil_vault *vault, const struct pil_held_release *held) {
    return !held->is_dropped && held->shards_here == held->shard_count && !is_live(vault, held);
}

uint64_t pil_vault_bytes_live(const struct pil_vault *vault) {
    uint64_t bytes = 0;
    for (const struct pil_held_release *held = vault->releases; held != NULL; held = held->next) {
        bytes += is_live(vault, held) ? held->bytes : 0;
    }
    return bytes;
}

uint64_t pil_vault_bytes_kept(const struct pil_vault *vault) {
    uint64_t bytes = 0;
    for (const struct pil_held_release *held = vault->releases; held != NULL; held = held->next) {
        bytes += is_kept(vault, held) ? held->bytes : 0;
    }
    return bytes;
}

static struct pil_held_release *add_release(struct pil_vault *vault, uint32_t view_index, const char *release,
                                            uint32_t shard_count) {
    struct pil_held_release *held = calloc(1, sizeof *held);
    PIL_ASSERT(held != NULL);
    held->view_index = view_index;
    snprintf(held->release, sizeof held->release, "%s", release);
    held->shard_count = shard_count;
    held->fds = malloc(shard_count * sizeof held->fds[0]);
    PIL_ASSERT(held->fds != NULL);
    for (uint32_t i = 0; i < shard_count; i++) {
        held->fds[i] = -1;
    }
    held->next = vault->releases;
    vault->releases = held;
    return held;
}

pil_status pil_vault_add(struct pil_vault *vault, uint32_t view_index, const char *release, uint32_t shard_index,
                         uint32_t shard_count, int fd) {
    struct stat info;
    bool fits = shard_count > 0 && shard_count <= 1u << PIL_SHARD_BITS_MAX && shard_index < shard_count &&
                strlen(release) == PIL_RELEASE_ID_CHARS;
    if (!fits || fd < 0 || fstat(fd, &info) != 0) {
        pil_sys_close(&fd);
        return PIL_STATUS_CORRUPT;
    }
    if (!pil_sys_memfd_is_sealed(fd)) {
        pil_sys_close(&fd);
        return PIL_STATUS_DENIED;
    }
    struct pil_held_release *held = pil_vault_find(vault, view_index, release);
    if (held == NULL) {
        held = add_release(vault, view_index, release, shard_count);
    }
    if (held->shard_count != shard_count || held->fds[shard_index] >= 0) {
        pil_sys_close(&fd);
        return held->shard_count != shard_count ? PIL_STATUS_CORRUPT
                                                : PIL_STATUS_OK; /* the same shard again: ours is as good */
    }
    held->fds[shard_index] = fd;
    held->shards_here++;
    held->bytes += (uint64_t)info.st_size;
    return PIL_STATUS_OK;
}

pil_status pil_vault_publish(struct pil_vault *vault, uint32_t view_index, const char *release, int64_t created_us) {
    if (!pil_vault_is_held(vault, view_index, release)) {
        return PIL_STATUS_NOT_FOUND;
    }
    struct pil_held_release *held = pil_vault_find(vault, view_index, release);
    held->used = ++vault->use_counter;
    held->created_us = created_us != 0 ? created_us : held->created_us;
    snprintf(vault->live[view_index], sizeof vault->live[view_index], "%s", release);
    return PIL_STATUS_OK;
}

static void drop(struct pil_vault *vault, struct pil_held_release *dropped) {
    if (dropped->map_count > 0) {
        close_fds(dropped);
        dropped->is_dropped = true; /* goes with pil_vault_unmapped */
        return;
    }
    struct pil_held_release **at = &vault->releases;
    while (*at != dropped) {
        at = &(*at)->next;
    }
    *at = dropped->next;
    destroy(dropped);
}

uint64_t pil_vault_evict(struct pil_vault *vault, uint32_t view_index, uint32_t keep, uint32_t *ret_view_index,
                         char ret_release[PIL_RELEASE_ID_CHARS + 1]) {
    struct pil_held_release *oldest = NULL;
    if (view_index != UINT32_MAX && pil_vault_count(vault, view_index) <= keep) {
        return 0;
    }
    for (struct pil_held_release *held = vault->releases; held != NULL; held = held->next) {
        bool wanted = is_kept(vault, held) && (view_index == UINT32_MAX || held->view_index == view_index);
        if (wanted && (oldest == NULL || held->used < oldest->used)) {
            oldest = held;
        }
    }
    if (oldest == NULL) {
        return 0;
    }
    uint64_t bytes = oldest->bytes;
    *ret_view_index = oldest->view_index;
    memcpy(ret_release, oldest->release, PIL_RELEASE_ID_CHARS + 1);
    drop(vault, oldest);
    return bytes;
}

void pil_vault_drop_partial(struct pil_vault *vault) {
    for (struct pil_held_release *held = vault->releases, *next; held != NULL; held = next) {
        next = held->next;
        if (!held->is_dropped && held->shards_here < held->shard_count) {
            drop(vault, held);
        }
    }
}

static void unmapped(struct pil_vault *vault, struct pil_held_release *held, uint32_t map_count) {
    held->map_count = map_count;
    if (held->is_dropped && held->map_count == 0) {
        held->is_dropped = false;
        drop(vault, held);
    }
}

void pil_vault_unmapped(struct pil_vault *vault, uint32_t view_index, const char *release) {
    struct pil_held_release *found = NULL;
    for (struct pil_held_release *held = vault->releases, *next; held != NULL; held = next) {
        next = held->next;
        if (release == NULL) {
            unmapped(vault, held, 0);
        } else if (held->view_index == view_index && held->map_count > 0 && strcmp(held->release, release) == 0 &&
                   (found == NULL || held->is_dropped)) {
            found = held; /* what was dropped and fetched anew is here twice, of the same size */
        }
    }
    if (found != NULL) {
        unmapped(vault, found, found->map_count - 1);
    }
}
