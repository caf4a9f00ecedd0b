/* SPDX-License-Identifier: Apache-2.0
 * Reports the progress of the phases. */
#include "base/clock.h"
#include "ingest/internal.h"

enum { REPORT_NS = 50000000 };

pil_status pil_ingest_report(struct pil_ingest *ingest, pil_ingest_phase phase, uint64_t done, uint64_t total, bool now,
                             struct pil_error *ret_error) {
    const struct pil_ingest_options *options = &ingest->options;
    uint64_t clock = pil_clock_monotonic_ns();
    if (options->on_progress == NULL || (!now && clock - ingest->reported_ns < REPORT_NS)) {
        return PIL_STATUS_OK;
    }
    ingest->reported_ns = clock;
    if (!options->on_progress(options->context, phase, done, total)) {
        return pil_fail(ret_error, PIL_STATUS_CLOSED, "cancelled");
    }
    return PIL_STATUS_OK;
}
