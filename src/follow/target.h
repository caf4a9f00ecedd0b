/* SPDX-License-Identifier: Apache-2.0
 * One served view as a state machine: the release that its channel wants, and the steps to serve it. Pure: no I/O, no
 * clock, no allocation. pil_target_next returns the next task, the caller does it, pil_target_done takes the outcome:
 *
 *     WAIT ─► READ_PROJECT ─► POLL ─► READ_MANIFEST ─► ADMIT ─► FETCH ─► VERIFY ─► COLLAPSE ─► HAND_OVER ─┐
 *      ▲                       │ ▲                                ▲                                       │
 *      │                       │ │                                └──────────── next shard ───────────────┤
 *      │                       │ └──────────── all shards: is it still wanted? ───────────────────────────┘
 *      ├────── REPORT ◄─ (a step failed)                                   PUBLISH ◄─ (wanted and held)
 *      └──────────────────────────────────────────────────────────────────────┘
 *
 * A project that exists but cannot be read stops its views, as an unreadable channel does, until it was read for the
 * first time: it says who may map their releases. A document that was read and cannot be used does not stop them: the
 * server is told, and lets nobody map them. A release is published only right after a POLL that wanted
 * it, when all its shards were verified and handed over. PUBLISH only offers it: the release is live, and its fetch
 * a success, when pil_target_published says that it is served. Until then the channel is read as ever. A POLL is also
 * due between two shards, when the poll interval has passed or something has changed; a release that is no longer
 * wanted is given up there. No failure affects the live release: the release that failed is refused, reported, and
 * tried again after a back-off. Thread: one. */
#pragma once

#include "base/backoff.h"
#include "base/bounds.h"
#include "follow/fetch_result.h"

#include <stdint.h>

typedef enum pil_follow_kind {
    PIL_FOLLOW_WAIT, /* until wait_until_ns, or until pil_target_nudge */
    PIL_FOLLOW_READ_PROJECT,
    PIL_FOLLOW_POLL,
    PIL_FOLLOW_READ_MANIFEST,
    PIL_FOLLOW_ADMIT,
    PIL_FOLLOW_FETCH,
    PIL_FOLLOW_VERIFY, /* and seal */
    PIL_FOLLOW_COLLAPSE,
    PIL_FOLLOW_HAND_OVER, /* until the supervisor says that it holds the shard */
    PIL_FOLLOW_PUBLISH,   /* offer the release to the server, through the supervisor */
    PIL_FOLLOW_REPORT,    /* target->report */
} pil_follow_kind;

struct pil_task {
    pil_follow_kind kind;
    uint32_t view;
    uint32_t shard;         /* for FETCH to HAND_OVER */
    uint64_t wait_until_ns; /* for WAIT */
};

/* The result of a task. */
struct pil_outcome {
    pil_status status;      /* CLOSED: cancelled, which is not a failure of the release */
    struct pil_error error; /* after a failure */
    /* POLL */
    char release[PIL_RELEASE_ID_CHARS + 1]; /* after OK: the release that the channel wants */
    bool is_held;                           /* after OK: all its shards are in memory already */
    bool is_store_away;                     /* after a failure, also of READ_PROJECT: the store could not be opened */
    /* READ_MANIFEST */
    uint32_t shard_count;
    uint64_t bytes;
    int64_t created_us;
    /* FETCH, VERIFY, COLLAPSE */
    uint64_t took_ns, huge_bytes;
};

/* One fetch, for metrics and logs. */
struct pil_fetch_report {
    pil_fetch_result result;
    char release[PIL_RELEASE_ID_CHARS + 1]; /* "" when unknown */
    char text[PIL_ERROR_TEXT_BYTES];        /* why the fetch failed; "" after OK */
    uint64_t copy_ns, verify_ns, collapse_ns;
    int64_t created_us;         /* of the release; 0: its manifest was not read */
    uint64_t bytes, huge_bytes; /* huge_bytes: the part of them that is in huge pages */
};

enum { PIL_TARGET_STORE_RETRY_MS = 2000 };

struct pil_target {
    uint32_t view;
    bool reads_project; /* the first of the views that share a project */
    bool collapses;     /* into huge pages */
    uint64_t poll_ns;   /* the longest time between two readings of the channel */

    pil_follow_kind step;                   /* the next task, or the one that is busy */
    uint64_t wake_ns;                       /* when WAIT ends */
    uint64_t polled_ns;                     /* when the last POLL ended */
    bool is_busy, is_nudged;                /* is_nudged: since the last reading began */
    bool knows_project;                     /* if reads_project: it was read and handed over, or does not exist */
    bool is_fetching;                       /* fetch.release, from READ_MANIFEST to the last HAND_OVER */
    pil_follow_kind resume;                 /* the next step of a fetch that a POLL interrupts */
    uint32_t shard_count;                   /* of the release that is being fetched */
    uint32_t shards_whole;                  /* of these, how many were verified and handed over */
    char live[PIL_RELEASE_ID_CHARS + 1];    /* the server serves it; "": none */
    struct pil_fetch_report offered;        /* release: was published, and not answered yet; "": none */
    char refused[PIL_RELEASE_ID_CHARS + 1]; /* "": none */
    struct pil_backoff backoff;             /* of the refused release */
    struct pil_fetch_report fetch;          /* of the release that is being fetched or waits to be published */
    struct pil_fetch_report report;         /* for REPORT */
};

struct pil_target_options {
    uint32_t view;
    bool reads_project, collapses;
    uint64_t poll_ns;
};

struct pil_target pil_target_make(const struct pil_target_options *options);
/* Sets the release that is served already. Call it before the first task. */
void pil_target_set_live(struct pil_target *target, const char *release);

/* Returns the task to do now. Must not be called while a task is busy. */
struct pil_task pil_target_next(const struct pil_target *target, uint64_t now_ns);
/* Whether the outcome of READ_PROJECT says what the store has: a project, none, or a document that cannot be used. */
bool pil_target_project_is_settled(const struct pil_outcome *outcome);
/* Marks the task that pil_target_next returned as busy: no other may start before pil_target_done. */
void pil_target_start(struct pil_target *target, const struct pil_task *task);
/* Takes the outcome of the busy task. */
void pil_target_done(struct pil_target *target, const struct pil_outcome *outcome, uint64_t now_ns);

/* The channel or the project may have changed. */
void pil_target_nudge(struct pil_target *target);
/* The server serves a release, or does not. Returns whether that answers the offer, or ends what was live: then
 * ret_report is to be reported, without its text. */
bool pil_target_published(struct pil_target *target, const char *release, pil_fetch_result result, uint64_t now_ns,
                          struct pil_fetch_report *ret_report);
/* A release is no longer held. If it was dropped while its publication was under way, it is fetched again. */
void pil_target_dropped(struct pil_target *target, const char *release);

/* Panics when the state contradicts itself. */
void pil_target_validate(const struct pil_target *target);
