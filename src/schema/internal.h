/* SPDX-License-Identifier: Apache-2.0
 * Shared by the files of this module; no other module includes it. */
#pragma once

#include "base/panic.h"
#include "schema/view_json.h"

#include <stdio.h>
#include <stdlib.h>

enum { PIL_SCHEMA_TAGS_MAX = 64 }; /* of one feature, and of one view */

/* Zeroed memory for `count` items of `bytes` each; also for 0 items the result is not NULL. NULL when memory is short.
 * Owns: the caller (free). */
static inline void *pil_schema_alloc(size_t count, size_t bytes) {
    return calloc(count > 0 ? count : 1, bytes);
}

/* strdup(3) that maps NULL to NULL. Returns false if memory is short. */
static inline bool pil_schema_copy(const char *text, char **ret_copy) {
    *ret_copy = text != NULL ? strdup(text) : NULL;
    return text == NULL || *ret_copy != NULL;
}

/* Whether the entity's key component has a fixed width. */
static inline bool pil_entity_is_fixed(const struct pil_entity *entity) {
    return !pil_scalar_is_text(entity->type);
}

/* Whether keys can be of this type. */
static inline bool pil_entity_can_be(struct pil_type type) {
    return type.shape == PIL_SHAPE_SCALAR && (pil_scalar_uses(type.scalar) & PIL_USE_KEY) != 0;
}

/* Frees the memory that the entity owns. */
void pil_entity_deinit(struct pil_entity *entity);
/* Returns false if memory is short; the parts copied so far must be freed with pil_entity_deinit. */
bool pil_entity_clone(const struct pil_entity *entity, struct pil_entity *ret_copy);

/* Builds the table of pil_view_feature_find; of equal names the first is found. Returns false if memory is short. */
bool pil_view_index_build(struct pil_view *view);

/* One feature as JSON: name, type, and default, description and tags if it has them. NULL when memory is short. Owns:
 * caller. */
json_t *pil_view_feature_to_json(const struct pil_feature *feature);
/* One entity as JSON. NULL when memory is short. Owns: caller. */
json_t *pil_view_entity_to_json(const struct pil_entity *entity);
