/* SPDX-License-Identifier: Apache-2.0
 * The measurements of a reader process, in memory shared by all processes of a run. */
#pragma once

#include "embed/embed.h"

/* Logarithmic with 128 buckets per octave: quantiles are within 0.8 %, so that ratios of close values are
 * meaningful. */
enum { EMBED_SUB_BITS = 7, EMBED_OCTAVES = 40, EMBED_BUCKETS = (EMBED_OCTAVES - EMBED_SUB_BITS + 1) << EMBED_SUB_BITS };

struct embed_result {
    uint64_t calls, wrong, failed;
    uint64_t in_calls_ns, max_ns, elapsed_ns, cpu_ns;
    uint64_t minor_faults, rss_bytes, pss_bytes; /* faults: while measuring; the others: at the end */
    int64_t instructions, cache_misses;          /* -1: not available */
    int cpu;                                     /* -1: not pinned */
    uint64_t latency[EMBED_BUCKETS];             /* of calls, ns */
};

/* Exits with a message when a reader cannot be opened. Returns one result for each process. */
const struct embed_result *embed_run(const struct embed_options *options);
/* Prints the report; returns the exit status. */
int embed_report(const struct embed_options *options, const struct embed_result *results);

/* Hardware counters of this thread, for user mode and, where allowed, the kernel. */
struct embed_counters {
    int instructions, cache_misses; /* -1: not available */
};
struct embed_counters embed_counters_start(void);
void embed_counters_stop(struct embed_counters *counters, struct embed_result *result);
/* "Pss" or "Rss" from smaps_rollup of a process; pid 0 is this process. */
uint64_t embed_memory_of(int pid, const char *what);
