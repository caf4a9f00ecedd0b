/* SPDX-License-Identifier: Apache-2.0
 * The fetcher's process, between the store and the supervisor's socket. */
#include "base/clock.h"
#include "base/hash.h"
#include "base/panic.h"
#include "base/sys.h"
#include "daemon/privilege.h"
#include "daemon/process.h"
#include "follow/executor.h"
#include "follow/follow.h"
#include "follow/watcher.h"
#include "supervise/message.h"

#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum { EXIT_OK = 0, EXIT_SYSTEM = 3, THREADS_MAX = 2 };

/* What the log says of a slot's view: a failure that lasts is told once, not with every poll. */
struct said {
    uint64_t channel, release;                 /* hashes of the failures that were told last; 0: none */
    char release_id[PIL_RELEASE_ID_CHARS + 1]; /* whose failure `release` is */
};

struct process {
    int control;
    int signals;
    struct pil_config config;
    char store[PIL_CONFIG_TEXT_BYTES]; /* copy from the first config, which threads may read: it is not reloadable */
    /* The views that are followed. Messages use slots[i], the slot of views[i]; removed views have only a slot. */
    struct pil_follow_view views[PIL_SETTINGS_VIEWS_MAX];
    uint32_t slots[PIL_SETTINGS_VIEWS_MAX];
    struct said said[PIL_SETTINGS_VIEWS_MAX]; /* by slot */
    uint32_t view_count;
    struct pil_follow_hooks hooks;
    struct pil_follow *follow;     /* NULL before the first config */
    struct pil_executor *executor; /* NULL before BEGIN */
    struct pil_watcher watcher;
    bool is_stopping, is_background;
};

/* The follower's results and the outcomes in messages have the same order. */
PIL_STATIC_ASSERT((int)PIL_FETCH_CORRUPT == (int)PIL_OUTCOME_CORRUPT);
PIL_STATIC_ASSERT((int)PIL_FETCH_ERROR == (int)PIL_OUTCOME_ERROR);

static void set_release(char (*to)[PIL_RELEASE_ID_CHARS + 1], const char *release) {
    snprintf(*to, sizeof *to, "%s", release);
}

/* Finds the followed view of a slot; returns false if there is none. */
static bool find_view(const struct process *process, uint32_t slot, uint32_t *ret_view) {
    for (uint32_t i = 0; process->follow != NULL && i < process->view_count; i++) {
        if (process->slots[i] == slot) {
            *ret_view = i;
            return true;
        }
    }
    return false;
}

static pil_status send_message(struct process *process, const struct pil_message *message) {
    pil_status status = pil_message_send(process->control, message);
    process->is_stopping |= status == PIL_STATUS_CLOSED;
    return status;
}

static pil_status create_follow(struct process *process);

static pil_status on_config(struct process *process, int fd) {
    bool is_first = process->follow == NULL;
    struct pil_error error;
    PIL_TRY(pil_config_receive(&process->config, fd, is_first, "fetcher", &error));
    if (is_first) {
        return create_follow(process);
    }
    pil_follow_set_poll(process->follow, process->config.settings.poll_interval_ms);
    return PIL_STATUS_OK;
}

