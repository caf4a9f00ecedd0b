/* SPDX-License-Identifier: Apache-2.0
 * Base64 by RFC 4648, section 4: padded, with zero bits at the end, so that each value has exactly one text. */
#pragma once

#include "base/bytes.h"

bool pil_base64_is_valid(struct pil_bytes text);
/* Decodes valid text; returns the number of bytes, at most 3/4 of the text. `to` may be the text itself. */
size_t pil_base64_decode(struct pil_bytes text, uint8_t *to);
