/* SPDX-License-Identifier: Apache-2.0
 * The entry points of the three processes; main.c chooses by --role. Each returns its exit code. */
#pragma once

#include "daemon/config.h"

/* ready_fd: gets "ready\n" when every served view is ready; -1: none. */
int pil_supervisor_run(struct pil_config *config, int argc, char **argv, int ready_fd);
/* control: the socket that leads to the supervisor. */
int pil_server_process_run(int control);
int pil_fetch_process_run(int control);
