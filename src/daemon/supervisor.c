/* SPDX-License-Identifier: Apache-2.0
 * The supervisor: opens the listeners, holds them and every sealed shard, and keeps the other two processes running. It
 * reads no client's bytes and no store. */
#include "base/clock.h"
#include "base/panic.h"
#include "base/sys.h"
#include "daemon/child.h"
#include "daemon/handover.h"
#include "daemon/listener.h"
#include "daemon/privilege.h"
#include "daemon/process.h"
#include "daemon/vault.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EXIT_OK = 0, EXIT_SYSTEM = 3, STOP_MS = 1800, ADDRESS_WAIT_MS = 2500 };

/* What a new server must be told about a view beside its shards. */
struct view_note {
    struct pil_message checked; /* kind 0: none yet */
};

struct supervisor {
    struct pil_config *config;
    int argc;
    char **argv;
    int listener_fds[PIL_SETTINGS_LISTENERS_MAX];
    struct pil_child server, fetcher;
    struct pil_vault vault;
    struct view_note notes[PIL_SETTINGS_VIEWS_MAX];
    int project_fds[PIL_SETTINGS_VIEWS_MAX]; /* documents; one slot for each distinct project, by first view */
    int signals;
    int ready_fd;
    uint64_t stop_ns; /* deadline once stopping; 0: running */
};

static void send_to(struct pil_child *child, const struct pil_message *message, int fd) {
    if (child->socket < 0) {
        return;
    }
    pil_status status = pil_message_send(child->socket, message, fd);
    if (status != PIL_STATUS_OK && status != PIL_STATUS_CLOSED && child->pid > 0) {
        pil_log(PIL_LOG_ERROR, "child does not read", "child", child->role, "status", pil_status_text(status), NULL);
        kill(child->pid, SIGKILL);
    }
}

static pil_status send_config(struct supervisor *supervisor, struct pil_child *child, struct pil_error *ret_error) {
    struct pil_message message = pil_message_make(PIL_MESSAGE_CONFIG, 0, NULL);
    int fd = -1;
    PIL_TRY(pil_message_blob(supervisor->config, sizeof *supervisor->config, &fd, ret_error));
    send_to(child, &message, fd);
    pil_sys_close(&fd);
    return PIL_STATUS_OK;
}

/* Tells the server what is held of a view: numbers for metrics. */
static void tell_held(struct supervisor *supervisor, uint32_t view_index) {
    struct pil_message message = pil_message_make(PIL_MESSAGE_HELD, view_index, NULL);
    message.numbers[0] = pil_vault_bytes(&supervisor->vault, view_index, false);
    message.numbers[1] = supervisor->fetcher.restarts;
    message.index = pil_vault_count(&supervisor->vault, view_index);
    send_to(&supervisor->server, &message, -1);
}

static void send_release(struct supervisor *supervisor, struct pil_held_release *held) {
    for (uint32_t i = 0; i < held->shard_count; i++) {
        struct pil_message shard = pil_message_make(PIL_MESSAGE_SHARD, held->view_index, held->release);
        shard.index = i;
        shard.count = held->shard_count;
        send_to(&supervisor->server, &shard, held->fds[i]);
    }
    struct pil_message publish = pil_message_make(PIL_MESSAGE_PUBLISH, held->view_index, held->release);
    publish.time_us = held->created_us;
    send_to(&supervisor->server, &publish, -1);
    held->map_count++;
}

