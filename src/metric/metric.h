/* SPDX-License-Identifier: Apache-2.0
 * Counters, gauges and log-linear histograms. One table (metric.def) gives every family its name, type, unit, labels
 * and help; the enum, the exposition and docs/reference/metrics.md are made from it.
 *
 * A series (family + label values) is registered before start or by a control thread and gets a small index; each
 * worker adds to its own shard with relaxed stores, without locks or shared cache lines. Readers sum the shards. */
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

/* ---- Histograms: log-linear, 16 buckets per octave (error under 6.25 %), values 0 .. 2^40 - 1 (nanoseconds: up to 18
 * minutes; also counts). One writer, any number of readers. */
enum {
    PIL_HISTOGRAM_SUB_BITS = 4,
    PIL_HISTOGRAM_OCTAVES = 40,
    PIL_HISTOGRAM_BUCKETS = (PIL_HISTOGRAM_OCTAVES - PIL_HISTOGRAM_SUB_BITS + 1) << PIL_HISTOGRAM_SUB_BITS
};
struct pil_histogram {
    _Atomic uint64_t counts[PIL_HISTOGRAM_BUCKETS];
    _Atomic uint64_t sum;
};
/* A private copy of the sum over the shards. */
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
/* Owner thread: relaxed loads and stores, no locked instruction. */
static inline void pil_histogram_add_owner(struct pil_histogram *histogram, uint64_t value, uint64_t times) {
    _Atomic uint64_t *count = &histogram->counts[pil_histogram_bucket(value)];
    uint64_t sum = atomic_load_explicit(&histogram->sum, memory_order_relaxed) + value * times;
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + times, memory_order_relaxed);
    atomic_store_explicit(&histogram->sum, sum, memory_order_relaxed);
}
/* Smallest value of a bucket; its largest is pil_histogram_bucket_low(bucket + 1) - 1. */
uint64_t pil_histogram_bucket_low(uint32_t bucket);
void pil_histogram_merge(struct pil_histogram_view *into, const struct pil_histogram *from);
/* Value at quantile 0..1: the upper end of the bucket that holds it; 0 when empty. */
uint64_t pil_histogram_quantile(const struct pil_histogram_view *view, double quantile);

/* ---- The registry. Callable before start, or by the control thread. */
struct pil_metric_registry;
typedef uint32_t pil_metric_series; /* index of a series in every shard */
enum { PIL_METRIC_SERIES_NONE = UINT32_MAX };

/* How many values the labels `view` and `worker` take; metric.c has the numbers of the other labels. */
struct pil_metric_bounds {
    uint32_t views;
    uint32_t workers;
};
/* The registry has room for every series that the table allows: the sum over the families of the product of their
 * labels' numbers of values. */
pil_status pil_metric_registry_create(uint32_t shard_count, const struct pil_metric_bounds *bounds,
                                      struct pil_metric_registry **ret_registry) PIL_CHECKED;
void pil_metric_registry_destroy(struct pil_metric_registry **registry);
/* The number of series of a family for which the registry has room. */
uint32_t pil_metric_family_max(const struct pil_metric_registry *registry, pil_metric metric);
/* Finds or makes a series; label_values has a value for each of the family's labels, in their order (NULL: no labels).
 * TOO_LARGE: the family already has all series that its labels allow. NO_MEMORY. Thread: one control thread at a time.
 */
pil_status pil_metric_series_get(struct pil_metric_registry *registry, pil_metric metric,
                                 const char *const *label_values, pil_metric_series *ret_series) PIL_CHECKED;
/* Drops a series (for example of a reclaimed release): it is no longer exposed and its index may be reused. The caller
 * guarantees that no thread adds to it any more. */
void pil_metric_series_drop(struct pil_metric_registry *registry, pil_metric_series series);

/* ---- By label values, for the control thread: a missing series is made, and the value is lost when that fails. Cost:
 * a walk over all series, under the registry's lock. */

/* PIL_METRIC_LABELS("rides/drivers", "ok"): at least one value; pass NULL for no labels. */
#define PIL_METRIC_LABELS(...) ((const char *const[]){__VA_ARGS__, NULL})
void pil_metric_gauge(struct pil_metric_registry *registry, pil_metric metric, const char *const *labels, double value);
void pil_metric_count(struct pil_metric_registry *registry, uint32_t shard, pil_metric metric,
                      const char *const *labels, uint64_t more);
/* Raises a counter to a total that another part of the program counts. */
void pil_metric_count_to(struct pil_metric_registry *registry, uint32_t shard, pil_metric metric,
                         const char *const *labels, uint64_t total);
void pil_metric_record(struct pil_metric_registry *registry, uint32_t shard, pil_metric metric,
                       const char *const *labels, uint64_t value_ns);
/* Drops the series with these labels if it exists; see pil_metric_series_drop. */
void pil_metric_forget(struct pil_metric_registry *registry, pil_metric metric, const char *const *labels);

/* For the owner thread of `shard`. */
void pil_metric_add_owner(struct pil_metric_registry *registry, uint32_t shard, pil_metric_series series,
                          uint64_t value);
void pil_metric_record_owner(struct pil_metric_registry *registry, uint32_t shard, pil_metric_series series,
                             uint64_t value_ns, uint64_t times);
/* Gauges and infos have one value outside the shards, set by one thread at a time. */
void pil_metric_set(struct pil_metric_registry *registry, pil_metric_series series, double value);

/* Sums over the shards. Any thread. */
uint64_t pil_metric_read(const struct pil_metric_registry *registry, pil_metric_series series);
void pil_metric_read_histogram(const struct pil_metric_registry *registry, pil_metric_series series,
                               struct pil_histogram_view *ret_view);
