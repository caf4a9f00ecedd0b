/* SPDX-License-Identifier: Apache-2.0
 * The slow log: the last slow requests of all workers, in a ring of slots. Workers write; any thread reads. There is no
 * lock: a reader skips a slot that is being written. */
#pragma once

#include "server/server.h"

struct pil_slowlog;

/* NULL when memory is short. */
struct pil_slowlog *pil_slowlog_create(void);
void pil_slowlog_destroy(struct pil_slowlog **slowlog);
/* Any worker. Sets the request's id. */
void pil_slowlog_add(struct pil_slowlog *slowlog, const struct pil_slow_request *slow);
/* Any thread. Newest first; returns their number. */
uint32_t pil_slowlog_read(struct pil_slowlog *slowlog, struct pil_slow_request ret_requests[PIL_SLOWLOG_MAX]);
/* Any thread. Forgets all requests so far. */
void pil_slowlog_reset(struct pil_slowlog *slowlog);
