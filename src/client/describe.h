/* SPDX-License-Identifier: Apache-2.0
 * The description of a plan for the caller: its features, width and join keys. Under the client's lock. For this module
 * only. */
#pragma once

#include "base/json_value.h"
#include "client/plan.h"

/* Describes a plan from its compiled form. Once a plan is described, only the types of its features change. NO_MEMORY:
 * nothing has changed. */
pil_status pil_describe_vector(struct pillion_plan *plan, const struct pil_vector_plan *vector) PIL_CHECKED;
/* The same from the server's description (schemas/wire.md, PIL.DESCRIBE). IO: the document has another form. */
pil_status pil_describe_json(struct pillion_plan *plan, const struct pil_json_value *document,
                             struct pil_error *ret_error) PIL_CHECKED;
