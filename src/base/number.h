/* SPDX-License-Identifier: Apache-2.0
 * Whole numbers as text, for every protocol. */
#pragma once

#include "base/bytes.h"

/* Decimal, with an optional leading '-', nothing else, all of `text`, within int64. No sign '+', no blanks; leading
 * zeros are fine. false: it is not such a number, and *ret_value is untouched. */
bool pil_number_parse_i64(struct pil_bytes text, int64_t *ret_value);
