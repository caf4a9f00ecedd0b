/* SPDX-License-Identifier: Apache-2.0
 * The layout in which Feast keeps features in Redis: one hash for each entity of a project, with the features of all
 * views in it (schemas/wire.md, "Feast's Redis layout"). Here are its keys, as Feast's SDK sends them, and its values,
 * as the SDK reads them. Keys are from anybody: hostile bytes are an error, never a read out of bounds. Pure: no input
 * or output, no allocation. */
#pragma once

#include "base/bounds.h"
#include "base/sink.h"
#include "schema/view.h"

/* ---- Keys: the entity key, then the name of the project, without anything in between. */

/* Whether a key is meant as one of this layout: it begins with a small number of four bytes. No other key does, because
 * the second byte of those is part of a name or follows one. Cost: one load. */
static inline bool pil_feast_redis_is_key(struct pil_bytes key) {
    return key.len >= 8 && pil_load_u32(key.data) <= UINT8_MAX;
}

/* The project of a key. NOT_FOUND: the key is of version 2, which only the join keys of a view can take apart. INVALID:
 * the bytes are no key. */
pil_status pil_feast_redis_project(struct pil_bytes key, struct pil_bytes *ret_project) PIL_CHECKED;

/* Takes apart a key of either version with the join keys of a view: ret_parts are those of the view's entities in
 * declared order, for pil_view_key_encode; texts point into the key. The key of a view without entities has Feast's
 * join key __dummy_id with an empty text, and has no parts. CONFLICT: the key has other join keys, or the same in an
 * order that is not theirs. INVALID: the bytes are no key. */
pil_status pil_feast_redis_parts(struct pil_bytes key, const struct pil_view *view,
                                 struct pil_key_part ret_parts[PIL_ENTITIES_MAX],
                                 struct pil_bytes *ret_project) PIL_CHECKED;

/* For messages: "a, b", the join keys that a key of version 3 names, or those of a view, in the order of keys. Long
 * lists are cut. */
enum { PIL_FEAST_REDIS_NAMES_BYTES = 160 };
void pil_feast_redis_key_names(struct pil_bytes key, char ret_text[PIL_FEAST_REDIS_NAMES_BYTES]);
void pil_feast_redis_view_names(const struct pil_view *view, char ret_text[PIL_FEAST_REDIS_NAMES_BYTES]);

/* ---- Fields: four bytes, the hash of a feature (struct pil_feature), or the event time of the row of a view. */

enum { PIL_FEAST_REDIS_FIELD_BYTES = 4 };
/* Whether a field is "_ts:view"; *ret_view is the name. */
static inline bool pil_feast_redis_is_time(struct pil_bytes field, struct pil_bytes *ret_view) {
    bool is_time = field.len > 4 && memcmp(field.data, "_ts:", 4) == 0;
    if (is_time) {
        *ret_view = pil_bytes_from(field.data + 4, field.len - 4);
    }
    return is_time;
}

/* ---- Values, each as a bulk string. */

/* The bytes of feast.types.Value. `raw` as in wire/value.h; a list of texts ends early at an element that does not fit.
 * unix_timestamp is whole seconds (floor); float16 and bfloat16 are floats, int8 is int32, vectors are lists. */
void pil_feast_redis_put_value(struct pil_sink *sink, struct pil_type type, struct pil_bytes raw);
/* What Feast stores for a null: nothing, "$0"; of a unix_timestamp that is no list, the smallest int64. The SDK reads
 * None of both. */
void pil_feast_redis_put_null(struct pil_sink *sink, struct pil_type type);
/* The bytes of google.protobuf.Timestamp. */
void pil_feast_redis_put_time(struct pil_sink *sink, int64_t us);