static pil_status on_message(struct process *process, const struct pil_message *message) {
    uint32_t view = 0;
    switch (message->kind) {
    case PIL_MESSAGE_CONFIG: return on_config(process, message->fd);
    case PIL_MESSAGE_HOLDING:
        return find_view(process, message->holding.view_index, &view)
                   ? pil_follow_hold(process->follow, view, message->holding.release, message->holding.is_live)
                   : PIL_STATUS_OK;
    case PIL_MESSAGE_DROPPED: /* never comes before BEGIN */
        if (find_view(process, message->dropped.view_index, &view)) {
            pil_follow_dropped(process->follow, view, message->dropped.release);
        }
        break;
    case PIL_MESSAGE_ADMITTED:
        if (find_view(process, message->admitted.view_index, &view)) {
            pil_follow_admitted(process->follow, view, message->admitted.release,
                                message->admitted.is_admitted ? PIL_STATUS_OK : PIL_STATUS_TOO_LARGE,
                                message->admitted.why);
        }
        break;
    case PIL_MESSAGE_TAKEN:
        if (find_view(process, message->taken.view_index, &view)) {
            pil_follow_taken(process->follow, view, message->taken.release,
                             message->taken.is_taken ? PIL_STATUS_OK : PIL_STATUS_NO_MEMORY, message->taken.why);
        }
        break;
    case PIL_MESSAGE_PUBLISHED:
        if (find_view(process, message->published.view_index, &view)) {
            pil_follow_published(process->follow, view, message->published.release,
                                 (pil_fetch_result)message->published.outcome, message->published.why);
        }
        break;
    case PIL_MESSAGE_BEGIN: break; /* begin() waits for it */
    case PIL_MESSAGE_NONE:
    case PIL_MESSAGE_LISTENER:
    case PIL_MESSAGE_START:
    case PIL_MESSAGE_DRAIN:
    case PIL_MESSAGE_SHARD:
    case PIL_MESSAGE_PUBLISH:
    case PIL_MESSAGE_CHECKED:
    case PIL_MESSAGE_REPORT:
    case PIL_MESSAGE_PROJECT:
    case PIL_MESSAGE_HELD:
    case PIL_MESSAGE_ADMIT:
    case PIL_MESSAGE_GIVEN_UP:
    case PIL_MESSAGE_NO_PROJECT:
    case PIL_MESSAGE_APPLIED:
    case PIL_MESSAGE_RECLAIMED:
    case PIL_MESSAGE_READINESS:
    case PIL_MESSAGE_KIND_COUNT: break; /* the decoder rejects these kinds here */
    }
    return PIL_STATUS_OK;
}

/* Receives and handles one message of the supervisor, and leaves it in *message. The first one is CONFIG. */
static pil_status take_message(struct process *process, bool block, struct pil_message *message) {
    pil_status status = pil_message_receive(process->control, PIL_ROUTE_TO_FETCHER, block, message);
    process->is_stopping |= status == PIL_STATUS_CLOSED;
    if (status != PIL_STATUS_OK) {
        return status;
    }
    status = on_message(process, message);
    pil_message_close(message);
    return status;
}

static void submit(void *context, struct pil_job *job) {
    struct process *process = context;
    pil_executor_submit(process->executor, job);
}

static pil_status ask_admission(void *context, uint32_t view, const char *release, uint64_t bytes) {
    struct process *process = context;
    struct pil_message message = {.kind = PIL_MESSAGE_ADMIT,
                                  .admit = {.view_index = process->slots[view], .bytes = bytes}};
    set_release(&message.admit.release, release);
    return send_message(process, &message);
}

static pil_status hand_over(void *context, const struct pil_task *task, const char *release, uint32_t shard_count,
                            int fd) {
    struct process *process = context;
    struct pil_message message = {
        .kind = PIL_MESSAGE_SHARD,
        .fd = fd,
        .shard = {.view_index = process->slots[task->view], .place = {task->shard, shard_count}}};
    set_release(&message.shard.release, release);
    pil_status status = send_message(process, &message);
    pil_sys_close(&fd);
    return status;
}

static void given_up(void *context, uint32_t view, const char *release) {
    struct process *process = context;
    struct pil_message message = {.kind = PIL_MESSAGE_GIVEN_UP, .given_up = {.view_index = process->slots[view]}};
    set_release(&message.given_up.release, release);
    pil_ignore(send_message(process, &message), "a supervisor that is gone ends this process");
}

static pil_status publish(void *context, uint32_t view, const char *release, int64_t created_us) {
    struct process *process = context;
    struct pil_message message = {.kind = PIL_MESSAGE_PUBLISH,
                                  .publish = {.view_index = process->slots[view], .created_us = created_us}};
    set_release(&message.publish.release, release);
    return send_message(process, &message);
}

