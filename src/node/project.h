/* SPDX-License-Identifier: Apache-2.0
 * The applied project: parsed anew whenever it changes, for the workers and for mapped reads. Thread: control. */
#pragma once

#include "node/node.h"

/* `fd`: a sealed memfd with the document, which stays the caller's. A document that is refused leaves the one before;
 * where there is none before, the project's views count as regulated. */
void pil_node_take_project(struct pil_node *node, uint32_t view_index, int fd);
