/* SPDX-License-Identifier: Apache-2.0
 * The numbered plans of a connection, and how a request finds its plan. */
#pragma once

#include "protocol/resp/internal.h"

/* The kind of answer that the plan is needed for. */
typedef enum pil_redis_answer {
    PIL_REDIS_ANSWER_TENSOR,
    PIL_REDIS_ANSWER_COLUMNS,
    PIL_REDIS_ANSWER_DESCRIPTION,
} pil_redis_answer;
/* Finds and refreshes the plan that args[1] names, a number of this connection or a service, and sets
 * call->rows.prepared. Returns false with the error set. */
bool pil_redis_find_plan(struct pil_turn *turn, struct pil_redis_call *call, pil_redis_answer answer);
/* Forgets all plans of a connection. Requests of the batch may still use them. */
void pil_redis_plans_forget(struct pil_turn *turn, struct pil_redis_connection *connection);
/* Frees the plans that were forgotten in earlier batches. */
void pil_redis_plans_sweep(struct pil_turn *turn, struct pil_redis_worker *worker);
void pil_redis_plans_destroy(struct pil_redis_plans **plans);
void pil_redis_forgotten_destroy(struct pil_redis_worker *worker);
