/* SPDX-License-Identifier: Apache-2.0
 * Prints the results, as text or as one line of JSON. */
#include "embed/run.h"

#include <stdlib.h>

/* The quantile as the middle of its bucket, in µs. */
static double quantile_us(const struct embed_result *result, double quantile) {
    uint64_t wanted = (uint64_t)(quantile * (double)result->calls), seen = 0;
    uint32_t bucket = 0;
    for (; bucket < EMBED_BUCKETS - 1; bucket++) {
        seen += result->latency[bucket];
        if (seen > wanted) {
            break;
        }
    }
    uint32_t exponent = bucket >> EMBED_SUB_BITS;
    if (exponent == 0) {
        return (double)bucket / 1e3;
    }
    uint64_t mantissa = (1u << EMBED_SUB_BITS) + bucket % (1u << EMBED_SUB_BITS), step = 1ull << (exponent - 1);
    return (double)(mantissa * step + step / 2) / 1e3;
}

static double vectors_per_s(const struct embed_options *options, const struct embed_result *result) {
    return result->in_calls_ns == 0 ? 0 : (double)result->calls * options->batch / ((double)result->in_calls_ns / 1e9);
}

static void add(struct embed_result *sum, const struct embed_result *result) {
    sum->calls += result->calls;
    sum->wrong += result->wrong;
    sum->failed += result->failed;
    sum->cpu_ns += result->cpu_ns;
    sum->minor_faults += result->minor_faults;
    sum->rss_bytes += result->rss_bytes;
    sum->pss_bytes += result->pss_bytes;
    sum->max_ns = result->max_ns > sum->max_ns ? result->max_ns : sum->max_ns;
    sum->elapsed_ns = result->elapsed_ns > sum->elapsed_ns ? result->elapsed_ns : sum->elapsed_ns;
    sum->instructions =
        sum->instructions < 0 || result->instructions < 0 ? -1 : sum->instructions + result->instructions;
    sum->cache_misses =
        sum->cache_misses < 0 || result->cache_misses < 0 ? -1 : sum->cache_misses + result->cache_misses;
    for (uint32_t i = 0; i < EMBED_BUCKETS; i++) {
        sum->latency[i] += result->latency[i];
    }
}

static void print_counter(const char *name, int64_t value, double vectors) {
    if (value < 0 || vectors == 0) {
        printf(",\"%s\":null", name);
    } else {
        printf(",\"%s\":%.2f", name, (double)value / vectors);
    }
}

static void print_json(const struct embed_options *options, const struct embed_result *sum,
                       const struct embed_result *results, double rate) {
    double calls = sum->calls > 0 ? (double)sum->calls : 1;
    printf("{\"reader\":\"%s\",\"type\":\"%s\",\"batch\":%u,\"features\":%u,\"width\":%u,\"processes\":%u",
           options->reader->name, embed_type_name(options->type), options->batch, options->features, options->width,
           options->processes);
    printf(",\"calls\":%llu,\"p50_us\":%.3f,\"p99_us\":%.3f,\"p999_us\":%.3f,\"max_us\":%.3f,\"vectors_per_s\":%.0f",
           (unsigned long long)sum->calls, quantile_us(sum, 0.5), quantile_us(sum, 0.99), quantile_us(sum, 0.999),
           (double)sum->max_ns / 1e3, rate);
    printf(",\"cpu_us_per_call\":%.3f", (double)sum->cpu_ns / 1e3 / calls);
    print_counter("instructions_per_vector", sum->instructions, (double)sum->calls * options->batch);
    print_counter("cache_misses_per_vector", sum->cache_misses, (double)sum->calls * options->batch);
    printf(",\"minor_faults\":%llu,\"rss_bytes\":%llu,\"pss_bytes\":%llu,\"wrong\":%llu,\"failed\":%llu,"
           "\"elapsed_s\":%.2f,\"per_process\":[",
           (unsigned long long)sum->minor_faults, (unsigned long long)sum->rss_bytes,
           (unsigned long long)sum->pss_bytes, (unsigned long long)sum->wrong, (unsigned long long)sum->failed,
           (double)sum->elapsed_ns / 1e9);
    for (uint32_t i = 0; i < options->processes; i++) {
        const struct embed_result *one = &results[i];
        printf("%s{\"cpu\":%d,\"calls\":%llu,\"vectors_per_s\":%.0f,\"p50_us\":%.3f,\"p99_us\":%.3f}",
               i == 0 ? "" : ",", one->cpu, (unsigned long long)one->calls, vectors_per_s(options, one),
               quantile_us(one, 0.5), quantile_us(one, 0.99));
    }
    printf("]}\n");
}

int embed_report(const struct embed_options *options, const struct embed_result *results) {
    struct embed_result *sum = calloc(1, sizeof *sum);
    double rate = 0;
    if (sum == NULL) {
        embed_fail("report", "no memory");
    }
    for (uint32_t i = 0; i < options->processes; i++) {
        add(sum, &results[i]);
        rate += vectors_per_s(options, &results[i]);
    }
    if (options->is_json) {
        print_json(options, sum, results, rate);
    } else {
        printf("%-9s %u x %u: %llu calls, p50 %.3f p99 %.3f p99.9 %.3f max %.1f µs, %.0f vectors/s in calls, %.3f µs "
               "of CPU a call, %llu wrong, %llu failed, %.2f s\n",
               options->reader->name, options->batch, options->features, (unsigned long long)sum->calls,
               quantile_us(sum, 0.5), quantile_us(sum, 0.99), quantile_us(sum, 0.999), (double)sum->max_ns / 1e3, rate,
               (double)sum->cpu_ns / 1e3 / (double)(sum->calls > 0 ? sum->calls : 1), (unsigned long long)sum->wrong,
               (unsigned long long)sum->failed, (double)sum->elapsed_ns / 1e9);
    }
    bool is_good = sum->wrong + sum->failed == 0;
    free(sum);
    return is_good ? 0 : 1;
}
