/* SPDX-License-Identifier: Apache-2.0
 * Draws the latencies of one protocol and view. */
#pragma once

#include "cli/admin_client.h"

/* PROJECT/VIEW, or "(no view)". */
const char *pil_hist_view_name(const struct pil_latency *latency);
/* Prints the stages, total as the last of them, and bars of the total. `seconds`: in which they were counted; 0: since
 * the start. */
void pil_hist_view_print(const struct pil_latency *series, uint32_t count, double seconds, bool has_bars);
