/* SPDX-License-Identifier: Apache-2.0
 * The description of a plan for the caller: its features, width and join keys. Under the client's lock. For this module
 * only. */
#pragma once

#include "base/json_value.h"
#include "client/plan.h"

/* Whether a release has the shape by which the plan was described: views, join keys, width, and the place of each
 * feature. Always, before there is a description. INVALID, with a sentence: the caller must plan anew. */
pil_status pil_describe_fits(const struct pillion_plan *plan, const struct pil_vector_plan *vector,
                             struct pil_error *ret_error) PIL_CHECKED;
/* Describes a plan from its compiled form, which fits. Once a plan is described, only the types of its features change.
 * NO_MEMORY: nothing has changed. */
pil_status pil_describe_vector(struct pillion_plan *plan, const struct pil_vector_plan *vector) PIL_CHECKED;

/* ---- From the server's description (schemas/wire.md, PIL.DESCRIBE). CORRUPT: it contradicts itself or what was asked
 * for, or the document has another form. NO_MEMORY. On failure nothing has changed. */

/* The features by their full names. `plan->spec` is what was asked for, or NULL for those of a service. */
pil_status pil_describe_names(const struct pillion_plan *plan, const struct pil_json_value *document,
                              struct pil_vector_spec **ret_spec, struct pil_error *ret_error) PIL_CHECKED;
/* Describes a plan whose spec has full names. INVALID: the plan is described already, and the release has another
 * shape. */
pil_status pil_describe_json(struct pillion_plan *plan, const struct pil_json_value *document,
                             struct pil_error *ret_error) PIL_CHECKED;

/* The number of elements that a value of the type has in a tensor. */
uint32_t pil_describe_width(struct pil_type type);
