/* SPDX-License-Identifier: Apache-2.0 */
#include "follow/follow.h"

#include "base/panic.h"
#include "base/sys.h"
#include "follow/held.h"

#include <stdio.h>
#include <stdlib.h>

enum { NOBODY = UINT32_MAX };

struct view {
    struct pil_target target;
    struct pil_job job;
    struct pil_held held;
    uint32_t project_reader; /* the view that reads this one's project */
    bool is_project_lost;    /* the project was handed over, but the supervisor could not hold it */
    /* Why there is no project, as the hook was told; OK: there is one, or nothing is known yet. */
    pil_status no_project;
    struct pil_error no_project_error;
};

struct pil_follow {
    struct pil_follow_options options;
    uint32_t loading; /* the view that has admission or asks for it; NOBODY: none */
    uint32_t first;   /* the view that the next round starts with; it rotates, so that no view starves */
    struct view views[];
};

static uint64_t now_ns(const struct pil_follow *follow) {
    return follow->options.clock->monotonic_ns(follow->options.clock->context);
}

/* ---- Life */

static uint32_t find_project_reader(const struct pil_follow_options *options, uint32_t view_index) {
    for (uint32_t i = 0; i < view_index; i++) {
        if (strcmp(options->views[i].project, options->views[view_index].project) == 0) {
            return i;
        }
    }
    return view_index;
}

struct pil_follow *pil_follow_create(const struct pil_follow_options *options) {
    struct pil_follow *follow = calloc(1, sizeof *follow + options->view_count * sizeof follow->views[0]);
    if (follow == NULL) {
        return NULL;
    }
    follow->options = *options;
    follow->loading = NOBODY;
    for (uint32_t i = 0; i < options->view_count; i++) {
        struct view *view = &follow->views[i];
        view->project_reader = find_project_reader(options, i);
        const struct pil_target_options target = {.view = i,
                                                  .reads_project = view->project_reader == i,
                                                  .collapses = options->use_huge_pages,
                                                  .poll_ns = options->poll_ms * 1000000};
        view->target = pil_target_make(&target);
        pil_job_init(&view->job, &options->views[i]);
    }
    return follow;
}

void pil_follow_destroy(struct pil_follow **follow) {
    struct pil_follow *old = *follow;
    *follow = NULL;
    for (uint32_t i = 0; old != NULL && i < old->options.view_count; i++) {
        PIL_ASSERT(!pil_list_is_linked(&old->views[i].job.link));
        pil_job_deinit(&old->views[i].job);
        pil_held_deinit(&old->views[i].held);
    }
    free(old);
}

static struct view *view_at(struct pil_follow *follow, uint32_t view_index) {
    PIL_ASSERT(view_index < follow->options.view_count);
    return &follow->views[view_index];
}

pil_status pil_follow_hold(struct pil_follow *follow, uint32_t view_index, const char *release, bool is_live) {
    struct view *view = view_at(follow, view_index);
    PIL_TRY(pil_held_add(&view->held, release));
    if (is_live) {
        pil_target_set_live(&view->target, release);
    }
    return PIL_STATUS_OK;
}

/* Whether the manifest of the fetched release was read. A release that replaces another one during its fetch starts
 * again with its own manifest. */
static bool has_begun(const struct pil_target *target) {
    return target->is_fetching && target->step != PIL_FOLLOW_READ_MANIFEST;
}

/* Whether the view waits for an answer: to ADMIT or to HAND_OVER. */
static bool is_asking(const struct view *view) {
    return view->target.is_busy && (view->target.step == PIL_FOLLOW_ADMIT || view->target.step == PIL_FOLLOW_HAND_OVER);
}

void pil_follow_validate(const struct pil_follow *follow) {
    for (uint32_t i = 0; i < follow->options.view_count; i++) {
        const struct view *view = &follow->views[i];
        pil_target_validate(&view->target);
        PIL_ASSERT(!is_asking(view) || follow->loading == i);
        PIL_ASSERT(follow->loading != i || has_begun(&view->target));
        PIL_ASSERT(view->target.shards_whole == 0 || follow->loading == i);
    }
}

/* ---- Outcomes */