/* The channel could be read. What was said of a release is over when the channel wants another one. */
static void note_read(struct said *said, const struct pil_follow_view *view, const char *release) {
    if (said->channel != 0) {
        pil_log(PIL_LOG_INFO, "channel read again", "view", view->view, "channel", view->channel, NULL);
        said->channel = 0;
    }
    if (strcmp(said->release_id, release) != 0) {
        said->release = 0;
    }
}

static void checked(void *context, uint32_t view, const struct pil_channel *channel) {
    struct process *process = context;
    struct pil_message message = {.kind = PIL_MESSAGE_CHECKED,
                                  .checked = {.view_index = process->slots[view],
                                              .checked_us = pil_clock_wall_us(),
                                              .checked_ns = pil_clock_monotonic_ns(),
                                              .sequence = channel->sequence,
                                              .is_pinned = channel->pinned[0] != '\0'}};
    set_release(&message.checked.release, pil_channel_effective(channel));
    note_read(&process->said[process->slots[view]], &process->views[view], pil_channel_effective(channel));
    pil_ignore(send_message(process, &message), "a supervisor that is gone ends this process");
}

static void log_failure(struct said *said, const struct pil_follow_view *view, const struct pil_fetch_report *report) {
    bool is_release = report->release[0] != '\0';
    uint64_t *last = is_release ? &said->release : &said->channel;
    uint64_t hash = pil_hash_block(pil_bytes_from_text(report->text)) + (uint64_t)report->result + 1;
    if (*last == hash && (!is_release || strcmp(said->release_id, report->release) == 0)) {
        return;
    }
    *last = hash;
    if (is_release) {
        set_release(&said->release_id, report->release);
    }
    pil_log(PIL_LOG_WARN, is_release ? "release rejected" : "channel not read", "view", view->view, "channel",
            view->channel, "release", report->release, "result", pil_fetch_result_text(report->result), "why",
            report->text, NULL);
}

static void log_report(struct said *said, const struct pil_follow_view *view, const struct pil_fetch_report *report) {
    if (report->result == PIL_FETCH_OK) {
        said->release = 0;
        pil_log(PIL_LOG_INFO, "release handed over", "view", view->view, "release", report->release, "bytes",
                PIL_LOG_NUM(report->bytes), "copy_ms", PIL_LOG_NUM(report->copy_ns / 1000000), "verify_ms",
                PIL_LOG_NUM(report->verify_ns / 1000000), "collapse_ms", PIL_LOG_NUM(report->collapse_ns / 1000000),
                "huge_bytes", PIL_LOG_NUM(report->huge_bytes), NULL);
    } else {
        log_failure(said, view, report);
    }
}

static void reported(void *context, uint32_t view, const struct pil_fetch_report *report) {
    struct process *process = context;
    struct pil_message message = {.kind = PIL_MESSAGE_REPORT,
                                  .report = {.view_index = process->slots[view],
                                             .outcome = (pil_fetch_outcome)report->result,
                                             .was_fetched = report->bytes > 0,
                                             .copy_ns = report->copy_ns,
                                             .verify_ns = report->verify_ns,
                                             .collapse_ns = report->collapse_ns}};
    set_release(&message.report.release, report->release);
    snprintf(message.report.why, sizeof message.report.why, "%.*s", (int)sizeof message.report.why - 1, report->text);
    log_report(&process->said[process->slots[view]], &process->views[view], report);
    pil_ignore(send_message(process, &message), "a supervisor that is gone ends this process");
}

static pil_status project(void *context, uint32_t view, struct pil_bytes document) {
    struct process *process = context;
    struct pil_error error = {0};
    int fd = -1;
    pil_status status = pil_message_blob(document.data, document.len, &fd, &error);
    if (status == PIL_STATUS_OK) {
        struct pil_message message = {
            .kind = PIL_MESSAGE_PROJECT, .fd = fd, .project = {process->slots[view], pil_hash_block(document)}};
        status = send_message(process, &message);
        pil_sys_close(&fd);
    }
    if (status != PIL_STATUS_OK && status != PIL_STATUS_CLOSED) {
        pil_log(PIL_LOG_ERROR, "project not handed over", "why",
                error.text[0] != '\0' ? error.text : pil_status_text(status), NULL);
    }
    return status;
}

