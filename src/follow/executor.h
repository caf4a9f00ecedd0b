/* SPDX-License-Identifier: Apache-2.0
 * Threads that run jobs, each with a store handle of its own, which is opened with the thread's first job and kept.
 * Before each job that needs the store its thread looks whether the URL leads elsewhere by now (pil_store_renew), also
 * in the middle of a release: the rest of it then comes from there, and each shard is verified by the manifest. The
 * loop's thread submits jobs and takes them back; everything else is inside. */
#pragma once

#include "follow/job.h"
#include "store/store.h"

struct pil_executor;

struct pil_executor_options {
    uint32_t thread_count;
    const struct pil_clock *clock; /* borrowed; any thread calls it */
    /* Opens a thread's store; called by that thread. */
    pil_status (*open)(void *context, struct pil_store **ret_store, struct pil_error *ret_error);
    void *context;
};

/* NO_MEMORY, SYSTEM: threads could not be started. */
pil_status pil_executor_create(const struct pil_executor_options *options, struct pil_executor **ret_executor,
                               struct pil_error *ret_error) PIL_CHECKED;
/* Cancels what is running, and waits for it: a block of a transfer at most. Jobs that are not taken are let go. */
void pil_executor_destroy(struct pil_executor **executor);

/* The job is the executor's until pil_executor_take gives it back. In order of submission. */
void pil_executor_submit(struct pil_executor *executor, struct pil_job *job);
/* A job that is done, or NULL. Never blocks. */
struct pil_job *pil_executor_take(struct pil_executor *executor);
/* Becomes readable when a job is done, until pil_executor_take returned NULL. The executor's. */
int pil_executor_fd(const struct pil_executor *executor);

/* Running jobs and all that are submitted from now on end with CLOSED. */
void pil_executor_cancel(struct pil_executor *executor);
/* The threads give way to others from their next job on (pil_sys_run_in_background). */
void pil_executor_run_in_background(struct pil_executor *executor);