static pil_status start_server(struct supervisor *supervisor, struct pil_error *ret_error) {
    const struct pil_settings *settings = &supervisor->config->settings;
    PIL_TRY(pil_child_start(&supervisor->server, ret_error));
    PIL_TRY(send_config(supervisor, &supervisor->server, ret_error));
    for (uint32_t i = 0; i < settings->listener_count; i++) {
        struct pil_message message = pil_message_make(PIL_MESSAGE_LISTENER, 0, NULL);
        message.index = i;
        send_to(&supervisor->server, &message, supervisor->listener_fds[i]);
    }
    for (uint32_t i = 0; i < settings->view_count; i++) {
        struct pil_held_release *held = pil_vault_find(&supervisor->vault, i, supervisor->vault.live[i]);
        if (supervisor->project_fds[i] >= 0) { /* before its releases: it says who may map them */
            struct pil_message project = pil_message_make(PIL_MESSAGE_PROJECT, i, NULL);
            send_to(&supervisor->server, &project, supervisor->project_fds[i]);
        }
        if (held != NULL) {
            send_release(supervisor, held);
        }
        if (supervisor->notes[i].checked.kind != 0) {
            send_to(&supervisor->server, &supervisor->notes[i].checked, -1);
        }
        tell_held(supervisor, i);
    }
    struct pil_message start = pil_message_make(PIL_MESSAGE_START, 0, NULL);
    start.numbers[0] = supervisor->server.restarts;
    send_to(&supervisor->server, &start, -1);
    return PIL_STATUS_OK;
}

static pil_status start_fetcher(struct supervisor *supervisor, struct pil_error *ret_error) {
    PIL_TRY(pil_child_start(&supervisor->fetcher, ret_error));
    PIL_TRY(send_config(supervisor, &supervisor->fetcher, ret_error));
    pil_vault_drop_partial(&supervisor->vault);
    for (const struct pil_held_release *held = supervisor->vault.releases; held != NULL; held = held->next) {
        if (!held->is_dropped) {
            struct pil_message message = pil_message_make(PIL_MESSAGE_HOLDING, held->view_index, held->release);
            message.index = strcmp(supervisor->vault.live[held->view_index], held->release) == 0;
            send_to(&supervisor->fetcher, &message, -1);
        }
    }
    struct pil_message begin = pil_message_make(PIL_MESSAGE_BEGIN, 0, NULL);
    send_to(&supervisor->fetcher, &begin, -1);
    return PIL_STATUS_OK;
}

/* Drops one release as pil_vault_evict does, and says so. */
static uint64_t evict_one(struct supervisor *supervisor, uint32_t view_index, uint32_t keep) {
    uint32_t evicted_view = 0;
    char release[PIL_RELEASE_ID_CHARS + 1];
    uint64_t bytes = pil_vault_evict(&supervisor->vault, view_index, keep, &evicted_view, release);
    if (bytes > 0) {
        struct pil_message message = pil_message_make(PIL_MESSAGE_DROPPED, evicted_view, release);
        send_to(&supervisor->fetcher, &message, -1);
        tell_held(supervisor, evicted_view);
    }
    return bytes;
}

static void evict_beyond_keep(struct supervisor *supervisor, uint32_t view_index) {
    while (evict_one(supervisor, view_index, supervisor->config->settings.keep_releases) > 0) {
    }
}

/* Gives up releases that are only kept, the longest unused first, until those and the live ones have at most `bytes`.
 * What is being unmapped goes without that. */
static void evict_down_to(struct supervisor *supervisor, uint64_t bytes) {
    uint64_t used = pil_vault_bytes_live(&supervisor->vault) + pil_vault_bytes_kept(&supervisor->vault), evicted;
    while (used > bytes && (evicted = evict_one(supervisor, UINT32_MAX, 0)) > 0) {
        used -= evicted;
    }
}

