/* SPDX-License-Identifier: Apache-2.0
 * The tasks that need a store, a disk or much time. A thread of the executor, or a test, runs them. Each view has one
 * job: it carries the results of one task to the next, and belongs to either the loop or the thread that runs it, never
 * to both. */
#pragma once

#include "base/clock.h"
#include "base/list.h"
#include "follow/target.h"
#include "release/channel.h"
#include "release/manifest.h"
#include "store/store.h"

/* A served view. */
struct pil_follow_view {
    char project[PIL_NAME_BYTES_MAX + 1];
    char view[PIL_NAME_BYTES_MAX + 1];
    char channel[PIL_NAME_BYTES_MAX + 1];
};

struct pil_job {
    struct pil_list_link link; /* used by the executor */
    const struct pil_follow_view *view;
    struct pil_task task;
    char release[PIL_RELEASE_ID_CHARS + 1]; /* for READ_MANIFEST to COLLAPSE */
    struct pil_outcome outcome;

    struct pil_channel_version channel; /* as the last POLL found it */
    struct pil_store_tag project_tag;   /* of the project as the last READ_PROJECT found it */
    struct pil_outcome project_verdict; /* about the version of that tag */
    bool is_project_new;                /* READ_PROJECT found that the project has changed */
    struct pil_text project;            /* for the server, if it has changed; READ_PROJECT empties it first */
    struct pil_manifest *manifest;      /* from READ_MANIFEST; NULL: none */
    int fd;                             /* from FETCH: a shard's memfd; -1: none */
};

/* The resources of the thread that runs a job. */
struct pil_job_runner {
    struct pil_store *store;
    uint8_t *buffer; /* of PIL_SHARD_IO_PART_BYTES */
    const struct pil_clock *clock;
};

void pil_job_init(struct pil_job *job, const struct pil_follow_view *view);
void pil_job_deinit(struct pil_job *job);
/* Runs job->task, which must be READ_PROJECT to COLLAPSE but not ADMIT, and sets job->outcome. */
void pil_job_run(struct pil_job *job, const struct pil_job_runner *runner);
/* Sets the outcome of a job whose store could not be opened. */
void pil_job_fail(struct pil_job *job, pil_status status, const struct pil_error *error);

/* The release that the job is about. */
struct pil_release_ref pil_job_ref(const struct pil_job *job);
