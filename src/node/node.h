/* SPDX-License-Identifier: Apache-2.0
 * The control plane of a serving process: takes releases, projects and reports from the supervisor's messages,
 * publishes, retires and unmaps releases, and knows whether the node is ready. The one source of readiness, of /status
 * and of the gauges. It never waits: long work is a chore (chores.h), and messages leave through a hook. Thread:
 * control. */
#pragma once

#include "cache/cache.h"
#include "node/arrival.h"
#include "node/chores.h"
#include "node/huge_pages.h"
#include "mapped/mapped.h"

struct pil_publication; /* publish.h */
struct pil_retired;     /* retire.h */

enum { PIL_NODE_SERVICES_GONE_BYTES = 512 };

struct pil_node_view {
    uint64_t checked_ns;                      /* when the channel was last read, by the monotonic clock; 0: never */
    char effective[PIL_RELEASE_ID_CHARS + 1]; /* the release that the channel points to; "": not known */
    bool is_pinned;
    uint64_t sequence;
    uint64_t behind_ns;  /* since when `effective` is not the live release, by the monotonic clock; 0: it is */
    uint64_t held_bytes; /* of all the view's releases that the supervisor holds */
    uint32_t held_count;
    /* The last release that was refused, until a release is published. After SHORTAGE it is tried again. */
    char refused[PIL_RELEASE_ID_CHARS + 1];
    char refused_why[PIL_MESSAGE_TEXT_BYTES];
    pil_fetch_outcome refused_outcome; /* OK: no release is refused */
    int64_t refused_us;

    /* Of the view's project: why its newest document is not in force; "": it is, or there is none. */
    char project_refused[PIL_MESSAGE_TEXT_BYTES];
    char services_gone[PIL_NODE_SERVICES_GONE_BYTES]; /* names that its last document dropped, with commas; "": none */

    struct pil_arrival arrival;
    struct pil_retired *live;            /* the record of the live release; NULL: no release is served */
    struct pil_publication *publication; /* a release that is being prepared or prefaulted; NULL: none */
    uint64_t ticket;                     /* the grace period after which every worker sees the view's first release */
    bool is_seen;                        /* that grace period has passed */
};

/* What pil_services_check found last. */
struct pil_node_services {
    uint64_t publish_count;              /* of the cache, when it looked */
    uint32_t whole_count;                /* services whose features are all in live releases */
    uint32_t broken_count;               /* services with a feature that a live release lacks */
    char broken[PIL_MESSAGE_TEXT_BYTES]; /* the first of these, and what it lacks; "": none */
};

struct pil_node_options {
    const struct pil_settings *settings; /* borrowed; views are added and removed by changing them */
    const int *listener_fds;             /* one for each listener of the settings; owned by the caller */
    const struct pil_clock *clock;       /* borrowed */
    int smaps;                           /* /proc/self/smaps, or -1; owned by the caller */
    /* Sends a message to the supervisor; must not wait. */
    void (*tell)(void *context, const struct pil_message *message);
    void *context;
};

struct pil_node {
    struct pil_node_options options;
    struct pil_server *server;
    struct pil_mapped *mapped; /* NULL: there is no `mapped` listener */
    int64_t started_us;
    uint64_t server_restarts, fetcher_restarts;
    bool is_draining;
    bool is_ready; /* as last reported to the supervisor */
    bool was_ready;
    bool services_changed; /* since pil_services_check: a project was applied, or views came and went */
    struct pil_node_services services;
    struct pil_node_view views[PIL_SETTINGS_VIEWS_MAX];
    struct pil_chores chores;
    struct pil_chore reclaim;
    struct pil_huge_pages huge_pages;
    struct pil_list retired; /* of struct pil_retired, oldest first: retire.h */
    uint64_t ticked_ns;
};

/* Does not start the workers. NO_MEMORY, or as pil_server_create and pil_mapped_create. */
pil_status pil_node_create(const struct pil_node_options *options, struct pil_node **ret_node,
                           struct pil_error *ret_error) PIL_CHECKED;
/* Closes mapped reads, so that their clients look for the next server; everything else goes on. */
void pil_node_stop_mapped(struct pil_node *node);
/* Workers must have been drained. Accepts NULL; sets the pointer to NULL. */
void pil_node_destroy(struct pil_node **node);
/* Panics when the node contradicts itself. Walks all views. */
void pil_node_validate(const struct pil_node *node);

/* Handles SHARD, PUBLISH, CHECKED, REPORT, PROJECT, NO_PROJECT, HELD and START (which only counts restarts here), and
 * ignores other kinds. Takes ownership of the message's descriptor. */
void pil_node_take(struct pil_node *node, struct pil_message *message);
/* Call it when the views of the settings have changed: serves new views and drops removed ones. */
void pil_node_views_changed(struct pil_node *node);
/* Runs one slice of the chores. Returns whether there is more to do at once. */
bool pil_node_work(struct pil_node *node);
/* Does the periodic work. Call it after events, and at least ten times a second. */
void pil_node_tick(struct pil_node *node);

/* Ready: every worker has opened its engine and has begun a turn within the last second; every served view has a
 * verified release that all workers see, and its channel was read within the staleness bound; the node is not draining.
 * A view that a reload added counts only from its first release on. Services whose features the live releases lack
 * count until the node is ready for the first time: later the mistake of a project must not take all nodes out of
 * service (ADR 35). If `terms` is not NULL, one line for each condition is appended to it: "[+] …" holds, or does not
 * count; "[-] …" does not hold. */
bool pil_node_is_ready(const struct pil_node *node, struct pil_text *terms);
/* When the channel of a view was last read, as the wall clock tells it now, however it was set since; 0: never. */
int64_t pil_node_checked_us(const struct pil_node *node, uint32_t view_index);
/* For how long the channel of a view has pointed to a release that is not the live one; at least 1 then, else 0. */
int64_t pil_node_behind_us(const struct pil_node *node, uint32_t view_index);
/* Sets the gauges that are derived from the node's state. */
void pil_node_update_metrics(const struct pil_node *node);
