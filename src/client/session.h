/* SPDX-License-Identifier: Apache-2.0
 * The connection to the mapped listener (schemas/mapped.md). Everything here is called under the client's lock. For
 * this module only. */
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
/* A request without an answer yet; the server answers in order. */
struct pil_session_request {
    pil_session_request_kind kind;
    uint32_t view;
    struct pillion_plan *plan; /* of LOCATE; NULL when the plan is gone */
};

/* A grant while its packets arrive. */
struct pil_session_grant {
    char release[PIL_RELEASE_ID_CHARS + 1];
    uint64_t generation;
    int64_t created_us;
    uint32_t count, received; /* shards; count 0: no grant is arriving */
    int *fds;
};

struct pil_session {
    pil_session_state state;
    int fd;
    uint64_t cookie; /* of the socket: a forked child closes the descriptor only if it still is that socket */
    uint64_t number; /* of the connection, from 1 on */
    uint64_t connect_at_ns, started_ns;
    struct pil_control_page *page;
    struct pil_catalog catalog;                  /* the last one received; stays when the connection closes */
    uint64_t catalog_number, catalog_generation; /* the connection that it came over, and its version there */
    struct pil_session_request requests[PIL_SESSION_REQUESTS_MAX]; /* a ring */
    uint32_t request_first, request_count;
    struct pil_session_grant grant;
    pil_status failure; /* why it is closed; client->why_not_mapped has the sentence */
};

/* Connects when that is due, takes the packets that have arrived, asks for what plans need; again until no answer is
 * awaited or `until_ns`. session.state and the views then tell. */
void pil_session_step(struct pillion_client *client, uint64_t until_ns);
/* Closes the connection, for that reason. */
void pil_session_close(struct pillion_client *client, pil_status failure, const char *why);
/* In a forked child: leaves the parent's connection alone. */
void pil_session_forget(struct pillion_client *client);
void pil_session_request_catalog(struct pillion_client *client);
/* A plan goes: its answers will find nobody. */
void pil_session_forget_plan(struct pillion_client *client, const struct pillion_plan *plan);
/* Reports unmapped releases to the server, when it still is the connection that granted them, and frees them. */
void pil_session_report_drops(struct pillion_client *client);
/* Whether plans can be resolved against the catalog of this connection. */
bool pil_session_is_ready(const struct pillion_client *client);
/* What calls answer while it is not. */
pillion_result pil_session_result(const struct pillion_client *client);
