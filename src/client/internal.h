/* SPDX-License-Identifier: Apache-2.0
 * What the files of libpillion share: the client, its connection to the mapped listener, the releases that it maps, and
 * plans as compiled against them. For this module only. Rules for who may touch what: src/client/README.md. */
#pragma once

#include "base/panic.h"
#include "base/text.h"
#include "cache/freshness.h"
#include "cache/serving.h"
#include "client/link.h"
#include "pillion/client.h"
#include "vector/default.h"
#include "wire/columns.h"
#include "wire/mapped.h"

#include <stdatomic.h>

/* Large buffers of the hot path, which the build would otherwise fill with zeros (-ftrivial-auto-var-init). */
#define PIL_UNINITIALIZED __attribute__((uninitialized))

enum {
    PIL_CLIENT_SLOTS = 255,
    PIL_CLIENT_DEFAULT_TIMEOUT_MS = 1000,
    PIL_CLIENT_DEFAULT_REFRESH_US = 20000,
    PIL_CLIENT_NAME_BYTES = 64,
    PIL_CLIENT_REQUESTS_MAX = 2 * PIL_MAPPED_VIEWS_MAX,
    PIL_CLIENT_CATALOG_BYTES_MAX = 64 << 20,
};
static const uint64_t pil_client_heartbeat_ns_max = 2000000000; /* older: the server is gone or stopped */
static const uint64_t pil_client_connect_ns = 1000000000;       /* between attempts */
static const uint64_t pil_client_poll_ns = 1000000;             /* between looks at an answer that is late */
static const uint64_t pil_client_retry_ns = 1000000000;         /* after a refusal */

/* ---- Calls in flight. One cache line for each: what it reads may not be freed while its line points there. The memory
 * is wiped in a forked child (MADV_WIPEONFORK), which so has no call in flight, and can tell that it is one. */
struct pil_slot {
    _Alignas(64) _Atomic(struct pil_compiled *) reads;
};
struct pil_slot_block {
    _Alignas(64) _Atomic(struct pil_slot_block *) next; /* never removed while the client lives */
    _Atomic uint32_t is_ours;                           /* of the first block: 0 in a child that has not adopted it */
    struct pil_slot slots[PIL_CLIENT_SLOTS];
};

/* ---- Mapped things. Counted by compiled plans and the client's tables, under the client's lock. */

/* The server's control page. */
struct pil_page {
    const struct pil_mapped_control *control;
    uint32_t references;
};

/* A release that the server granted. */
struct pil_mapping {
    struct pil_release *release;
    struct pil_serving serving; /* what calls read: the release by its chain */
    uint64_t generation;
    int64_t created_us;
    uint64_t session; /* the number of the connection that it came over */
    uint32_t view;
    uint32_t references;
    bool is_dropped;          /* the server was told that it is gone */
    uint32_t prefault_shard;  /* up to where its page tables are filled */
    uint64_t prefault_offset; /* in that shard */
    struct pil_mapping *next; /* among those to be unmapped */
};

/* A plan against given releases, or why it cannot be read here. Immutable once a plan points to it. */
struct pil_compiled_view {
    uint32_t number; /* in the control page */
    uint64_t generation;
    struct pil_mapping *mapping;
};
struct pil_compiled {
    struct pil_vector_default *defaults; /* of a plan with columns and defaults */
    struct pil_vector_plan *vector;      /* NULL: not readable in this process; result and error say why */
    struct pil_page *page;               /* NULL: never was a control page */
    uint32_t view_count;
    struct pil_compiled_view views[PIL_VECTOR_VIEWS_MAX];
    bool has_ages; /* some view has a ttl */
    bool is_final; /* vector is NULL, and asking over the socket would not help */
    uint32_t era;  /* client->era when it was made */
    /* When a call first saw that the server has a newer release; 0: none has. The one word that calls write. */
    _Atomic uint64_t behind_since_ns;
    _Atomic uint64_t attend_at_ns; /* after a refusal: calls of this plan need not look before */
    pillion_result result;
    struct pillion_error error;
    struct pil_compiled *next; /* among those retired */
};

