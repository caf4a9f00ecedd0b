/* SPDX-License-Identifier: Apache-2.0
 * The connection to the mapped listener (schemas/mapped.md). All functions are called under the client's lock. For this
 * module only. */
#pragma once

#include "base/bounds.h"
#include "client/catalog.h"
#include "client/control_page.h"

#include <stdbool.h>

struct pillion_client;
struct pillion_plan;

enum { PIL_SESSION_REQUESTS_MAX = 2 * PIL_MAPPED_VIEWS_MAX };

typedef enum pil_session_state {
    PIL_SESSION_CLOSED,
    PIL_SESSION_WELCOMING, /* HELLO was sent, WELCOME has not arrived */
    PIL_SESSION_READY,
} pil_session_state;

typedef enum pil_session_request_kind {
    PIL_SESSION_REQUEST_CATALOG,
    PIL_SESSION_REQUEST_ACQUIRE,
    PIL_SESSION_REQUEST_LOCATE,
} pil_session_request_kind;
/* A request that is not answered yet; the server answers in order. */
struct pil_session_request {
    pil_session_request_kind kind;
    uint32_t view;
    struct pillion_plan *plan; /* for LOCATE; NULL when the plan was freed */
};

/* A grant whose packets are arriving. */
struct pil_session_grant {
    char release[PIL_RELEASE_ID_CHARS + 1];
    uint64_t generation;
    int64_t created_us;
    uint32_t count, received; /* number of shards; count 0: no grant is arriving */
    int *fds;
};

struct pil_session {
    pil_session_state state;
    int fd;
    uint64_t cookie; /* identifies the socket: a forked child closes the descriptor only if it still is that socket */
    uint64_t number; /* number of the connection, starting at 1 */
    uint64_t connect_at_ns, started_ns;
    struct pil_control_page *page;
    struct pil_catalog catalog;                  /* the last one received; kept when the connection closes */
    uint64_t catalog_number, catalog_generation; /* the connection that it came over, and its generation there */
    struct pil_session_request requests[PIL_SESSION_REQUESTS_MAX]; /* a ring buffer */
    uint32_t request_first, request_count;
    struct pil_session_grant grant;
    pil_status failure; /* why the connection is closed; the sentence is in client->why_not_mapped */
};

/* Connects when that is due, receives the packets that have arrived, and requests what plans need; repeats until no
 * answer is awaited or until `until_ns`. The outcome is in session.state and in the views. */
void pil_session_step(struct pillion_client *client, uint64_t until_ns);
/* Closes the connection and records the reason. */
void pil_session_close(struct pillion_client *client, pil_status failure, const char *why);
/* In a forked child: leaves the parent's connection alone. */
void pil_session_forget(struct pillion_client *client);
void pil_session_request_catalog(struct pillion_client *client);
/* A plan is freed: answers to its requests are ignored. */
void pil_session_forget_plan(struct pillion_client *client, const struct pillion_plan *plan);
/* Reports unmapped releases to the server, if the connection that granted them still exists, and frees them. */
void pil_session_report_drops(struct pillion_client *client);
/* Whether plans can be resolved against the catalog of this connection. */
bool pil_session_is_ready(const struct pillion_client *client);
/* The result of calls while the session is not ready. */
pillion_result pil_session_result(const struct pillion_client *client);