/* Whether `wanted` bytes more fit into the budget, after giving up releases that are only kept: if that helps. */
static void on_admit(struct supervisor *supervisor, const struct pil_message *request) {
    const struct pil_vault *vault = &supervisor->vault;
    uint64_t budget = supervisor->config->settings.memory_budget, wanted = request->numbers[0];
    struct pil_message answer = pil_message_make(PIL_MESSAGE_ADMITTED, request->view_index, request->release);
    pil_vault_drop_partial(&supervisor->vault);
    uint64_t live = pil_vault_bytes_live(vault);
    if (wanted <= budget && live <= budget - wanted) {
        evict_down_to(supervisor, budget - wanted);
    }
    uint64_t used = pil_vault_bytes(vault, 0, true), kept = pil_vault_bytes_kept(vault), unmapping = used - live - kept;
    answer.index = wanted <= budget && used <= budget - wanted;
    if (answer.index == 0) { /* sums in bytes, so that they add up; what is kept would have made room */
        snprintf(answer.text, sizeof answer.text,
                 "it will not fit: %llu bytes served + %llu being unmapped + %llu of release %s = %llu bytes, over the "
                 "budget of %llu MiB (%llu bytes); raise memory_budget or serve less",
                 (unsigned long long)live, (unsigned long long)unmapping, (unsigned long long)wanted, request->release,
                 (unsigned long long)(live + unmapping + wanted), (unsigned long long)(budget >> 20),
                 (unsigned long long)budget);
    }
    send_to(&supervisor->fetcher, &answer, -1);
}

static void on_publish(struct supervisor *supervisor, const struct pil_message *message) {
    if (pil_vault_publish(&supervisor->vault, message->view_index, message->release, message->time_us) !=
        PIL_STATUS_OK) {
        pil_log(PIL_LOG_ERROR, "fetcher published what is not held", "release", message->release, NULL);
        return;
    }
    send_release(supervisor, pil_vault_find(&supervisor->vault, message->view_index, message->release));
    evict_beyond_keep(supervisor, message->view_index);
    tell_held(supervisor, message->view_index);
}

static void on_fetcher_message(struct supervisor *supervisor, const struct pil_message *message, int fd) {
    if (message->view_index >= supervisor->config->settings.view_count) {
        pil_sys_close(&fd);
        return;
    }
    if (message->kind == PIL_MESSAGE_SHARD) {
        pil_status status = pil_vault_add(&supervisor->vault, message->view_index, message->release, message->index,
                                          message->count, fd);
        if (status != PIL_STATUS_OK) {
            pil_log(PIL_LOG_ERROR, "shard refused", "release", message->release, "status", pil_status_text(status),
                    NULL);
        }
        return;
    }
    if (message->kind == PIL_MESSAGE_PROJECT && fd >= 0) {
        pil_sys_close(&supervisor->project_fds[message->view_index]);
        supervisor->project_fds[message->view_index] = fd;
        send_to(&supervisor->server, message, fd);
        return;
    }
    pil_sys_close(&fd);
    if (message->kind == PIL_MESSAGE_ADMIT) {
        on_admit(supervisor, message);
    } else if (message->kind == PIL_MESSAGE_PUBLISH) {
        on_publish(supervisor, message);
    } else if (message->kind == PIL_MESSAGE_CHECKED) {
        supervisor->notes[message->view_index].checked = *message;
        send_to(&supervisor->server, message, -1);
    } else if (message->kind == PIL_MESSAGE_REPORT) {
        send_to(&supervisor->server, message, -1);
    }
}

static void tell_ready(struct supervisor *supervisor) {
    if (supervisor->ready_fd >= 0) {
        pil_ignore(pil_sys_write_all(supervisor->ready_fd, pil_bytes_from_text("ready\n"), NULL),
                   "whoever waited is gone");
        pil_sys_close(&supervisor->ready_fd);
    }
}

static void on_server_message(struct supervisor *supervisor, const struct pil_message *message, int fd) {
    pil_sys_close(&fd);
    if (message->kind == PIL_MESSAGE_RECLAIMED) {
        pil_vault_unmapped(&supervisor->vault, message->view_index, message->release);
        if (message->view_index < supervisor->config->settings.view_count) {
            tell_held(supervisor, message->view_index);
        }
    } else if (message->kind == PIL_MESSAGE_READINESS && message->index == 1) {
        tell_ready(supervisor);
    }
}

