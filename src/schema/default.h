/* SPDX-License-Identifier: Apache-2.0
 * Defaults of features: JSON values that fit a type. For this module only. */
#pragma once

#include "base/status.h"
#include "schema/type.h"

#include <jansson.h>

enum { PIL_DEFAULT_TEXT_BYTES_MAX = 65536 }; /* of one string: a default travels in every shard */

/* Checks `value` against `type` and gives its canonical form: floats as reals, all else as it is. INVALID, with a
 * sentence. Owns: caller (json_decref). */
pil_status pil_default_normalize(struct pil_type type, const json_t *value, json_t **ret_value,
                                 struct pil_error *ret_error) PIL_CHECKED;
