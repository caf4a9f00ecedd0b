/* SPDX-License-Identifier: Apache-2.0 */
#include "follow/target.h"

#include "base/panic.h"

#include <stdio.h>
#include <string.h>

static void set_release(char to[PIL_RELEASE_ID_CHARS + 1], const char *release) {
    PIL_ASSERT(strlen(release) <= PIL_RELEASE_ID_CHARS);
    memcpy(to, release, strlen(release) + 1);
}

static bool same(const char *a, const char *b) {
    return strcmp(a, b) == 0;
}

static bool is_of_shard(pil_follow_kind kind) {
    return kind >= PIL_FOLLOW_FETCH && kind <= PIL_FOLLOW_HAND_OVER;
}

static bool is_reading(pil_follow_kind kind) {
    return kind == PIL_FOLLOW_READ_PROJECT || kind == PIL_FOLLOW_POLL;
}

struct pil_target pil_target_make(const struct pil_target_options *options) {
    PIL_ASSERT(options->poll_ns > 0);
    return (struct pil_target){.view = options->view,
                               .reads_project = options->reads_project,
                               .collapses = options->collapses,
                               .poll_ns = options->poll_ns,
                               .step = PIL_FOLLOW_WAIT,
                               .backoff = pil_backoff_make(PIL_BACKOFF_RELEASE_MS_MIN, PIL_BACKOFF_RELEASE_MS_MAX)};
}

void pil_target_set_live(struct pil_target *target, const char *release) {
    PIL_ASSERT(!target->is_busy && target->step == PIL_FOLLOW_WAIT);
    set_release(target->live, release);
}

void pil_target_validate(const struct pil_target *target) {
    PIL_ASSERT(target->backoff.wait_ms <= PIL_BACKOFF_RELEASE_MS_MAX);
    PIL_ASSERT(target->shards_whole <= target->shard_count);
    if (target->is_fetching) {
        PIL_ASSERT(target->fetch.release[0] != '\0');
        PIL_ASSERT(!same(target->fetch.release, target->live));
        PIL_ASSERT(target->step != PIL_FOLLOW_WAIT);
    }
    if (is_of_shard(target->step)) {
        PIL_ASSERT(target->is_fetching);
        PIL_ASSERT(target->shards_whole < target->shard_count);
    }
    if (target->step == PIL_FOLLOW_PUBLISH) {
        PIL_ASSERT(!target->is_fetching);
        PIL_ASSERT(target->fetch.release[0] != '\0');
    }
}

/* ---- Next */

static uint64_t poll_due_ns(const struct pil_target *target) {
    return target->is_nudged ? 0 : target->polled_ns + target->poll_ns;
}

/* A POLL may interrupt a fetch between two shards, and before it asks for admission. */
static bool may_interrupt(const struct pil_target *target) {
    return target->is_fetching && (target->step == PIL_FOLLOW_FETCH || target->step == PIL_FOLLOW_ADMIT);
}

struct pil_task pil_target_next(const struct pil_target *target, uint64_t now_ns) {
    struct pil_task task = {.kind = target->step, .view = target->view, .shard = target->shards_whole};
    bool is_due = target->is_nudged || now_ns >= target->wake_ns;
    PIL_ASSERT(!target->is_busy);
    if ((target->step == PIL_FOLLOW_WAIT && is_due) || (may_interrupt(target) && now_ns >= poll_due_ns(target))) {
        task.kind = target->reads_project ? PIL_FOLLOW_READ_PROJECT : PIL_FOLLOW_POLL;
    } else if (target->step == PIL_FOLLOW_WAIT) {
        task.wait_until_ns = target->wake_ns;
    }
    return task;
}

void pil_target_start(struct pil_target *target, const struct pil_task *task) {
    PIL_ASSERT(!target->is_busy);
    PIL_ASSERT(task->kind != PIL_FOLLOW_WAIT);
    PIL_ASSERT(task->view == target->view);
    target->is_busy = true;
    if (is_reading(task->kind)) {
        if (target->is_fetching && !is_reading(target->step)) {
            target->resume = target->step;
        }
        if (task->kind == (target->reads_project ? PIL_FOLLOW_READ_PROJECT : PIL_FOLLOW_POLL)) {
            target->is_nudged = false; /* a nudge from here on needs another reading */
        }
        target->step = task->kind;
    }
    PIL_ASSERT(target->step == task->kind);
}

/* ---- Done */

/* Waits until the next POLL is due, or until the refused release may be tried again. */
static void wait(struct pil_target *target) {
    uint64_t due_ns = target->polled_ns + target->poll_ns;
    bool retries = target->refused[0] != '\0' && target->backoff.until_ns != 0;
    target->wake_ns = retries && target->backoff.until_ns < due_ns ? target->backoff.until_ns : due_ns;
    target->step = PIL_FOLLOW_WAIT;
}

static void forget_refusal(struct pil_target *target) {
    target->refused[0] = '\0';
    pil_backoff_reset(&target->backoff);
}

