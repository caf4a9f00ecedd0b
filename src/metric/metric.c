/* SPDX-License-Identifier: Apache-2.0
 * The registry: the control thread makes and drops series under a lock; owner threads add to their shards without a
 * lock. */
#include "metric/internal.h"

#include "base/panic.h"
#include "base/text.h"

#include <stdlib.h>

/* Two cache lines, because the adjacent-line prefetcher of x86 fetches pairs: with less, neighbours would share. */
enum { SHARD_ALIGNMENT = 128 };

static const struct pil_metric_family families[PIL_METRIC_FAMILY_COUNT] = {
#define PIL_METRIC(name, kind, unit_text, label_names, help_text) \
    {.id = #name, .type = PIL_METRIC_##kind, .unit = unit_text, .labels = label_names, .help = help_text},
#include "metric/metric.def"
#undef PIL_METRIC
};

const struct pil_metric_family *pil_metric_family(pil_metric metric) {
    return &families[metric];
}

/* How many values each label takes. A new label in metric.def needs a row here. */
static uint32_t values_of_label(const char *label, size_t len, const struct pil_metric_bounds *bounds) {
    const struct {
        const char *label;
        uint32_t values;
    } rows[] = {
        {"view", bounds->views + 1}, /* plus "-" for no view */
        {"worker", bounds->workers},
        {"protocol", 8},
        {"stage", 8},
        {"status", 8},
        {"code", 2},
        {"reason", 16},
        {"result", PIL_STATUS_COUNT + 1},
        {"phase", 4},
        {"process", 4},
        /* Labels with one value at a time for given values of the labels above. */
        {"version", 1},
        {"engine", 1},
        {"channel", 1},
        {"release", 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (strlen(rows[i].label) == len && memcmp(rows[i].label, label, len) == 0) {
            return rows[i].values;
        }
    }
    PIL_UNREACHABLE("a label of metric.def without a bound");
}

/* Counts the series that each family may have. */
static void count_series(struct pil_metric_registry *registry, const struct pil_metric_bounds *bounds) {
    for (uint32_t f = 0; f < PIL_METRIC_FAMILY_COUNT; f++) {
        uint32_t max = 1;
        for (const char *name = families[f].labels; name[0] != '\0';) {
            size_t len = strcspn(name, ",");
            max *= values_of_label(name, len, bounds);
            name += len + (name[len] == ',');
        }
        registry->families[f].max = max;
        registry->series_max += max;
    }
}

static void *allocate_aligned(size_t bytes) {
    size_t rounded = (size_t)pil_align_up(bytes, SHARD_ALIGNMENT);
    void *memory = aligned_alloc(SHARD_ALIGNMENT, rounded);
    if (memory != NULL) {
        memset(memory, 0, rounded);
    }
    return memory;
}

pil_status pil_metric_registry_create(uint32_t shard_count, const struct pil_metric_bounds *bounds,
                                      struct pil_metric_registry **ret_registry) {
    PIL_ASSERT(shard_count > 0);
    struct pil_metric_registry *registry = calloc(1, sizeof *registry);
    if (registry == NULL) {
        return PIL_STATUS_NO_MEMORY;
    }
    count_series(registry, bounds);
    uint32_t series_max = registry->series_max;
    registry->lock = calloc(1, sizeof *registry->lock);
    registry->slots = calloc(series_max, sizeof *registry->slots);
    registry->shards = calloc(shard_count, sizeof *registry->shards);
    if (registry->lock == NULL || registry->slots == NULL || registry->shards == NULL) {
        goto out;
    }
    pthread_mutex_init(registry->lock, NULL);
    registry->shard_count = shard_count;
    for (uint32_t i = 0; i < shard_count; i++) {
        struct pil_metric_shard *shard = &registry->shards[i];
        shard->counters = allocate_aligned(series_max * sizeof *shard->counters);
        shard->histograms = allocate_aligned(series_max * sizeof *shard->histograms);
        if (shard->counters == NULL || shard->histograms == NULL) {
            goto out;
        }
    }
    *ret_registry = registry;
    return PIL_STATUS_OK;
out:
    pil_metric_registry_destroy(&registry);
    return PIL_STATUS_NO_MEMORY;
}

void pil_metric_registry_destroy(struct pil_metric_registry **registry_at) {
    struct pil_metric_registry *registry = *registry_at;
    *registry_at = NULL;
    if (registry == NULL) {
        return;
    }
    for (uint32_t i = 0; i < registry->shard_count; i++) {
        struct pil_metric_shard *shard = &registry->shards[i];
        /* All of them: an attempt that ran out of memory has left some behind the last slot. */
        for (uint32_t s = 0; shard->histograms != NULL && s < registry->series_max; s++) {
            free(atomic_load_explicit(&shard->histograms[s], memory_order_relaxed));
        }
        free(shard->histograms);
        free(shard->counters);
    }
    for (uint32_t s = 0; s < registry->slot_count; s++) {
        free(registry->slots[s].labels);
    }
    free(registry->shards);
    free(registry->slots);
    if (registry->lock != NULL) {
        pthread_mutex_destroy(registry->lock);
    }
    free(registry->lock);
    free(registry);
}

/* Renders name="value",… with the escapes of the text format for backslash, quote and line feed. */
static void render_labels(const struct pil_metric_family *family, const char *const *values, struct pil_text *labels) {
    const char *name = family->labels;
    for (uint32_t i = 0; name[0] != '\0'; i++) {
        PIL_ASSERT(values != NULL && values[i] != NULL);
        size_t len = strcspn(name, ",");
        pil_text_format(labels, "%s%.*s=\"", i > 0 ? "," : "", (int)len, name);
        for (const char *c = values[i]; *c != '\0'; c++) {
            if (*c == '\n') {
                pil_text_append(labels, "\\n", 2);
                continue;
            }
            if (*c == '\\' || *c == '"') {
                pil_text_append(labels, "\\", 1);
            }
            pil_text_append(labels, c, 1);
        }
        pil_text_append(labels, "\"", 1);
        name += len + (name[len] == ',');
    }
}

/* A slot keeps its histograms until the registry is destroyed, so that a reader never holds freed memory. */
static pil_status allocate_histograms(struct pil_metric_registry *registry, uint32_t series) {
    for (uint32_t i = 0; i < registry->shard_count; i++) {
        _Atomic(struct pil_histogram *) *at = &registry->shards[i].histograms[series];
        if (atomic_load_explicit(at, memory_order_relaxed) != NULL) {
            continue; /* left by an earlier attempt that ran out of memory */
        }
        struct pil_histogram *histogram = allocate_aligned(sizeof *histogram);
        if (histogram == NULL) {
            return PIL_STATUS_NO_MEMORY;
        }
        atomic_store_explicit(at, histogram, memory_order_release); /* pairs with histogram_of */
    }
    return PIL_STATUS_OK;
}

static struct pil_histogram *histogram_of(const struct pil_metric_registry *registry, uint32_t shard, uint32_t series) {
    return atomic_load_explicit(&registry->shards[shard].histograms[series], memory_order_acquire);
}

/* No thread adds to a dropped series (callers of pil_metric_series_drop guarantee it), so plain stores suffice. */
static void zero_series(struct pil_metric_registry *registry, uint32_t series) {
    for (uint32_t i = 0; i < registry->shard_count; i++) {
        atomic_store_explicit(&registry->shards[i].counters[series], 0, memory_order_relaxed);
        struct pil_histogram *histogram = histogram_of(registry, i, series);
        for (uint32_t b = 0; histogram != NULL && b < PIL_HISTOGRAM_BUCKETS; b++) {
            atomic_store_explicit(&histogram->counts[b], 0, memory_order_relaxed);
        }
        if (histogram != NULL) {
            atomic_store_explicit(&histogram->sum, 0, memory_order_relaxed);
        }
    }
}

/* Takes a slot of the right kind (with histograms or without), preferably a dropped one. A new slot is used only when
 * all slots of the kind are live, so each kind has at most as many slots as the bounds of its families allow, and while
 * the family is within its bound there always is a slot. */
static pil_status take_slot(struct pil_metric_registry *registry, bool is_histogram, uint32_t *ret_series) {
    for (uint32_t s = 0; s < registry->slot_count; s++) {
        bool has_histograms = families[registry->slots[s].metric].type == PIL_METRIC_HISTOGRAM;
        if (!registry->slots[s].live && has_histograms == is_histogram) {
            zero_series(registry, s);
            *ret_series = s;
            return PIL_STATUS_OK;
        }
    }
    PIL_ASSERT(registry->slot_count < registry->series_max);
    if (is_histogram) {
        PIL_TRY(allocate_histograms(registry, registry->slot_count));
    }
    *ret_series = registry->slot_count++;
    return PIL_STATUS_OK;
}

/* PIL_METRIC_SERIES_NONE: no live series has these labels. */
static pil_metric_series find_locked(const struct pil_metric_registry *registry, pil_metric metric,
                                     const struct pil_text *labels) {
    for (uint32_t s = 0; s < registry->slot_count; s++) {
        const struct pil_metric_slot *slot = &registry->slots[s];
        if (slot->live && slot->metric == metric && strcmp(slot->labels, pil_text_chars(labels)) == 0) {
            return s;
        }
    }
    return PIL_METRIC_SERIES_NONE;
}

static pil_status get_locked(struct pil_metric_registry *registry, pil_metric metric, struct pil_text *labels,
                             pil_metric_series *ret_series) {
    pil_metric_series found = find_locked(registry, metric, labels);
    if (found != PIL_METRIC_SERIES_NONE) {
        *ret_series = found;
        return PIL_STATUS_OK;
    }
    if (registry->families[metric].live == registry->families[metric].max) {
        return PIL_STATUS_TOO_LARGE;
    }
    char *copy = strdup(pil_text_chars(labels));
    if (copy == NULL) {
        return PIL_STATUS_NO_MEMORY;
    }
    uint32_t series;
    pil_status status = take_slot(registry, families[metric].type == PIL_METRIC_HISTOGRAM, &series);
    if (status != PIL_STATUS_OK) {
        free(copy);
        return status;
    }
    struct pil_metric_slot *slot = &registry->slots[series];
    free(slot->labels);
    slot->labels = copy;
    slot->metric = metric;
    slot->live = true;
    registry->families[metric].live++;
    pil_metric_set(registry, series, families[metric].type == PIL_METRIC_INFO ? 1 : 0);
    *ret_series = series;
    return PIL_STATUS_OK;
}

pil_status pil_metric_series_get(struct pil_metric_registry *registry, pil_metric metric,
                                 const char *const *label_values, pil_metric_series *ret_series) {
    struct pil_text labels = {0};
    render_labels(&families[metric], label_values, &labels);
    if (labels.failed) {
        return PIL_STATUS_NO_MEMORY;
    }
    pthread_mutex_lock(registry->lock);
    pil_status status = get_locked(registry, metric, &labels, ret_series);
    pthread_mutex_unlock(registry->lock);
    pil_text_deinit(&labels);
    return status;
}

uint32_t pil_metric_family_max(const struct pil_metric_registry *registry, pil_metric metric) {
    return registry->families[metric].max;
}

static void drop_locked(struct pil_metric_registry *registry, pil_metric_series series) {
    struct pil_metric_slot *slot = &registry->slots[series];
    PIL_ASSERT(series < registry->slot_count && slot->live);
    PIL_ASSERT(registry->families[slot->metric].live > 0);
    slot->live = false;
    registry->families[slot->metric].live--;
}

void pil_metric_series_drop(struct pil_metric_registry *registry, pil_metric_series series) {
    if (series == PIL_METRIC_SERIES_NONE) {
        return;
    }
    pthread_mutex_lock(registry->lock);
    drop_locked(registry, series);
    pthread_mutex_unlock(registry->lock);
}

void pil_metric_add_owner(struct pil_metric_registry *registry, uint32_t shard, pil_metric_series series,
                          uint64_t value) {
    if (series == PIL_METRIC_SERIES_NONE) {
        return;
    }
    _Atomic uint64_t *counter = &registry->shards[shard].counters[series];
    uint64_t sum = atomic_load_explicit(counter, memory_order_relaxed) + value;
    atomic_store_explicit(counter, sum, memory_order_relaxed);
}

void pil_metric_record_owner(struct pil_metric_registry *registry, uint32_t shard, pil_metric_series series,
                             uint64_t value_ns, uint64_t times) {
    if (series == PIL_METRIC_SERIES_NONE) {
        return;
    }
    pil_histogram_add_owner(histogram_of(registry, shard, series), value_ns, times);
}

void pil_metric_set(struct pil_metric_registry *registry, pil_metric_series series, double value) {
    if (series == PIL_METRIC_SERIES_NONE) {
        return;
    }
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    atomic_store_explicit(&registry->slots[series].gauge, bits, memory_order_relaxed);
}

uint64_t pil_metric_read(const struct pil_metric_registry *registry, pil_metric_series series) {
    uint64_t sum = 0;
    for (uint32_t i = 0; series != PIL_METRIC_SERIES_NONE && i < registry->shard_count; i++) {
        sum += atomic_load_explicit(&registry->shards[i].counters[series], memory_order_relaxed);
    }
    return sum;
}

void pil_metric_read_histogram(const struct pil_metric_registry *registry, pil_metric_series series,
                               struct pil_histogram_view *ret_view) {
    memset(ret_view, 0, sizeof *ret_view);
    for (uint32_t i = 0; series != PIL_METRIC_SERIES_NONE && i < registry->shard_count; i++) {
        const struct pil_histogram *histogram = histogram_of(registry, i, series);
        PIL_ASSERT(histogram != NULL);
        pil_histogram_merge(ret_view, histogram);
    }
}

/* ---- By label values. */

/* PIL_METRIC_SERIES_NONE when memory is short. The registry has room for every label value that the program uses, so a
 * full family is a programming error. */
static pil_metric_series series_of(struct pil_metric_registry *registry, pil_metric metric, const char *const *labels) {
    pil_metric_series series = PIL_METRIC_SERIES_NONE;
    pil_status status = pil_metric_series_get(registry, metric, labels, &series);
    PIL_ASSERT_SLOW(status != PIL_STATUS_TOO_LARGE);
    return status == PIL_STATUS_OK ? series : PIL_METRIC_SERIES_NONE;
}

void pil_metric_gauge(struct pil_metric_registry *registry, pil_metric metric, const char *const *labels,
                      double value) {
    pil_metric_set(registry, series_of(registry, metric, labels), value);
}

void pil_metric_count(struct pil_metric_registry *registry, uint32_t shard, pil_metric metric,
                      const char *const *labels, uint64_t more) {
    pil_metric_add_owner(registry, shard, series_of(registry, metric, labels), more);
}

void pil_metric_count_to(struct pil_metric_registry *registry, uint32_t shard, pil_metric metric,
                         const char *const *labels, uint64_t total) {
    pil_metric_series series = series_of(registry, metric, labels);
    pil_metric_add_owner(registry, shard, series, total - pil_metric_read(registry, series));
}

void pil_metric_record(struct pil_metric_registry *registry, uint32_t shard, pil_metric metric,
                       const char *const *labels, uint64_t value_ns) {
    pil_metric_record_owner(registry, shard, series_of(registry, metric, labels), value_ns, 1);
}

void pil_metric_forget(struct pil_metric_registry *registry, pil_metric metric, const char *const *labels) {
    struct pil_text text = {0};
    render_labels(&families[metric], labels, &text);
    pthread_mutex_lock(registry->lock);
    pil_metric_series series = find_locked(registry, metric, &text);
    if (series != PIL_METRIC_SERIES_NONE) {
        drop_locked(registry, series);
    }
    pthread_mutex_unlock(registry->lock);
    pil_text_deinit(&text);
}
