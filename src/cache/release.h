/* SPDX-License-Identifier: Apache-2.0
 * A release in memory: its sealed shards mapped, and unmapped slice by slice. One thread at a time, but for what a
 * published release lets any thread read. */
#pragma once

#include "base/bounds.h"
#include "snapshot/reader.h"

enum { PIL_RELEASE_MAGIC = 0x50434c52, PIL_RELEASE_HISTORY_MAX = 63 };

/* A release that was served before, and when it was made; 0: not known. */
struct pil_release_past {
    char id[PIL_RELEASE_ID_CHARS + 1];
    int64_t created_us;
};

/* Immutable from publish to reclaim. */
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
    int64_t created_us; /* when it was made; 0: not known */
    /* Set by publish. */
    int64_t published_us;
    uint64_t generation; /* from 1 on; 0: not published */
    /* The releases of its view before it, newest first; id "": no more. */
    struct pil_release_past history[PIL_RELEASE_HISTORY_MAX];
    /* Owner only, once no reader is left. */
    uint64_t unmap_offset; /* of the last shard still mapped; what is past it is unmapped */
};

/* Maps the sealed descriptors (kept open by the caller) of a verified release. shard i is fds[i]. CORRUPT when the
 * shards do not make one release; DENIED when one is not sealed; NO_MEMORY, or what else a system call may come to
 * (pil_status_may_pass), when the machine cannot give what it takes. */
pil_status pil_cache_release_map(const char *release_id, const int *fds, uint32_t shard_count,
                                 struct pil_release **ret_release, struct pil_error *ret_error) PIL_CHECKED;
/* Fills page tables of one shard, at most bytes_max from offset, so that no reader takes the faults: some milliseconds
 * a GiB in huge pages, up to 100 ms in others. Returns for how many bytes; 0: Linux before 5.14 leaves it to faults. */
uint64_t pil_cache_release_prefault(const struct pil_release *release, uint32_t shard_index, uint64_t offset,
                                    uint64_t bytes_max);
/* Reads a byte of each page of one shard, at most bytes_max from offset, once for all processes: a virtual machine's
 * memory may have to be given by its host again when it is read first, tens of microseconds a page, even if it was
 * written seconds ago. Returns for how many bytes; 0: that was all. */
uint64_t pil_cache_release_touch(const struct pil_release *release, uint32_t shard_index, uint64_t offset,
                                 uint64_t bytes_max);
/* Unmaps some of what is still mapped: at most a huge page and at most bytes_max (4096 or more), so that the address
 * space lock is never held for long. Returns how many bytes. When shard_count is 0 nothing is mapped any more; destroy
 * unmaps what is left and frees the rest. */
uint64_t pil_cache_release_unmap_slice(struct pil_release *release, uint64_t bytes_max);
/* Unmaps a release that nobody reads; NULLs the pointer. */
void pil_cache_release_destroy(struct pil_release **release);

/* When the release `id` was made, if it is `live` or one that its view served before. Any thread. */
bool pil_cache_release_time(const struct pil_release *live, struct pil_bytes id, int64_t *ret_created_us);
