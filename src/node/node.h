/* SPDX-License-Identifier: Apache-2.0
 * The control plane of a serving process: takes releases, projects and news from the supervisor's messages, publishes,
 * retires and unmaps, and knows whether the node is ready. The one source of readiness, of /status and of the gauges.
 * It never waits: what takes long is a chore (chores.h), what is told goes through a hook. Thread: control. */
#pragma once

#include "cache/cache.h"
#include "node/arrival.h"
#include "node/chores.h"
#include "node/huge_pages.h"
#include "mapped/mapped.h"

struct pil_publication; /* publish.h */
struct pil_retired;     /* retire.h */

struct pil_node_view {
    int64_t checked_us;                       /* last time the channel was read; 0: never */
    char effective[PIL_RELEASE_ID_CHARS + 1]; /* the release that the channel points to; "": not known */
    bool is_pinned;
    uint64_t sequence;
    uint64_t held_bytes; /* live and kept */
    uint32_t held_count;
    /* The last release that was not taken, until one is; of SHORTAGE: it is tried again. */
    char refused[PIL_RELEASE_ID_CHARS + 1];
    char refused_why[PIL_MESSAGE_TEXT_BYTES];
    pil_fetch_outcome refused_outcome; /* OK: none */
    int64_t refused_us;

    struct pil_arrival arrival;
    struct pil_retired *live;            /* the record of the release that is served; NULL: none is */
    struct pil_publication *publication; /* a release that is being made ready or prefaulted; NULL: none */
};

struct pil_node_options {
    const struct pil_settings *settings; /* borrowed; views are added and removed by changing them */
    const int *listener_fds;             /* one for each listener of the settings; they stay the caller's */
    const struct pil_clock *clock;       /* borrowed */
    int smaps;                           /* /proc/self/smaps, or -1; stays the caller's */
    /* Tells the supervisor; must not wait. */
    void (*tell)(void *context, const struct pil_message *message);
    void *context;
};

struct pil_node {
    struct pil_node_options options;
    struct pil_server *server;
    struct pil_mapped *mapped; /* NULL: no such listener */
    int64_t started_us;
    uint64_t server_restarts, fetcher_restarts;
    bool is_draining;
    bool is_ready; /* as told to the supervisor */
    struct pil_node_view views[PIL_SETTINGS_VIEWS_MAX];
    struct pil_chores chores;
    struct pil_chore reclaim;
    struct pil_huge_pages huge_pages;
    struct pil_list retired; /* of struct pil_retired, oldest first: retire.h */
    uint64_t ticked_ns;
};

/* Workers do not run yet. */
pil_status pil_node_create(const struct pil_node_options *options, struct pil_node **ret_node,
                           struct pil_error *ret_error) PIL_CHECKED;
/* Tells clients of mapped reads to look for the next server; the rest goes on. */
void pil_node_stop_mapped(struct pil_node *node);
/* Workers must have been drained. NULL is fine; NULLs the pointer. */
void pil_node_destroy(struct pil_node **node);
/* Panics when the node contradicts itself. Walks all views. */
void pil_node_validate(const struct pil_node *node);

/* Takes SHARD, PUBLISH, CHECKED, REPORT, PROJECT, HELD and START (which only counts restarts here); the descriptor is
 * the node's from here. Other kinds are none of its. */
void pil_node_take(struct pil_node *node, struct pil_message *message);
/* The settings have other views than before: serves those that are new, lets go of those that were removed. */
void pil_node_views_changed(struct pil_node *node);
/* A slice of the chores. Returns whether there is more to do at once. */
bool pil_node_work(struct pil_node *node);
/* After events, and at least ten times a second: what is due by time. */
void pil_node_tick(struct pil_node *node);

/* Every served view has a verified release, and its channel was read within the staleness bound; no worker has failed;
 * not draining. One line for each term is appended to *terms when it is not NULL: "[+] …" holds, "[-] …" does not. */
bool pil_node_is_ready(const struct pil_node *node, struct pil_text *terms);
/* Sets the gauges that are derived from the node's state. */
void pil_node_update_metrics(const struct pil_node *node);

/* ---- For the other files of this module. */

/* Asks the supervisor to send a release of the view again, or its project (""), after a while. */
static inline void pil_node_tell_later(const struct pil_node *node, uint32_t view_index, const char *release) {
    struct pil_message message = {.kind = PIL_MESSAGE_LATER, .later = {.view_index = view_index}};
    memcpy(message.later.release, release, strlen(release) + 1);
    node->options.tell(node->options.context, &message);
}

static inline int64_t pil_node_wall_us(const struct pil_node *node) {
    return node->options.clock->wall_us(node->options.clock->context);
}
static inline struct pil_cache_view *pil_node_view_of(const struct pil_node *node, uint32_t view_index) {
    return pil_cache_view_at(pil_server_cache(node->server), view_index);
}
