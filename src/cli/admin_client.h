/* SPDX-License-Identifier: Apache-2.0
 * Reads pages of a pilliond's admin listener as JSON, and prepares its latency histograms for drawing. */
#pragma once

#include "base/status.h"
#include "cli/command.h"

#include <jansson.h>

/* Reads a page as JSON; owns: caller. CLOSED or TIMEOUT: there was no answer.
 * UNSUPPORTED: what answers there is not the admin listener of a pilliond. */
pil_status pil_admin_fetch(const char *address, const char *path, json_t **ret_page,
                           struct pil_error *ret_error) PIL_CHECKED;

/* The same for the server that --admin names; strings are printable unless --json is given. */
pil_status pil_admin_page_try(const struct pil_invocation *invocation, const char *path, json_t **ret_page,
                              struct pil_error *ret_error) PIL_CHECKED;
/* The same; reports a failure and returns the exit code. */
int pil_admin_page(const struct pil_invocation *invocation, const char *path, json_t **ret_page);

/* The address given by --admin, or the conventional one, tcp:127.0.0.1:9466. */
const char *pil_admin_address(const struct pil_invocation *invocation);

/* ---- Latencies in bins of 1-2-5 steps: bin i holds durations below pil_latency_bound_ns(i). */
enum { PIL_LATENCY_BINS = 23, PIL_LATENCY_SERIES_MAX = 1024, PIL_LATENCY_VIEW_BYTES = 264 };

struct pil_latency {
    char protocol[16];
    char view[PIL_LATENCY_VIEW_BYTES];
    char stage[16];
    uint64_t bins[PIL_LATENCY_BINS];
    uint64_t count;
    uint64_t p50_ns, p99_ns, p999_ns, max_ns;
};
/* The upper end of a bin; UINT64_MAX for the last bin, which has none. */
uint64_t pil_latency_bound_ns(uint32_t bin);
/* Formats a duration: "20 µs". */
const char *pil_latency_text(uint64_t ns, char ret_text[24]);

/* Reads the page /hist. If `before`, an earlier version of the page, is not NULL, only requests since then are counted.
 * Returns the number of series with requests; series beyond series_max are left out. */
uint32_t pil_latency_read(const json_t *page, const json_t *before, struct pil_latency *ret_series,
                          uint32_t series_max);
