/* SPDX-License-Identifier: Apache-2.0
 * From shards that have arrived to a release that is served. A release that replaces another is mapped, prefaulted and
 * read once before it is published, so that no request pays for that; the first release of a view is published at once
 * and prefaulted while it answers. Thread: control. */
#pragma once

#include "node/node.h"

/* Handles PUBLISH: publishes the view's arrival if it is whole. An unfinished publication of the view is cancelled: the
 * newest release counts. PUBLISHED tells the supervisor when the release is served, or why it is not; in that case
 * RECLAIMED comes before it. */
void pil_publication_begin(struct pil_node *node, const struct pil_message_publish *publish);
/* Records a release that was refused, and why: shown until a release is published. */
void pil_publish_refused(struct pil_node *node, uint32_t view_index, const char *release, pil_fetch_outcome outcome,
                         const char *why);
/* Cancels the view's unfinished publication; a release that is served already stays. */
void pil_publication_cancel(struct pil_node *node, uint32_t view_index);