/* Empties a child's socket. Its end is told by SIGCHLD. */
static void read_child(struct supervisor *supervisor, struct pil_child *child) {
    struct pil_message message;
    int fd = -1;
    while (child->socket >= 0) {
        pil_status status = pil_message_receive(child->socket, false, &message, &fd);
        if (status == PIL_STATUS_CLOSED) {
            pil_sys_close(&child->socket); /* poll would say so again and again */
        }
        if (status != PIL_STATUS_OK) {
            return;
        }
        if (child == &supervisor->server) {
            on_server_message(supervisor, &message, fd);
        } else {
            on_fetcher_message(supervisor, &message, fd);
        }
    }
}

static void on_child_ended(struct supervisor *supervisor, struct pil_child *child, int wait_status) {
    char how[64];
    read_child(supervisor, child);
    snprintf(how, sizeof how, WIFSIGNALED(wait_status) ? "signal %d" : "exit code %d",
             WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) : WEXITSTATUS(wait_status));
    pil_child_ended(child);
    if (child == &supervisor->server) {
        pil_vault_unmapped(&supervisor->vault, 0, NULL);
    }
    if (supervisor->stop_ns == 0) {
        pil_log(PIL_LOG_ERROR, "child ended, restarting", "child", child->role, "how", how, "failures",
                PIL_LOG_NUM(child->failures), NULL);
    }
}

static void reap(struct supervisor *supervisor) {
    int wait_status = 0;
    for (pid_t pid; (pid = waitpid(-1, &wait_status, WNOHANG)) > 0;) {
        if (pid == supervisor->server.pid) {
            on_child_ended(supervisor, &supervisor->server, wait_status);
        } else if (pid == supervisor->fetcher.pid) {
            on_child_ended(supervisor, &supervisor->fetcher, wait_status);
        }
    }
}

static void reload(struct supervisor *supervisor) {
    struct pil_command_line line;
    struct pil_config *wanted = calloc(1, sizeof *wanted);
    struct pil_text problems = {0}, changed = {0}, kept = {0};
    struct pil_error error;
    PIL_ASSERT(wanted != NULL);
    if (pil_config_load(supervisor->argc, supervisor->argv, &line, wanted, &problems) != PIL_STATUS_OK) {
        pil_log(PIL_LOG_ERROR, "reload refused, nothing changed", "problems", pil_text_chars(&problems), NULL);
    } else {
        uint32_t kept_count = pil_config_reload(supervisor->config, wanted, &changed, &kept);
        pil_log(PIL_LOG_INFO, "reloaded", "changed", pil_text_chars(&changed), "memory_budget",
                PIL_LOG_NUM(supervisor->config->settings.memory_budget), NULL);
        if (kept_count > 0) {
            pil_log(PIL_LOG_WARN, "changes that need a restart were not taken", "options", pil_text_chars(&kept), NULL);
        }
        pil_log_init("supervisor", (pil_log_level)supervisor->config->log_level,
                     (pil_log_format)supervisor->config->log_format);
        pil_ignore(send_config(supervisor, &supervisor->server, &error), "logged by the child when it cannot go on");
        pil_ignore(send_config(supervisor, &supervisor->fetcher, &error), "likewise");
        for (uint32_t i = 0; i < supervisor->config->settings.view_count; i++) {
            evict_beyond_keep(supervisor, i);
        }
        evict_down_to(supervisor, supervisor->config->settings.memory_budget);
    }
    free(wanted);
    pil_text_deinit(&problems);
    pil_text_deinit(&changed);
    pil_text_deinit(&kept);
}

