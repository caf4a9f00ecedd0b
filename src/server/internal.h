/* SPDX-License-Identifier: Apache-2.0
 * What the parts of the server share. One worker = one thread = one `struct pil_worker`; nothing in it is touched by
 * others but the atomics that say so.
 *
 * A turn of a worker: take all events; decode requests into the batch, which collects their entity lookups; look all up
 * together (pil_batch_run); encode the replies in the order of the requests; send. Arguments point into receive
 * buffers, which stay until the next turn; so a batch never outlives its turn. */
#pragma once

#include "base/clock.h"
#include "base/log.h"
#include "base/panic.h"
#include "cache/cache.h"
#include "engine/engine.h"
#include "metric/metric.h"
#include "server/client_table.h"
#include "server/output.h"
#include "server/plan_cache.h"
#include "server/server.h"
#include "wire/feast.h"
#include "wire/http.h"
#include "wire/oip.h"
#include "wire/resp.h"

#include <pthread.h>

enum {
    PIL_CONNECTION_MAGIC = 0x434f4e4e,
    PIL_LISTENER_MAGIC = 0x4c495354,
    PIL_WORKER_EVENTS = 256,
    PIL_BATCH_REQUESTS_MAX = 1024,
    PIL_BATCH_LOOKUPS_RUN = 1024,      /* a batch is run when it has so many lookups */
    PIL_BATCH_LOOKUPS_MAX = 2 * 16384, /* room for one more whole request (limits.keys_per_request) */
    PIL_BATCH_ARGS_MAX = 4 * 16512,
    PIL_RESP_ARGS_MAX = 16512,         /* keys_per_request_max and a few more */
    PIL_BATCH_FIELDS_MAX = 4 * 16512,  /* resolved feature indexes */
    PIL_BATCH_SCRATCH_BYTES = 4 << 20, /* canonical keys, error texts, unescaped strings */
    PIL_FEAST_VALUES_MAX = 65536,
    PIL_FEAST_COLUMNS_MAX = 256,
    PIL_PLAN_NAMES = 2 * PIL_SERVICE_FEATURES_MAX,
    PIL_OIP_INPUTS_MAX = 32,
    PIL_OIP_OUTPUTS_MAX = 1024, /* asked for by name */
    PIL_OIP_VALUES_MAX = 65536,
    PIL_INPUT_BYTES_MIN = 16384,
    PIL_INITIAL_REQUEST_BYTES = 65536, /* before the first valid request; a first MGET of 1,000 keys must pass */
    PIL_INITIAL_ARGS_MAX = 4100,
};

typedef enum pil_close_reason {
    PIL_CLOSE_PEER,
    PIL_CLOSE_QUIT,
    PIL_CLOSE_PROTOCOL,
    PIL_CLOSE_REQUEST_BYTES,
    PIL_CLOSE_OUTPUT,
    PIL_CLOSE_STALL,
    PIL_CLOSE_IDLE,
    PIL_CLOSE_REQUEST_TIMEOUT,
    PIL_CLOSE_DRAIN,
    PIL_CLOSE_CONNECTIONS, /* never open: too many are */
    PIL_CLOSE_COUNT
} pil_close_reason;

/* Why a connection's next request has to wait. */
typedef enum pil_hold_reason { PIL_HOLD_TURN, PIL_HOLD_OUTPUT, PIL_HOLD_COUNT } pil_hold_reason;

struct pil_worker;
struct pil_request;

/* Requests between MULTI and EXEC, as they came: decoded anew, all in one turn, when EXEC comes. */
struct pil_transaction {
    uint8_t *bytes;
    size_t len, capacity;
    uint32_t count;
    bool is_open;
    bool is_aborted; /* a queued command was a mistake */
};

struct pil_connection {
    uint32_t magic;
    const struct pil_listener_settings *listener;
    pil_engine_handle handle;
    uint64_t id;
    struct pil_connection *next, *previous; /* all of the worker */
    struct pil_connection *ready_next;      /* has whole requests left to be decoded next turn */

