/* SPDX-License-Identifier: Apache-2.0
 * What the files of this module do with a node, and no one else does. Thread: control. */
#pragma once

#include "node/node.h"

/* Asks the supervisor to send a release of the view, or its project (""), again after a back-off. */
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
