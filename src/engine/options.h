/* SPDX-License-Identifier: Apache-2.0
 * The options of an engine with their defaults; the sizes of its ring follow from them. */
#pragma once

#include "engine/engine.h"

/* Replaces the zeros of the options by their defaults. INVALID: an option is out of bounds. */
pil_status pil_engine_options_fill(const struct pil_engine_options *options, struct pil_engine_options *ret_options,
                                   struct pil_error *ret_error) PIL_CHECKED;