static void give_up(struct pil_target *target) {
    target->is_fetching = false;
    target->shards_whole = target->shard_count = 0;
}

/* Reports next; wake_ns stays as it is, for the WAIT after the report. */
static void report(struct pil_target *target, const struct pil_fetch_report *numbers, pil_fetch_result result,
                   const char *text) {
    target->report = *numbers;
    target->report.result = result;
    snprintf(target->report.text, sizeof target->report.text, "%s", text);
    target->step = PIL_FOLLOW_REPORT;
}

static const char *why(const struct pil_outcome *outcome) {
    return outcome->error.text[0] != '\0' ? outcome->error.text : pil_status_text(outcome->status);
}

/* The release is not tried again before its back-off has passed. */
static void back_off(struct pil_target *target, const char *release, uint64_t now_ns) {
    if (!same(target->refused, release)) {
        pil_backoff_reset(&target->backoff);
        set_release(target->refused, release);
    }
    pil_backoff_fail(&target->backoff, now_ns);
}

static void refuse(struct pil_target *target, const struct pil_outcome *outcome, uint64_t now_ns) {
    give_up(target);
    if (outcome->status == PIL_STATUS_CLOSED) { /* cancelled, which says nothing about the release */
        wait(target);
        return;
    }
    back_off(target, target->fetch.release, now_ns);
    wait(target);
    report(target, &target->fetch, pil_fetch_result_of(outcome->status), why(outcome));
}

/* The channel could not be read, or the project could not be read for the first time. */
static void poll_failed(struct pil_target *target, const struct pil_outcome *outcome, uint64_t now_ns) {
    target->polled_ns = now_ns;
    if (target->is_fetching && outcome->status != PIL_STATUS_CLOSED) {
        target->step = target->resume; /* go on with the fetch: another POLL comes before PUBLISH anyway */
        return;
    }
    give_up(target);
    pil_backoff_skip(&target->backoff); /* a refused release is tried again as soon as its channel can be read */
    wait(target);
    if (outcome->status == PIL_STATUS_CLOSED) {
        return;
    }
    uint64_t store_ns = now_ns + PIL_TARGET_STORE_RETRY_MS * 1000000ull;
    if (outcome->is_store_away && store_ns < target->wake_ns) {
        target->wake_ns = store_ns;
    }
    pil_fetch_result result = pil_fetch_result_of(outcome->status);
    bool is_machine = outcome->is_store_away && result != PIL_FETCH_NOT_FOUND;
    report(target, &(struct pil_fetch_report){0}, is_machine ? PIL_FETCH_ERROR : result, why(outcome));
}

static void polled(struct pil_target *target, const struct pil_outcome *outcome, uint64_t now_ns) {
    const char *wanted = outcome->release;
    target->polled_ns = now_ns;
    PIL_ASSERT(strlen(wanted) == PIL_RELEASE_ID_CHARS);
    if (target->is_fetching && same(wanted, target->fetch.release)) {
        target->step = target->resume;
        return;
    }
    give_up(target);
    if (same(wanted, target->offered.release)) { /* the answer decides */
        wait(target);
        return;
    }
    if (target->offered.release[0] == '\0' && same(wanted, target->live)) {
        forget_refusal(target);
        wait(target);
        return;
    }
    if (same(wanted, target->refused) && pil_backoff_is_waiting(&target->backoff, now_ns)) {
        wait(target);
        return;
    }
    if (!outcome->is_held || !same(wanted, target->fetch.release)) {
        target->fetch = (struct pil_fetch_report){0};
        set_release(target->fetch.release, wanted);
    }
    target->is_fetching = !outcome->is_held;
    target->step = outcome->is_held ? PIL_FOLLOW_PUBLISH : PIL_FOLLOW_READ_MANIFEST;
}

static void handed_over(struct pil_target *target) {
    if (++target->shards_whole < target->shard_count) {
        target->step = PIL_FOLLOW_FETCH;
    } else { /* whole: POLL whether it is still wanted */
        give_up(target);
        target->step = PIL_FOLLOW_POLL;
    }
}

static void offered(struct pil_target *target) {
    target->offered = target->fetch;
    wait(target);
}

