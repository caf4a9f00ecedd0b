/* SPDX-License-Identifier: Apache-2.0
 * Builds the list of features of a plan from the names of views and features. For this module only. */
#pragma once

#include "client/buffer.h"
#include "vector/plan.h"

/* Between begin and finish; begin zeroes it. */
struct pil_spec_builder {
    struct pil_buffer text; /* "view:feature", one behind the other */
    struct pil_bytes *references;
    uint32_t count, capacity;
};

pil_status pil_spec_begin(struct pil_spec_builder *builder, uint32_t capacity, struct pil_error *ret_error) PIL_CHECKED;
void pil_spec_add(struct pil_spec_builder *builder, const char *view, struct pil_bytes feature);
/* Makes the spec and frees the builder, whatever the outcome. NO_MEMORY, and what pil_vector_spec_create says. */
pil_status pil_spec_finish(struct pil_spec_builder *builder, struct pil_vector_spec **ret_spec,
                           struct pil_error *ret_error) PIL_CHECKED;
/* Frees the builder without a spec. */
void pil_spec_abandon(struct pil_spec_builder *builder);
