/* SPDX-License-Identifier: Apache-2.0
 * The fetcher's process: the store on one side, the supervisor's socket on the other. */
#include "base/clock.h"
#include "base/panic.h"
#include "base/sys.h"
#include "daemon/privilege.h"
#include "daemon/process.h"
#include "supervise/message.h"
#include "sync/fetcher.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum { EXIT_OK = 0, EXIT_SYSTEM = 3, HELD_MAX = PIL_SETTINGS_VIEWS_MAX * 17, STORE_RETRY_MS = 2000 };

struct process {
    int control;
    int signals;
    struct pil_config config;
    struct pil_store *store; /* NULL: could not be opened */
    int watch;               /* the store's, or -1 */
    uint64_t opened_ns;
    struct pil_fetcher_view views[PIL_SETTINGS_VIEWS_MAX];
    struct pil_fetcher *fetcher;
    struct {
        uint32_t view_index;
        char release[PIL_RELEASE_ID_CHARS + 1];
    } held[HELD_MAX];
    uint32_t held_count;
    char live[PIL_SETTINGS_VIEWS_MAX][PIL_RELEASE_ID_CHARS + 1]; /* as told before the first pass */
    bool is_stopping, is_background;
};

static void forget_held(struct process *process, uint32_t view_index, const char *release) {
    for (uint32_t i = 0; i < process->held_count; i++) {
        if (process->held[i].view_index == view_index && strcmp(process->held[i].release, release) == 0) {
            process->held[i] = process->held[--process->held_count];
            return;
        }
    }
}

static bool is_held(void *context, uint32_t view_index, const char *release) {
    const struct process *process = context;
    for (uint32_t i = 0; i < process->held_count; i++) {
        if (process->held[i].view_index == view_index && strcmp(process->held[i].release, release) == 0) {
            return true;
        }
    }
    return false;
}

static void add_held(struct process *process, uint32_t view_index, const char *release) {
    if (!is_held(process, view_index, release) && process->held_count < HELD_MAX) {
        process->held[process->held_count].view_index = view_index;
        snprintf(process->held[process->held_count].release, sizeof process->held[0].release, "%s", release);
        process->held_count++;
    }
}

/* Of the same order: one is the fetcher's, the other the messages'. */
PIL_STATIC_ASSERT((int)PIL_FETCH_CORRUPT == (int)PIL_OUTCOME_CORRUPT);
PIL_STATIC_ASSERT((int)PIL_FETCH_ERROR == (int)PIL_OUTCOME_ERROR);

static void set_release(char (*to)[PIL_RELEASE_ID_CHARS + 1], const char *release) {
    snprintf(*to, sizeof *to, "%s", release);
}

static pil_status send_message(struct process *process, const struct pil_message *message) {
    pil_status status = pil_message_send(process->control, message);
    process->is_stopping |= status == PIL_STATUS_CLOSED;
    return status;
}

/* One message from the supervisor, taken in and left in *message. */
static pil_status take_message(struct process *process, bool block, struct pil_message *message) {
    struct pil_error error;
    pil_status status = pil_message_receive(process->control, PIL_ROUTE_TO_FETCHER, block, message);
    if (status == PIL_STATUS_CLOSED) {
        process->is_stopping = true;
    }
    if (status != PIL_STATUS_OK) {
        return status;
    }
    if (message->kind == PIL_MESSAGE_CONFIG) {
        status = pil_config_receive(&process->config, message->fd, process->fetcher == NULL, "fetcher", &error);
    } else if (message->kind == PIL_MESSAGE_HOLDING) {
        add_held(process, message->holding.view_index, message->holding.release);
    } else if (message->kind == PIL_MESSAGE_DROPPED && process->fetcher != NULL) {
        forget_held(process, message->dropped.view_index, message->dropped.release);
        pil_fetcher_dropped(process->fetcher, message->dropped.view_index, message->dropped.release);
    }
    pil_message_close(message);
    return status;
}

static pil_status admit(void *context, uint32_t view_index, const char *release, uint64_t bytes,
                        struct pil_error *ret_error) {
    struct process *process = context;
    struct pil_message message = {.kind = PIL_MESSAGE_ADMIT, .admit = {.view_index = view_index, .bytes = bytes}};
    set_release(&message.admit.release, release);
    PIL_TRY(send_message(process, &message));
    do {
        PIL_TRY(take_message(process, true, &message));
    } while (message.kind != PIL_MESSAGE_ADMITTED);
    return message.admitted.is_admitted ? PIL_STATUS_OK
                                        : pil_fail(ret_error, PIL_STATUS_TOO_LARGE, "%s", message.admitted.why);
}