/* Passes the outcome to the target, then releases what the target no longer needs, here and at the supervisor. */
static void finish(struct pil_follow *follow, struct view *view, const struct pil_outcome *outcome) {
    const struct pil_follow_hooks *hooks = follow->options.hooks;
    bool is_partial = view->target.shards_whole > 0 && !pil_held_has(&view->held, view->job.release);
    pil_target_done(&view->target, outcome, now_ns(follow));
    if (!has_begun(&view->target)) {
        if (is_partial) {
            hooks->given_up(hooks->context, view->target.view, view->job.release);
        }
        pil_sys_close(&view->job.fd);
        pil_manifest_destroy(&view->job.manifest);
        follow->loading = follow->loading == view->target.view ? NOBODY : follow->loading;
    }
}

static void finish_status(struct pil_follow *follow, struct view *view, pil_status status) {
    struct pil_outcome outcome = {.status = status};
    finish(follow, view, &outcome);
}

static void take_project(struct pil_follow *follow, struct pil_job *job) {
    const struct pil_follow_hooks *hooks = follow->options.hooks;
    if (job->outcome.status == PIL_STATUS_OK && job->is_project_new) {
        job->outcome.status = hooks->project(hooks->context, job->task.view, pil_text_bytes(&job->project));
        if (job->outcome.status != PIL_STATUS_OK) {
            job->project_tag = (struct pil_store_tag){0}; /* so that the next reading hands it over again */
        }
    }
    pil_text_deinit(&job->project);
    if (pil_target_project_is_settled(&job->outcome)) {
        struct view *view = &follow->views[job->task.view];
        bool is_known = job->outcome.status == view->no_project &&
                        strcmp(job->outcome.error.text, view->no_project_error.text) == 0;
        view->no_project = job->outcome.status;
        view->no_project_error = job->outcome.error;
        if (!is_known && job->outcome.status != PIL_STATUS_OK) {
            hooks->no_project(hooks->context, job->task.view, &job->outcome);
        }
    }
}

/* Reading a project failed for the first time: each idle view that waits for it reports the failure. */
static void tell_waiting(struct pil_follow *follow, const struct view *reader, const struct pil_outcome *outcome) {
    for (uint32_t i = 0; !reader->target.knows_project && i < follow->options.view_count; i++) {
        struct view *view = &follow->views[i];
        bool may_wait = view != reader && view->project_reader == reader->target.view && !view->target.is_busy;
        struct pil_task task = may_wait ? pil_target_next(&view->target, now_ns(follow)) : (struct pil_task){0};
        if (task.kind == PIL_FOLLOW_POLL) {
            pil_target_start(&view->target, &task);
            finish(follow, view, outcome);
        }
    }
}

void pil_follow_done(struct pil_follow *follow, struct pil_job *job) {
    const struct pil_follow_hooks *hooks = follow->options.hooks;
    struct view *view = view_at(follow, job->task.view);
    PIL_ASSERT(job == &view->job);
    if (job->task.kind == PIL_FOLLOW_READ_PROJECT) {
        take_project(follow, job);
    } else if (job->task.kind == PIL_FOLLOW_POLL && job->outcome.status == PIL_STATUS_OK) {
        hooks->checked(hooks->context, job->task.view, &job->channel.channel);
        job->outcome.is_held = pil_held_has(&view->held, job->outcome.release);
    }
    finish(follow, view, &job->outcome);
    if (job->task.kind == PIL_FOLLOW_READ_PROJECT) {
        tell_waiting(follow, view, &job->outcome);
    }
}

/* The view that waits for this answer; NULL: none does. */
static struct view *find_asking(struct pil_follow *follow, uint32_t view_index, pil_follow_kind step,
                                const char *release) {
    struct view *view = view_index < follow->options.view_count ? &follow->views[view_index] : NULL;
    bool is_asked = view != NULL && is_asking(view) && view->target.step == step;
    return is_asked && strcmp(view->job.release, release) == 0 ? view : NULL;
}

static void finish_answer(struct pil_follow *follow, struct view *view, pil_status status, const char *why) {
    struct pil_outcome outcome = {.status = status};
    if (status != PIL_STATUS_OK) {
        pil_ignore(pil_fail(&outcome.error, status, "%s", why), "the text alone is wanted");
    }
    finish(follow, view, &outcome);
}

