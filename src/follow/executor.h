/* SPDX-License-Identifier: Apache-2.0
 * Threads that run jobs. Each has its own store handle, which it opens for its first job that needs the store, and
 * keeps. Before each such job the thread checks whether the URL leads elsewhere by now (pil_store_renew), also in the
 * middle of a release: the remaining shards then come from the new place, and each shard is verified against the
 * manifest. The loop's thread submits jobs and takes them back; everything else is internal. */
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
/* Cancels the running jobs and waits for them: for one block of a transfer, or for a whole VERIFY or COLLAPSE. Drops
 * jobs that were not taken without freeing them. */
void pil_executor_destroy(struct pil_executor **executor);

/* Jobs start in the order of submission. The executor owns the job until pil_executor_take returns it. */
void pil_executor_submit(struct pil_executor *executor, struct pil_job *job);
/* Returns a job that is done, or NULL. Never blocks. */
struct pil_job *pil_executor_take(struct pil_executor *executor);
/* A descriptor that is readable from when a job is done until pil_executor_take returns NULL. Owned by the executor. */
int pil_executor_fd(const struct pil_executor *executor);

/* Makes running jobs, and all that are submitted from now on, end with CLOSED as soon as they use the store. */
void pil_executor_cancel(struct pil_executor *executor);
/* From their next job on, the threads yield to other threads (pil_sys_run_in_background). */
void pil_executor_run_in_background(struct pil_executor *executor);