static pil_status hand_over(void *context, uint32_t view_index, const char *release, uint32_t shard_index,
                            uint32_t shard_count, int fd) {
    struct pil_message message = {
        .kind = PIL_MESSAGE_SHARD, .fd = fd, .shard = {.view_index = view_index, .place = {shard_index, shard_count}}};
    set_release(&message.shard.release, release);
    pil_status status = send_message(context, &message);
    pil_sys_close(&fd);
    return status;
}

static pil_status publish(void *context, uint32_t view_index, const char *release, int64_t created_us) {
    struct process *process = context;
    struct pil_message message = {.kind = PIL_MESSAGE_PUBLISH,
                                  .publish = {.view_index = view_index, .created_us = created_us}};
    set_release(&message.publish.release, release);
    PIL_TRY(send_message(process, &message));
    add_held(process, view_index, release);
    return PIL_STATUS_OK;
}

static void checked(void *context, uint32_t view_index, const struct pil_channel *channel) {
    struct pil_message message = {.kind = PIL_MESSAGE_CHECKED,
                                  .checked = {.view_index = view_index,
                                              .checked_us = pil_clock_wall_us(),
                                              .sequence = channel->sequence,
                                              .is_pinned = channel->pinned[0] != '\0'}};
    set_release(&message.checked.release, pil_channel_effective(channel));
    pil_ignore(send_message(context, &message), "a supervisor that is gone ends this process");
}

static void reported(void *context, uint32_t view_index, const struct pil_fetch_report *report) {
    const struct process *process = context;
    struct pil_message message = {.kind = PIL_MESSAGE_REPORT,
                                  .report = {.view_index = view_index,
                                             .outcome = (pil_fetch_outcome)report->result,
                                             .was_fetched = report->bytes > 0,
                                             .copy_ns = report->copy_ns,
                                             .verify_ns = report->verify_ns,
                                             .collapse_ns = report->collapse_ns,
                                             .bytes = report->bytes}};
    set_release(&message.report.release, report->release);
    snprintf(message.report.why, sizeof message.report.why, "%.*s", (int)sizeof message.report.why - 1, report->text);
    const char *view = process->views[view_index].view;
    if (report->result == PIL_FETCH_OK) {
        pil_log(PIL_LOG_INFO, "release handed over", "view", view, "release", report->release, "bytes",
                PIL_LOG_NUM(report->bytes), "copy_ms", PIL_LOG_NUM(report->copy_ns / 1000000), "verify_ms",
                PIL_LOG_NUM(report->verify_ns / 1000000), "collapse_ms", PIL_LOG_NUM(report->collapse_ns / 1000000),
                "huge_bytes", PIL_LOG_NUM(report->huge_bytes), NULL);
    } else {
        pil_log(PIL_LOG_WARN, report->release[0] != '\0' ? "release not taken" : "channel not read", "view", view,
                "channel", process->views[view_index].channel, "release", report->release, "result",
                pil_fetch_result_text(report->result), "why", report->text, NULL);
    }
    pil_ignore(send_message(context, &message), "a supervisor that is gone ends this process");
}

static void project(void *context, uint32_t view_index, struct pil_bytes document) {
    struct process *process = context;
    struct pil_error error;
    int fd = -1;
    if (pil_message_blob(document.data, document.len, &fd, &error) != PIL_STATUS_OK) {
        pil_log(PIL_LOG_ERROR, "project not handed over", "why", error.text, NULL);
        return;
    }
    struct pil_message message = {.kind = PIL_MESSAGE_PROJECT, .fd = fd, .project = {view_index}};
    pil_ignore(send_message(process, &message), "a supervisor that is gone ends this process");
    pil_sys_close(&fd);
}

static bool has_signal(struct process *process) {
    struct signalfd_siginfo info;
    if (read(process->signals, &info, sizeof info) == sizeof info) {
        process->is_stopping = true;
    }
    return process->is_stopping;
}

static bool is_cancelled(void *context) {
    return has_signal(context);
}

/* Until the first CONFIG and all HOLDING were taken. */
static bool begin(struct process *process) {
    struct pil_message message = {0};
    while (message.kind != PIL_MESSAGE_BEGIN && !process->is_stopping) {
        if (take_message(process, true, &message) != PIL_STATUS_OK) {
            return false;
        }
        if (message.kind == PIL_MESSAGE_HOLDING && message.holding.is_live) {
            memcpy(process->live[message.holding.view_index], message.holding.release, sizeof process->live[0]);
        }
    }
    return !process->is_stopping;
}

static void create_fetcher(struct process *process, struct pil_fetcher_hooks *hooks) {
    const struct pil_settings *settings = &process->config.settings;
    hooks->use_huge_pages = process->config.huge_pages == 0;
    process->fetcher = pil_fetcher_create(process->views, settings->view_count, hooks);
    for (uint32_t i = 0; i < settings->view_count; i++) {
        const struct pil_view_settings *view = &settings->views[i];
        pil_fetcher_set_live(process->fetcher, i, process->live[i]);
        memcpy(process->views[i].project, view->project, sizeof view->project);
        memcpy(process->views[i].view, view->view, sizeof view->view);
        memcpy(process->views[i].channel, view->channel, sizeof view->channel);
        process->views[i].is_removed = view->is_removed;
    }
}