/* A step of the fetch, or its publication, succeeded. */
static void advance(struct pil_target *target, const struct pil_outcome *outcome) {
    switch (target->step) {
    case PIL_FOLLOW_READ_MANIFEST:
        PIL_ASSERT(outcome->shard_count > 0);
        target->shard_count = outcome->shard_count;
        target->fetch.bytes = outcome->bytes;
        target->fetch.created_us = outcome->created_us;
        target->step = PIL_FOLLOW_ADMIT;
        return;
    case PIL_FOLLOW_ADMIT: target->step = PIL_FOLLOW_FETCH; return;
    case PIL_FOLLOW_FETCH:
        target->fetch.copy_ns += outcome->took_ns;
        target->step = PIL_FOLLOW_VERIFY;
        return;
    case PIL_FOLLOW_VERIFY:
        target->fetch.verify_ns += outcome->took_ns;
        target->step = target->collapses ? PIL_FOLLOW_COLLAPSE : PIL_FOLLOW_HAND_OVER;
        return;
    case PIL_FOLLOW_COLLAPSE:
        target->fetch.collapse_ns += outcome->took_ns;
        target->fetch.huge_bytes += outcome->huge_bytes;
        target->step = PIL_FOLLOW_HAND_OVER;
        return;
    case PIL_FOLLOW_HAND_OVER: handed_over(target); return;
    case PIL_FOLLOW_PUBLISH: offered(target); return;
    case PIL_FOLLOW_WAIT:
    case PIL_FOLLOW_READ_PROJECT:
    case PIL_FOLLOW_POLL:
    case PIL_FOLLOW_REPORT: break;
    }
    PIL_UNREACHABLE("not a step of a fetch");
}

bool pil_target_project_is_settled(const struct pil_outcome *outcome) {
    if (outcome->is_store_away) {
        return false;
    }
    switch (outcome->status) {
    case PIL_STATUS_OK:
    case PIL_STATUS_NOT_FOUND:
    case PIL_STATUS_CORRUPT:
    case PIL_STATUS_UNSUPPORTED:
    case PIL_STATUS_INVALID:
    case PIL_STATUS_TOO_LARGE: return true;
    case PIL_STATUS_NO_MEMORY:
    case PIL_STATUS_NO_SPACE:
    case PIL_STATUS_EXISTS:
    case PIL_STATUS_CONFLICT:
    case PIL_STATUS_DENIED:
    case PIL_STATUS_BUSY:
    case PIL_STATUS_AGAIN:
    case PIL_STATUS_CLOSED:
    case PIL_STATUS_TIMEOUT:
    case PIL_STATUS_IO:
    case PIL_STATUS_SYSTEM:
    case PIL_STATUS_COUNT: return false;
    }
    PIL_UNREACHABLE("status");
}

/* Views are served also if the store has no project document, or one that cannot be used. Once the project is known, a
 * failure to read it again changes nothing: its last document stays in force. */
static void project_read(struct pil_target *target, const struct pil_outcome *outcome, uint64_t now_ns) {
    target->knows_project |= pil_target_project_is_settled(outcome);
    if (target->knows_project) {
        target->step = PIL_FOLLOW_POLL;
    } else {
        poll_failed(target, outcome, now_ns);
    }
}

void pil_target_done(struct pil_target *target, const struct pil_outcome *outcome, uint64_t now_ns) {
    PIL_ASSERT(target->is_busy);
    target->is_busy = false;
    if (target->step == PIL_FOLLOW_READ_PROJECT) {
        project_read(target, outcome, now_ns);
    } else if (target->step == PIL_FOLLOW_POLL) {
        outcome->status == PIL_STATUS_OK ? polled(target, outcome, now_ns) : poll_failed(target, outcome, now_ns);
    } else if (target->step == PIL_FOLLOW_REPORT) {
        target->step = PIL_FOLLOW_WAIT;
    } else if (outcome->status == PIL_STATUS_OK) {
        advance(target, outcome);
    } else {
        refuse(target, outcome, now_ns);
    }
    pil_target_validate(target);
}

/* ---- News */

void pil_target_nudge(struct pil_target *target) {
    target->is_nudged = true;
}

bool pil_target_published(struct pil_target *target, const char *release, pil_fetch_result result, uint64_t now_ns,
                          struct pil_fetch_report *ret_report) {
    bool is_offer = same(target->offered.release, release), was_live = same(target->live, release);
    struct pil_fetch_report report = {0};
    if (is_offer) {
        report = result == PIL_FETCH_OK ? target->offered : report; /* its times count once, when it is served */
        target->offered = (struct pil_fetch_report){0};
    }
    set_release(report.release, release);
    report.result = result;
    if (result == PIL_FETCH_OK) {
        set_release(target->live, release); /* also if another release was offered since */
        if (same(target->refused, release)) {
            forget_refusal(target);
        }
    } else if (is_offer || was_live) {
        if (!is_offer) { /* a new server does not serve what the one before has served */
            target->live[0] = '\0';
        }
        back_off(target, release, now_ns);
    }
    if (!target->is_busy && target->step == PIL_FOLLOW_WAIT) {
        wait(target);
    }
    *ret_report = report;
    return is_offer || (was_live && result != PIL_FETCH_OK);
}

void pil_target_dropped(struct pil_target *target, const char *release) {
    if (same(target->live, release)) {
        target->live[0] = '\0';
        target->is_nudged = true;
    }
    if (same(target->offered.release, release)) {
        target->offered = (struct pil_fetch_report){0};
        target->is_nudged = true;
    }
    if (target->step == PIL_FOLLOW_PUBLISH && !target->is_busy && same(target->fetch.release, release)) {
        target->step = PIL_FOLLOW_POLL;
    }
}
