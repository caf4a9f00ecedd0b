/* SPDX-License-Identifier: Apache-2.0
 * Values of verified rows, for people and as JSON. */
#pragma once

#include "base/text.h"
#include "snapshot/reader.h"

#include <jansson.h>

/* Text as RESP shows it; timestamps as RFC 3339, bytes as hex digits; not yet made safe for a terminal. Appends "null"
 * for null. */
void pil_value_text_append(struct pil_text *text, const struct pil_shard *shard, const uint8_t *row,
                           uint32_t feature_index);
/* Numbers, true, false, null, arrays; NaN and infinities as text; timestamps and bytes as above. Owns: caller. */
json_t *pil_value_to_json(const struct pil_shard *shard, const uint8_t *row, uint32_t feature_index);
/* The key of a row, as RESP has it. */
void pil_value_key_append(struct pil_text *text, const struct pil_shard *shard, const uint8_t *row);
