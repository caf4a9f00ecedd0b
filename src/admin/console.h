/* SPDX-License-Identifier: Apache-2.0
 * The connections of the admin listeners, on the control thread's event loop: few, small, each allocated on accept. */
#pragma once

#include "node/node.h"
#include "engine/engine.h"

struct pil_console;

/* Connections of all admin listeners together, the reserve for probes included. */
enum { PIL_CONSOLE_CLIENTS_MAX = 80 };

/* NULL when memory is short. */
struct pil_console *pil_console_create(struct pil_engine *engine, const struct pil_node *node);
/* The engine must have been destroyed before. */
void pil_console_destroy(struct pil_console **console);
/* Accepts connections on a descriptor that the caller keeps. */
pil_status pil_console_listen(struct pil_console *console, int fd) PIL_CHECKED;
/* Handles the event if it is one of the console's; returns whether it is. */
bool pil_console_event(struct pil_console *console, const struct pil_event *event);
/* Closes connections that have been idle for a minute, or have not completed a request within ten seconds. */
void pil_console_sweep(struct pil_console *console);
