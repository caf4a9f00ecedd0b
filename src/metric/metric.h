/* SPDX-License-Identifier: Apache-2.0
 * Counters, gauges and log-linear histograms. One table (metric.def) gives every family its name, type, unit, labels
 * and help, and from it come the enum, the exposition and docs/reference/metrics.md.
 *
 * A series (family + label values) is registered before start or by a control thread and gets a small index; each
 * worker adds to its own shard with plain relaxed stores, no locks, no shared cache lines. Readers sum the shards. */
#pragma once

#include "base/bytes.h"
#include "base/status.h"

#include <stdatomic.h>

typedef enum pil_metric_type {
    PIL_METRIC_COUNTER,
    PIL_METRIC_GAUGE,
    PIL_METRIC_HISTOGRAM,
    PIL_METRIC_INFO
} pil_metric_type;

typedef enum pil_metric {
#define PIL_METRIC(name, type, unit, labels, help) PIL_METRIC_##name,
#include "metric/metric.def"
#undef PIL_METRIC
    PIL_METRIC_FAMILY_COUNT
} pil_metric;

struct pil_metric_family {
    const char *id; /* "request_duration_seconds" */
    pil_metric_type type;
    const char *unit;   /* "seconds", "bytes", "" */
    const char *labels; /* comma-separated names, "" for none */
    const char *help;
};
const struct pil_metric_family *pil_metric_family(pil_metric metric);

/* ---- Histograms: log-linear, 16 buckets an octave (error under 6.25 %), values 0 .. 2^40 - 1 (nanoseconds: up to 18
 * minutes; also counts). One writer, any readers. */
enum {
    PIL_HISTOGRAM_SUB_BITS = 4,
    PIL_HISTOGRAM_OCTAVES = 40,
    PIL_HISTOGRAM_BUCKETS = (PIL_HISTOGRAM_OCTAVES - PIL_HISTOGRAM_SUB_BITS + 1) << PIL_HISTOGRAM_SUB_BITS
};
struct pil_histogram {
    _Atomic uint64_t counts[PIL_HISTOGRAM_BUCKETS];
    _Atomic uint64_t sum;
};
/* A summed, private copy. */
struct pil_histogram_view {
    uint64_t counts[PIL_HISTOGRAM_BUCKETS];
    uint64_t sum;
    uint64_t count;
};

static inline uint32_t pil_histogram_bucket(uint64_t value) {
    if (value < (1u << PIL_HISTOGRAM_SUB_BITS)) {
        return (uint32_t)value;
    }
    uint32_t octave = 63u - (uint32_t)__builtin_clzll(value);
    if (octave >= PIL_HISTOGRAM_OCTAVES) {
        return PIL_HISTOGRAM_BUCKETS - 1;
    }
    uint32_t sub = (uint32_t)(value >> (octave - PIL_HISTOGRAM_SUB_BITS)) & ((1u << PIL_HISTOGRAM_SUB_BITS) - 1);
    return ((octave - PIL_HISTOGRAM_SUB_BITS + 1) << PIL_HISTOGRAM_SUB_BITS) + sub;
}
/* Owner thread: plain load + store, no locked instruction. */
static inline void pil_histogram_add_owner(struct pil_histogram *histogram, uint64_t value, uint64_t times) {
    _Atomic uint64_t *count = &histogram->counts[pil_histogram_bucket(value)];
    uint64_t sum = atomic_load_explicit(&histogram->sum, memory_order_relaxed) + value * times;
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + times, memory_order_relaxed);
    atomic_store_explicit(&histogram->sum, sum, memory_order_relaxed);
}
/* Smallest value of a bucket, and of the next one. */
uint64_t pil_histogram_bucket_low(uint32_t bucket);
void pil_histogram_merge(struct pil_histogram_view *into, const struct pil_histogram *from);
/* Value at quantile 0..1: the upper end of the bucket that holds it; 0 when empty. */
uint64_t pil_histogram_quantile(const struct pil_histogram_view *view, double quantile);

/* ---- The registry: before start, or control thread. */
struct pil_metric_registry;
typedef uint32_t pil_metric_series; /* index of a series in every shard */
enum { PIL_METRIC_SERIES_NONE = UINT32_MAX };

/* How many values the labels `view` and `worker` take; what the other labels take stands in metric.c. */
struct pil_metric_bounds {
    uint32_t views;
    uint32_t workers;
};
/* Has room for every series that the table allows: the sum over the families of the product of their labels' values. */
pil_status pil_metric_registry_create(uint32_t shard_count, const struct pil_metric_bounds *bounds,
                                      struct pil_metric_registry **ret_registry) PIL_CHECKED;
void pil_metric_registry_destroy(struct pil_metric_registry **registry);
/* How many series of a family the registry has room for. */
uint32_t pil_metric_family_max(const struct pil_metric_registry *registry, pil_metric metric);
/* Finds or makes a series; label values in the order of the family's labels, NULL-terminated list (NULL: no labels).
 * TOO_LARGE: the family has all the series that its labels allow. NO_MEMORY. Thread: one control thread at a time. */
pil_status pil_metric_series_get(struct pil_metric_registry *registry, pil_metric metric,
                                 const char *const *label_values, pil_metric_series *ret_series) PIL_CHECKED;
/* Drops a series (a release that is gone): it is no longer exposed and its index may be given again. The caller made
 * sure that no thread adds to it any more. */
void pil_metric_series_drop(struct pil_metric_registry *registry, pil_metric_series series);

/* ---- By label values, for the control thread: the series is made when it is not there yet, and a value is lost when
 * it cannot be made. Cost: a walk over the series, under the registry's lock. */

/* PIL_METRIC_LABELS("rides/drivers", "ok"): at least one; NULL says none. */
#define PIL_METRIC_LABELS(...) ((const char *const[]){__VA_ARGS__, NULL})
void pil_metric_gauge(struct pil_metric_registry *registry, pil_metric metric, const char *const *labels, double value);
void pil_metric_count(struct pil_metric_registry *registry, uint32_t shard, pil_metric metric,
                      const char *const *labels, uint64_t more);
/* Raises a counter to a total that is counted elsewhere. */
void pil_metric_count_to(struct pil_metric_registry *registry, uint32_t shard, pil_metric metric,
                         const char *const *labels, uint64_t total);
void pil_metric_record(struct pil_metric_registry *registry, uint32_t shard, pil_metric metric,
                       const char *const *labels, uint64_t value_ns);
/* Drops the series with these labels, if there is one: see pil_metric_series_drop. */
void pil_metric_forget(struct pil_metric_registry *registry, pil_metric metric, const char *const *labels);

/* Owner thread of `shard`. */
void pil_metric_add_owner(struct pil_metric_registry *registry, uint32_t shard, pil_metric_series series,
                          uint64_t value);
void pil_metric_record_owner(struct pil_metric_registry *registry, uint32_t shard, pil_metric_series series,
                             uint64_t value_ns, uint64_t times);
/* Gauges and info: one value, any one thread; shards do not matter. */
void pil_metric_set(struct pil_metric_registry *registry, pil_metric_series series, double value);

/* Any thread: sums over the shards. */
uint64_t pil_metric_read(const struct pil_metric_registry *registry, pil_metric_series series);
void pil_metric_read_histogram(const struct pil_metric_registry *registry, pil_metric_series series,
                               struct pil_histogram_view *ret_view);
