/* SPDX-License-Identifier: Apache-2.0
 * Reads views from their JSON form, which every shard contains. */
#pragma once

#include "schema/view.h"

/* Parses and validates the JSON of a view (view_json.h), which may be hostile; recomputes the layout. CORRUPT: also if
 * the layout differs. TOO_LARGE: over a limit. NO_MEMORY. Owns: the caller (pil_view_destroy). */
pil_status pil_view_from_json_bytes(struct pil_bytes text, struct pil_view **ret_view,
                                    struct pil_error *ret_error) PIL_CHECKED;