static void drain_messages(struct process *process) {
    struct pil_message message;
    while (take_message(process, false, &message) == PIL_STATUS_OK) {
    }
}

/* One descriptor for all channels and projects, or -1 when the store cannot tell of changes. */
static int watch_all(struct process *process) {
    int watch = pil_store_watch(process->store, "projects/");
    for (uint32_t i = 0; i < process->config.settings.view_count && watch >= 0; i++) {
        char prefix[PIL_STORE_NAME_BYTES];
        snprintf(prefix, sizeof prefix, "views/%s/%s/channels/", process->views[i].project, process->views[i].view);
        watch = pil_store_watch(process->store, prefix);
    }
    return watch;
}

/* The store is opened anew with each poll interval: its path may lead elsewhere by then, or have been away. */
static void open_store(struct process *process) {
    struct pil_error error;
    pil_store_close(&process->store);
    process->watch = -1;
    process->opened_ns = pil_clock_monotonic_ns();
    pil_status status = pil_store_open(process->config.store, false, &process->store, &error);
    if (status == PIL_STATUS_OK) {
        process->watch = watch_all(process);
        return;
    }
    for (uint32_t i = 0; i < process->config.settings.view_count; i++) {
        struct pil_fetch_report report = {.result =
                                              status == PIL_STATUS_NOT_FOUND ? PIL_FETCH_NOT_FOUND : PIL_FETCH_ERROR,
                                          .release = "",
                                          .text = error.text};
        reported(process, i, &report);
    }
}

static bool serves(const struct process *process, uint32_t view_index) {
    bool found = process->live[view_index][0] != '\0';
    for (uint32_t i = 0; i < process->held_count && !found; i++) {
        found = process->held[i].view_index == view_index;
    }
    return found;
}

/* What nobody is served yet is urgent; what replaces a release can wait for the workers. */
static void settle_priority(struct process *process) {
    bool is_due = process->config.fetch_priority == 0 && !process->is_background;
    for (uint32_t i = 0; i < process->config.settings.view_count && is_due; i++) {
        is_due = process->views[i].is_removed || serves(process, i);
    }
    if (!is_due) {
        return;
    }
    struct pil_error error;
    process->is_background = true;
    if (pil_sys_run_in_background(&error) != PIL_STATUS_OK) {
        pil_log(PIL_LOG_WARN, "fetching goes on at normal priority", "why", error.text, NULL);
    }
}

static void run(struct process *process) {
    while (!process->is_stopping) {
        settle_priority(process);
        uint64_t poll_ms = process->config.settings.poll_interval_ms, retry_ms = STORE_RETRY_MS;
        if (process->store == NULL || pil_clock_monotonic_ns() - process->opened_ns >= poll_ms * 1000000) {
            open_store(process);
        }
        if (process->store != NULL) {
            retry_ms = pil_fetcher_pass(process->fetcher, process->store);
        }
        struct pollfd waits[] = {{.fd = process->signals, .events = POLLIN},
                                 {.fd = process->control, .events = POLLIN},
                                 {.fd = process->watch, .events = POLLIN}};
        poll(waits, 3, (int)(retry_ms < poll_ms ? retry_ms : poll_ms));
        if (waits[2].revents != 0) {
            pil_store_changed(process->store);
        }
        drain_messages(process);
        has_signal(process);
    }
}

int pil_fetch_process_run(int control) {
    struct process *process = calloc(1, sizeof *process);
    struct pil_fetcher_hooks hooks = {.context = process,
                                      .is_held = is_held,
                                      .admit = admit,
                                      .hand_over = hand_over,
                                      .publish = publish,
                                      .checked = checked,
                                      .reported = reported,
                                      .project = project,
                                      .is_cancelled = is_cancelled};
    struct pil_error error = {.text = "the supervisor is gone"};
    sigset_t signals;
    PIL_ASSERT(process != NULL);
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    sigdelset(&signals, SIGHUP); /* blocked and not read: reloading comes from the supervisor */
    process->control = control;
    process->signals = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    int code = EXIT_SYSTEM;
    if (process->signals >= 0 && pil_privilege_drop("", &error) == PIL_STATUS_OK && begin(process)) {
        create_fetcher(process, &hooks);
        run(process);
        code = EXIT_OK;
    } else if (!process->is_stopping) {
        pil_log(PIL_LOG_ERROR, "fetcher cannot run", "why", error.text, NULL);
    }
    pil_fetcher_destroy(&process->fetcher);
    pil_store_close(&process->store);
    free(process);
    return code;
}
