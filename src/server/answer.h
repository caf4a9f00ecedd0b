/* SPDX-License-Identifier: Apache-2.0
 * The answers to a batch: all lookups together, then the answers in the order of the requests, but for long ones, which
 * come after the shorter ones of other peers. Thread: the worker. */
#pragma once

#include "server/lane.h"

/* Runs the lookups of the lane's batch, encodes, measures, sends, and empties the batch, which may be empty already.
 * Then, all from the same moment, the same for the replayed requests of lane->replaying that are left. On the lane's
 * stack: it may pause when there are lookups or replayed requests. */
void pil_answer_batch(struct pil_lane *lane);
/* Sends what is written. */
void pil_answer_flush(struct pil_turn *turn);