    uint8_t *input; /* bytes that no decoder took yet; NULL until a request came in parts */
    size_t input_begin, input_end, input_capacity;
    uint64_t input_batch; /* number of the batch that points into `input` */
    struct pil_resp_cursor resp_cursor;
    struct pil_http_cursor http_cursor;

    struct pil_output output;
    uint64_t received_ns; /* of the bytes being decoded */
    uint64_t active_ns;   /* last request */
    uint64_t partial_ns;  /* since when a request is incomplete; 0: none is */
    uint64_t taken_ns;    /* since when output waits without the peer taking any; 0: none waits */
    uint64_t send_ns;     /* start of the send in flight */

    uint32_t pending;              /* requests in the batch that are not answered yet */
    pil_close_reason close_reason; /* once is_closing or is_closed */
    bool is_valid;                 /* a valid request has been seen: the full limits apply */
    bool is_ready;                 /* on the ready list */
    bool is_dirty;                 /* on the list of connections with new output */
    bool is_paused;                /* the engine does not receive for it */
    bool is_ended;                 /* the peer sends no more */
    bool is_closing;               /* no more requests; closed when the output is out */
    bool is_closed;                /* pil_engine_close was called */
    pil_resp_protocol resp;
    struct pil_transaction transaction;
    struct pil_vector_plans *vector_plans; /* NULL until the first PIL.PLAN */
    char name[PIL_CLIENT_NAME_BYTES];
    char library[PIL_CLIENT_NAME_BYTES], library_version[PIL_CLIENT_NAME_BYTES];
    char peer[PIL_PEER_TEXT_BYTES];
    const char *last_command;
    uint64_t created_ns;
    uint64_t listed_ns; /* active_ns as CLIENT LIST knows it */
    uint32_t client_slot;
};

/* One RESP command: a row of redis_commands.def. */
struct pil_command {
    const char *name;  /* lower case */
    int arity;         /* as Redis has it: negative = at least */
    const char *flags; /* space-separated */
    int first_key, last_key, key_step;
    const char *category; /* ACL category */
    const char *group;
    const char *since;
    const char *summary;
    /* Resolves view, keys and fields into lookups; sets request->error when it cannot. NULL: needs no lookups. */
    void (*prepare)(struct pil_worker *worker, struct pil_request *request);
    /* Encodes the reply, after the lookups. */
    void (*reply)(struct pil_worker *worker, struct pil_request *request, struct pil_sink *sink);
};

/* A feature of a feast request: which of its views, which feature there. */
struct pil_plan_feature {
    uint32_t view_slot;
    uint32_t feature;
};
struct pil_plan_view {
    const struct pil_cache_view *view;
    const struct pil_release *release;
    uint32_t lookup_first; /* row i of the request is lookup_first + i */
};

struct pil_request {
    struct pil_connection *connection;
    const struct pil_command *command; /* NULL for HTTP */
    const struct pil_bytes *args;      /* RESP */
    uint32_t arg_count;
    uint32_t lookup_first, lookup_count;
    const struct pil_cache_view *view; /* of the first lookup; NULL: none */
    const uint32_t *fields;            /* resolved feature indexes; UINT32_MAX: no such feature */
    uint32_t field_count;
    const char *error;   /* RESP: answered instead of a reply */
    uint32_t exec_count; /* RESP: requests of the transaction that EXEC answers */
    bool is_queued;      /* RESP: waits for EXEC, answered with QUEUED */
    /* PIL.VECTOR and PIL.PLAN; planned, max_age_us, use_defaults: of the inference protocol, too */
    const struct pil_planned *planned;
    int64_t max_age_us;
    bool use_defaults;
    uint32_t plan_number;
    /* HTTP */
    struct pil_http_head head;
    bool is_head;                   /* the method HEAD: the answer has no body, or the next one could not be found */
    const struct pil_oip_call *oip; /* of the inference protocol, in scratch; NULL: an error or another protocol */
    bool is_feast;                  /* a parsed feast request; else `error_body` or an empty body */
    struct pil_feast_request feast;
    const struct pil_plan_view *plan_views;
    const struct pil_plan_feature *plan_features;
    uint32_t plan_view_count, plan_feature_count, row_count;
    struct pil_bytes error_body; /* in scratch */
    const char *detail;          /* the error when there is neither, in the protocol's shape */
};

