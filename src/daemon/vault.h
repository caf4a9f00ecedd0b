/* SPDX-License-Identifier: Apache-2.0
 * The sealed shards that the supervisor holds: what makes a restarted server warm and a rollback free of I/O. Bounded
 * by the memory budget and by keep_releases. Thread: one. */
#pragma once

#include "server/settings.h"

struct pil_held_release {
    struct pil_held_release *next;
    uint32_t view_index;
    char release[PIL_RELEASE_ID_CHARS + 1];
    int *fds; /* -1: not here yet */
    uint32_t shard_count;
    uint32_t shards_here;
    uint64_t bytes;
    int64_t created_us; /* when the release was made; 0: not known */
    uint64_t used;      /* counter of the last publish: the smallest goes first */
    uint32_t map_count; /* times that the server maps it: its memory stays even when it is dropped here */
    bool is_dropped;    /* only counted until the server lets go */
};

struct pil_vault {
    struct pil_held_release *releases;
    uint64_t use_counter;
    char live[PIL_SETTINGS_VIEWS_MAX][PIL_RELEASE_ID_CHARS + 1]; /* "": none */
};

void pil_vault_deinit(struct pil_vault *vault);
struct pil_held_release *pil_vault_find(const struct pil_vault *vault, uint32_t view_index, const char *release);
/* Whole, and not dropped. */
bool pil_vault_is_held(const struct pil_vault *vault, uint32_t view_index, const char *release);
/* Memory of everything that is held or still mapped. */
uint64_t pil_vault_bytes(const struct pil_vault *vault, uint32_t view_index, bool all_views);
uint32_t pil_vault_count(const struct pil_vault *vault, uint32_t view_index);
/* The same of what is live, and of what pil_vault_evict could drop; the rest is dropped and not yet unmapped, or has
 * not come whole. */
uint64_t pil_vault_bytes_live(const struct pil_vault *vault);
uint64_t pil_vault_bytes_kept(const struct pil_vault *vault);

/* Takes a shard (fd is the vault's from here, also on failure). DENIED when it is not sealed, CORRUPT when it does not
 * fit what came before. */
pil_status pil_vault_add(struct pil_vault *vault, uint32_t view_index, const char *release, uint32_t shard_index,
                         uint32_t shard_count, int fd) PIL_CHECKED;
/* Makes a whole release the live one; NOT_FOUND when it is not held. created_us 0: as known before. */
pil_status pil_vault_publish(struct pil_vault *vault, uint32_t view_index, const char *release,
                             int64_t created_us) PIL_CHECKED;
/* Drops the longest unused release that is not live: of this view beyond `keep`, or of any view when view_index is
 * UINT32_MAX. Its name is copied out. Returns the bytes that it had; 0: there is none. */
uint64_t pil_vault_evict(struct pil_vault *vault, uint32_t view_index, uint32_t keep, uint32_t *ret_view_index,
                         char ret_release[PIL_RELEASE_ID_CHARS + 1]);
/* Releases of which only some shards came: the fetch failed or its process ended. */
void pil_vault_drop_partial(struct pil_vault *vault);
/* The server lets go of one mapping, or (release NULL) is gone with all. */
void pil_vault_unmapped(struct pil_vault *vault, uint32_t view_index, const char *release);
