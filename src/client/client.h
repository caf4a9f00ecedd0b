/* SPDX-License-Identifier: Apache-2.0
 * A client of libpillion: the state that its files share. Who may touch what: src/client/README.md. For this module
 * only. */
#pragma once

#include "base/panic.h"
#include "client/epoch.h"
#include "client/link.h"
#include "client/plan.h"
#include "client/session.h"

enum {
    PIL_CLIENT_DEFAULT_TIMEOUT_MS = 1000,
    PIL_CLIENT_DEFAULT_REFRESH_US = 20000,
};
static const uint64_t pil_client_heartbeat_ns_max = 2000000000; /* older: the server is gone or stopped */
static const uint64_t pil_client_connect_ns = 1000000000;       /* between attempts to connect */
static const uint64_t pil_client_poll_ns = 1000000;             /* between checks for an answer that is late */
static const uint64_t pil_client_retry_ns = 1000000000;         /* after a refusal */
static const uint64_t pil_client_memory_ns = 50000000;          /* after an allocation that failed */

/* A view of the catalog. */
struct pil_client_view {
    char name[2 * PILLION_NAME_BYTES]; /* project/view */
    uint32_t project_len;
    struct pil_mapping *mapping; /* the newest mapping; NULL: none, or no plan reads the view */
    bool is_asked;
    pil_status refusal;                    /* OK: not refused */
    uint64_t refused_generation, retry_ns; /* that generation is not asked for again before retry_ns */
    char why_not[256];
};

struct pillion_client {
    struct pil_epoch_block *slots;
    /* A call that finds a problem which it cannot solve (no server, a late answer) does not poll before then. */
    _Atomic uint64_t poll_at_ns;
    _Atomic uint32_t has_pending_work; /* memory waits to be freed or unmapped, or an answer is awaited */
    _Atomic uint32_t lock;
    _Atomic uint64_t socket_calls;
    _Atomic uint32_t links_lock; /* held for a few instructions */
    struct pil_link *links;      /* idle links; under links_lock */
    uint32_t link_count;
    /* All members below: under the lock. */
    char *mapped, *resp, *name;
    uint32_t timeout_ms, refresh_us;
    struct pil_session session;
    struct pil_client_view views[PIL_MAPPED_VIEWS_MAX];
    uint32_t view_count;
    struct pillion_plan *plans;
    struct pil_compiled *retired;
    struct pil_mapping_lists mappings;
    uint64_t worked_ns;       /* when pil_mapping_work last ran, if it left work; 0: it left none */
    uint32_t fork_generation; /* incremented when a forked child gives up counts that it cannot trust */
    uint64_t refreshes, reconnects, plan_serial;
    char why_not_mapped[256];
};

/* The public header gives callers arrays of these sizes. */
PIL_STATIC_ASSERT((int)PIL_VECTOR_VIEWS_MAX == PILLION_VIEWS_MAX && (int)PIL_VECTOR_KEYS_MAX == PILLION_KEYS_MAX);
PIL_STATIC_ASSERT(sizeof((struct pillion_info){0}.views) / sizeof(struct pillion_view_info) == PIL_MAPPED_VIEWS_MAX);

/* Whether any thread holds the lock (lock.h); asserted by functions that need it. */
static inline bool pil_client_is_locked(const struct pillion_client *client) {
    return atomic_load_explicit(&client->lock, memory_order_relaxed) != 0;
}

/* Checks the invariants: lists, states and counts. Under the lock; one pass over plans, views and mappings. */
bool pil_client_validate(const struct pillion_client *client);
