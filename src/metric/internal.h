/* SPDX-License-Identifier: Apache-2.0
 * What the registry shares with the exposition. Nothing outside this module includes it. */
#pragma once

#include "metric/metric.h"

#include <pthread.h>

/* Written by the control thread under the lock, but for `gauge`. */
struct pil_metric_slot {
    pil_metric metric;
    bool live;              /* exposed; a slot that is not may be given again */
    char *labels;           /* rendered: protocol="resp",view="stats"; "" for none. Owned */
    _Atomic uint64_t gauge; /* bits of a double: any one writer, any reader, relaxed */
};

/* One per worker, each array on cache lines of its own. The arrays never move, so that an owner needs no lock. */
struct pil_metric_shard {
    _Atomic uint64_t *counters;                  /* [series_max] */
    _Atomic(struct pil_histogram *) *histograms; /* [series_max]; release by the control thread, acquire by all */
};

struct pil_metric_registry {
    pthread_mutex_t *lock; /* slots: control thread and exposition. By pointer, as exposing is const to the caller */
    struct pil_metric_shard *shards;
    struct pil_metric_slot *slots; /* [series_max], the first slot_count are in use or free again */
    uint32_t shard_count, series_max, slot_count;
    struct {
        uint32_t max, live;
    } families[PIL_METRIC_FAMILY_COUNT];
};
