/* SPDX-License-Identifier: Apache-2.0
 * Shared by the files of this module. They call each other in one direction: mapped.c (life cycle, listeners, the list
 * of sessions) › session.c (packets) › grant.c (rules and holds), catalog.c (the catalog), share.c (what each user and
 * process may take) › generation.c, complaint.c (the log). */
#pragma once

#include "base/clock.h"
#include "mapped/complaint.h"
#include "mapped/generation.h"
#include "mapped/mapped.h"
#include "mapped/share.h"
#include "metric/metric.h"
#include "peer/rule.h"
#include "schema/project.h"
#include "wire/mapped.h"

#include <jansson.h>
#include <pthread.h>

enum {
    MAPPED_SESSION_MAGIC = 0x53534d50,
    MAPPED_HOLDS_MAX = 256, /* per session */
    MAPPED_NAME_BYTES = 64,
    MAPPED_SHARDS_MAX = 4096, /* per release: as many as fit in a socket's buffer in one answer, 64 per packet */
    MAPPED_CATALOGS_MAX = 8,  /* documents kept */
    /* What one receives at once: a byte more than is valid, so that a packet that is too long is recognised. */
    MAPPED_PACKET_BYTES = PIL_MAPPED_MESSAGE_BYTES_MAX + 1,
    /* Requests that wait until the client has read the answers before. A client that drops all its holds at that moment
     * needs half of it. */
    MAPPED_AHEAD_BYTES = 32768,
};
PIL_STATIC_ASSERT((int)PIL_MAPPED_VIEWS_MAX == (int)PIL_SETTINGS_VIEWS_MAX);
PIL_STATIC_ASSERT((int)PIL_PEER_VIEWS_MAX == (int)PIL_SETTINGS_VIEWS_MAX);

struct pil_mapped_view {
    struct pil_list generations; /* of struct pil_mapped_generation, newest first */
    bool is_awaited;             /* pil_mapped_miss_project was called for it */
    bool is_regulated;           /* by the project's tags, or because the project is not known so far */
    bool is_release_regulated;   /* by the schema of the live release */
    bool is_project_known;
};

/* A generation that a session was granted and has not dropped. */
struct pil_mapped_hold {
    uint32_t view_index;
    struct pil_mapped_generation *generation;
    int64_t since_us;
};

/* What a session waits for. */
typedef enum pil_mapped_wait {
    MAPPED_WAIT_REQUEST, /* the client's next request */
    MAPPED_WAIT_READ,    /* until the client has read the last answer */
    MAPPED_WAIT_SHARE,   /* until others have read theirs, because descriptors may not be sent now */
} pil_mapped_wait;

/* An answer with descriptors that is sent as soon as the client has read the one before and its share allows. */
typedef enum pil_mapped_debt {
    MAPPED_OWES_NOTHING,
    MAPPED_OWES_WELCOME,
    MAPPED_OWES_CATALOG,
    MAPPED_OWES_GRANT,
} pil_mapped_debt;

/* One client. */
struct pil_mapped_session {
    uint32_t magic;
    struct pil_list_link link; /* on pil_mapped.sessions */
    int fd;
    struct pil_peer_identity peer;
    struct pil_mapped_peer *process;
    pil_peer_views readable; /* by the rules `read` */
    pil_peer_views mappable; /* by the rules `map`, and readable; may include regulated views, which are checked at each
                              * grant */
    char name[MAPPED_NAME_BYTES];
    bool is_welcome; /* HELLO was accepted */
    bool is_ended; /* holds nothing and is not answered any more; kept until its client has received all descriptors */
    pil_mapped_wait wait;
    uint32_t in_flight; /* descriptors of the last answer, until the client has read it */
    pil_mapped_debt owes;
    uint32_t granted_view; /* while it owes a GRANT: the view, its generation, and how many shards were sent */
    const struct pil_mapped_generation *granted;
    uint32_t granted_shards;
    uint64_t since_ns;
    struct pil_mapped_hold holds[MAPPED_HOLDS_MAX];
    uint32_t hold_count;
    uint32_t ahead_bytes; /* of requests that were received and not answered, each behind its length, a uint16_t */
    uint8_t ahead[MAPPED_AHEAD_BYTES + sizeof(uint16_t) + MAPPED_PACKET_BYTES];
};

