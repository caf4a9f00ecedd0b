/* SPDX-License-Identifier: Apache-2.0
 * The collector: removes releases that are not needed, then shards that no release names. Releases that a channel
 * points to, is pinned to or would roll back to stay, and so do objects that a writer has leased (release/lease.h) and
 * objects that were put within the grace period, because writers of older versions take no leases. */
#pragma once

#include "base/clock.h"
#include "release/layout.h"

enum { PIL_GC_GRACE_SECONDS = 3600 };

struct pil_gc_options {
    uint32_t keep; /* this many of the newest releases of each view always stay */
    int64_t grace_us;
    bool dry_run; /* counts only */
    const struct pil_clock *clock;
};

struct pil_gc_result {
    uint64_t releases_kept, releases_removed;
    uint64_t shards_kept, shards_removed;
    uint64_t bytes_kept, bytes_removed; /* of shards */
};

/* Fails before it removes anything if a channel, a manifest or a lease cannot be read, because the objects that it
 * needs are then unknown. A lease that becomes unreadable later stops the run. TIMEOUT: the run was held up for longer
 * than its lease. Everything that was removed before a failure was not needed. */
pil_status pil_gc_run(struct pil_store *store, const struct pil_gc_options *options, struct pil_gc_result *ret_result,
                      struct pil_error *ret_error) PIL_CHECKED;
