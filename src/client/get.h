/* SPDX-License-Identifier: Apache-2.0
 * The common part of pillion_get and pillion_get_columns: blocks of rows from mapped releases. For this module only. */
#pragma once

#include "cache/freshness.h"
#include "client/client.h"

enum {
    PIL_CLIENT_BLOCK = PIL_SOURCE_BLOCK,
    /* Sizes of structs as the first version of the library had them: callers that were built with it stay served when
     * fields are added at the end. */
    PIL_ANSWER_BYTES_MIN = offsetof(struct pillion_answer, error) + sizeof(struct pillion_error),
    PIL_COLUMNS_BYTES_MIN = offsetof(struct pillion_columns, event_ts_us) + sizeof(int64_t *),
};

/* Rows of one view that are looked up together. */
struct pil_block {
    uint32_t slot;
    uint32_t count;
    size_t first; /* index of its first row in the call */
    struct pil_lookup lookups[PIL_CLIENT_BLOCK];
};
struct pil_call {
    struct pillion_plan *plan;
    const struct pillion_keys *keys;
    uint32_t flags;
    int64_t *event_ts_us;          /* NULL, or the caller's */
    struct pillion_answer *answer; /* NULL, or the caller's */
    const struct pil_compiled *compiled;
    /* Sends the call to the server instead. */
    pillion_result (*ask)(struct pil_call *call);
    /* `begin` checks the caller's arguments against the plan as it is now; `put` then takes each block of each view. */
    pillion_result (*begin)(struct pil_call *call, struct pillion_error *error);
    pillion_result (*put)(struct pil_call *call, const struct pil_block *block, struct pillion_error *error);
};
/* Reads the mapped releases, or asks the server. Before, does the client's upkeep when it is due. */
pillion_result pil_get_run(struct pil_call *call);
