/* SPDX-License-Identifier: Apache-2.0
 * The supervisor's work between its two children: takes releases from the fetcher, holds them, offers them to the
 * server, and brings a restarted child up to date. A release is live from the moment when the server says that it
 * serves it; the fetcher gets that answer, too, and offers a refused release again after its back-off. A new server
 * gets what was live; if it is short of memory, it gets that again after a back-off of the broker. Knows no
 * configuration file, no signal, no listener and no clock. Thread: one. */
#pragma once

#include "base/backoff.h"
#include "supervise/admission.h"
#include "supervise/child.h"
#include "supervise/project_offer.h"

/* A live release or a project that the server could not take because memory or descriptors were short. */
struct pil_broker_again {
    bool is_wanted;             /* it has to be sent again */
    struct pil_backoff backoff; /* over all attempts since it was first sent */
};

struct pil_broker_view {
    bool is_served;
    char project[PIL_NAME_BYTES_MAX + 1];
    struct pil_message checked;     /* the last CHECKED; kind NONE: none yet */
    bool is_confirmed;              /* the running server has said that it serves the live release */
    struct pil_project_offer offer; /* the documents of its project; empty: none, or kept with another of its views */
    struct pil_broker_again release_again, project_again; /* of the live release; of the documents */
};

struct pil_broker {
    struct pil_child server, fetcher;
    struct pil_holder holder;
    uint64_t memory_budget;
    uint32_t keep_releases; /* for each view, including the live one */
    struct pil_broker_view views[PIL_SERVED_VIEWS_MAX];
    uint64_t documents_sent;      /* counts them */
    void (*ready)(void *context); /* called when the server reports that the node is ready */
    void *context;
};

void pil_broker_init(struct pil_broker *broker, void (*ready)(void *context), void *context);
/* The children must have ended. */
void pil_broker_deinit(struct pil_broker *broker);

/* Sets whether the slot of a view is served. Removing a view drops its releases; the document of its project is dropped
 * only with the last served view of that project. */
void pil_broker_set_view(struct pil_broker *broker, uint32_t view_index, bool is_served, const char *project);
/* Evicts at once the kept releases that exceed the new limits. */
void pil_broker_set_limits(struct pil_broker *broker, uint64_t memory_budget, uint32_t keep_releases);

/* Sends a new server, which must have got its configuration and listeners, the projects and live releases, then START.
 * A release that was offered to the server before it is not sent: that server may have ended because of it. */
void pil_broker_greet_server(struct pil_broker *broker);
/* Sends a new fetcher, which must have got its configuration, the names of the releases that are held whole, then
 * BEGIN; reports the restart to the server. */
void pil_broker_greet_fetcher(struct pil_broker *broker);
/* Handle a message of a child and take ownership of its descriptor. */
void pil_broker_take_from_fetcher(struct pil_broker *broker, struct pil_message *message);
void pil_broker_take_from_server(struct pil_broker *broker, struct pil_message *message, uint64_t now_ns);
/* Sends again each live release and project that the server could not take and whose back-off has passed. Returns the
 * time by which to call it again; UINT64_MAX: only after another message. */
uint64_t pil_broker_step(struct pil_broker *broker, uint64_t now_ns);
/* The server has ended, and its mappings with it: what it was offered and did not answer is refused.
 * has_crashed: it did not end by itself, so that the document that it was reading counts as the reason. */
void pil_broker_server_ended(struct pil_broker *broker, bool has_crashed);