void pil_follow_admitted(struct pil_follow *follow, uint32_t view_index, const char *release, pil_status status,
                         const char *why) {
    struct view *view = find_asking(follow, view_index, PIL_FOLLOW_ADMIT, release);
    if (view != NULL) {
        finish_answer(follow, view, status, why);
    }
}

void pil_follow_taken(struct pil_follow *follow, uint32_t view_index, const char *release, pil_status status,
                      const char *why) {
    struct view *view = find_asking(follow, view_index, PIL_FOLLOW_HAND_OVER, release);
    if (view != NULL) {
        bool is_whole = status == PIL_STATUS_OK && view->target.shards_whole + 1 == view->target.shard_count;
        if (is_whole && pil_held_add(&view->held, release) != PIL_STATUS_OK) {
            finish_answer(follow, view, PIL_STATUS_NO_MEMORY, "no memory for its name");
            return;
        }
        finish_answer(follow, view, status, why);
    } else if (release[0] == '\0' && view_index < follow->options.view_count) {
        follow->views[view_index].is_project_lost = true;
    }
}

void pil_follow_published(struct pil_follow *follow, uint32_t view_index, const char *release, pil_fetch_result result,
                          const char *why) {
    const struct pil_follow_hooks *hooks = follow->options.hooks;
    struct pil_fetch_report report;
    if (view_index < follow->options.view_count &&
        pil_target_published(&follow->views[view_index].target, release, result, now_ns(follow), &report)) {
        snprintf(report.text, sizeof report.text, "%s", why);
        hooks->reported(hooks->context, view_index, &report);
    }
}

void pil_follow_dropped(struct pil_follow *follow, uint32_t view_index, const char *release) {
    if (view_index < follow->options.view_count) {
        struct view *view = &follow->views[view_index];
        pil_held_remove(&view->held, release);
        pil_target_dropped(&view->target, release);
    }
}

void pil_follow_nudge(struct pil_follow *follow) {
    for (uint32_t i = 0; i < follow->options.view_count; i++) {
        pil_target_nudge(&follow->views[i].target);
    }
}

void pil_follow_set_poll(struct pil_follow *follow, uint64_t poll_ms) {
    PIL_ASSERT(poll_ms > 0);
    for (uint32_t i = 0; i < follow->options.view_count; i++) {
        struct pil_target *target = &follow->views[i].target;
        if (target->poll_ns != poll_ms * 1000000) {
            target->poll_ns = poll_ms * 1000000;
            pil_target_nudge(target);
        }
    }
}

bool pil_follow_serves(const struct pil_follow *follow, uint32_t view_index) {
    PIL_ASSERT(view_index < follow->options.view_count);
    const struct view *view = &follow->views[view_index];
    return view->target.live[0] != '\0' || view->held.count > 0;
}

const struct pil_target *pil_follow_target(const struct pil_follow *follow, uint32_t view_index) {
    PIL_ASSERT(view_index < follow->options.view_count);
    return &follow->views[view_index].target;
}

/* ---- Tasks */

static void submit(struct pil_follow *follow, struct view *view, const struct pil_task *task) {
    struct pil_job *job = &view->job;
    job->task = *task;
    memcpy(job->release, view->target.fetch.release, sizeof job->release);
    if (task->kind == PIL_FOLLOW_READ_PROJECT && view->is_project_lost) {
        job->project_tag = (struct pil_store_tag){0}; /* so that this reading hands it over again */
        view->is_project_lost = false;
    }
    follow->options.hooks->submit(follow->options.hooks->context, job);
}

static void ask(struct pil_follow *follow, struct view *view, const struct pil_task *task) {
    const struct pil_follow_hooks *hooks = follow->options.hooks;
    follow->loading = task->view;
    pil_status status = hooks->ask_admission(hooks->context, task->view, view->job.release, view->job.manifest->bytes);
    if (status != PIL_STATUS_OK) {
        finish_status(follow, view, status);
    }
}

static void hand_over(struct pil_follow *follow, struct view *view, const struct pil_task *task) {
    const struct pil_follow_hooks *hooks = follow->options.hooks;
    int fd = view->job.fd;
    view->job.fd = -1;
    PIL_ASSERT(fd >= 0);
    pil_status status = hooks->hand_over(hooks->context, task, view->job.release, view->target.shard_count, fd);
    if (status != PIL_STATUS_OK) {
        finish_status(follow, view, status);
    }
}