/* Everything that the requests of one batch point to; emptied after each run. */
struct pil_batch {
    uint64_t number;
    struct pil_request requests[PIL_BATCH_REQUESTS_MAX];
    uint32_t request_count;
    struct pil_lookup lookups[PIL_BATCH_LOOKUPS_MAX];
    uint32_t lookup_count;
    struct pil_bytes args[PIL_BATCH_ARGS_MAX];
    uint32_t arg_count;
    uint32_t fields[PIL_BATCH_FIELDS_MAX];
    uint32_t field_count;
    uint8_t scratch[PIL_BATCH_SCRATCH_BYTES];
    size_t scratch_used;
    struct pil_feast_column columns[PIL_FEAST_COLUMNS_MAX];
    struct pil_feast_value values[PIL_FEAST_VALUES_MAX];
    struct pil_bytes features[PIL_SERVICE_FEATURES_MAX];
    struct pil_plan_view plan_views[PIL_SETTINGS_VIEWS_MAX];
    struct pil_plan_feature plan_features[PIL_SERVICE_FEATURES_MAX];
    uint16_t names[PIL_PLAN_NAMES];
    const struct pil_release *live[PIL_SETTINGS_VIEWS_MAX]; /* as first used in this batch; NULL: not yet */
    bool feast_used;                                        /* the feast arrays belong to a request of this batch */
    /* Of one request of the inference protocol while it is prepared. */
    struct pil_oip_input oip_inputs[PIL_OIP_INPUTS_MAX];
    struct pil_oip_output oip_outputs[PIL_OIP_OUTPUTS_MAX];
    struct pil_key_part oip_values[PIL_OIP_VALUES_MAX];
};

/* Series that a worker adds to; SERIES_NONE where the registry was full. */
struct pil_worker_series {
    pil_metric_series requests[PIL_PROTOCOL_COUNT][2];                          /* ok, error */
    pil_metric_series stage[PIL_PROTOCOL_COUNT][PIL_SETTINGS_VIEWS_MAX + 1][5]; /* queue, lookup, encode, send, total */
    pil_metric_series lookups[PIL_SETTINGS_VIEWS_MAX][2];                       /* hit, not_found */
    pil_metric_series values[PIL_SETTINGS_VIEWS_MAX][PIL_FEAST_STATUS_COUNT];
    pil_metric_series batch_size, turn;
    pil_metric_series accepted[PIL_PROTOCOL_COUNT], received_bytes[PIL_PROTOCOL_COUNT], sent_bytes[PIL_PROTOCOL_COUNT];
    pil_metric_series closed[PIL_PROTOCOL_COUNT][PIL_CLOSE_COUNT];
    pil_metric_series held[PIL_PROTOCOL_COUNT][PIL_HOLD_COUNT];
};
typedef enum pil_stage {
    PIL_STAGE_QUEUE,
    PIL_STAGE_LOOKUP,
    PIL_STAGE_ENCODE,
    PIL_STAGE_SEND,
    PIL_STAGE_TOTAL
} pil_stage;

struct pil_listener {
    uint32_t magic;
    const struct pil_listener_settings *settings;
    pil_engine_handle handle;
    int fd;
};

