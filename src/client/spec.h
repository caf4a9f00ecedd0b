/* SPDX-License-Identifier: Apache-2.0
 * Builds the feature list of a plan from names of views and features. For this module only. */
#pragma once

#include "client/buffer.h"
#include "vector/plan.h"

/* Used between pil_spec_begin, which zeroes it, and pil_spec_finish. */
struct pil_spec_builder {
    struct pil_buffer text; /* "view:feature", one after another */
    struct pil_bytes *references;
    uint32_t count, capacity;
};

pil_status pil_spec_begin(struct pil_spec_builder *builder, uint32_t capacity, struct pil_error *ret_error) PIL_CHECKED;
void pil_spec_add(struct pil_spec_builder *builder, const char *view, struct pil_bytes feature);
/* Makes the spec and frees the builder, even on failure. NO_MEMORY, and the errors of pil_vector_spec_create. */
pil_status pil_spec_finish(struct pil_spec_builder *builder, struct pil_vector_spec **ret_spec,
                           struct pil_error *ret_error) PIL_CHECKED;
/* Frees the builder without a spec. */
void pil_spec_abandon(struct pil_spec_builder *builder);
