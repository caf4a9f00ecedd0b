/* SPDX-License-Identifier: Apache-2.0
 * The data plane: worker threads that each run one event loop over the shared listeners and answer from the cache. It
 * opens no files and no listeners: these come in as descriptors. The control thread (the caller of this interface)
 * creates the server, publishes through pil_server_cache, and may read its state at any time. */
#pragma once

#include "base/text.h"
#include "cache/cache.h"
#include "metric/metric.h"
#include "schema/project.h"
#include "server/settings.h"

struct pil_protocol;
struct pil_server;

/* listener_fds[i] belongs to settings->listeners[i], -1 for those that the workers do not serve; the caller keeps and
 * closes them. `settings` and `protocols`, which listeners name by index, are borrowed for the server's life. Workers
 * start at pil_server_start. */
pil_status pil_server_create(const struct pil_settings *settings, const struct pil_protocol *const *protocols,
                             uint32_t protocol_count, const int *listener_fds, struct pil_server **ret_server,
                             struct pil_error *ret_error) PIL_CHECKED;
/* Starts the workers, and returns when each has opened its engine (settings->engine); only then do they listen. On
 * failure all workers have ended and none has accepted a connection, so that the caller may change settings->engine and
 * call again. Errors: those of pil_engine_create and of pthread_create, with the worker's number. */
pil_status pil_server_start(struct pil_server *server, struct pil_error *ret_error) PIL_CHECKED;
/* The options of each worker's engine, for pil_engine_probe. */
void pil_server_engine_options(const struct pil_settings *settings, struct pil_engine_options *ret_options);
/* Stops accepting, answers the requests that have arrived, then stops the workers; waits at most timeout_ms. Returns
 * whether all workers have stopped. */
bool pil_server_drain(struct pil_server *server, uint64_t timeout_ms);
/* Workers must have been drained. */
void pil_server_destroy(struct pil_server **server);

struct pil_cache *pil_server_cache(struct pil_server *server);
struct pil_metric_registry *pil_server_metrics(struct pil_server *server);
const struct pil_settings *pil_server_settings(const struct pil_server *server);
/* What protocols report about the server. Any thread. */
struct pil_server_facts {
    uint64_t started_ns;        /* monotonic */
    uint64_t connections_total; /* accepted so far */
    uint32_t connections_now;
    uint32_t worker_count;
};
void pil_server_facts(const struct pil_server *server, struct pil_server_facts *ret_facts);
/* Requests of a protocol that were answered without an error. */
uint64_t pil_server_requests(const struct pil_server *server, uint32_t protocol);
/* A protocol's state of one worker (pil_protocol.worker_create). Any thread; the protocol says what may be read. */
void *pil_server_protocol_state(const struct pil_server *server, uint32_t protocol, uint32_t worker_index);
/* Latencies of one operation, over all workers. Any thread. */
void pil_server_operation(const struct pil_server *server, uint32_t protocol, uint32_t operation,
                          struct pil_histogram_view *ret_view);
/* The metric shard of the control thread. */
uint32_t pil_server_control_shard(const struct pil_server *server);

/* Control thread: sets the applied project (feature services), as pil_projects_set; workers see it from their next
 * request on. pil_server_tick frees the previous one after a grace period. */
pil_status pil_server_set_project(struct pil_server *server, struct pil_project **project) PIL_CHECKED;
/* Control thread: the applied project of that name, valid until another one is set; NULL: none is applied. */
const struct pil_project *pil_server_project(const struct pil_server *server, const char *name);
/* Control thread: begins or ends serving the view at this index of the settings, which may have been added since the
 * start. */
pil_status pil_server_add_view(struct pil_server *server, uint32_t view_index) PIL_CHECKED;
void pil_server_remove_view(struct pil_server *server, uint32_t view_index);
/* Control thread, a few times a second: sums engine counters into metrics, watches the workers, frees projects. */
void pil_server_tick(struct pil_server *server);
/* Whether a fatal error has ended a worker. */
bool pil_server_failed(const struct pil_server *server);
/* Worker: notes that it begins a turn at now_ns; 0: its engine is not open. */
void pil_server_note_turn(struct pil_server *server, uint32_t worker, uint64_t now_ns);
/* How long ago, at now_ns (monotonic), the slowest worker began its last turn; *ret_worker is its number. Healthy
 * workers begin one five times a second, even when nothing arrives. UINT64_MAX: its engine is not open. Any thread. */
uint64_t pil_server_turn_age_ns(const struct pil_server *server, uint64_t now_ns, uint32_t *ret_worker);

/* One remembered slow request; texts carry no keys and no values. */
struct pil_slow_request {
    uint64_t id;
    int64_t wall_us;
    uint64_t duration_us;
    uint64_t queue_us, lookup_us, encode_us;
    uint32_t keys;
    uint32_t values;
    uint32_t features;  /* of its selection; 0: it read whole rows, or nothing */
    uint64_t selection; /* pil_selection_digest */
    char what[96];      /* "HMGET driver_stats", "POST /get-online-features driver_stats" */
    char peer[48];
};
enum { PIL_SLOWLOG_MAX = 128 };
/* Any thread. Newest first; returns their number. */
uint32_t pil_server_slowlog(struct pil_server *server, struct pil_slow_request ret_requests[PIL_SLOWLOG_MAX]);
/* Any thread. Forgets all requests so far. */
void pil_server_slowlog_reset(struct pil_server *server);
