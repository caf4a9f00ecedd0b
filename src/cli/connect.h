/* SPDX-License-Identifier: Apache-2.0
 * Connects to "unix:PATH" or "tcp:HOST:PORT"; reads and writes time out after five seconds. INVALID: another form, or
 * an unknown host. CLOSED, NOT_FOUND, TIMEOUT, …: the message names the address. The caller owns the descriptor. */
#pragma once

#include "base/status.h"

pil_status pil_connect(const char *address, int *ret_fd, struct pil_error *ret_error) PIL_CHECKED;
