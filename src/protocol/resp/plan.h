/* SPDX-License-Identifier: Apache-2.0
 * The numbered plans of a connection, and which plan a request means. */
#pragma once

#include "protocol/resp/internal.h"

/* What the plan is wanted for. */
typedef enum pil_redis_answer {
    PIL_REDIS_ANSWER_TENSOR,
    PIL_REDIS_ANSWER_COLUMNS,
    PIL_REDIS_ANSWER_DESCRIPTION,
} pil_redis_answer;
/* Finds and refreshes the plan that args[1] names, a number of this connection's or a service, and sets
 * call->rows.prepared; false with the error set. */
bool pil_redis_find_plan(struct pil_turn *turn, struct pil_redis_call *call, pil_redis_answer answer);
/* Forgets all plans of a connection. Requests of the batch may use them still. */
void pil_redis_plans_forget(struct pil_turn *turn, struct pil_redis_connection *connection);
/* Frees what was forgotten in batches before this one. */
void pil_redis_plans_sweep(struct pil_turn *turn, struct pil_redis_worker *worker);
void pil_redis_plans_destroy(struct pil_redis_plans **plans);
void pil_redis_forgotten_destroy(struct pil_redis_worker *worker);
