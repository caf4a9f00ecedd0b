/* SPDX-License-Identifier: Apache-2.0
 * A row as a request sees it, after the lookups. */
#pragma once

#include "cache/cache.h"

typedef enum pil_row_state { PIL_ROW_MISSING, PIL_ROW_FRESH, PIL_ROW_EXPIRED } pil_row_state;
/* Whether the row is there, and whether it is within the view's ttl at now_us; an expired one is missing where
 * hide_expired is set. */
pil_row_state pil_row_state_of(const struct pil_lookup *lookup, int64_t now_us, bool hide_expired);
/* The bytes of a feature value: the field, or the payload of its reference. */
struct pil_bytes pil_row_value(const struct pil_lookup *lookup, const struct pil_feature *feature);
