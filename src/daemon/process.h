/* SPDX-License-Identifier: Apache-2.0
 * The entry points of the three processes; main.c chooses by --role. Each returns its exit code. */
#pragma once

#include "daemon/config.h"

/* ready_fd is -1 or gets "ready\n" when every served view is ready. */
int pil_supervisor_run(struct pil_config *config, int argc, char **argv, int ready_fd);
/* control: the socket to the supervisor. */
int pil_server_process_run(int control);
int pil_fetch_process_run(int control);
