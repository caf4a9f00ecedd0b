/* SPDX-License-Identifier: Apache-2.0
 * The pages: Prometheus text 0.0.4, OpenMetrics 1.0, and the Markdown reference. The descriptions of labels stand here,
 * next to the code that prints them. Sources: prometheus.io/docs/instrumenting/exposition_formats, openmetrics.io
 * (1.0.0). */
#include "metric/exposition.h"
#include "base/panic.h"
#include "metric/internal.h"

#include <math.h>
#include <stdio.h>

struct bound {
    uint64_t value; /* nanoseconds, or a count */
    const char *le;
};
/* clang-format off */
#define DECADE(scale, one, two, five) {(scale), one}, {2 * (uint64_t)(scale), two}, {5 * (uint64_t)(scale), five}
/* clang-format on */
static const struct bound bounds_seconds[] = {
    DECADE(1000, "1e-06", "2e-06", "5e-06"),
    DECADE(10000, "1e-05", "2e-05", "5e-05"),
    DECADE(100000, "0.0001", "0.0002", "0.0005"),
    DECADE(1000000, "0.001", "0.002", "0.005"),
    DECADE(10000000, "0.01", "0.02", "0.05"),
    DECADE(100000000, "0.1", "0.2", "0.5"),
    DECADE(1000000000, "1", "2", "5"),
    {10000000000, "10"},
};
static const struct bound bounds_count[] = {
    DECADE(1, "1", "2", "5"),
    DECADE(10, "10", "20", "50"),
    DECADE(100, "100", "200", "500"),
    DECADE(1000, "1000", "2000", "5000"),
    DECADE(10000, "10000", "20000", "50000"),
    DECADE(100000, "100000", "200000", "500000"),
    {1000000, "1e+06"},
};
#undef DECADE

/* The values that each label takes, for the reference page; a test of that page checks that every label has an entry.
 */
static const struct {
    const char *name, *values;
} labels[] = {
    {"version", "one: the running version"},
    {"engine", "`io_uring` or `epoll`: one per process"},
    {"reason", "one sentence per process (`io_engine_info`), or a fixed list of limits (`connections_closed_total`)"},
    {"protocol", "`resp`, `feast`, `oip`, `admin`, `mapped`"},
    {"code", "`ok`, `error`"},
    {"view", "the views in the configuration's `serve` list; `-`: a request that names no served view"},
    {"stage", "`queue`, `lookup`, `encode`, `send`, `total`"},
    {"status", "`hit`, `not_found`; for values `present`, `null_value`, `not_found`, `outside_max_age`, `denied`"},
    {"channel", "one per served view"},
    {"release", "one per served view: the series of the release before is dropped"},
    {"result", "`ok`, `corrupt`, `will_not_fit`, `not_found`, `shortage`, `error`"},
    {"phase", "`copy`, `verify`, `collapse`"},
    {"worker", "one per worker thread"},
    {"process", "`server`, `fetcher`"},
};

static const char *type_text(pil_metric_type type, pil_exposition exposition) {
    switch (type) {
    case PIL_METRIC_COUNTER: return "counter";
    case PIL_METRIC_GAUGE: return "gauge";
    case PIL_METRIC_HISTOGRAM: return "histogram";
    case PIL_METRIC_INFO: return exposition == PIL_EXPOSITION_OPENMETRICS ? "info" : "gauge";
    }
    PIL_UNREACHABLE("metric type");
}

/* Length of the family's name: in OpenMetrics only the samples of counters and infos have the suffix. */
static int family_name_len(const struct pil_metric_family *family, pil_exposition exposition) {
    size_t len = strlen(family->id), suffix = 0;
    if (exposition == PIL_EXPOSITION_OPENMETRICS && family->type == PIL_METRIC_COUNTER) {
        suffix = strlen("_total");
    } else if (exposition == PIL_EXPOSITION_OPENMETRICS && family->type == PIL_METRIC_INFO) {
        suffix = strlen("_info");
    }
    return (int)(len - suffix);
}

static void put_head(const struct pil_metric_family *family, pil_exposition exposition, struct pil_text *page) {
    int len = family_name_len(family, exposition);
    pil_text_format(page, "# HELP pillion_%.*s %s\n", len, family->id, family->help);
    pil_text_format(page, "# TYPE pillion_%.*s %s\n", len, family->id, type_text(family->type, exposition));
    if (exposition == PIL_EXPOSITION_OPENMETRICS && family->unit[0] != '\0') {
        pil_text_format(page, "# UNIT pillion_%.*s %s\n", len, family->id, family->unit);
    }
}

/* pillion_<id><suffix>{labels,le="…"} and a blank. */
static void put_sample_name(const struct pil_metric_family *family, const struct pil_metric_slot *slot,
                            const char *suffix, const char *le, struct pil_text *page) {
    pil_text_format(page, "pillion_%s%s", family->id, suffix);
    const char *separator = slot->labels[0] != '\0' && le != NULL ? "," : "";
    if (le != NULL) {
        pil_text_format(page, "{%s%sle=\"%s\"}", slot->labels, separator, le);
    } else if (slot->labels[0] != '\0') {
        pil_text_format(page, "{%s}", slot->labels);
    }
    pil_text_append(page, " ", 1);
}

static void put_double(double value, struct pil_text *page) {
    if (isnan(value)) {
        pil_text_format(page, "NaN\n");
    } else if (isinf(value)) {
        pil_text_format(page, value > 0 ? "+Inf\n" : "-Inf\n");
    } else {
        char text[32];
        snprintf(text, sizeof text, "%.15g", value);
        double back;
        bool exact = sscanf(text, "%lf", &back) == 1 && !(back < value) && !(back > value);
        pil_text_format(page, exact ? "%.15g\n" : "%.17g\n", value);
    }
}

