/* SPDX-License-Identifier: Apache-2.0
 * The loop that brings all served views to the releases that their channels want: it asks each view's target (target.h)
 * for the next task, hands I/O to the executor (executor.h), does the rest through hooks of the daemon, and returns
 * each outcome to the target. Views of a project wait until the project was read or was found missing. Only one release
 * at a time is between admission and hand-over, because memory is admitted for one at a time; all other steps of
 * different views overlap. Clock, jobs and effects are passed in, so that a test can simulate everything. Thread: one.
 */
#pragma once

#include "follow/job.h"

struct pil_follow;

struct pil_follow_hooks {
    void *context;
    /* Runs the job, at once or later, on any thread; pil_follow_done returns it. */
    void (*submit)(void *context, struct pil_job *job);
    /* Asks whether `bytes` more may be loaded. OK: the question was sent, and pil_follow_admitted brings the answer. */
    pil_status (*ask_admission)(void *context, uint32_t view_index, const char *release, uint64_t bytes);
    /* Hands over a verified, sealed shard; the callee owns fd. OK: it was sent, and pil_follow_taken brings the answer.
     */
    pil_status (*hand_over)(void *context, const struct pil_task *task, const char *release, uint32_t shard_count,
                            int fd);
    /* Some shards of a release were handed over, and the rest will not follow. */
    void (*given_up)(void *context, uint32_t view_index, const char *release);
    /* All shards of the release are held: serve it. created_us comes from the manifest; 0: that was not read. OK: it
     * was sent, and pil_follow_published brings the answer. */
    pil_status (*publish)(void *context, uint32_t view_index, const char *release, int64_t created_us);
    /* The channel was read successfully just now. */
    void (*checked)(void *context, uint32_t view_index, const struct pil_channel *channel);
    void (*reported)(void *context, uint32_t view_index, const struct pil_fetch_report *report);
    /* The applied project has changed: its document, and the first view of that project. If this fails, the project is
     * read and handed over again. */
    pil_status (*project)(void *context, uint32_t view_index, struct pil_bytes document);
    /* There is no applied project (NOT_FOUND), or its document cannot be used, and why. What was handed over before
     * stays in force. Called when that becomes so, and when the reason is another one. */
    void (*no_project)(void *context, uint32_t view_index, const struct pil_outcome *outcome);
};

struct pil_follow_options {
    const struct pil_follow_view *views; /* borrowed, as are clock and hooks */
    uint32_t view_count;
    bool use_huge_pages; /* move what was fetched into huge pages before it is handed over */
    uint64_t poll_ms;
    const struct pil_clock *clock;
    const struct pil_follow_hooks *hooks;
};

/* NULL when memory is short. */
struct pil_follow *pil_follow_create(const struct pil_follow_options *options);
/* No job may be running. */
void pil_follow_destroy(struct pil_follow **follow);

/* Call it before the first step, for each release that is held whole; is_live: it is the one that is served.
 * NO_MEMORY. */
pil_status pil_follow_hold(struct pil_follow *follow, uint32_t view_index, const char *release,
                           bool is_live) PIL_CHECKED;

/* Does every task that is due, without waiting. Returns the time, by the clock of the options, by which to call it
 * again; UINT64_MAX: only after one of the calls below. */
uint64_t pil_follow_step(struct pil_follow *follow);

/* Returns a job that is done. */
void pil_follow_done(struct pil_follow *follow, struct pil_job *job);
/* The answer to ask_admission: OK, or TOO_LARGE and why. An answer that no view waits for is ignored. */
void pil_follow_admitted(struct pil_follow *follow, uint32_t view_index, const char *release, pil_status status,
                         const char *why);
/* The answer to hand_over: OK, or NO_MEMORY and why. release "": the supervisor could not hold the project that was
 * handed over, and the next reading hands it over again. An answer that no view waits for is ignored. */
void pil_follow_taken(struct pil_follow *follow, uint32_t view_index, const char *release, pil_status status,
                      const char *why);
/* The answer to publish, from whoever serves the release: OK, or what is wrong and why. Also called for a release that
 * was published by an earlier fetcher, or that a new server does not serve. */
void pil_follow_published(struct pil_follow *follow, uint32_t view_index, const char *release, pil_fetch_result result,
                          const char *why);
/* A release is no longer held. */
void pil_follow_dropped(struct pil_follow *follow, uint32_t view_index, const char *release);
/* Channels or projects may have changed. */
void pil_follow_nudge(struct pil_follow *follow);
void pil_follow_set_poll(struct pil_follow *follow, uint64_t poll_ms);

/* Whether a release of the view is served or held whole. */
bool pil_follow_serves(const struct pil_follow *follow, uint32_t view_index);
const struct pil_target *pil_follow_target(const struct pil_follow *follow, uint32_t view_index);
/* Panics when the state contradicts itself. */
void pil_follow_validate(const struct pil_follow *follow);