static void no_project(void *context, uint32_t view, const struct pil_outcome *outcome) {
    struct process *process = context;
    struct pil_message message = {.kind = PIL_MESSAGE_NO_PROJECT, .no_project = {.view_index = process->slots[view]}};
    message.no_project.outcome = (pil_fetch_outcome)pil_fetch_result_of(outcome->status);
    snprintf(message.no_project.why, sizeof message.no_project.why, "%.*s", (int)sizeof message.no_project.why - 1,
             outcome->error.text);
    if (outcome->status != PIL_STATUS_NOT_FOUND) {
        pil_log(PIL_LOG_ERROR, "project refused, the one before stays in service", "project",
                process->views[view].project, "why", outcome->error.text, NULL);
    }
    pil_ignore(send_message(process, &message), "a supervisor that is gone ends this process");
}

static pil_status open_store(void *context, struct pil_store **ret_store, struct pil_error *ret_error) {
    const struct process *process = context;
    return pil_store_open(process->store, false, ret_store, ret_error);
}

static pil_status create_follow(struct process *process) {
    const struct pil_settings *settings = &process->config.settings;
    process->hooks = (struct pil_follow_hooks){.context = process,
                                               .submit = submit,
                                               .ask_admission = ask_admission,
                                               .hand_over = hand_over,
                                               .given_up = given_up,
                                               .publish = publish,
                                               .checked = checked,
                                               .reported = reported,
                                               .project = project,
                                               .no_project = no_project};
    memcpy(process->store, process->config.store, sizeof process->store);
    for (uint32_t slot = 0; slot < settings->view_count; slot++) {
        const struct pil_view_settings *view = &settings->views[slot];
        if (!view->is_removed) {
            struct pil_follow_view *followed = &process->views[process->view_count];
            memcpy(followed->project, view->project, sizeof view->project);
            memcpy(followed->view, view->view, sizeof view->view);
            memcpy(followed->channel, view->channel, sizeof view->channel);
            process->slots[process->view_count++] = slot;
        }
    }
    const struct pil_follow_options options = {.views = process->views,
                                               .view_count = process->view_count,
                                               .use_huge_pages = process->config.huge_pages == 0,
                                               .poll_ms = settings->poll_interval_ms,
                                               .clock = &pil_clock_system,
                                               .hooks = &process->hooks};
    process->watcher = (struct pil_watcher){
        .views = process->views, .view_count = process->view_count, .open = open_store, .context = process, .fd = -1};
    process->follow = pil_follow_create(&options);
    return process->follow != NULL ? PIL_STATUS_OK : PIL_STATUS_NO_MEMORY;
}

/* Takes the first CONFIG and all HOLDING, up to BEGIN. */
static bool begin(struct process *process, struct pil_error *error) {
    struct pil_message message = {0};
    while (message.kind != PIL_MESSAGE_BEGIN && !process->is_stopping) {
        pil_status status = take_message(process, true, &message);
        if (status != PIL_STATUS_OK) {
            pil_ignore(pil_fail(error, status, "a message of the supervisor: %s", pil_status_text(status)),
                       "false says it");
            return false;
        }
    }
    return !process->is_stopping && process->follow != NULL;
}

static pil_status create_executor(struct process *process, struct pil_error *ret_error) {
    const struct pil_executor_options options = {.thread_count = process->view_count < 2 ? 1 : THREADS_MAX,
                                                 .clock = &pil_clock_system,
                                                 .open = open_store,
                                                 .context = process};
    return pil_executor_create(&options, &process->executor, ret_error);
}

/* Handles all waiting messages. Returns false if memory was short, so that the process ends and the next fetcher takes
 * the message's content. */
