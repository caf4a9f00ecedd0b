/* SPDX-License-Identifier: Apache-2.0
 * From shards that have arrived to a release that is served. A release that replaces another is mapped, prefaulted and
 * read once before it is published, so that no request pays for that; the first release of a view is published at once
 * and prefaulted while it answers. Thread: control. */
#pragma once

#include "node/node.h"

/* The arrival of the view is whole, or the message contradicts it. What was being made ready for this view is given up:
 * the newest release counts. The supervisor is told when it comes to nothing. */
void pil_publication_begin(struct pil_node *node, const struct pil_message_publish *publish);
/* What was not taken, and why: shown until a release is taken. */
void pil_publish_refused(struct pil_node *node, uint32_t view_index, const char *release, pil_fetch_outcome outcome,
                         const char *why);
/* Gives up what is being made ready for a view; a release that is served already stays. */
void pil_publication_cancel(struct pil_node *node, uint32_t view_index);
