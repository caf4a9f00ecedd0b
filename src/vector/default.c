/* SPDX-License-Identifier: Apache-2.0 */
#include "vector/default.h"
#include "base/panic.h"

#include <stdlib.h>

struct pil_vector_default *pil_vector_defaults_create(const struct pil_vector_plan *plan) {
    struct pil_vector_default *defaults = calloc(plan->feature_count, sizeof defaults[0]);
    PIL_ASSERT(defaults != NULL);
    for (uint32_t i = 0; i < plan->feature_count; i++) {
        const struct pil_vector_column *column = &plan->columns[i];
        const struct pil_default *value = plan->views[column->view].view->features[column->feature].default_value;
        if (value != NULL) {
            struct pil_bytes payload = pil_default_payload(value);
            pil_text_append(&defaults[i].payload, payload.data, payload.len);
            defaults[i].is_there = true;
        }
    }
    return defaults;
}

void pil_vector_defaults_destroy(struct pil_vector_default **defaults, uint32_t count) {
    for (uint32_t i = 0; *defaults != NULL && i < count; i++) {
        pil_text_deinit(&(*defaults)[i].payload);
    }
    free(*defaults);
    *defaults = NULL;
}
