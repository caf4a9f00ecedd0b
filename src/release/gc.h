/* SPDX-License-Identifier: Apache-2.0
 * The collector: removes releases that nobody needs, then shards that no release names. What a channel points to, is
 * pinned to or would roll back to stays, and so does everything that a writer has leased (release/lease.h) and
 * everything that was put within the grace period: writers of older versions know no leases. */
#pragma once

#include "base/clock.h"
#include "release/layout.h"

enum { PIL_GC_GRACE_SECONDS = 3600 };

struct pil_gc_options {
    uint32_t keep; /* newest releases of each view that stay anyway */
    int64_t grace_us;
    bool dry_run; /* counts only */
    const struct pil_clock *clock;
};

struct pil_gc_result {
    uint64_t releases_kept, releases_removed;
    uint64_t shards_kept, shards_removed;
    uint64_t bytes_kept, bytes_removed; /* of shards */
};

/* Fails, before it removes anything, when a channel, a manifest or a lease cannot be read: nobody knows what that one
 * needs. TIMEOUT: it was held up in the middle; what it removed until then nobody needed. */
pil_status pil_gc_run(struct pil_store *store, const struct pil_gc_options *options, struct pil_gc_result *ret_result,
                      struct pil_error *ret_error) PIL_CHECKED;