struct pillion_plan {
    struct pillion_client *client;
    _Atomic(struct pil_compiled *) compiled; /* writer: who holds the lock (seq_cst); readers: calls, by a slot */
    struct pil_vector_spec *spec;            /* views as "project/view" */
    uint32_t dtype, flags;
    int64_t max_age_us;
    char min_release[PIL_RELEASE_ID_CHARS + 1];
    int64_t min_created_us;        /* of min_release; 0: not known yet; for mapped reads. Under the lock */
    uint64_t locate_at_ns;         /* when to ask for it again */
    uint64_t serial;               /* in links */
    _Atomic uint32_t rows_at_once; /* of a request, as the server has taken them; 0: not known */
    char *service;                 /* until its features are known; NULL: a list of features */
    /* As planned; no release may change them. Under the lock; what a call over the socket needs is set before it can
     * begin. */
    struct pillion_plan_info info;
    struct pillion_feature_info *features;  /* [info.feature_count] */
    uint32_t numbers[PIL_VECTOR_VIEWS_MAX]; /* of the views, in connection `resolved` */
    uint64_t resolved;
    struct pillion_plan *next;
};

/* ---- The connection to the mapped listener. */

typedef enum pil_session_state {
    PIL_SESSION_CLOSED,
    PIL_SESSION_WELCOMING, /* HELLO was said */
    PIL_SESSION_READY,
} pil_session_state;

typedef enum pil_request_kind { PIL_REQUEST_CATALOG, PIL_REQUEST_ACQUIRE, PIL_REQUEST_LOCATE } pil_request_kind;
struct pil_request {
    pil_request_kind kind;
    uint32_t view;
    struct pillion_plan *plan; /* LOCATE; NULL when the plan is gone */
};

struct pil_grant {
    char release[PIL_RELEASE_ID_CHARS + 1];
    uint64_t generation;
    int64_t created_us;
    uint32_t count, received; /* shards; count 0: none is being received */
    int *fds;
};

struct pil_session {
    pil_session_state state;
    int fd;
    uint64_t cookie; /* of the socket: a forked child closes it only if it still is that one */
    uint64_t number; /* of the connection, from 1 on */
    uint64_t connect_at_ns, started_ns;
    struct pil_page *page;
    json_t *catalog;                             /* the last one received; stays when the connection goes */
    uint64_t catalog_number, catalog_generation; /* the connection that it came over, and its version there */
    /* Asked and not answered; the server answers in order. */
    struct pil_request requests[PIL_CLIENT_REQUESTS_MAX];
    uint32_t request_first, request_count;
    struct pil_grant grant;
};

struct pil_client_view {
    char name[2 * PILLION_NAME_BYTES]; /* "project/view" */
    struct pil_mapping *mapping;       /* the newest */
    bool is_asked;
    pil_status refusal;                    /* OK: not refused */
    uint64_t refused_generation, retry_ns; /* that one is not asked for again before */
    char why_not[256];
};

struct pillion_client {
    struct pil_slot_block *slots;
    _Atomic uint64_t
        attend_at_ns;            /* calls that find something to do leave it until then: no server, an answer is late */
    _Atomic uint32_t has_chores; /* something waits to be freed or unmapped, or an answer is on its way */
    _Atomic uint32_t lock;
    _Atomic uint64_t socket_calls;
    _Atomic uint32_t links_lock; /* held for some instructions */
    struct pil_link *links;      /* idle ones; under links_lock */
    uint32_t link_count;
    /* All that follows: under the lock. */
    char *mapped, *resp, *name;
    uint32_t timeout_ms, refresh_us;
    struct pil_session session;
    struct pil_client_view views[PIL_MAPPED_VIEWS_MAX];
    uint32_t view_count;
    struct pillion_plan *plans;
    struct pil_compiled *retired;
    struct pil_mapping *dying; /* no plan uses them; unmapped in slices */
    uint64_t worked_ns;        /* when pil_mapping_work was last, if it left something; 0: it did not */
    uint32_t era;              /* +1 when a forked child gives up what it cannot account for */
    uint64_t refreshes, reconnects, plan_serial;
    char why_not_mapped[256];
};

