/* SPDX-License-Identifier: Apache-2.0
 * What the files of this module do with a node, and no one else does. Thread: control. */
#pragma once

#include "node/node.h"

#include <stdio.h>

/* Answers PUBLISH. OK: the release is served, and why is "". */
static inline void pil_node_tell_published(const struct pil_node *node, uint32_t view_index, const char *release,
                                           pil_fetch_outcome outcome, const char *why) {
    struct pil_message message = {.kind = PIL_MESSAGE_PUBLISHED,
                                  .published = {.view_index = view_index, .outcome = outcome}};
    snprintf(message.published.release, sizeof message.published.release, "%s", release);
    snprintf(message.published.why, sizeof message.published.why, "%.*s", (int)sizeof message.published.why - 1, why);
    node->options.tell(node->options.context, &message);
}

/* Answers PROJECT. */
static inline void pil_node_tell_applied(const struct pil_node *node, const struct pil_message_project *project,
                                         pil_fetch_outcome outcome) {
    struct pil_message message = {.kind = PIL_MESSAGE_APPLIED,
                                  .applied = {project->view_index, project->hash, outcome}};
    node->options.tell(node->options.context, &message);
}

static inline int64_t pil_node_wall_us(const struct pil_node *node) {
    return node->options.clock->wall_us(node->options.clock->context);
}

static inline struct pil_cache_view *pil_node_view_of(const struct pil_node *node, uint32_t view_index) {
    return pil_cache_view_at(pil_server_cache(node->server), view_index);
}
