/* SPDX-License-Identifier: Apache-2.0 */
#include "follow/job.h"

#include "base/panic.h"
#include "base/sys.h"
#include "release/project.h"
#include "release/shard_io.h"
#include "snapshot/verify.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

void pil_job_init(struct pil_job *job, const struct pil_follow_view *view) {
    *job = (struct pil_job){.view = view, .fd = -1};
}

void pil_job_deinit(struct pil_job *job) {
    pil_sys_close(&job->fd);
    pil_manifest_destroy(&job->manifest);
    pil_text_deinit(&job->project);
}

struct pil_release_ref pil_job_ref(const struct pil_job *job) {
    struct pil_release_ref ref = {0};
    memcpy(ref.project, job->view->project, sizeof ref.project);
    memcpy(ref.view, job->view->view, sizeof ref.view);
    memcpy(ref.release, job->release, sizeof job->release);
    return ref;
}

/* ---- Documents */

/* Each version is parsed once, in this process, which holds nothing that clients wait for. The server gets a document
 * that was made here. */
static pil_status read_project(struct pil_job *job, struct pil_store *store, struct pil_error *error) {
    char name[PIL_STORE_NAME_BYTES];
    struct pil_store_content content;
    struct pil_outcome *verdict = &job->project_verdict;
    pil_text_deinit(&job->project);
    job->is_project_new = false;
    pil_layout_project(job->view->project, name);
    pil_status status =
        pil_store_get_if_changed(store, name, PIL_PROJECT_BYTES_MAX, &job->project_tag, &content, error);
    if (status != PIL_STATUS_OK) {
        job->project_tag = (struct pil_store_tag){0}; /* the version before is news when it comes back */
        return status == PIL_STATUS_NOT_FOUND ? pil_project_missing(store, job->view->project, error) : status;
    }
    job->project_tag = content.tag;
    if (!content.is_unchanged) {
        *verdict = (struct pil_outcome){0};
        verdict->status = pil_project_document_clean(pil_text_bytes(&content.text), job->view->project, &job->project,
                                                     &verdict->error);
        pil_text_deinit(&content.text);
        job->is_project_new = verdict->status == PIL_STATUS_OK;
    }
    if (verdict->status == PIL_STATUS_OK) {
        return PIL_STATUS_OK;
    }
    if (pil_status_may_pass(verdict->status)) {
        job->project_tag = (struct pil_store_tag){0}; /* the next reading tries again */
    }
    return pil_fail(error, verdict->status, "%s: %s", name, verdict->error.text);
}

static pil_status poll_channel(struct pil_job *job, struct pil_store *store, struct pil_error *error) {
    struct pil_release_ref ref = pil_job_ref(job);
    PIL_TRY(pil_channel_refresh(store, &ref, job->view->channel, &job->channel, error));
    const char *wanted = pil_channel_effective(&job->channel.channel);
    memcpy(job->outcome.release, wanted, strlen(wanted) + 1);
    return PIL_STATUS_OK;
}

static pil_status read_manifest(struct pil_job *job, struct pil_store *store, struct pil_error *error) {
    struct pil_release_ref ref = pil_job_ref(job);
    pil_manifest_destroy(&job->manifest);
    PIL_TRY(pil_manifest_read(store, &ref, &job->manifest, error));
    job->outcome.shard_count = job->manifest->shard_count;
    job->outcome.bytes = job->manifest->bytes;
    job->outcome.created_us = job->manifest->created_us;
    return PIL_STATUS_OK;
}

/* ---- Shards */

struct copy {
    int fd;
    uint8_t *buffer;
};

static uint8_t *copy_place(void *context, uint64_t offset, size_t bytes) {
    const struct copy *copy = context;
    (void)offset, (void)bytes;
    return copy->buffer;
}

static pil_status copy_take(void *context, uint64_t offset, struct pil_bytes part, struct pil_error *error) {
    const struct copy *copy = context;
    ssize_t wrote = pwrite(copy->fd, part.data, part.len, (off_t)offset);
    if (wrote != (ssize_t)part.len) {
        int number = wrote < 0 ? errno : ENOSPC;
        return pil_fail(error, pil_status_from_errno(number), "memory for a shard: %s", strerror(number));
    }
    return PIL_STATUS_OK;
}

