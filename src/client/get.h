/* SPDX-License-Identifier: Apache-2.0
 * What pillion_get and pillion_get_columns share: blocks of rows from mapped releases. For this module only. */
#pragma once

#include "cache/freshness.h"
#include "client/client.h"

enum { PIL_CLIENT_BLOCK = PIL_SOURCE_BLOCK };

/* Rows of one view that were looked up together. */
struct pil_block {
    uint32_t slot;
    uint32_t count;
    size_t first; /* row of the call */
    struct pil_lookup lookups[PIL_CLIENT_BLOCK];
};
struct pil_call {
    struct pillion_plan *plan;
    const struct pillion_keys *keys;
    uint32_t flags;
    int64_t *event_ts_us;          /* NULL, or the caller's */
    struct pillion_answer *answer; /* NULL, or the caller's */
    const struct pil_compiled *compiled;
    /* Asks the server instead. */
    pillion_result (*ask)(struct pil_call *call);
    /* Checks what the caller gave against what the plan is now; then takes block after block, view after view. */
    pillion_result (*begin)(struct pil_call *call, struct pillion_error *error);
    pillion_result (*put)(struct pil_call *call, const struct pil_block *block, struct pillion_error *error);
};
/* Reads what is mapped, or asks the server; looks after the client before, when that is due. */
pillion_result pil_get_run(struct pil_call *call);
