/* SPDX-License-Identifier: Apache-2.0
 * The tasks that need a store, a disk or much time, done by whoever has a store handle: a thread of the executor, or a
 * test. One job per view: it carries what one task leaves to the next, and belongs to either the loop or the thread
 * that runs it, never to both. */
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
    struct pil_list_link link; /* of the executor */
    const struct pil_follow_view *view;
    struct pil_task task;
    char release[PIL_RELEASE_ID_CHARS + 1]; /* of READ_MANIFEST to COLLAPSE */
    struct pil_outcome outcome;

    struct pil_channel_version channel; /* as POLL found it last */
    struct pil_store_tag project_tag;   /* of the project as READ_PROJECT found it last */
    bool is_project_new;                /* it is another one than before: */
    struct pil_text project;            /* its document; READ_PROJECT empties it */
    struct pil_manifest *manifest;      /* of READ_MANIFEST; NULL: none */
    int fd;                             /* of FETCH: a shard's memfd; -1: none */
};

/* What the one who runs jobs has. */
struct pil_job_runner {
    struct pil_store *store;
    uint8_t *buffer; /* PIL_SHARD_IO_PART_BYTES */
    const struct pil_clock *clock;
};

void pil_job_init(struct pil_job *job, const struct pil_follow_view *view);
void pil_job_deinit(struct pil_job *job);
/* Does job->task into job->outcome. READ_PROJECT to COLLAPSE without ADMIT. */
void pil_job_run(struct pil_job *job, const struct pil_job_runner *runner);
/* The store could not be opened: the outcome of any job then. */
void pil_job_fail(struct pil_job *job, pil_status status, const struct pil_error *error);

/* The release that the job is about. */
struct pil_release_ref pil_job_ref(const struct pil_job *job);
