/* SPDX-License-Identifier: Apache-2.0
 * The applied project: parsed whenever it changes, for the workers and for mapped reads. Thread: control. */
#pragma once

#include "node/node.h"

/* `fd`: a sealed memfd with the document, which the caller keeps; -1: it was lost on its way. If a document is refused,
 * the previous one stays in use; without a previous one the project's views count as regulated. APPLIED tells the
 * supervisor which; when memory or descriptors were short, it sends the document again. */
void pil_node_take_project(struct pil_node *node, const struct pil_message_project *message, int fd);
/* None was ever applied, or its newest document does not reach this process. */
void pil_node_take_no_project(struct pil_node *node, const struct pil_message_no_project *message);
