/* SPDX-License-Identifier: Apache-2.0 */
#include "server/lane.h"

#include "base/clock.h"
#include "base/fiber.h"
#include "server/internal.h"

#include <stdlib.h>

/* ---- Life. */

static void run(void *context) {
    struct pil_lane *lane = context;
    lane->turn.worker->answer(lane);
}

struct pil_lane *pil_lane_create(struct pil_worker *worker, uint32_t number) {
    struct pil_server *server = worker->server;
    struct pil_lane *lane = calloc(1, sizeof *lane);
    if (lane == NULL) {
        return NULL;
    }
    lane->number = number;
    lane->fiber = pil_fiber_create(run, lane);
    lane->turn =
        (struct pil_turn){.worker = worker,
                          .lane = lane,
                          .server = server,
                          .settings = server->settings,
                          .batch = pil_batch_create(&server->settings->limits),
                          .scope = {.cache = server->cache, .projects = server->projects, .readable = UINT64_MAX},
                          .prepared = pil_prepared_cache_create()};
    if (lane->fiber == NULL || lane->turn.batch == NULL || lane->turn.prepared == NULL) {
        pil_lane_destroy(&lane);
        return NULL;
    }
    lane->turn.scope.batch_number = lane->turn.batch->number = ++worker->batch_number; /* 0: points into no batch */
    return lane;
}

void pil_lane_destroy(struct pil_lane **lane) {
    if (*lane != NULL) {
        pil_fiber_destroy(&(*lane)->fiber);
        pil_batch_destroy(&(*lane)->turn.batch);
        pil_prepared_cache_destroy(&(*lane)->turn.prepared);
        free(*lane);
        *lane = NULL;
    }
}

/* ---- Leaving a lane. */

/* The number of its QSBR holder. */
static uint32_t holder_of(const struct pil_lane *lane) {
    const struct pil_worker *worker = lane->turn.worker;
    return worker->server->settings->worker_count + worker->index * PIL_LANES + lane->number;
}

/* A lane to fill while others are left; NULL: all are, or memory is short. */
static struct pil_lane *find_spare(struct pil_worker *worker) {
    for (uint32_t i = 0; i < PIL_LANES; i++) {
        if (worker->lanes[i] == NULL) {
            return worker->lanes[i] = pil_lane_create(worker, i);
        }
        if (!worker->lanes[i]->is_left && &worker->lanes[i]->turn != worker->turn) {
            return worker->lanes[i];
        }
    }
    return NULL;
}

/* Makes what the requests that are not answered yet point to stay, and their connections wait. */
static void keep_requests(struct pil_lane *lane) {
    struct pil_batch *batch = lane->turn.batch;
    for (uint32_t i = 0; i < batch->request_count; i++) {
        struct pil_request *request = &batch->requests[i];
        if (!request->is_done) {
            request->is_kept = true;
            pil_connection_hold(&lane->turn, request->connection);
            pil_engine_keep(lane->turn.worker->engine, request->source, &lane->kept);
        }
    }
    if (lane->replaying != NULL) {
        pil_connection_hold(&lane->turn, lane->replaying);
        lane->replaying->is_slow = true;
    }
}

/* Counts the memory of a batch that stays, as memory of clients. Returns false when there is no more of it. */
static bool count_memory(struct pil_lane *lane) {
    const struct pil_batch *batch = lane->turn.batch;
    uint64_t bytes = batch->lookup_count * sizeof batch->lookups[0] +
                     (lane->replaying != NULL || batch->unprepared != NULL ? batch->arena.capacity : batch->arena.used);
    if (!pil_accounts_allocate(&lane->turn.server->accounts, bytes)) {
        return false;
    }
    lane->counted_bytes = bytes;
    return true;
}

/* The worker goes on with another lane. Returns false when there is none, or too little memory. */
static bool change_lanes(struct pil_lane *lane) {
    struct pil_worker *worker = lane->turn.worker;
    struct pil_lane *spare = find_spare(worker);
    if (spare == NULL || !count_memory(lane)) {
        return false;
    }
    keep_requests(lane);
    pil_qsbr_hold(pil_cache_qsbr(worker->server->cache), holder_of(lane), worker->index);
    pil_list_append(&worker->left_lanes, &lane->link);
    worker->left_count++;
    lane->is_left = true;
    spare->turn.now_ns = lane->turn.now_ns;
    spare->turn.work = lane->turn.work;
    spare->turn.work_max = lane->turn.work_max;
    spare->turn.is_late = lane->turn.is_late;
    worker->turn = &spare->turn;
    return true;
}

