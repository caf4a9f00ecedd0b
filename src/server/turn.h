/* SPDX-License-Identifier: Apache-2.0
 * What a worker's code knows during one turn of its loop. Protocols get it with every call; its pointers are borrowed.
 * Thread: the worker. */
#pragma once

#include "selection/prepared.h"
#include "server/settings.h"

struct pil_batch;
struct pil_connection;
struct pil_server;
struct pil_worker;

struct pil_turn {
    struct pil_worker *worker;
    struct pil_server *server; /* for the questions of server.h */
    const struct pil_settings *settings;
    struct pil_batch *batch;
    struct pil_scope scope; /* what names mean, to the peer of the connection being decoded or answered */
    struct pil_prepared_cache *prepared;
    uint64_t now_ns; /* when the turn began */
    int64_t wall_us; /* of the batch, from after its lookups: what event timestamps are compared with */
    uint64_t value_counts[PIL_SETTINGS_VIEWS_MAX][PIL_VALUE_STATUS_COUNT]; /* values answered in this batch */
};

/* What the protocol of a connection keeps for this worker (pil_protocol.worker_create). */
void *pil_turn_protocol_state(const struct pil_turn *turn, const struct pil_connection *connection);