static void publish(struct pil_follow *follow, struct view *view, const struct pil_task *task) {
    const struct pil_follow_hooks *hooks = follow->options.hooks;
    const struct pil_fetch_report *fetch = &view->target.fetch;
    PIL_ASSERT(pil_held_has(&view->held, fetch->release));
    finish_status(follow, view, hooks->publish(hooks->context, task->view, fetch->release, fetch->created_us));
}

static void tell_report(struct pil_follow *follow, struct view *view, const struct pil_task *task) {
    const struct pil_follow_hooks *hooks = follow->options.hooks;
    hooks->reported(hooks->context, task->view, &view->target.report);
    finish_status(follow, view, PIL_STATUS_OK);
}

/* Views of a project wait until the project was read once or was found missing: it says who may map their releases. */
static bool must_wait(const struct pil_follow *follow, const struct view *view, const struct pil_task *task) {
    switch (task->kind) {
    case PIL_FOLLOW_POLL: return !follow->views[view->project_reader].target.knows_project;
    case PIL_FOLLOW_ADMIT: return follow->loading != NOBODY && follow->loading != task->view;
    case PIL_FOLLOW_WAIT: return true;
    case PIL_FOLLOW_READ_PROJECT:
    case PIL_FOLLOW_READ_MANIFEST:
    case PIL_FOLLOW_FETCH:
    case PIL_FOLLOW_VERIFY:
    case PIL_FOLLOW_COLLAPSE:
    case PIL_FOLLOW_HAND_OVER:
    case PIL_FOLLOW_PUBLISH:
    case PIL_FOLLOW_REPORT: return false;
    }
    PIL_UNREACHABLE("task");
}

static void do_task(struct pil_follow *follow, struct view *view, const struct pil_task *task) {
    pil_target_start(&view->target, task);
    switch (task->kind) {
    case PIL_FOLLOW_READ_PROJECT:
    case PIL_FOLLOW_POLL:
    case PIL_FOLLOW_READ_MANIFEST:
    case PIL_FOLLOW_FETCH:
    case PIL_FOLLOW_VERIFY:
    case PIL_FOLLOW_COLLAPSE: submit(follow, view, task); return;
    case PIL_FOLLOW_ADMIT: ask(follow, view, task); return;
    case PIL_FOLLOW_HAND_OVER: hand_over(follow, view, task); return;
    case PIL_FOLLOW_PUBLISH: publish(follow, view, task); return;
    case PIL_FOLLOW_REPORT: tell_report(follow, view, task); return;
    case PIL_FOLLOW_WAIT: break;
    }
    PIL_UNREACHABLE("task");
}

/* Does every task that the view can do now; returns whether there was one. Lowers *deadline_ns to the time that the
 * view waits for, if any. */
static bool advance(struct pil_follow *follow, uint32_t view_index, uint64_t *deadline_ns) {
    struct view *view = &follow->views[view_index];
    bool has_moved = false;
    while (!view->target.is_busy) {
        struct pil_task task = pil_target_next(&view->target, now_ns(follow));
        if (must_wait(follow, view, &task)) {
            uint64_t until_ns = task.kind == PIL_FOLLOW_WAIT    ? task.wait_until_ns
                                : task.kind == PIL_FOLLOW_ADMIT ? view->target.polled_ns + view->target.poll_ns
                                                                : UINT64_MAX;
            *deadline_ns = until_ns < *deadline_ns ? until_ns : *deadline_ns;
            break;
        }
        do_task(follow, view, &task);
        has_moved = true;
    }
    return has_moved;
}

uint64_t pil_follow_step(struct pil_follow *follow) {
    uint64_t deadline_ns;
    bool has_moved = true;
    PIL_ASSERT(follow->options.view_count > 0);
    while (has_moved) { /* a task that ends may let another view's task begin */
        has_moved = false;
        deadline_ns = UINT64_MAX;
        for (uint32_t i = 0; i < follow->options.view_count; i++) {
            has_moved |= advance(follow, (follow->first + i) % follow->options.view_count, &deadline_ns);
        }
        follow->first = (follow->first + 1) % follow->options.view_count;
    }
    pil_follow_validate(follow);
    return deadline_ns;
}
