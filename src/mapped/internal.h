/* SPDX-License-Identifier: Apache-2.0
 * Shared by the files of this module. They use each other downwards: mapped.c (life, listeners, the list of sessions)
 * › session.c (packets) › grant.c (who may map, who holds what) and catalog.c (what clients are told there is)
 * › generation.c. */
#pragma once

#include "base/clock.h"
#include "mapped/generation.h"
#include "mapped/mapped.h"
#include "metric/metric.h"
#include "peer/rule.h"
#include "schema/project.h"
#include "wire/mapped.h"

#include <jansson.h>
#include <pthread.h>

enum {
    MAPPED_SESSION_MAGIC = 0x53534d50,
    MAPPED_HOLDS_MAX = 256, /* of one session */
    MAPPED_NAME_BYTES = 64,
    MAPPED_SHARDS_MAX = 4096, /* of a release: what one answer has room for in a socket's buffer, 64 in a packet */
    MAPPED_CATALOGS_MAX = 8,  /* that are kept */
};
PIL_STATIC_ASSERT((int)PIL_MAPPED_VIEWS_MAX == (int)PIL_SETTINGS_VIEWS_MAX);
PIL_STATIC_ASSERT((int)PIL_PEER_VIEWS_MAX == (int)PIL_SETTINGS_VIEWS_MAX);

struct pil_mapped_view {
    struct pil_list generations; /* of struct pil_mapped_generation, newest first */
    bool is_regulated;           /* the project says so, or cannot be read and never could */
    bool is_release_regulated;   /* the schema of the live release says so */
    bool is_project_known;
};

/* A generation that a session was granted and has not dropped. */
struct pil_mapped_hold {
    uint32_t view_index;
    struct pil_mapped_generation *generation;
    int64_t since_us;
};

/* One client. */
struct pil_mapped_session {
    uint32_t magic;
    struct pil_list_link link; /* on pil_mapped.sessions */
    int fd;
    struct pil_peer_identity peer;
    pil_peer_views readable; /* by the rules `read` */
    pil_peer_views mappable; /* by the rules `map`, and readable; views that are regulated by now included */
    char name[MAPPED_NAME_BYTES];
    bool is_welcome; /* has said HELLO */
    bool is_paused;  /* has answers that it did not read */
    uint64_t since_ns;
    struct pil_mapped_hold holds[MAPPED_HOLDS_MAX];
    uint32_t hold_count;
};

/* The document for all clients that may read the same views. */
struct pil_mapped_catalog {
    int fd; /* -1: none */
    pil_peer_views readable;
    uint64_t generation; /* as on the control page when it was made */
    uint64_t used;       /* by a clock that each use advances */
};

struct pil_mapped {
    pthread_t owner; /* the control thread */
    struct pil_clock clock;
    struct pil_server *server;
    const struct pil_settings *settings;
    struct pil_mapped_control *page; /* writable */
    int page_fd, epoll;
    int listeners[PIL_SETTINGS_LISTENERS_MAX];
    uint32_t listener_count;
    uint64_t resume_ns; /* 0: listeners are watched; else when they will be again */
    struct pil_mapped_catalog catalogs[MAPPED_CATALOGS_MAX];
    uint64_t catalog_uses;
    json_t *projects[PIL_SETTINGS_VIEWS_MAX];
    uint32_t project_count;
    struct pil_mapped_view views[PIL_SETTINGS_VIEWS_MAX];
    struct pil_list sessions; /* of struct pil_mapped_session */
    uint32_t session_count;
};

#define MAPPED_ASSERT_OWNER(mapped) PIL_ASSERT(pthread_equal((mapped)->owner, pthread_self()))

static inline uint64_t pil_mapped_now_ns(const struct pil_mapped *mapped) {
    return mapped->clock.monotonic_ns(mapped->clock.context);
}

/* ---- catalog.c */

void pil_mapped_catalog_init(struct pil_mapped *mapped);
void pil_mapped_catalog_deinit(struct pil_mapped *mapped);
/* Views or projects are other than before: clients see another generation on the control page. */
void pil_mapped_catalog_changed(struct pil_mapped *mapped);
/* The project as clients are told of it from now on. NO_MEMORY: the one before goes on. */
pil_status pil_mapped_catalog_set_project(struct pil_mapped *mapped, const struct pil_project *project) PIL_CHECKED;
/* A sealed memfd with what a client that may read these views is told; it stays the catalog's, until the next call.
 * -1: there is no memory for one, and none that was made before. */
int pil_mapped_catalog_get(struct pil_mapped *mapped, pil_peer_views readable, uint64_t *ret_generation);

/* ---- grant.c */

/* Which views the session may read and map by the rules of the settings. */
void pil_mapped_grant_judge(const struct pil_mapped *mapped, struct pil_mapped_session *session);
/* What a project, or the schema of a release, says of views: whether they are regulated. */
void pil_mapped_grant_learn_project(struct pil_mapped *mapped, const struct pil_project *project);
void pil_mapped_grant_learn_release(struct pil_mapped *mapped, uint32_t view_index, const struct pil_release *release);
/* OK, or why the session may not read the view: DENIED, in a sentence that does not name it. */
pil_status pil_mapped_grant_check_read(const struct pil_mapped *mapped, const struct pil_mapped_session *session,
                                       uint32_t view_index, struct pil_error *ret_error) PIL_CHECKED;
/* OK, or why the live generation of a view is not granted to the session. */
pil_status pil_mapped_grant_check(const struct pil_mapped *mapped, const struct pil_mapped_session *session,
                                  uint32_t view_index, struct pil_error *ret_error) PIL_CHECKED;
/* After a check that said OK: the session holds the live generation, which is returned; once, however often. */
const struct pil_mapped_generation *pil_mapped_grant_hold(const struct pil_mapped *mapped,
                                                          struct pil_mapped_session *session, uint32_t view_index);
/* Nothing happens when the session does not hold it. */
void pil_mapped_grant_drop(struct pil_mapped *mapped, struct pil_mapped_session *session, uint32_t view_index,
                           uint64_t number);
void pil_mapped_grant_drop_all(struct pil_mapped *mapped, struct pil_mapped_session *session);

/* ---- session.c */

/* A session for an accepted connection, on no list yet; takes the descriptor, on failure, too. */
pil_status pil_mapped_session_open(struct pil_mapped *mapped, int fd,
                                   struct pil_mapped_session **ret_session) PIL_CHECKED;
/* Answers what has come, a bounded amount. false: the session has ended, and is to be closed. */
bool pil_mapped_session_read(struct pil_mapped *mapped, struct pil_mapped_session *session) PIL_CHECKED;
/* Drops all that the session holds, closes and frees it; it must be on no list any more. */
void pil_mapped_session_close(struct pil_mapped *mapped, struct pil_mapped_session *session);