/* ---- client.c */

/* One holder at a time, which does not block others: calls only try. Both adopt the client in a forked child. */
bool pil_client_try_lock(struct pillion_client *client);
void pil_client_lock(struct pillion_client *client);
void pil_client_unlock(struct pillion_client *client);
/* For calls: does what is due, when nobody else is at it. Waits at most refresh_us, and only for what was not asked for
 * before. */
void pil_client_attend(struct pillion_client *client);
/* Under the lock: connects, asks, receives, compiles, frees; waits until `until_ns` for answers, and works for
 * `work_ns` on what pil_mapping_work finds. */
void pil_client_settle(struct pillion_client *client, uint64_t until_ns, uint64_t work_ns);

pillion_result pil_client_result(pil_status status);
/* Formats into *error, which may be NULL. */
pillion_result pil_client_fail(struct pillion_error *error, pillion_result result, const char *format, ...)
    __attribute__((format(printf, 3, 4), cold));

/* ---- session.c; under the lock */

/* Connects when that is due, takes what has arrived, asks for what is wanted; again until nothing is awaited any more
 * or `until_ns`. Then session.state and the views tell. */
void pil_session_step(struct pillion_client *client, uint64_t until_ns);
void pil_session_close(struct pillion_client *client, const char *why);
/* In a forked child: lets the parent's connection alone. */
void pil_session_forget(struct pillion_client *client);
void pil_session_request_catalog(struct pillion_client *client);
/* Says that a mapping is gone, when the connection that granted it is still there. */
void pil_session_drop(struct pillion_client *client, struct pil_mapping *mapping);

/* ---- catalog.c; under the lock */

/* Reads the document behind `fd` into the session and the views' names. */
pil_status pil_catalog_read(struct pillion_client *client, int fd, struct pil_error *ret_error) PIL_CHECKED;
/* Number of "view" or "project/view". NOT_FOUND; INVALID: several projects have such a view. */
pil_status pil_catalog_view(const struct pillion_client *client, struct pil_bytes name, uint32_t *ret_number,
                            struct pil_error *ret_error) PIL_CHECKED;
/* The features of "service" or "project/service", or the given ones, with full view names. */
pil_status pil_catalog_spec(const struct pillion_client *client, const struct pillion_plan_options *options,
                            struct pil_vector_spec **ret_spec, struct pil_error *ret_error) PIL_CHECKED;

/* ---- mapping.c; under the lock */

struct pil_page *pil_page_create(const struct pil_mapped_control *control);
void pil_page_release(struct pil_page **page);
/* The last reference leaves it to be unmapped. */
void pil_mapping_release(struct pillion_client *client, struct pil_mapping **mapping);
/* Fills the page tables of what is new, then unmaps what nothing refers to: slice after slice (0.1 ms at most), and no
 * more of them after `duration_ns`. Returns whether something may be left. */
bool pil_mapping_work(struct pillion_client *client, uint64_t duration_ns);
void pil_mapping_unmap_all(struct pillion_client *client);

/* ---- world.c */

/* Under the lock: brings every plan to the newest releases of its views; retires what that replaces. */
void pil_world_update(struct pillion_client *client);
/* Under the lock: frees what no call reads any more. Returns whether something is left. */
bool pil_world_reclaim(struct pillion_client *client);
/* Frees at once; no call reads it. */
void pil_world_destroy(struct pillion_client *client, struct pil_compiled *compiled);
bool pil_world_plan_resolve(struct pillion_client *client, struct pillion_plan *plan);

/* ---- plan.c */

/* Under the lock: what the caller may ask about the plan. */
void pil_plan_note(struct pillion_plan *plan, const struct pil_vector_plan *vector);

/* What a call reads, until it leaves. NULL: no memory for a slot. */
const struct pil_compiled *pil_world_enter(struct pillion_plan *plan, bool may_refresh, struct pil_slot **ret_slot);
void pil_world_leave(struct pil_slot *slot);
/* Since when the server has not said that this is current; 0: it does. */
int64_t pil_world_staleness_us(const struct pil_compiled *compiled);

