/* SPDX-License-Identifier: Apache-2.0
 * Asks the admin listener of a pilliond: pages as JSON, and the latency histograms made ready for drawing. */
#pragma once

#include "base/status.h"
#include "cli/command.h"

#include <jansson.h>

/* The page as JSON; owns: caller. CLOSED or TIMEOUT when nobody answers there, CORRUPT when it is no JSON. */
pil_status pil_admin_fetch(const char *address, const char *path, json_t **ret_page,
                           struct pil_error *ret_error) PIL_CHECKED;

/* --admin, or where pilliond listens by custom. */
const char *pil_admin_address(const struct pil_invocation *invocation);

/* ---- Latencies by bins of 1-2-5 steps: bin i holds durations up to pil_latency_bound_ns(i). */
enum { PIL_LATENCY_BINS = 23, PIL_LATENCY_SERIES_MAX = 1024 };

struct pil_latency {
    char protocol[16];
    char view[264];
    char stage[16];
    uint64_t bins[PIL_LATENCY_BINS];
    uint64_t count;
    uint64_t p50_ns, p99_ns, p999_ns, max_ns;
};
/* Upper end of a bin; the last one has none (UINT64_MAX). */
uint64_t pil_latency_bound_ns(uint32_t bin);
/* "20 µs" */
const char *pil_latency_text(uint64_t ns, char ret_text[24]);

/* Reads /hist. `before` (NULL: nothing) is the page of an earlier moment: only what came since is counted. Returns how
 * many series have any. */
uint32_t pil_latency_read(const json_t *page, const json_t *before, struct pil_latency *ret_series,
                          uint32_t series_max);
