/* SPDX-License-Identifier: Apache-2.0
 * What the control thread of the server knows about the node beside the cache: channels, fetches, memory. The one
 * source of readiness, of /status and of the gauges. Thread: control. */
#pragma once

#include "mapped/mapped.h"

enum { PIL_NODE_TEXT_BYTES = 512 };

struct pil_node_view {
    int64_t checked_us;                       /* last time the channel was read; 0: never */
    char effective[PIL_RELEASE_ID_CHARS + 8]; /* the release that the channel points to; "": not known */
    bool is_pinned;
    uint64_t sequence;
    uint64_t held_bytes; /* live and kept */
    uint32_t held_count;
    /* The last fetch that was refused, until one is taken. */
    char refused[PIL_RELEASE_ID_CHARS + 8];
    char refused_why[PIL_NODE_TEXT_BYTES];
    const char *refused_result; /* NULL: none */
    int64_t refused_us;
};

struct pil_node {
    struct pil_server *server;
    const struct pil_mapped *mapped; /* NULL: no such listener */
    int64_t started_us;
    uint64_t server_restarts, fetcher_restarts;
    bool is_draining;
    struct pil_node_view views[PIL_SETTINGS_VIEWS_MAX];
};

/* Every served view has a verified release, and its channel was read within the staleness bound; no worker has failed;
 * not draining. One line for each term is appended to *terms when it is not NULL: "[+] …" holds, "[-] …" does not. */
bool pil_node_is_ready(const struct pil_node *node, struct pil_text *terms);
/* Sets the gauges that are derived from the node's state. */
void pil_node_update_metrics(const struct pil_node *node);
