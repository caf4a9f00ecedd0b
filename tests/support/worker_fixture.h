/* SPDX-License-Identifier: Apache-2.0
 * The first worker of a server, run turn by turn on the thread of a test instead of pil_server_start. */
#pragma once

#include "server/internal.h"

static inline pil_status fixture_worker_open(struct pil_server *server, struct pil_error *ret_error) {
    pil_status status = pil_worker_open(&server->workers[0], ret_error);
    return status == PIL_STATUS_OK ? pil_worker_listen(&server->workers[0], ret_error) : status;
}

/* Takes one turn; *ret_work is the work that it did (pil_turn.work). */
static inline pil_status fixture_worker_turn(struct pil_server *server, uint64_t *ret_work) {
    pil_status status = pil_worker_turn(&server->workers[0]);
    *ret_work = server->workers[0].turn->work;
    return status;
}

static inline void fixture_worker_close(struct pil_server *server) {
    pil_worker_close(&server->workers[0]);
}
