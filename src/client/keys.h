/* SPDX-License-Identifier: Apache-2.0
 * From the caller's key columns to canonical keys. For this module only. */
#pragma once

#include "client/compile.h"
#include "schema/view.h"

/* The keys of one view of a call. */
struct pil_keys {
    const struct pil_compiled *compiled;
    uint32_t slot;
    const struct pillion_keys *given; /* checked by pil_keys_check_columns */
    struct pillion_error *error;      /* may be NULL */
};
/* Where encoded keys go. */
struct pil_key_room {
    uint8_t *data;
    size_t bytes;
};

/* Whether the key columns have a known kind, and the arrays that it needs. */
pillion_result pil_keys_check_columns(const struct pillion_keys *keys, struct pillion_error *error);
/* One key component of a row. false: the offsets of that row fall. */
bool pil_keys_part(const struct pillion_key_column *column, size_t row, struct pil_key_part *ret_part);
/* Fills `count` lookups with the keys of rows first, first + 1 …; *ret_count tells how many, less when their bytes do
 * not fit into the room, 0 when those of the first do not. Keys point into the caller's arrays where these have the
 * canonical form. */
pillion_result pil_keys_fill(const struct pil_keys *keys, size_t first, uint32_t count, struct pil_key_room room,
                             struct pil_lookup *lookups, uint32_t *ret_count);
