/* SPDX-License-Identifier: Apache-2.0
 * What the files of this module share and nobody else includes. */
#pragma once

#include "base/panic.h"
#include "schema/view_json.h"

#include <stdio.h>
#include <stdlib.h>

enum { PIL_SCHEMA_TAGS_MAX = 64 }; /* of one feature, and of one view */

/* Zeroed memory for `count` things of `bytes` each, also for none; free(). NULL: no memory. */
static inline void *pil_schema_alloc(size_t count, size_t bytes) {
    return calloc(count > 0 ? count : 1, bytes);
}

/* strdup(3) that keeps NULL. false: no memory. */
static inline bool pil_schema_copy(const char *text, char **ret_copy) {
    *ret_copy = text != NULL ? strdup(text) : NULL;
    return text == NULL || *ret_copy != NULL;
}

/* Whether its key component lies in the row itself. */
static inline bool pil_entity_is_fixed(const struct pil_entity *entity) {
    return !pil_scalar_is_text(entity->type);
}

/* Whether keys can be of this type. */
static inline bool pil_entity_can_be(struct pil_type type) {
    return type.shape == PIL_SHAPE_SCALAR && (pil_scalar_uses(type.scalar) & PIL_USE_KEY) != 0;
}

/* Frees what the entity owns. */
void pil_entity_deinit(struct pil_entity *entity);
/* false: no memory; what was copied is there to be freed. */
bool pil_entity_clone(const struct pil_entity *entity, struct pil_entity *ret_copy);

/* Builds the table behind pil_view_feature_find; the first of two equal names wins. false: no memory. */
bool pil_view_index_build(struct pil_view *view);

/* Members of one feature in JSON: name, type, and default, description, tags when it has them. NULL: no memory. Owns:
 * caller. */
json_t *pil_view_feature_to_json(const struct pil_feature *feature);
/* Members of one entity in JSON. NULL: no memory. Owns: caller. */
json_t *pil_view_entity_to_json(const struct pil_entity *entity);
