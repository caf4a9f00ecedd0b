/* SPDX-License-Identifier: Apache-2.0
 * State of one turn of a worker's loop. Protocols get it with every call; its pointers are borrowed. Thread: the
 * worker. */
#pragma once

#include "selection/prepared.h"
#include "server/settings.h"

struct pil_batch;
struct pil_connection;
struct pil_lane;
struct pil_server;
struct pil_worker;

/* A long request that comes when a turn has done this much work waits for the next turn. A request does at most about
 * as much by itself. */
enum { PIL_TURN_WORK_MAX = 1 << 20 };

struct pil_turn {
    struct pil_worker *worker;
    struct pil_lane *lane;     /* that has this turn's batch */
    struct pil_server *server; /* for the read functions of server.h */
    const struct pil_settings *settings;
    struct pil_batch *batch;
    struct pil_scope scope; /* resolves names for the peer of the connection being decoded or answered */
    struct pil_prepared_cache *prepared;
    uint64_t now_ns;   /* when the turn began */
    bool is_late;      /* it has taken so long that what is not decoded yet waits for the next one */
    uint64_t work;     /* steps of some nanoseconds that long requests took in this turn, as their handlers count */
    uint64_t work_max; /* with as many, further long requests wait for the next turn */
    int64_t wall_us;   /* time of the batch, taken after its lookups: event timestamps are compared with it */
    uint64_t value_counts[PIL_SETTINGS_VIEWS_MAX][PIL_VALUE_STATUS_COUNT]; /* values answered in this batch */
};

/* The protocol's state of this worker (pil_protocol.worker_create). */
void *pil_turn_protocol_state(const struct pil_turn *turn, const struct pil_connection *connection);
