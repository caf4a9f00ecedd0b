/* SPDX-License-Identifier: Apache-2.0
 * Views from the bytes of their JSON form, which lies in every shard. */
#pragma once

#include "schema/view.h"

/* Parses and validates the JSON of a view (view_json.h), hostile or not; recomputes the layout and refuses (CORRUPT)
 * when it differs. NO_MEMORY. */
pil_status pil_view_from_json_bytes(struct pil_bytes text, struct pil_view **ret_view,
                                    struct pil_error *ret_error) PIL_CHECKED;
