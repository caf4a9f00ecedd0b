/* SPDX-License-Identifier: Apache-2.0
 * The applied project: parsed whenever it changes, for the workers and for mapped reads. Thread: control. */
#pragma once

#include "node/node.h"

/* `fd`: a sealed memfd with the document, which the caller keeps; -1: it was lost on its way. If a document is refused,
 * the previous one stays in use; without a previous one the project's views count as regulated. When memory or
 * descriptors were short, the supervisor is asked to send the document again. */
void pil_node_take_project(struct pil_node *node, uint32_t view_index, int fd);