void pil_lane_pause(struct pil_lane *lane) {
    uint64_t now_ns = pil_clock_monotonic_ns();
    if (now_ns < lane->slice_end_ns && lane->turn.work < lane->turn.work_max) {
        return;
    }
    if (lane->is_left || change_lanes(lane)) {
        lane->leaves++;
        pil_fiber_leave(lane->fiber);
    } else { /* it tries again later */
        lane->slice_end_ns = now_ns + lane->turn.server->slice_ns;
        lane->turn.work = 0;
    }
}

void pil_lane_rest(struct pil_turn *turn) {
    if (turn->batch->unprepared != NULL) {
        pil_lane_pause(turn->lane);
    }
}

/* ---- Going on. */

void pil_lane_release(struct pil_lane *lane) {
    struct pil_batch *batch = lane->turn.batch;
    for (uint32_t i = 0; lane->is_left && i < batch->request_count; i++) {
        struct pil_request *request = &batch->requests[i];
        if (request->is_kept && request->connection != lane->replaying) {
            pil_connection_let_go(&lane->turn, request->connection);
        }
    }
    pil_engine_give_back(lane->turn.worker->engine, &lane->kept);
}

static void finish(struct pil_lane *lane) {
    struct pil_worker *worker = lane->turn.worker;
    if (lane->replaying != NULL) {
        pil_connection_let_go(&lane->turn, lane->replaying);
    }
    lane->is_left = false;
    pil_accounts_free(&worker->server->accounts, lane->counted_bytes);
    pil_list_remove(&lane->link);
    worker->left_count--;
    pil_qsbr_offline(pil_cache_qsbr(worker->server->cache), holder_of(lane));
    pil_batch_trim(lane->turn.batch);
    if (lane->number >= PIL_LANES_KEPT) {
        pil_lane_destroy(&worker->lanes[lane->number]);
    }
}

/* A slice of a lane. What it does is work of the turn, also when that is of another lane. */
static void go(struct pil_lane *lane) {
    struct pil_turn *turn = lane->turn.worker->turn;
    bool was_left = lane->is_left;
    lane->slice_end_ns = pil_clock_monotonic_ns() + lane->turn.server->slice_ns;
    bool is_done = pil_fiber_go(lane->fiber);
    turn->work += was_left ? lane->turn.work : 0;
    if (lane->is_left && is_done) {
        finish(lane);
    }
}

void pil_lanes_answer(struct pil_worker *worker, struct pil_connection *replaying) {
    struct pil_lane *lane = worker->turn->lane;
    lane->replaying = replaying;
    const struct pil_batch *batch = lane->turn.batch;
    if (batch->lookup_count > 0 || batch->unprepared != NULL || replaying != NULL) {
        go(lane);
    } else {
        run(lane); /* nothing that it could leave in the middle */
    }
}

/* The last place among those that take turns. */
static struct pil_list_link *last_turn(struct pil_worker *worker) {
    struct pil_list_link *at = &worker->left_lanes.head;
    for (uint32_t i = 1; i < PIL_LANES_SHARE && at->next != &worker->left_lanes.head; i++) {
        at = at->next;
    }
    return at;
}

void pil_lanes_go_on(struct pil_worker *worker) {
    struct pil_list_link *link = pil_list_first(&worker->left_lanes);
    if (link != NULL) {
        struct pil_lane *lane = PIL_LIST_ENTRY(struct pil_lane, link, link);
        pil_list_remove(link);
        pil_list_insert_after(last_turn(worker), link);
        lane->turn.now_ns = worker->turn->now_ns;
        lane->turn.work = 0;
        lane->turn.work_max = PIL_TURN_WORK_MAX;
        go(lane);
    }
}

void pil_lanes_drop(struct pil_worker *worker) {
    PIL_LIST_EACH(struct pil_lane, link, lane, &worker->left_lanes) {
        pil_engine_give_back(worker->engine, &lane->kept);
        pil_accounts_free(&worker->server->accounts, lane->counted_bytes);
        pil_qsbr_offline(pil_cache_qsbr(worker->server->cache), holder_of(lane));
    }
}
