/* SPDX-License-Identifier: Apache-2.0
 * The admin listeners' connections, on the control thread's own event loop: few, small, allocated as they come. */
#pragma once

#include "node/node.h"
#include "engine/engine.h"

struct pil_console;

/* NULL: no memory. */
struct pil_console *pil_console_create(struct pil_engine *engine, const struct pil_node *node);
/* The engine must be gone. */
void pil_console_destroy(struct pil_console **console);
/* Accepts on a descriptor that stays the caller's. */
pil_status pil_console_listen(struct pil_console *console, int fd) PIL_CHECKED;
/* Whether the event was one of the console's, and if so, deals with it. */
bool pil_console_event(struct pil_console *console, const struct pil_event *event);
/* Closes connections that are idle for a minute. */
void pil_console_sweep(struct pil_console *console);
