/* SPDX-License-Identifier: Apache-2.0
 * The settings of a server: plain data without pointers, so that the supervisor can hand them to its children as
 * bytes. */
#pragma once

#include "base/bounds.h"
#include "engine/engine.h"
#include "peer/rule.h"

#include <stdatomic.h>
#include <stdio.h>

enum {
    PIL_VIEW_LABEL_BYTES = 2 * PIL_NAME_BYTES_MAX + 2,
    PIL_SETTINGS_VIEWS_MAX = PIL_SERVED_VIEWS_MAX,
    PIL_SETTINGS_LISTENERS_MAX = 32,
    PIL_SETTINGS_PROTOCOLS_MAX = 8,
    PIL_SETTINGS_ADDRESS_BYTES = 128,
    PIL_SETTINGS_WORKERS_MAX = 128,
    PIL_PLACES_SPARE =
        32, /* connections beyond limits.connections_max: health probes, and those that are refused in words */
};

/* How feature statuses are reported over Feast's API; Feast's own servers differ from each other. */
typedef enum pil_status_mode {
    PIL_STATUS_MODE_STRICT,
    PIL_STATUS_MODE_FEAST_PYTHON,
    PIL_STATUS_MODE_FEAST_GO
} pil_status_mode;

struct pil_listener_settings {
    uint32_t protocol;                        /* index into the server's table of protocols */
    char address[PIL_SETTINGS_ADDRESS_BYTES]; /* "unix:/run/x.sock", "tcp:127.0.0.1:6380" */
    uint32_t mode;                            /* of a Unix socket */
    char group[32];                           /* of a Unix socket; "": unchanged */
    pil_status_mode statuses;
    bool hide_expired; /* rows older than the ttl look missing; default: they are served with the status that says so */
    bool is_public;    /* allows a TCP address that is not loopback */
};

/* A slot for a view. A removed view keeps its slot: names and indexes never change while the server runs. */
struct pil_view_settings {
    bool is_removed; /* control thread; workers ask the cache */
    bool is_added;   /* control thread: added by a reload; readiness does not wait for its first release */
    char project[PIL_NAME_BYTES_MAX + 1];
    char view[PIL_NAME_BYTES_MAX + 1];
    char channel[PIL_NAME_BYTES_MAX + 1];
    uint64_t staleness_bound_us; /* the node is not ready when the channel was last checked longer ago than this */
    struct pil_peer_rule read;   /* who may read, over every protocol */
    struct pil_peer_rule map;    /* who may map, if they may also read; no rule: nobody when the view is regulated */
};

/* "project/view", as metrics name it. */
static inline void pil_view_label(const struct pil_view_settings *view, char ret_label[PIL_VIEW_LABEL_BYTES]) {
    snprintf(ret_label, PIL_VIEW_LABEL_BYTES, "%s/%s", view->project, view->view);
}

struct pil_limits {
    uint32_t connections_max;   /* of all workers together */
    uint32_t request_bytes_max; /* one request, arguments or body */
    uint32_t arguments_max;     /* of one RESP request */
    uint32_t requests_per_turn; /* of one connection, before other connections get their turn */
    uint32_t keys_per_request_max;
    uint32_t values_per_request_max; /* of an answer in JSON: rows x features, elements of vectors counted */
    uint32_t output_bytes_max;       /* of one answer; with as much unsent, the requests of a connection wait */
    uint32_t output_stall_ms;        /* a connection is closed when its peer takes none of its output for this long */
    uint64_t client_memory_max;      /* what all connections hold (server/account.h) */
    uint32_t idle_timeout_ms;        /* 0: never */
    uint32_t request_timeout_ms;     /* from the first byte of the first request to its last */
    uint32_t mapped_sessions_max;
};

struct pil_settings {
    struct pil_view_settings views[PIL_SETTINGS_VIEWS_MAX];
    _Atomic uint32_t view_count; /* slots in use or removed; grows while the server runs, after the new slot was
                                    written */
    struct pil_listener_settings listeners[PIL_SETTINGS_LISTENERS_MAX];
    uint32_t listener_count;
    uint32_t worker_count;
    pil_engine_kind engine;
    char engine_reason[PIL_ENGINE_REASON_BYTES];
    uint64_t spin_ns_max;
    uint64_t slowlog_us;            /* requests that took at least this long are remembered */
    _Atomic uint64_t memory_budget; /* bytes; a reload changes it while workers run */
    uint32_t keep_releases;
    uint64_t poll_interval_ms;
    uint32_t mapped_generations_max; /* of a view, held by clients, including the live one */
    uint64_t mapped_hold_timeout_ms; /* a client that holds a replaced generation for longer is granted no more */
    struct pil_limits limits;
};
