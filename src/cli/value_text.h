/* SPDX-License-Identifier: Apache-2.0
 * Values of verified rows, as text for people and as JSON. */
#pragma once

#include "base/text.h"
#include "snapshot/reader.h"

#include <jansson.h>

/* Appends a value as RESP formats it, but timestamps as RFC 3339, bytes as hex digits, bool as true or false, and null
 * as "null". Not safe for a terminal yet (pil_text_append_printable). */
void pil_value_text_append(struct pil_text *text, const struct pil_shard *shard, const uint8_t *row,
                           uint32_t feature_index);
/* Numbers, true, false, null and arrays as JSON; NaN and infinities as text; timestamps and bytes as above; text that
 * is not UTF-8 as {"hex": …}. NULL when memory is short. Owns: caller. */
json_t *pil_value_to_json(const struct pil_shard *shard, const uint8_t *row, uint32_t feature_index);
/* Appends the key of a row in the form of RESP. */
void pil_value_key_append(struct pil_text *text, const struct pil_shard *shard, const uint8_t *row);
