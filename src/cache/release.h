/* SPDX-License-Identifier: Apache-2.0
 * A release in memory: its sealed shards are mapped, and later unmapped slice by slice. One thread at a time, except
 * that any thread may read a published release. */
#pragma once

#include "base/bounds.h"
#include "snapshot/reader.h"

enum { PIL_RELEASE_MAGIC = 0x50434c52, PIL_RELEASE_HISTORY_MAX = 63 };

/* A release that was served before, and its creation time; 0: unknown. */
struct pil_release_past {
    char id[PIL_RELEASE_ID_CHARS + 1];
    int64_t created_us;
};

/* Immutable from publish to reclaim. */
struct pil_release {
    uint32_t magic;
    char id[PIL_RELEASE_ID_CHARS + 1];
    const struct pil_view *view; /* of shard 0; map checks that all shards have the same */
    struct pil_shard *shards;
    uint32_t shard_count;
    uint32_t shard_bits;
    uint64_t row_count;
    uint64_t bytes;
    int64_t event_ts_us_min, event_ts_us_max; /* INT64_MAX and INT64_MIN without rows */
    int64_t created_us;                       /* creation time; 0: unknown */
    /* Set by publish. */
    int64_t published_us;
    uint64_t generation; /* starts at 1; 0: not published */
    /* Earlier releases of the view, newest first; an empty id ends the list. */
    struct pil_release_past history[PIL_RELEASE_HISTORY_MAX];
    /* For the owner only, once no reader is left. */
    uint64_t unmap_offset; /* in the last shard that is still mapped; bytes from this offset on are unmapped */
};

/* Maps the sealed descriptors of a verified release; fds[i] is shard i, and the caller keeps the descriptors. CORRUPT:
 * the shards do not form one release. DENIED: a descriptor is not sealed. NO_MEMORY, or another status for which
 * pil_status_may_pass: the machine is short of something. */
pil_status pil_cache_release_map(const char *release_id, const int *fds, uint32_t shard_count,
                                 struct pil_release **ret_release, struct pil_error *ret_error) PIL_CHECKED;
/* Fills page tables of one shard, for at most bytes_max from offset, so that readers take no page faults: some
 * milliseconds per GiB with huge pages, up to 100 ms with others. Returns the number of bytes; 0: the end was reached,
 * or the kernel refused (Linux before 5.14) and readers take the faults. */
uint64_t pil_cache_release_prefault(const struct pil_release *release, uint32_t shard_index, uint64_t offset,
                                    uint64_t bytes_max);
/* Reads a byte of each page of one shard, for at most bytes_max from offset; once serves all processes. In a virtual
 * machine the host may have to provide a page again at its first read, which takes tens of microseconds, even if it was
 * written seconds ago. Returns the number of bytes; 0: the end was reached. */
uint64_t pil_cache_release_touch(const struct pil_release *release, uint32_t shard_index, uint64_t offset,
                                 uint64_t bytes_max);
/* Unmaps the next slice: at most a huge page and at most bytes_max (4096 or more), so that the address-space lock is
 * never held for long. Returns the number of bytes. Once shard_count is 0, nothing is mapped any more; destroy unmaps
 * the remaining shards and frees the release. */
uint64_t pil_cache_release_unmap_slice(struct pil_release *release, uint64_t bytes_max);
/* Unmaps and frees a release that no thread reads any more; NULLs the pointer. */
void pil_cache_release_destroy(struct pil_release **release);

/* The creation time of release `id`; returns false unless `id` is `live` or in its history. Any thread. */
bool pil_cache_release_time(const struct pil_release *live, struct pil_bytes id, int64_t *ret_created_us);