/* Copies a shard's object into an unsealed memfd of the size that the manifest states. */
static pil_status fetch_shard(struct pil_job *job, const struct pil_job_runner *runner, struct pil_error *error) {
    const struct pil_manifest_shard *shard = &job->manifest->shards[job->task.shard];
    char name[192];
    pil_sys_close(&job->fd);
    snprintf(name, sizeof name, "pillion-%s-%u", job->release, job->task.shard);
    PIL_TRY(pil_sys_memfd_create(name, &job->fd, error));
    if (ftruncate(job->fd, (off_t)shard->bytes) != 0) {
        return pil_fail(error, pil_status_from_errno(errno), "memory for %llu bytes: %s",
                        (unsigned long long)shard->bytes, strerror(errno));
    }
    struct copy copy = {.fd = job->fd, .buffer = runner->buffer};
    const struct pil_shard_io_sink sink = {.context = &copy, .place = copy_place, .take = copy_take};
    return pil_shard_io_transfer(runner->store, shard, &sink, error);
}

/* Verifies and seals a shard. Each shard's schema and place are compared with the manifest's, so that all shards agree.
 */
static pil_status verify_shard(struct pil_job *job, struct pil_error *error) {
    const struct pil_manifest_shard *shard = &job->manifest->shards[job->task.shard];
    void *data = NULL;
    PIL_TRY(pil_sys_map_aligned(job->fd, shard->bytes, &data, error));
    const struct pil_verify_place place = pil_manifest_place(job->manifest, job->task.shard);
    const struct pil_verify_options options = {.id = &shard->id,
                                               .view = job->manifest->view,
                                               .schema = pil_text_bytes(&job->manifest->schema),
                                               .place = &place};
    pil_status status = pil_verify(pil_bytes_from(data, shard->bytes), &options, error);
    munmap(data, shard->bytes);
    return status == PIL_STATUS_OK ? pil_sys_memfd_seal(job->fd, error) : status;
}

/* Runs after sealing, because a writable mapping would prevent sealing. If mapping fails, the pages stay as they are.
 */
static pil_status collapse_shard(struct pil_job *job) {
    const struct pil_manifest_shard *shard = &job->manifest->shards[job->task.shard];
    void *data = NULL;
    if (pil_sys_map_aligned(job->fd, shard->bytes, &data, NULL) == PIL_STATUS_OK) {
        job->outcome.huge_bytes = pil_sys_collapse(data, shard->bytes);
        munmap(data, shard->bytes);
    }
    return PIL_STATUS_OK;
}

/* ---- Any task */

static pil_status run(struct pil_job *job, const struct pil_job_runner *runner, struct pil_error *error) {
    switch (job->task.kind) {
    case PIL_FOLLOW_READ_PROJECT: return read_project(job, runner->store, error);
    case PIL_FOLLOW_POLL: return poll_channel(job, runner->store, error);
    case PIL_FOLLOW_READ_MANIFEST: return read_manifest(job, runner->store, error);
    case PIL_FOLLOW_FETCH: return fetch_shard(job, runner, error);
    case PIL_FOLLOW_VERIFY: return verify_shard(job, error);
    case PIL_FOLLOW_COLLAPSE: return collapse_shard(job);
    case PIL_FOLLOW_WAIT:
    case PIL_FOLLOW_ADMIT:
    case PIL_FOLLOW_HAND_OVER:
    case PIL_FOLLOW_PUBLISH:
    case PIL_FOLLOW_REPORT: break;
    }
    PIL_UNREACHABLE("this task is the loop's own");
}

static bool is_of_shard(pil_follow_kind kind) {
    return kind == PIL_FOLLOW_FETCH || kind == PIL_FOLLOW_VERIFY || kind == PIL_FOLLOW_COLLAPSE;
}

void pil_job_run(struct pil_job *job, const struct pil_job_runner *runner) {
    uint64_t started_ns = runner->clock->monotonic_ns(runner->clock->context);
    PIL_ASSERT(!is_of_shard(job->task.kind) || job->task.shard < job->manifest->shard_count);
    job->outcome = (struct pil_outcome){0};
    job->outcome.status = run(job, runner, &job->outcome.error);
    job->outcome.took_ns = runner->clock->monotonic_ns(runner->clock->context) - started_ns;
    if (is_of_shard(job->task.kind) && job->outcome.status != PIL_STATUS_OK) {
        pil_sys_close(&job->fd);
        pil_ignore(pil_fail_in(&job->outcome.error, job->outcome.status, "shard %u", job->task.shard),
                   "the text alone is wanted");
    }
}

void pil_job_fail(struct pil_job *job, pil_status status, const struct pil_error *error) {
    PIL_ASSERT(status != PIL_STATUS_OK);
    job->outcome = (struct pil_outcome){.status = status, .error = *error, .is_store_away = true};
}