static bool drain_messages(struct process *process) {
    struct pil_message message;
    pil_status status;
    while ((status = take_message(process, false, &message)) == PIL_STATUS_OK) {
    }
    return status != PIL_STATUS_NO_MEMORY;
}

static void take_signal(struct process *process) {
    struct signalfd_siginfo info;
    process->is_stopping |= read(process->signals, &info, sizeof info) == sizeof info;
}

/* Goes to the background once every view has a release: until then fetching is urgent, afterwards workers come first.
 */
static void settle_priority(struct process *process) {
    bool is_due = process->config.fetch_priority == 0 && !process->is_background;
    for (uint32_t i = 0; i < process->view_count && is_due; i++) {
        is_due = pil_follow_serves(process->follow, i);
    }
    if (!is_due) {
        return;
    }
    struct pil_error error;
    process->is_background = true;
    pil_executor_run_in_background(process->executor);
    if (pil_sys_run_in_background(&error) != PIL_STATUS_OK) {
        pil_log(PIL_LOG_WARN, "fetching goes on at normal priority", "why", error.text, NULL);
    }
}

/* Milliseconds until that time, rounded up so that poll does not end too early; -1 for UINT64_MAX. */
static int wait_ms(uint64_t until_ns) {
    uint64_t now_ns = pil_clock_monotonic_ns();
    uint64_t left_ms = until_ns > now_ns ? (until_ns - now_ns + 999999) / 1000000 : 0;
    return until_ns == UINT64_MAX ? -1 : left_ms < INT_MAX ? (int)left_ms : INT_MAX;
}

static pil_status run(struct process *process, struct pil_error *error) {
    while (!process->is_stopping) {
        settle_priority(process);
        pil_watcher_attend(&process->watcher);
        uint64_t until_ns = process->view_count > 0 ? pil_follow_step(process->follow) : UINT64_MAX;
        int watched = pil_watcher_descriptor(&process->watcher, pil_clock_monotonic_ns(), &until_ns);
        struct pollfd waits[] = {{.fd = process->signals, .events = POLLIN},
                                 {.fd = process->control, .events = POLLIN},
                                 {.fd = watched, .events = POLLIN},
                                 {.fd = pil_executor_fd(process->executor), .events = POLLIN}};
        poll(waits, 4, wait_ms(until_ns));
        if (waits[2].revents != 0) {
            pil_watcher_drain(&process->watcher, pil_clock_monotonic_ns());
            pil_follow_nudge(process->follow);
        }
        for (struct pil_job *job; (job = pil_executor_take(process->executor)) != NULL;) {
            pil_follow_done(process->follow, job);
        }
        if (!drain_messages(process)) {
            return pil_fail(error, PIL_STATUS_NO_MEMORY, "no memory for a message of the supervisor");
        }
        take_signal(process);
    }
    return PIL_STATUS_OK;
}

int pil_fetch_process_run(int control) {
    struct process *process = calloc(1, sizeof *process);
    struct pil_error error = {.text = "the supervisor is gone"};
    sigset_t signals;
    if (process == NULL) {
        pil_log(PIL_LOG_ERROR, "fetcher cannot run", "why", "no memory", NULL);
        return EXIT_SYSTEM;
    }
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    sigdelset(&signals, SIGHUP); /* blocked and never read: the supervisor reloads */
    process->control = control;
    process->signals = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    int code = EXIT_SYSTEM;
    if (process->signals >= 0 && pil_privilege_drop("", &error) == PIL_STATUS_OK && begin(process, &error) &&
        create_executor(process, &error) == PIL_STATUS_OK && run(process, &error) == PIL_STATUS_OK) {
        code = EXIT_OK;
    } else if (!process->is_stopping) {
        pil_log(PIL_LOG_ERROR, "fetcher cannot run", "why", error.text, NULL);
    }
    pil_executor_destroy(&process->executor); /* before `follow`, which owns the jobs */
    pil_follow_destroy(&process->follow);
    pil_watcher_deinit(&process->watcher);
    free(process);
    return code;
}
