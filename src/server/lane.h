/* SPDX-License-Identifier: Apache-2.0
 * Answers in slices. A lane is what a batch needs until its last answer is written: the state of the turn, the batch,
 * prepared plans, and a stack of its own (base/fiber.h). A worker fills the batch of one lane. When answering takes
 * longer than a slice, the worker leaves the lane in the middle of an answer and goes on with another one, so that
 * other clients do not wait; each turn goes on with a lane that was left, for one slice, until it is done (ADR 38).
 *
 * What the requests of a lane that was left point to stays: releases by a QSBR holder, received bytes by
 * pil_engine_keep, input by lending it (pil_connection_hold), plans because a lane has its own. Their connections
 * decode nothing more, and are not destroyed, until the lane is done. Only answers that read rows are left in the
 * middle, because others read what the worker changes, such as the list of connections.
 *
 * Thread: the worker. */
#pragma once

#include "base/list.h"
#include "server/turn.h"

struct pil_fiber;
struct pil_piece;

enum {
    PIL_LANES = 64,      /* of a worker: the one that it fills, and those that it has left; made when they are needed */
    PIL_LANES_KEPT = 5,  /* the others are destroyed when they are done */
    PIL_LANES_SHARE = 2, /* of the lanes that were left, as many take turns; the others wait in the order they came */
};

struct pil_lane {
    struct pil_turn turn;
    struct pil_fiber *fiber;
    uint32_t number;           /* among the lanes of the worker */
    struct pil_list_link link; /* of the lanes that the worker has left */
    struct pil_connection *replaying;
    uint64_t slice_end_ns;
    bool is_left;    /* since it was started; the worker fills another lane */
    uint64_t leaves; /* since it was made */
    struct pil_piece *kept;
    uint64_t counted_bytes; /* of its batch, as memory of clients, while it is left */
};

/* NULL when memory is short. */
struct pil_lane *pil_lane_create(struct pil_worker *worker, uint32_t number);
void pil_lane_destroy(struct pil_lane **lane);

/* Answers the batch of the lane that the worker fills, until all is answered or the slice is over; then worker->turn is
 * that of another lane. */
void pil_lanes_answer(struct pil_worker *worker, struct pil_connection *replaying);
/* Goes on, for a slice, with a lane that was left. */
void pil_lanes_go_on(struct pil_worker *worker);
/* The worker ends, and its engine still lives: drops the answers that are being written. */
void pil_lanes_drop(struct pil_worker *worker);

/* ---- On the lane's stack. */

/* Leaves the lane if its slice is over, or the turn has done enough (turn->work), and another lane is free. */
void pil_lane_pause(struct pil_lane *lane);
/* To be called now and then while a request is prepared, also one that is not prepared on a lane's stack: the same, if
 * it is prepared later (pil_batch_prepare_later). */
void pil_lane_rest(struct pil_turn *turn);
/* The requests of the batch are answered: what they pointed to need not stay. */
void pil_lane_release(struct pil_lane *lane);
