/* SPDX-License-Identifier: Apache-2.0
 * What a reader process measures; in memory that all processes of a run share. */
#pragma once

#include "embed/embed.h"

/* Logarithmic, 128 buckets an octave: quantiles within 0.8 %, so that ratios of neighbours mean something. */
enum { EMBED_SUB_BITS = 7, EMBED_OCTAVES = 40, EMBED_BUCKETS = (EMBED_OCTAVES - EMBED_SUB_BITS + 1) << EMBED_SUB_BITS };

struct embed_result {
    uint64_t calls, wrong, failed;
    uint64_t in_calls_ns, max_ns, elapsed_ns, cpu_ns;
    uint64_t minor_faults, rss_bytes, pss_bytes; /* faults: while it measured; the others: at its end */
    int64_t instructions, cache_misses;          /* -1: not counted here */
    int cpu;                                     /* -1: wherever the kernel likes */
    uint64_t latency[EMBED_BUCKETS];             /* of calls, ns */
};

/* Exits with a message when a reader cannot be opened. Returns one result for each process. */
const struct embed_result *embed_run(const struct embed_options *options);
/* Prints; returns the exit status. */
int embed_report(const struct embed_options *options, const struct embed_result *results);

/* Hardware counters of this thread, user and (where allowed) kernel. */
struct embed_counters {
    int instructions, cache_misses; /* -1: not available */
};
struct embed_counters embed_counters_start(void);
void embed_counters_stop(struct embed_counters *counters, struct embed_result *result);
/* "Pss", "Rss": from smaps_rollup of a process, 0: this one. */
uint64_t embed_memory_of(int pid, const char *what);