static void begin_stop(struct supervisor *supervisor) {
    if (supervisor->stop_ns != 0) {
        return;
    }
    pil_log(PIL_LOG_INFO, "stopping", NULL);
    supervisor->stop_ns = pil_clock_monotonic_ns() + STOP_MS * 1000000ull;
    struct pil_message drain = pil_message_make(PIL_MESSAGE_DRAIN, 0, NULL);
    send_to(&supervisor->server, &drain, -1);
    if (supervisor->fetcher.pid > 0) {
        kill(supervisor->fetcher.pid, SIGTERM);
    }
}

static void on_signal(struct supervisor *supervisor) {
    struct signalfd_siginfo info;
    while (read(supervisor->signals, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo == SIGCHLD) {
            reap(supervisor);
        } else if (info.ssi_signo == SIGHUP) {
            reload(supervisor);
        } else {
            begin_stop(supervisor);
        }
    }
}

static void restart_due(struct supervisor *supervisor, struct pil_child *child,
                        pil_status (*start)(struct supervisor *, struct pil_error *)) {
    struct pil_error error;
    if (child->pid == 0 && supervisor->stop_ns == 0 && pil_clock_monotonic_ns() >= child->restart_ns &&
        start(supervisor, &error) != PIL_STATUS_OK) {
        pil_log(PIL_LOG_ERROR, "child did not start", "child", child->role, "why", error.text, NULL);
        pil_child_ended(child);
    }
}

static int wait_ms(const struct supervisor *supervisor) {
    uint64_t now_ns = pil_clock_monotonic_ns(), due_ns = UINT64_MAX;
    const struct pil_child *children[] = {&supervisor->server, &supervisor->fetcher};
    if (supervisor->stop_ns != 0) {
        due_ns = supervisor->stop_ns;
    }
    for (size_t i = 0; i < 2 && supervisor->stop_ns == 0; i++) {
        if (children[i]->pid == 0 && children[i]->restart_ns < due_ns) {
            due_ns = children[i]->restart_ns;
        }
    }
    return due_ns == UINT64_MAX ? -1 : due_ns <= now_ns ? 0 : (int)((due_ns - now_ns) / 1000000 + 1);
}

static void run(struct supervisor *supervisor) {
    for (;;) {
        bool stopped = supervisor->server.pid == 0 && supervisor->fetcher.pid == 0;
        if (supervisor->stop_ns != 0 && (stopped || pil_clock_monotonic_ns() >= supervisor->stop_ns)) {
            return;
        }
        restart_due(supervisor, &supervisor->server, start_server);
        restart_due(supervisor, &supervisor->fetcher, start_fetcher);
        struct pollfd waits[] = {{.fd = supervisor->signals, .events = POLLIN},
                                 {.fd = supervisor->server.socket, .events = POLLIN},
                                 {.fd = supervisor->fetcher.socket, .events = POLLIN}};
        if (poll(waits, 3, wait_ms(supervisor)) < 0 && errno != EINTR) {
            pil_log(PIL_LOG_ERROR, "poll failed", "why", strerror(errno), NULL);
            return;
        }
        read_child(supervisor, &supervisor->server);
        read_child(supervisor, &supervisor->fetcher);
        on_signal(supervisor);
    }
}

static pil_status open_signals(struct supervisor *supervisor, struct pil_error *ret_error) {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGCHLD);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    supervisor->signals = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    return supervisor->signals >= 0
               ? PIL_STATUS_OK
               : pil_fail(ret_error, pil_status_from_errno(errno), "signalfd: %s", strerror(errno));
}

/* A daemon that was killed has children that drain for a moment: what they still hold is waited for. */
static pil_status open_listeners(struct supervisor *supervisor, struct pil_error *ret_error) {
    const struct pil_settings *settings = &supervisor->config->settings;
    const struct timespec pause = {.tv_nsec = 20000000};
    uint64_t deadline_ns = pil_clock_monotonic_ns() + ADDRESS_WAIT_MS * 1000000ull;
    bool is_told = false;
    for (uint32_t i = 0; i < settings->listener_count;) {
        pil_status status = pil_listener_open(&settings->listeners[i], &supervisor->listener_fds[i], ret_error);
        if (status == PIL_STATUS_OK) {
            i++;
        } else if (status != PIL_STATUS_BUSY || pil_clock_monotonic_ns() >= deadline_ns) {
            return status;
        } else {
            if (!is_told) {
                pil_log(PIL_LOG_WARN, "address taken, waiting a moment", "why", ret_error->text, NULL);
                is_told = true;
            }
            nanosleep(&pause, NULL);
        }
    }
    return PIL_STATUS_OK;
}

