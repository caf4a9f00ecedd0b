/* SPDX-License-Identifier: Apache-2.0
 * Connects to "unix:PATH" or "tcp:HOST:PORT"; reads and writes give up after five seconds. INVALID for any other form;
 * CLOSED, NOT_FOUND, TIMEOUT … name the address. The descriptor is the caller's. */
#pragma once

#include "base/status.h"

pil_status pil_connect(const char *address, int *ret_fd, struct pil_error *ret_error) PIL_CHECKED;