/* ---- keys.c */

/* The keys of one view of a call. */
struct pil_keys {
    const struct pil_compiled *compiled;
    uint32_t slot;
    const struct pillion_keys *given; /* checked by pil_keys_check */
    struct pillion_error *error;      /* may be NULL */
};
/* Where encoded keys go. */
struct pil_key_room {
    uint8_t *data;
    size_t bytes;
};

/* Whether all that the key columns name is there. */
pillion_result pil_keys_check_columns(const struct pillion_keys *keys, struct pillion_error *error);
/* false: the offsets of that row fall. */
bool pil_keys_part(const struct pillion_key_column *column, size_t row, struct pil_key_part *ret_part);
/* Fills `count` lookups with the keys of rows first, first + 1 …; *ret_count tells how many, less when their bytes do
 * not fit into the room, 0 when those of the first do not. Keys point into the caller's arrays where these have the
 * canonical form. */
pillion_result pil_keys_fill(const struct pil_keys *keys, size_t first, uint32_t count, struct pil_key_room room,
                             struct pil_lookup *lookups, uint32_t *ret_count);

/* ---- get.c: what pillion_get and pillion_get_columns share */

enum { PIL_CLIENT_BLOCK = PIL_SOURCE_BLOCK };

/* Rows of one view that were looked up together. */
struct pil_block {
    uint32_t slot;
    uint32_t count;
    size_t first; /* row of the call */
    struct pil_lookup lookups[PIL_CLIENT_BLOCK];
};
struct pil_call {
    struct pillion_plan *plan;
    const struct pillion_keys *keys;
    uint32_t flags;
    int64_t *event_ts_us;          /* NULL, or the caller's */
    struct pillion_answer *answer; /* NULL, or the caller's */
    const struct pil_compiled *compiled;
    /* Asks the server instead; NULL: cannot. */
    pillion_result (*ask)(struct pil_call *call);
    /* Checks what the caller gave against what the plan is now; then takes block after block, view after view. */
    pillion_result (*begin)(struct pil_call *call, struct pillion_error *error);
    pillion_result (*put)(struct pil_call *call, const struct pil_block *block, struct pillion_error *error);
};
pillion_result pil_call_run(struct pil_call *call);

/* ---- columns.c */

/* Whether what the caller gave for column i has room for that form; begins it: nothing is used of it yet. */
pillion_result pil_columns_begin(struct pillion_column *column, uint32_t i, pil_column_form form,
                                 struct pillion_error *error);
pillion_result pil_columns_check_count(uint32_t given, uint32_t features, struct pillion_error *error);
pillion_result pil_columns_too_small(struct pillion_error *error);

/* ---- socket.c: links to the resp listener */

/* What is asked for on a link where the plan has that number. */
typedef pil_status pil_exchange(struct pil_link *link, uint32_t number, uint64_t until_ns, void *context,
                                struct pil_error *error);
/* On an idle link, or on a new one when there is none or that turns out to be dead. */
pillion_result pil_socket_run(const struct pillion_plan *plan, pil_exchange *with, void *context, uint64_t until_ns,
                              struct pillion_error *error);
/* Of a call that begins now. */
uint64_t pil_socket_deadline_ns(const struct pillion_client *client);
/* Fills the plan's info and features, and its spec where there is none, with what the server says; what is known
 * already but for the types stays. */
pillion_result pil_socket_describe(struct pillion_plan *plan, struct pillion_error *error);
/* Whether the server answers; keeps the link for the first call. */
pil_status pil_socket_try(struct pillion_client *client, struct pil_error *ret_error) PIL_CHECKED;
/* Closes idle links; in a forked child, which must not say anything over them. */
void pil_socket_close(struct pillion_client *client, bool is_child);

/* ---- socket_get.c: calls over the resp listener */

pillion_result pil_socket_get(struct pillion_plan *plan, const struct pillion_keys *keys,
                              const struct pillion_output *output, struct pillion_answer *answer);
pillion_result pil_socket_get_columns(struct pillion_plan *plan, const struct pillion_keys *keys,
                                      const struct pillion_columns *columns, struct pillion_answer *answer);