/* Signals first: one that comes early must not end the process beside its socket files. */
static pil_status open_all(struct supervisor *supervisor, struct pil_error *ret_error) {
    struct rlimit files;
    PIL_TRY(open_signals(supervisor, ret_error));
    /* Descriptors are what connections and shards are made of: the soft limit is for programs that use select(). */
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    PIL_TRY(open_listeners(supervisor, ret_error));
    return pil_privilege_drop(supervisor->config->user, ret_error);
}

static void close_all(struct supervisor *supervisor) {
    const struct pil_settings *settings = &supervisor->config->settings;
    struct pil_child *children[] = {&supervisor->server, &supervisor->fetcher};
    for (size_t i = 0; i < 2; i++) {
        if (children[i]->pid > 0) {
            pil_log(PIL_LOG_WARN, "child did not stop in time, killed", "child", children[i]->role, NULL);
            kill(children[i]->pid, SIGKILL);
            waitpid(children[i]->pid, NULL, 0);
        }
        pil_sys_close(&children[i]->socket);
    }
    for (uint32_t i = 0; i < settings->listener_count; i++) {
        if (supervisor->listener_fds[i] >= 0) {
            pil_sys_close(&supervisor->listener_fds[i]);
            pil_listener_remove(&settings->listeners[i]);
        }
    }
    for (uint32_t i = 0; i < PIL_SETTINGS_VIEWS_MAX; i++) {
        pil_sys_close(&supervisor->project_fds[i]);
    }
    pil_sys_close(&supervisor->signals);
    pil_sys_close(&supervisor->ready_fd);
    pil_vault_deinit(&supervisor->vault);
}

int pil_supervisor_run(struct pil_config *config, int argc, char **argv, int ready_fd) {
    struct supervisor *supervisor = calloc(1, sizeof *supervisor);
    struct pil_error error;
    int code = EXIT_OK;
    PIL_ASSERT(supervisor != NULL);
    *supervisor = (struct supervisor){.config = config,
                                      .argc = argc,
                                      .argv = argv,
                                      .ready_fd = ready_fd,
                                      .signals = -1,
                                      .server = {.role = "server", .socket = -1},
                                      .fetcher = {.role = "fetcher", .socket = -1}};
    memset(supervisor->listener_fds, -1, sizeof supervisor->listener_fds);
    memset(supervisor->project_fds, -1, sizeof supervisor->project_fds);
    pil_log_init("supervisor", (pil_log_level)config->log_level, (pil_log_format)config->log_format);
    if (ready_fd >= 0) {
        fcntl(ready_fd, F_SETFD, FD_CLOEXEC); /* children that hold it would keep its reader from seeing the end */
    }
    if (open_all(supervisor, &error) != PIL_STATUS_OK) {
        fprintf(stderr, "pilliond: %s\n", error.text);
        code = EXIT_SYSTEM;
    } else {
        pil_log(PIL_LOG_INFO, "started", "version", PIL_VERSION, "engine",
                pil_engine_kind_text(config->settings.engine), "engine_reason", config->settings.engine_reason,
                "workers", PIL_LOG_NUM(config->settings.worker_count), "memory_budget",
                PIL_LOG_NUM(config->settings.memory_budget), NULL);
        run(supervisor);
        pil_log(PIL_LOG_INFO, "stopped", NULL);
    }
    close_all(supervisor);
    free(supervisor);
    return code;
}
