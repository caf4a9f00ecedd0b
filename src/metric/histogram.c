/* SPDX-License-Identifier: Apache-2.0
 * Log-linear histograms: the functions that are not on the hot path. */
#include "metric/metric.h"

#include <math.h>

uint64_t pil_histogram_bucket_low(uint32_t bucket) {
    const uint32_t sub_count = 1u << PIL_HISTOGRAM_SUB_BITS;
    if (bucket < sub_count) {
        return bucket;
    }
    uint32_t shift = (bucket >> PIL_HISTOGRAM_SUB_BITS) - 1;
    return (uint64_t)(sub_count + (bucket & (sub_count - 1))) << shift;
}

void pil_histogram_merge(struct pil_histogram_view *into, const struct pil_histogram *from) {
    for (uint32_t i = 0; i < PIL_HISTOGRAM_BUCKETS; i++) {
        uint64_t count = atomic_load_explicit(&from->counts[i], memory_order_relaxed);
        into->counts[i] += count;
        into->count += count;
    }
    into->sum += atomic_load_explicit(&from->sum, memory_order_relaxed);
}

uint64_t pil_histogram_quantile(const struct pil_histogram_view *view, double quantile) {
    if (view->count == 0) {
        return 0;
    }
    double rank = ceil(quantile * (double)view->count);
    uint64_t wanted = rank < 1 ? 1 : rank >= (double)view->count ? view->count : (uint64_t)rank;
    uint64_t seen = 0;
    uint32_t bucket = 0;
    for (; bucket < PIL_HISTOGRAM_BUCKETS - 1; bucket++) {
        seen += view->counts[bucket];
        if (seen >= wanted) {
            break;
        }
    }
    return pil_histogram_bucket_low(bucket + 1) - 1;
}