struct pil_worker {
    struct pil_server *server;
    uint32_t index; /* also its metric shard and its QSBR slot */
    pthread_t thread;
    struct pil_engine *engine; /* made on the worker's own thread */
    struct pil_listener listeners[PIL_SETTINGS_LISTENERS_MAX];
    struct pil_connection *connections;
    uint32_t connection_count;
    struct pil_client_table *clients; /* of RESP; other workers read it */
    struct pil_connection *ready, **ready_end;
    struct pil_connection *dirty[PIL_BATCH_REQUESTS_MAX];
    uint32_t dirty_count;
    struct pil_chunk_pool chunks;
    struct pil_batch *batch;
    struct pil_plan_cache *plans;
    struct pil_planned *forgotten_plans; /* of connections, in this batch */
    struct pil_event events[PIL_WORKER_EVENTS];
    uint64_t now_ns;     /* start of this turn */
    int64_t now_wall_us; /* of this batch: what ttl is compared with */
    uint64_t swept_ns;
    uint64_t spin_ns;            /* adaptive, up to settings->spin_ns_max */
    bool is_draining, is_closed; /* closed: no longer accepts */
    uint64_t drain_ns;
    struct pil_histogram *command_histograms; /* one per RESP command: LATENCY HISTOGRAM */
    uint64_t values_by_status[PIL_SETTINGS_VIEWS_MAX][PIL_FEAST_STATUS_COUNT]; /* of this batch */

    /* Read by the control thread. */
    _Atomic uint64_t turn_started_ns; /* 0 while parked */
    _Atomic bool is_done;
    _Atomic bool is_failed;
    _Atomic uint32_t connections_now[PIL_PROTOCOL_COUNT];
    _Atomic uint64_t engine_turns, engine_enters, engine_parks, engine_buffers_empty, engine_overflows,
        engine_accept_failures; /* copied each sweep */
};

struct pil_slow_slot;       /* slowlog.c */
struct pil_retired_project; /* server.c */

struct pil_server {
    const struct pil_settings *settings;
    struct pil_cache *cache;
    struct pil_metric_registry *metrics;
    struct pil_worker_series series;
    int listener_fds[PIL_SETTINGS_LISTENERS_MAX];
    struct pil_worker *workers;
    uint32_t worker_count;
    uint32_t workers_started;
    uint64_t started_ns;
    _Atomic uint64_t connection_id_next;
    _Atomic uint32_t connection_count;
    _Atomic bool is_draining;
    /* Writer: control thread (release); readers: workers (acquire), within a turn. */
    _Atomic(struct pil_project *) projects[PIL_SETTINGS_VIEWS_MAX];
    _Atomic uint64_t project_number; /* raised after each of them that changed */
    struct pil_retired_project *retired_projects;
    struct pil_slow_slot *slow;
    _Atomic uint64_t slow_next;
    _Atomic uint64_t slow_reset; /* ids before it are forgotten */
};

/* ---- batch.c */

