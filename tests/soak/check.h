/* SPDX-License-Identifier: Apache-2.0
 * One thread's calls: asks for batches of its own choice and checks every value, status and time of each answer. */
#pragma once

#include "soak/truth.h"

#include <pillion/client.h>
#include <stdbool.h>
#include <stdint.h>

struct checker; /* of one thread */

/* A client that all threads of the process share. Exits with a sentence when a plan cannot be made. */
struct checker *checker_create(const struct truth *truth, struct truth_score *score, struct pillion_client *client,
                               uint64_t seed);
void checker_destroy(struct checker **checker);
/* One call of a random kind and size. Scores are added to; the first of each kind of mistake is told on stderr. */
void checker_run(struct checker *checker);
