/* SPDX-License-Identifier: Apache-2.0
 * The server and its workers, for the files of this module. Each worker is one thread and one `struct pil_worker`;
 * other threads touch only its atomics, its histograms, and what a protocol allows of its state.
 *
 * A turn of a worker: take all events; decode requests into the batch, which collects their entity lookups; run all
 * lookups together; encode the answers in the order of the requests; send. */
#pragma once

#include "server/batch.h"
#include "server/connection.h"
#include "server/lane.h"
#include "server/note.h"
#include "server/series.h"
#include "server/server.h"

#include <pthread.h>

enum { PIL_LISTENER_MAGIC = 0x4c495354, PIL_WORKER_EVENTS = 256, PIL_SLICE_NS = 1000000 };

struct pil_listener {
    uint32_t magic;
    const struct pil_listener_settings *settings;
    pil_engine_handle handle;
    int fd;
};

struct pil_worker {
    struct pil_server *server;
    uint32_t index; /* also the number of its metric shard and of its QSBR slot */
    pthread_t thread;
    struct pil_turn *turn;             /* of the lane that is being filled */
    struct pil_lane *lanes[PIL_LANES]; /* NULL: not needed so far */
    struct pil_list left_lanes;
    uint32_t left_count;
    void (*answer)(struct pil_lane *lane); /* what runs on the stack of a lane */
    uint64_t batch_number;
    struct pil_engine *engine; /* made on the worker's own thread */
    struct pil_peer_diag diag; /* opened on the worker's own thread */
    struct pil_listener listeners[PIL_SETTINGS_LISTENERS_MAX];
    struct pil_list connections, ready, dirty;
    uint32_t connection_count, dirty_count;
    void *protocol_states[PIL_SETTINGS_PROTOCOLS_MAX];
    struct pil_histogram *histograms[PIL_SETTINGS_PROTOCOLS_MAX]; /* [operation_count] */
    struct pil_chunk_pool chunks;
    struct pil_event events[PIL_WORKER_EVENTS];
    uint64_t swept_ns, sweep_count;
    uint64_t freed_bytes;        /* of connections, since memory was last returned to the kernel */
    uint64_t spin_ns;            /* adaptive, up to settings->spin_ns_max */
    bool is_draining, is_closed; /* closed: no longer accepts */
    uint64_t drain_ns;

    struct pil_error failure; /* written before is_failed */

    /* Read by the control thread. */
    _Atomic uint64_t turn_started_ns; /* 0 while parked */
    _Atomic uint64_t turn_last_ns;    /* like turn_started_ns, but kept while parked; 0: the engine is not open */
    _Atomic bool is_done;
    _Atomic bool is_failed;
    _Atomic uint32_t connections_now[PIL_SETTINGS_PROTOCOLS_MAX];
    _Atomic uint64_t engine_turns, engine_enters, engine_parks, engine_buffers_empty, engine_overflows,
        engine_accept_failures; /* copied each sweep */
};

/* How far the start of the workers has come. Written by the control thread, read by the workers. */
typedef enum pil_start_phase {
    PIL_START_OPENING, /* the workers open their engines, then wait */
    PIL_START_SERVING,
    PIL_START_ABANDONED /* an engine could not be opened: all workers end */
} pil_start_phase;

struct pil_server {
    const struct pil_settings *settings;
    const struct pil_protocol *const *protocols; /* by pil_listener_settings.protocol */
    uint32_t protocol_count;
    struct pil_cache *cache;
    struct pil_projects *projects;
    struct pil_metric_registry *metrics;
    struct pil_series series;
    struct pil_slowlog *slowlog;
    int listener_fds[PIL_SETTINGS_LISTENERS_MAX];
    struct pil_worker *workers;
    uint32_t worker_count;
    uint32_t workers_started;
    _Atomic pil_start_phase phase;
    uint64_t started_ns;
    _Atomic uint64_t connection_id_next;
    _Atomic bool is_draining;
    uint64_t slice_ns; /* PIL_SLICE_NS; shorter in tests */
    struct pil_accounts accounts;
};

static inline void pil_worker_count(struct pil_worker *worker, pil_metric_series series, uint64_t value) {
    pil_metric_add_owner(worker->server->metrics, worker->index, series, value);
}
static inline void pil_worker_record(struct pil_worker *worker, pil_metric_series series, uint64_t value,
                                     uint64_t times) {
    pil_metric_record_owner(worker->server->metrics, worker->index, series, value, times);
}

/* ---- worker.c: a worker's thread, and its steps, for tests that run a worker on their own thread. */

void *pil_worker_main(void *worker);
/* Creates the engine. Call pil_worker_close even after a failure. */
pil_status pil_worker_open(struct pil_worker *worker, struct pil_error *ret_error) PIL_CHECKED;
/* Listens and goes online; call it once, after pil_worker_open. */
pil_status pil_worker_listen(struct pil_worker *worker, struct pil_error *ret_error) PIL_CHECKED;
/* Waits for events and answers them. SYSTEM: the engine failed for good. */
pil_status pil_worker_turn(struct pil_worker *worker) PIL_CHECKED;
/* Goes offline and closes all connections; unsent answers are lost. */
void pil_worker_close(struct pil_worker *worker);
