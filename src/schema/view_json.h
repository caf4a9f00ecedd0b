/* SPDX-License-Identifier: Apache-2.0
 * The JSON form of a view, for the control plane, which builds documents. Readers of shards need only view.h. */
#pragma once

#include "schema/view.h"

#include <jansson.h>

/* The canonical JSON of a view: names, types, defaults, tags, ttl, and the layout (offsets, stride). Its bytes are
 * canonical when dumped with JSON_SORT_KEYS | JSON_COMPACT, which callers always do. It is the SCHEMA section of a
 * shard and the "schema" of a manifest. NULL when memory is short. Owns: the caller (json_decref). */
json_t *pil_view_to_json(const struct pil_view *view);
