/* SPDX-License-Identifier: Apache-2.0
 * The slow log: the last slow requests of all workers, in a ring of slots. Writers are workers; readers are any thread.
 * Nobody locks: a reader skips a slot that is being written. */
#pragma once

#include "server/server.h"

struct pil_slowlog;

/* NULL when there is no memory. */
struct pil_slowlog *pil_slowlog_create(void);
void pil_slowlog_destroy(struct pil_slowlog **slowlog);
/* Any worker. Sets the id. */
void pil_slowlog_add(struct pil_slowlog *slowlog, const struct pil_slow_request *slow);
/* Any thread: newest first; returns how many. */
uint32_t pil_slowlog_read(struct pil_slowlog *slowlog, struct pil_slow_request ret_requests[PIL_SLOWLOG_MAX]);
/* Any thread: forgets all requests so far. */
void pil_slowlog_reset(struct pil_slowlog *slowlog);
