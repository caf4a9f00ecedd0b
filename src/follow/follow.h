/* SPDX-License-Identifier: Apache-2.0
 * The loop that keeps all served views at what their channels want: it asks each view's target (target.h) what to do,
 * hands I/O to whoever runs jobs (executor.h), does the rest through functions of the daemon, and gives each outcome
 * back. Views of one project wait until it was read, or seen not to be there. One release at a time is between
 * admission and hand-over, because memory is admitted for one at a time; all other steps of different views overlap.
 * Clock, jobs and effects are passed in, so that a test can simulate all of it. Thread: one. */
#pragma once

#include "follow/job.h"

struct pil_follow;

struct pil_follow_hooks {
    void *context;
    /* Runs the job, now or later, anywhere; pil_follow_done gives it back. */
    void (*submit)(void *context, struct pil_job *job);
    /* Asks whether `bytes` more may be loaded; pil_follow_admitted has the answer. */
    pil_status (*ask_admission)(void *context, uint32_t view_index, const char *release, uint64_t bytes);
    /* A verified, sealed shard; fd is the callee's. OK: it was sent, pil_follow_taken has the answer. */
    pil_status (*hand_over)(void *context, const struct pil_task *task, const char *release, uint32_t shard_count,
                            int fd);
    /* A release of which some shards were handed over will not be completed. */
    void (*given_up)(void *context, uint32_t view_index, const char *release);
    /* All shards were handed over or held: serve it. created_us is the manifest's, 0 when that was not read. */
    pil_status (*publish)(void *context, uint32_t view_index, const char *release, int64_t created_us);
    /* The channel was read with success, now. */
    void (*checked)(void *context, uint32_t view_index, const struct pil_channel *channel);
    void (*reported)(void *context, uint32_t view_index, const struct pil_fetch_report *report);
    /* The applied project changed: its document, and the first view that is of it. Not OK: it is read and handed over
     * again. */
    pil_status (*project)(void *context, uint32_t view_index, struct pil_bytes document);
};

struct pil_follow_options {
    const struct pil_follow_view *views; /* borrowed, as are clock and hooks */
    uint32_t view_count;
    bool use_huge_pages; /* move what was fetched into huge pages before it is handed over */
    uint64_t poll_ms;
    const struct pil_clock *clock;
    const struct pil_follow_hooks *hooks;
};

/* NULL without memory. */
struct pil_follow *pil_follow_create(const struct pil_follow_options *options);
/* No job may be out. */
void pil_follow_destroy(struct pil_follow **follow);

/* Before the first step: a release that is held whole, and whether it is the one that is served.
 * NO_MEMORY. */
pil_status pil_follow_hold(struct pil_follow *follow, uint32_t view_index, const char *release,
                           bool is_live) PIL_CHECKED;

/* Does every task that is due, without waiting. Returns the time to call it again at the latest, by the clock;
 * UINT64_MAX: only after one of the calls below. */
uint64_t pil_follow_step(struct pil_follow *follow);

/* A job is done. */
void pil_follow_done(struct pil_follow *follow, struct pil_job *job);
/* The answer to ask_admission: OK, or TOO_LARGE and why. Answers to questions that nobody has asked are ignored. */
void pil_follow_admitted(struct pil_follow *follow, uint32_t view_index, const char *release, pil_status status,
                         const char *why);
/* The answer to hand_over: OK, or NO_MEMORY and why. release "": the project that was handed over could not be held,
 * and the next reading hands it over again. Answers to questions that nobody has asked are ignored. */
void pil_follow_taken(struct pil_follow *follow, uint32_t view_index, const char *release, pil_status status,
                      const char *why);
/* A release is no longer held. */
void pil_follow_dropped(struct pil_follow *follow, uint32_t view_index, const char *release);
/* Channels or projects may have changed. */
void pil_follow_nudge(struct pil_follow *follow);
void pil_follow_set_poll(struct pil_follow *follow, uint64_t poll_ms);

/* Whether something of the view is served or ready to be. */
bool pil_follow_serves(const struct pil_follow *follow, uint32_t view_index);
const struct pil_target *pil_follow_target(const struct pil_follow *follow, uint32_t view_index);
/* Panics when the state contradicts itself. */
void pil_follow_validate(const struct pil_follow *follow);
