/* SPDX-License-Identifier: Apache-2.0
 * Defaults of a plan's features as rows would have them: what typed columns hold instead of what is missing. */
#pragma once

#include "base/text.h"
#include "vector/plan.h"

struct pil_vector_default {
    struct pil_text payload; /* fixed types: the field; others: what a reference points to */
    bool is_there;
};

/* [plan->feature_count] */
struct pil_vector_default *pil_vector_defaults_create(const struct pil_vector_plan *plan);
void pil_vector_defaults_destroy(struct pil_vector_default **defaults, uint32_t count);