/* The catalog document for all clients that may read the same views. */
struct pil_mapped_catalog {
    int fd; /* -1: none */
    pil_peer_views readable;
    uint64_t generation; /* catalog_generation of the control page when the document was made */
    uint64_t used;       /* value of catalog_uses at the last use */
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
    uint64_t resume_ns; /* 0: listeners are watched; else the time to watch them again */
    struct pil_mapped_catalog catalogs[MAPPED_CATALOGS_MAX];
    uint64_t catalog_uses;
    json_t *projects[PIL_SETTINGS_VIEWS_MAX];
    uint32_t project_count;
    struct pil_mapped_view views[PIL_SETTINGS_VIEWS_MAX];
    struct pil_list sessions; /* of struct pil_mapped_session: the one that was answered longest ago is first */
    uint32_t session_count;   /* that have not ended */
    uint32_t ended_count;
    struct pil_list peers;             /* of struct pil_mapped_peer, users and processes */
    uint32_t in_flight, in_flight_max; /* descriptors sent to clients that these have not received */
    struct pil_mapped_complaint complaints[MAPPED_COMPLAINTS_MAX];
};

#define MAPPED_ASSERT_OWNER(mapped) PIL_ASSERT(pthread_equal((mapped)->owner, pthread_self()))

static inline uint64_t pil_mapped_now_ns(const struct pil_mapped *mapped) {
    return mapped->clock.monotonic_ns(mapped->clock.context);
}

/* ---- catalog.c */

void pil_mapped_catalog_init(struct pil_mapped *mapped);
void pil_mapped_catalog_deinit(struct pil_mapped *mapped);
/* Views or projects have changed: increments the catalog generation on the control page. */
void pil_mapped_catalog_changed(struct pil_mapped *mapped);
/* Sets the project that catalogs show from now on. NOT_FOUND: no view of it is or was served. NO_MEMORY. On failure
 * they keep showing the previous one. */
pil_status pil_mapped_catalog_set_project(struct pil_mapped *mapped, const struct pil_project *project) PIL_CHECKED;
/* A sealed memfd with the catalog for clients that may read these views; the module keeps the descriptor, which is
 * valid until the next call. -1: memory or descriptors are short, and there is no earlier document. */
int pil_mapped_catalog_get(struct pil_mapped *mapped, pil_peer_views readable, uint64_t *ret_generation);

/* ---- grant.c */

/* Sets which views the session may read and map by the rules of the settings. */
void pil_mapped_grant_judge(const struct pil_mapped *mapped, struct pil_mapped_session *session);
/* Learn from a project, or from the schema of a release, which views are regulated. */
void pil_mapped_grant_learn_project(struct pil_mapped *mapped, const struct pil_project *project);
void pil_mapped_grant_learn_release(struct pil_mapped *mapped, uint32_t view_index, const struct pil_release *release);
/* DENIED: the session may not read the view; the message does not name the view. */
pil_status pil_mapped_grant_check_read(const struct pil_mapped *mapped, const struct pil_mapped_session *session,
                                       uint32_t view_index, struct pil_error *ret_error) PIL_CHECKED;
/* Checks whether the live generation of a view may be granted to the session. DENIED, AGAIN: no release yet. BUSY: the
 * session holds a replaced generation for too long, or too many generations of the view are held. TOO_LARGE: too many
 * shards, or the session holds too much. */
pil_status pil_mapped_grant_check(const struct pil_mapped *mapped, const struct pil_mapped_session *session,
                                  uint32_t view_index, struct pil_error *ret_error) PIL_CHECKED;
/* To be called after a successful check. The session holds the live generation, which is returned; repeated calls count
 * as one hold. */
const struct pil_mapped_generation *pil_mapped_grant_hold(const struct pil_mapped *mapped,
                                                          struct pil_mapped_session *session, uint32_t view_index);
/* Does nothing if the session does not hold the generation. */
void pil_mapped_grant_drop(struct pil_mapped *mapped, struct pil_mapped_session *session, uint32_t view_index,
                           uint64_t number);
void pil_mapped_grant_drop_all(struct pil_mapped *mapped, struct pil_mapped_session *session);

/* ---- session.c */

/* Makes a session for an accepted connection, on no list yet; takes the descriptor, also on failure. CLOSED: the client
 * has left; NO_MEMORY, SYSTEM. */
pil_status pil_mapped_session_open(struct pil_mapped *mapped, int fd,
                                   struct pil_mapped_session **ret_session) PIL_CHECKED;
/* Sends what the session owes and answers packets that have arrived, at most a bounded number, one after another as the
 * client reads the answers. Returns false if the session is at its end. */
bool pil_mapped_session_run(struct pil_mapped *mapped, struct pil_mapped_session *session) PIL_CHECKED;
/* Whether the client has received all descriptors that were sent to it, or has closed its socket. */
bool pil_mapped_session_has_received(struct pil_mapped *mapped, struct pil_mapped_session *session);
/* Drops all holds and tells the client. It may still read what was sent; see is_ended. */
void pil_mapped_session_end(struct pil_mapped *mapped, struct pil_mapped_session *session);
/* Closes and frees a session, which must be on no list any more. */
void pil_mapped_session_close(struct pil_mapped *mapped, struct pil_mapped_session *session);