/* Whether the next request needs the batch to be run first. */
bool pil_batch_is_full(const struct pil_batch *batch);
/* A new request in the batch; the batch is run first when it is full. */
struct pil_request *pil_batch_add(struct pil_worker *worker, struct pil_connection *connection);
/* Looks up, encodes, queues sends. Fine on an empty batch. */
void pil_batch_run(struct pil_worker *worker);
/* Bytes that live as long as the batch; NULL when there is no room. */
uint8_t *pil_batch_scratch(struct pil_batch *batch, size_t bytes);
/* Formats into scratch; a constant text when there is no room. */
const char *pil_batch_text(struct pil_batch *batch, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The release that all requests of this batch use of a view; NULL: there is none yet. */
const struct pil_release *pil_batch_live(struct pil_batch *batch, const struct pil_cache_view *view);
/* Room for one more lookup of this request; NULL: request->error is set to the limit. */
struct pil_lookup *pil_batch_lookup(struct pil_worker *worker, struct pil_request *request);

/* ---- connection.c */

struct pil_connection *pil_connection_create(struct pil_worker *worker, const struct pil_listener_settings *listener,
                                             int fd);
void pil_connection_destroy(struct pil_worker *worker, struct pil_connection *connection);
/* New bytes, or a turn for what is left over: decodes requests into the batch. */
void pil_connection_receive(struct pil_worker *worker, struct pil_connection *connection, struct pil_bytes data);
void pil_connection_resume(struct pil_worker *worker, struct pil_connection *connection);
/* Starts a send when there is output and none is in flight; closes when that was all and the connection is closing. */
void pil_connection_flush(struct pil_worker *worker, struct pil_connection *connection);
/* Closes at once; output is lost. */
void pil_connection_close(struct pil_worker *worker, struct pil_connection *connection, pil_close_reason reason);
/* Closes once the output is out. */
void pil_connection_finish(struct pil_worker *worker, struct pil_connection *connection, pil_close_reason reason);
/* Tells CLIENT LIST what it is by now: after each change of what does not change with every request. */
void pil_connection_list(struct pil_worker *worker, struct pil_connection *connection);
/* Time limits; tells CLIENT LIST what changed with the requests. */
void pil_connection_sweep(struct pil_worker *worker, struct pil_connection *connection);

/* ---- redis.c: RESP requests */

/* Decodes one request at the front of data into the batch. AGAIN: incomplete. Anything else: *ret_consumed are done. */
pil_status pil_redis_decode(struct pil_worker *worker, struct pil_connection *connection, struct pil_bytes data,
                            size_t *ret_consumed) PIL_CHECKED;
void pil_redis_encode(struct pil_worker *worker, struct pil_request *request, struct pil_sink *sink);
const struct pil_command *pil_redis_commands(uint32_t *ret_count);
const struct pil_command *pil_redis_command_find(struct pil_bytes name);
uint32_t pil_redis_command_index(const struct pil_command *command);

/* ---- redis_vector.c: the plans of a connection */

struct pil_vector_plans;
/* For RESET; NULL is fine. What is forgotten lives until the sweep at the end of the batch. */
void pil_vector_plans_forget(struct pil_worker *worker, struct pil_vector_plans *plans);
void pil_vector_plans_sweep(struct pil_worker *worker);
void pil_vector_plans_destroy(struct pil_vector_plans **plans);

/* ---- web.c: feast and inference requests over HTTP */

pil_status pil_web_decode(struct pil_worker *worker, struct pil_connection *connection, struct pil_bytes data,
                          size_t *ret_consumed) PIL_CHECKED;
void pil_web_encode(struct pil_worker *worker, struct pil_request *request, struct pil_sink *sink);

/* ---- feast.c */

/* Parses the body and adds its lookups; on a mistake request->error_body and head.status are set. */
void pil_feast_prepare(struct pil_worker *worker, struct pil_request *request, struct pil_bytes body);
void pil_feast_reply(struct pil_worker *worker, struct pil_request *request, struct pil_sink *sink);

/* ---- row.c: a row as a request sees it */

typedef enum pil_row_state { PIL_ROW_MISSING, PIL_ROW_FRESH, PIL_ROW_EXPIRED } pil_row_state;
/* Whether the row is there, and whether it is within the view's ttl at worker->now_wall_us; an expired one is missing
 * where the listener hides those. */
pil_row_state pil_row_state_of(const struct pil_worker *worker, const struct pil_lookup *lookup,
                               const struct pil_listener_settings *listener);
/* The bytes of a feature value: the field, or the payload of its reference. */
struct pil_bytes pil_row_value(const struct pil_lookup *lookup, const struct pil_feature *feature);

/* ---- slowlog.c */

struct pil_slow_slot *pil_slowlog_create(void);
void pil_slowlog_add(struct pil_server *server, const struct pil_slow_request *slow);
/* Forgets all that came before. Any thread. */
void pil_slowlog_reset(struct pil_server *server);

/* ---- metrics.c */

pil_status pil_server_metrics_create(struct pil_server *server, struct pil_error *ret_error) PIL_CHECKED;
static inline void pil_worker_count(struct pil_worker *worker, pil_metric_series series, uint64_t value) {
    pil_metric_add_owner(worker->server->metrics, worker->index, series, value);
}
static inline void pil_worker_record(struct pil_worker *worker, pil_metric_series series, uint64_t value,
                                     uint64_t times) {
    pil_metric_record_owner(worker->server->metrics, worker->index, series, value, times);
}

/* ---- worker.c */

void *pil_worker_main(void *worker);
