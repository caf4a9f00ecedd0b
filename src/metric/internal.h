/* SPDX-License-Identifier: Apache-2.0
 * Shared by the registry and the exposition. No file outside this module includes it. */
#pragma once

#include "metric/metric.h"

#include <pthread.h>

/* Written by the control thread under the lock, except `gauge`. */
struct pil_metric_slot {
    pil_metric metric;
    bool live;              /* exposed; other slots may be reused */
    char *labels;           /* rendered: protocol="resp",view="stats"; "" for none; owned */
    _Atomic uint64_t gauge; /* bits of a double; one writer, any reader, relaxed */
};

/* One per worker; no two arrays share a cache line. The arrays never move, so the owner thread needs no lock. */
struct pil_metric_shard {
    _Atomic uint64_t *counters;                  /* [series_max] */
    _Atomic(struct pil_histogram *) *histograms; /* [series_max]; release by the control thread, acquire by all */
};

struct pil_metric_registry {
    pthread_mutex_t *lock; /* guards `slots` between control thread and exposition; a pointer, because pil_metric_expose
                            * gets a const registry */
    struct pil_metric_shard *shards;
    struct pil_metric_slot *slots; /* [series_max], the first slot_count are live or dropped */
    uint32_t shard_count, series_max, slot_count;
    struct {
        uint32_t max, live;
    } families[PIL_METRIC_FAMILY_COUNT];
};
