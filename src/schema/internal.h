/* SPDX-License-Identifier: Apache-2.0
 * What the files of this module share and nobody else includes. Control plane: running out of memory panics. */
#pragma once

#include "base/panic.h"
#include "schema/view_json.h"

#include <stdio.h>
#include <stdlib.h>

enum { PIL_SCHEMA_TAGS_MAX = 64 }; /* of one feature, and of one view */

/* Zeroed memory for `count` things of `bytes` each; free(). Never NULL, even for count 0. */
static inline void *pil_schema_alloc(size_t count, size_t bytes) {
    void *memory = calloc(count > 0 ? count : 1, bytes);
    PIL_ASSERT(memory != NULL);
    return memory;
}

/* strdup that keeps NULL. */
static inline char *pil_schema_copy(const char *text) {
    if (text == NULL) {
        return NULL;
    }
    char *copy = strdup(text);
    PIL_ASSERT(copy != NULL);
    return copy;
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
struct pil_entity pil_entity_clone(const struct pil_entity *entity);

/* Builds the table behind pil_view_feature_find; the first of two equal names wins. false: no memory. */
bool pil_view_index_build(struct pil_view *view);

/* Members of one feature in JSON: name, type, and default, description, tags when it has them. Owns: caller. */
json_t *pil_view_feature_to_json(const struct pil_feature *feature);
/* Members of one entity in JSON. Owns: caller. */
json_t *pil_view_entity_to_json(const struct pil_entity *entity);
