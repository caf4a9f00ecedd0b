/* SPDX-License-Identifier: Apache-2.0
 * What the supervisor does between its two children: takes releases from the fetcher, holds them, passes them on to the
 * server, again after a back-off when the server was short of memory, and tells a child that starts anew all that it
 * must know. Knows no configuration file, no signal, no listener and no clock. Thread: one. */
#pragma once

#include "base/backoff.h"
#include "supervise/admission.h"
#include "supervise/child.h"

/* Something that the server could not take for want of memory or descriptors. */
struct pil_broker_again {
    bool is_wanted;
    struct pil_backoff backoff; /* since it was sent for the first time */
};

struct pil_broker_view {
    bool is_served;
    char project[PIL_NAME_BYTES_MAX + 1];
    struct pil_message checked; /* the last one; kind NONE: none yet */
    int project_fd;             /* the document of its project; -1: none, or another view of the project has it */
    struct pil_broker_again release_again, project_again; /* of the live release; of project_fd */
};

struct pil_broker {
    struct pil_child server, fetcher;
    struct pil_holder holder;
    uint64_t memory_budget;
    uint32_t keep_releases; /* of each view, the live one included */
    struct pil_broker_view views[PIL_SERVED_VIEWS_MAX];
    void (*ready)(void *context); /* every served view is ready */
    void *context;
};

void pil_broker_init(struct pil_broker *broker, void (*ready)(void *context), void *context);
/* The children must have ended. */
void pil_broker_deinit(struct pil_broker *broker);

/* The slot of a view is served or not; a view that is removed takes its releases along, and the document of its project
 * only if it was the last one of it. */
void pil_broker_set_view(struct pil_broker *broker, uint32_t view_index, bool is_served, const char *project);
/* Kept releases that are too many by now go at once. */
void pil_broker_set_limits(struct pil_broker *broker, uint64_t memory_budget, uint32_t keep_releases);

/* A server that has its configuration and its listeners gets everything that is held, and START. */
void pil_broker_greet_server(struct pil_broker *broker);
/* A fetcher that has its configuration gets the names of what is held, and BEGIN; the server hears of the restart. */
void pil_broker_greet_fetcher(struct pil_broker *broker);
/* A message of a child; its descriptor is the broker's from here. */
void pil_broker_take_from_fetcher(struct pil_broker *broker, struct pil_message *message);
void pil_broker_take_from_server(struct pil_broker *broker, struct pil_message *message, uint64_t now_ns);
/* Sends again what the server could not take and is due. Returns when to call it again at the latest; UINT64_MAX: only
 * after another message. */
uint64_t pil_broker_step(struct pil_broker *broker, uint64_t now_ns);
/* The server is gone, and its mappings with it. */
void pil_broker_server_ended(struct pil_broker *broker);
