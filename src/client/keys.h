/* SPDX-License-Identifier: Apache-2.0
 * From the caller's key columns to canonical keys. For this module only. */
#pragma once

#include "client/compile.h"
#include "schema/view.h"

/* The keys of one view of a call. */
struct pil_keys {
    const struct pil_compiled *compiled;
    uint32_t slot;
    const struct pillion_keys *given; /* checked before by pil_keys_check_columns */
    struct pillion_error *error;      /* may be NULL */
};
/* The buffer for encoded keys. */
struct pil_key_room {
    uint8_t *data;
    size_t bytes;
};

/* Checks that each key column has a known kind and the arrays that its kind needs. */
pillion_result pil_keys_check_columns(const struct pillion_keys *keys, struct pillion_error *error);
/* One key component of a row. Returns false if the offsets of that row decrease. */
bool pil_keys_part(const struct pillion_key_column *column, size_t row, struct pil_key_part *ret_part);
/* Fills `count` lookups with the keys of rows first, first + 1 …. *ret_count is the number filled: less than `count`
 * when the room is too small for all keys, 0 when it is too small for the first one. Keys that are canonical in the
 * caller's arrays are not copied but point there. */
pillion_result pil_keys_fill(const struct pil_keys *keys, size_t first, uint32_t count, struct pil_key_room room,
                             struct pil_lookup *lookups, uint32_t *ret_count);
