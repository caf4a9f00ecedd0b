/* SPDX-License-Identifier: Apache-2.0
 * Prints results as text or JSON. Latencies are in microseconds. */
#include "load/load.h"

#include <stdlib.h>

static const struct {
    const char *key, *text;
    double quantile;
} quantiles[] = {
    {"p50_us", "p50", 0.5},      {"p90_us", "p90", 0.9}, {"p99_us", "p99", 0.99},
    {"p999_us", "p99.9", 0.999}, {"max_us", "max", 1},
};
enum { QUANTILES = sizeof quantiles / sizeof quantiles[0] };

static const char *const verdict_names[LOAD_VERDICT_COUNT] = {"ok", "errors", "missing", "wrong", "mixed"};
static const char *const command_names[] = {"hmget", "hgetall", "get", "mget", "vector", "feast", "bytes"};

static double quantile_us(const struct pil_histogram_view *view, double quantile) {
    return (double)pil_histogram_quantile(view, quantile) / 1000;
}

/* Prints "count":…,"mean_us":…,"p50_us":…, without braces. */
static void put_json(const struct pil_histogram_view *view, FILE *out) {
    double mean_us = view->count > 0 ? (double)view->sum / (double)view->count / 1000 : 0;
    fprintf(out, "\"count\":%llu,\"mean_us\":%.3f", (unsigned long long)view->count, mean_us);
    for (size_t i = 0; i < QUANTILES; i++) {
        fprintf(out, ",\"%s\":%.3f", quantiles[i].key, quantile_us(view, quantiles[i].quantile));
    }
}

static void put_text(const char *title, const struct pil_histogram_view *view, FILE *out) {
    fprintf(out, "%-10s", title);
    for (size_t i = 0; i < QUANTILES; i++) {
        fprintf(out, " %s %.1f", quantiles[i].text, quantile_us(view, quantiles[i].quantile));
    }
    fprintf(out, " µs (%llu requests)\n", (unsigned long long)view->count);
}

void load_report_interval(const struct load_plan *plan, struct load_record *record, uint64_t now_ns) {
    struct pil_histogram_view view = {0};
    (void)plan;
    pil_histogram_merge(&view, &record->interval);
    printf("{\"type\":\"interval\",\"begin_ns\":%llu,\"end_ns\":%llu,\"errors\":%llu,",
           (unsigned long long)record->interval_begin_ns, (unsigned long long)now_ns,
           (unsigned long long)record->interval_errors);
    put_json(&view, stdout);
    printf("}\n");
    fflush(stdout);
    memset(&record->interval, 0, sizeof record->interval);
    record->interval_errors = 0;
    record->interval_begin_ns = now_ns;
}

/* ---- The whole result */

struct result {
    struct pil_histogram_view all;
    double seconds, rate, cpu_us; /* cpu_us is per request; below 0: unknown */
    double late_share;
};

static struct result summarize(const struct load_record *record) {
    struct result result = {.cpu_us = -1};
    pil_histogram_merge(&result.all, &record->all);
    result.seconds = (double)(record->cpu_window_end_ns - record->cpu_window_begin_ns) / 1e9;
    if (record->cpu_window_end_ns > record->cpu_window_begin_ns) {
        result.rate = (double)record->replies_in_window / result.seconds;
    }
    if (record->has_cpu && record->replies_in_window > 0) {
        result.cpu_us = (double)(record->cpu_end_ns - record->cpu_begin_ns) / (double)record->replies_in_window / 1000;
    }
    result.late_share = record->sent > 0 ? (double)record->late / (double)record->sent : 0;
    return result;
}

static void report_json(const struct load_plan *plan, const struct load_record *record, const struct result *result) {
    printf(
        "{\"type\":\"result\",\"loop\":\"%s\",\"command\":\"%s\",\"address\":\"%s\",\"connections\":%u,\"depth\":%u,",
        plan->rate > 0 ? "open" : "closed", command_names[plan->command], plan->address, plan->connections,
        plan->depth);
    printf("\"entities\":%u,\"features\":%u,\"engine\":\"%s\",\"verified\":%s,", plan->entities, plan->features,
           pil_engine_kind_text(plan->engine), plan->seed_count > 0 ? "true" : "false");
    printf("\"seconds\":%.6f,\"rate\":%.3f,\"sent\":%llu,\"late\":%llu,\"unanswered\":%llu,", result->seconds,
           result->rate, (unsigned long long)record->sent, (unsigned long long)record->late,
           (unsigned long long)record->unanswered);
    for (size_t i = 0; i < LOAD_VERDICT_COUNT; i++) {
        printf("\"%s\":%llu,", verdict_names[i], (unsigned long long)record->verdicts[i]);
    }
    if (result->cpu_us >= 0) {
        printf("\"server_cpu_us\":%.4f,", result->cpu_us);
    }
    put_json(&result->all, stdout);
    printf(",\"samples_lost\":%llu}\n", (unsigned long long)record->samples_lost);
}

static void report_text(const struct load_plan *plan, const struct load_record *record, const struct result *result) {
    printf("%s loop, %s, %s, %u connection%s, depth %u, %s\n", plan->rate > 0 ? "open" : "closed",
           command_names[plan->command], plan->address, plan->connections, plan->connections > 1 ? "s" : "",
           plan->depth, pil_engine_kind_text(plan->engine));
    printf("rate       %.0f requests/s over %.2f s", result->rate, result->seconds);
    if (plan->rate > 0) {
        printf("; %llu of %llu sends late (%.4f %%)", (unsigned long long)record->late,
               (unsigned long long)record->sent, result->late_share * 100);
    }
    printf("\n");
    put_text("latency", &result->all, stdout);
    if (record->samples_lost > 0) {
        printf("samples    %llu were over the %d that are kept\n", (unsigned long long)record->samples_lost,
               LOAD_SAMPLES_MAX);
    }
    printf("answers   ");
    for (size_t i = 0; i < LOAD_VERDICT_COUNT; i++) {
        printf(" %s %llu%s", verdict_names[i], (unsigned long long)record->verdicts[i],
               i == LOAD_REPLY_OK ? (plan->seed_count > 0 ? " (values checked)" : " (values not checked)") : "");
    }
    printf(" unanswered %llu\n", (unsigned long long)record->unanswered);
    if (result->cpu_us >= 0) {
        printf("server     %.3f µs of CPU per request\n", result->cpu_us);
    }
}

int load_report(const struct load_plan *plan, const struct load_record *record) {
    struct result result = summarize(record);
    if (plan->is_json) {
        report_json(plan, record, &result);
    } else {
        report_text(plan, record, &result);
    }
    bool bad = record->unanswered > 0;
    for (size_t i = LOAD_REPLY_OK + 1; i < LOAD_VERDICT_COUNT; i++) {
        bad |= record->verdicts[i] > 0;
    }
    if (bad) {
        return 1;
    }
    if (result.late_share > 0.001 && !plan->allow_late) {
        fprintf(stderr,
                "pillion-load: %.4f %% of the sends were over one period late: neither this machine nor this "
                "figure can be trusted at this rate; lower --rate\n",
                result.late_share * 100);
        return 3;
    }
    return 0;
}