static void put_histogram(const struct pil_metric_registry *registry, pil_metric_series series,
                          pil_exposition exposition, struct pil_text *page) {
    const struct pil_metric_slot *slot = &registry->slots[series];
    const struct pil_metric_family *family = pil_metric_family(slot->metric);
    bool seconds = strcmp(family->unit, "seconds") == 0;
    const struct bound *bounds = seconds ? bounds_seconds : bounds_count;
    size_t count = seconds ? sizeof bounds_seconds / sizeof *bounds : sizeof bounds_count / sizeof *bounds;
    struct pil_histogram_view view;
    pil_metric_read_histogram(registry, series, &view);
    uint64_t below = 0;
    uint32_t bucket = 0;
    for (size_t i = 0; i < count; i++) {
        while (bucket < PIL_HISTOGRAM_BUCKETS && pil_histogram_bucket_low(bucket + 1) - 1 <= bounds[i].value) {
            below += view.counts[bucket++];
        }
        char le[16];
        bool whole = exposition == PIL_EXPOSITION_OPENMETRICS && strpbrk(bounds[i].le, ".e") == NULL;
        snprintf(le, sizeof le, "%s%s", bounds[i].le, whole ? ".0" : "");
        put_sample_name(family, slot, "_bucket", le, page);
        pil_text_format(page, "%llu\n", (unsigned long long)below);
    }
    put_sample_name(family, slot, "_bucket", "+Inf", page);
    pil_text_format(page, "%llu\n", (unsigned long long)view.count);
    put_sample_name(family, slot, "_sum", NULL, page);
    uint64_t scale = seconds ? 1000000000u : 1;
    pil_text_format(page, "%llu", (unsigned long long)(view.sum / scale));
    if (seconds) {
        pil_text_format(page, ".%09llu", (unsigned long long)(view.sum % scale));
    }
    pil_text_append(page, "\n", 1);
    put_sample_name(family, slot, "_count", NULL, page);
    pil_text_format(page, "%llu\n", (unsigned long long)view.count);
}

static void put_series(const struct pil_metric_registry *registry, pil_metric_series series, pil_exposition exposition,
                       struct pil_text *page) {
    const struct pil_metric_slot *slot = &registry->slots[series];
    const struct pil_metric_family *family = pil_metric_family(slot->metric);
    switch (family->type) {
    case PIL_METRIC_COUNTER:
        put_sample_name(family, slot, "", NULL, page);
        pil_text_format(page, "%llu\n", (unsigned long long)pil_metric_read(registry, series));
        return;
    case PIL_METRIC_GAUGE:
    case PIL_METRIC_INFO: {
        put_sample_name(family, slot, "", NULL, page);
        uint64_t bits = atomic_load_explicit(&slot->gauge, memory_order_relaxed);
        double value;
        memcpy(&value, &bits, sizeof value);
        put_double(value, page);
        return;
    }
    case PIL_METRIC_HISTOGRAM: put_histogram(registry, series, exposition, page); return;
    }
}

void pil_metric_expose(const struct pil_metric_registry *registry, pil_exposition exposition, struct pil_text *page) {
    pthread_mutex_lock(registry->lock);
    for (uint32_t f = 0; f < PIL_METRIC_FAMILY_COUNT; f++) {
        bool headed = false;
        for (uint32_t s = 0; s < registry->slot_count; s++) {
            if (!registry->slots[s].live || registry->slots[s].metric != (pil_metric)f) {
                continue;
            }
            if (!headed) {
                put_head(pil_metric_family((pil_metric)f), exposition, page);
                headed = true;
            }
            put_series(registry, s, exposition, page);
        }
    }
    pthread_mutex_unlock(registry->lock);
    if (exposition == PIL_EXPOSITION_OPENMETRICS) {
        pil_text_format(page, "# EOF\n");
    }
}

static const char describe_head[] =
    "# Metrics\n\n"
    "What `/metrics` on the admin listener exposes, in the Prometheus text format, or OpenMetrics where the scraper\n"
    "asks for it. A family without a series yet is left out.\n\n"
    "| name | type | labels | meaning |\n|---|---|---|---|\n";
static const char describe_labels[] =
    "\n## Histograms\n\n"
    "Durations are kept in nanoseconds, 16 buckets an octave, one copy per worker. The page shows cumulative buckets\n"
    "in 1-2-5 steps: 1 µs to 10 s for seconds, 1 to 1,000,000 for counts. A finer bucket that straddles a bound is\n"
    "counted above it: a bound's count never holds a value above the bound, and may lack values less than 6.25 %\n"
    "below it. `_sum` and `_count` are exact.\n\n"
    "## Labels\n\n"
    "No label takes its value from a request; the configuration bounds the number of series.\n\n"
    "| label | values |\n|---|---|\n";

void pil_metric_describe(struct pil_text *page) {
    pil_text_append(page, describe_head, sizeof describe_head - 1);
    for (uint32_t f = 0; f < PIL_METRIC_FAMILY_COUNT; f++) {
        const struct pil_metric_family *family = pil_metric_family((pil_metric)f);
        const char *type = family->type == PIL_METRIC_INFO ? "info" : type_text(family->type, PIL_EXPOSITION_TEXT);
        pil_text_format(page, "| `pillion_%s` | %s | %s | %s |\n", family->id, type, family->labels, family->help);
    }
    pil_text_append(page, describe_labels, sizeof describe_labels - 1);
    for (size_t i = 0; i < sizeof labels / sizeof *labels; i++) {
        pil_text_format(page, "| `%s` | %s |\n", labels[i].name, labels[i].values);
    }
}
