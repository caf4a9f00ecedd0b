/* SPDX-License-Identifier: Apache-2.0
 * Whole numbers as text, for every protocol. */
#pragma once

#include "base/bytes.h"

/* Parses all of `text` as a decimal within int64, with an optional '-' and at most 20 characters. No '+', no blanks;
 * leading zeros are allowed. Returns false, and leaves *ret_value unchanged, for any other text. */
bool pil_number_parse_i64(struct pil_bytes text, int64_t *ret_value);

/* The ending of a regular noun after this number: "s", but "" after 1. */
static inline const char *pil_number_plural(uint64_t number) {
    return number == 1 ? "" : "s";
}
