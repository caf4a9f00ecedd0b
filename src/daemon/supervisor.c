/* SPDX-License-Identifier: Apache-2.0
 * The supervisor: opens the listeners, holds them and every sealed shard, and keeps the other two processes running. It
 * reads neither bytes of clients nor the store. */
#include "base/clock.h"
#include "base/log.h"
#include "base/panic.h"
#include "base/sys.h"
#include "daemon/descriptors.h"
#include "daemon/janitor.h"
#include "daemon/listener.h"
#include "daemon/preflight.h"
#include "daemon/privilege.h"
#include "daemon/process.h"
#include "supervise/broker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EXIT_OK = 0, EXIT_SYSTEM = 3, STOP_MS = 1800, ADDRESS_WAIT_MS = 2500, STUCK_MS = 5 };

struct supervisor {
    struct pil_config *config;
    int argc;
    char **argv;
    int listener_fds[PIL_SETTINGS_LISTENERS_MAX];
    struct pil_listener_file listener_files[PIL_SETTINGS_LISTENERS_MAX];
    struct pil_janitor janitor; /* removes the files of listeners where this process may not */
    struct pil_broker broker;
    int signals;
    int ready_fd;
    struct pil_limits limits_asked; /* as configured; the running ones may be lower: settle_descriptors */
    uint64_t stop_ns;               /* deadline once stopping; 0: running */
};

/* ---- Children. */

static pil_status send_config(struct supervisor *supervisor, struct pil_child *child, struct pil_error *ret_error) {
    struct pil_message message = {.kind = PIL_MESSAGE_CONFIG, .fd = -1};
    PIL_TRY(pil_message_blob(supervisor->config, sizeof *supervisor->config, &message.fd, ret_error));
    pil_child_send(child, &message);
    pil_sys_close(&message.fd);
    return PIL_STATUS_OK;
}

static pil_status start_server(struct supervisor *supervisor, struct pil_error *ret_error) {
    struct pil_child *server = &supervisor->broker.server;
    PIL_TRY(pil_child_start(server, pil_clock_monotonic_ns(), ret_error));
    PIL_TRY(send_config(supervisor, server, ret_error));
    for (uint32_t i = 0; i < supervisor->config->settings.listener_count; i++) {
        struct pil_message message = {.kind = PIL_MESSAGE_LISTENER, .fd = supervisor->listener_fds[i], .listener = {i}};
        pil_child_send(server, &message);
    }
    pil_broker_greet_server(&supervisor->broker);
    return PIL_STATUS_OK;
}

static pil_status start_fetcher(struct supervisor *supervisor, struct pil_error *ret_error) {
    struct pil_child *fetcher = &supervisor->broker.fetcher;
    PIL_TRY(pil_child_start(fetcher, pil_clock_monotonic_ns(), ret_error));
    PIL_TRY(send_config(supervisor, fetcher, ret_error));
    pil_broker_greet_fetcher(&supervisor->broker);
    return PIL_STATUS_OK;
}

static void tell_ready(void *context) {
    struct supervisor *supervisor = context;
    struct pil_error error = {0};
    if (supervisor->ready_fd >= 0) {
        if (pil_sys_write_all(supervisor->ready_fd, pil_bytes_from_text("ready\n"), &error) != PIL_STATUS_OK) {
            pil_log(PIL_LOG_WARN, "ready, but --ready-fd cannot be written", "why", error.text, NULL);
        }
        pil_sys_close(&supervisor->ready_fd);
    }
}

/* Handles all messages in a child's socket. SIGCHLD reports the end of the child. */
static void read_child(struct supervisor *supervisor, struct pil_child *child) {
    bool is_server = child == &supervisor->broker.server;
    struct pil_message message;
    while (child->socket >= 0) {
        pil_status status = pil_message_receive(
            child->socket, is_server ? PIL_ROUTE_FROM_SERVER : PIL_ROUTE_FROM_FETCHER, false, &message);
        if (status == PIL_STATUS_OK && is_server) {
            pil_broker_take_from_server(&supervisor->broker, &message, pil_clock_monotonic_ns());
        } else if (status == PIL_STATUS_OK) {
            pil_broker_take_from_fetcher(&supervisor->broker, &message);
        } else if (status == PIL_STATUS_CLOSED) {
            pil_sys_close(&child->socket); /* else poll would report it again and again */
        } else if (status == PIL_STATUS_AGAIN) {
            return;
        } else {
            pil_log(PIL_LOG_ERROR, "message lost", "child", child->role, "status", pil_status_text(status), NULL);
            if (status != PIL_STATUS_CORRUPT) {
                return; /* descriptors or memory are short: poll reports the next message */
            }
        }
    }
}

static void on_child_ended(struct supervisor *supervisor, struct pil_child *child, int wait_status) {
    char how[64];
    bool is_expected = child->is_replaced || supervisor->stop_ns != 0;
    read_child(supervisor, child);
    snprintf(how, sizeof how, WIFSIGNALED(wait_status) ? "signal %d" : "exit code %d",
             WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) : WEXITSTATUS(wait_status));
    pil_child_ended(child, pil_clock_monotonic_ns());
    if (child == &supervisor->broker.server) {
        bool has_crashed = WIFSIGNALED(wait_status) ||
                           (WEXITSTATUS(wait_status) != EXIT_OK && WEXITSTATUS(wait_status) != EXIT_SYSTEM);
        pil_broker_server_ended(&supervisor->broker, has_crashed);
    }
    if (!is_expected) {
        pil_log(PIL_LOG_ERROR, "child ended, restarting", "child", child->role, "how", how, "failures",
                PIL_LOG_NUM(child->failures), NULL);
    }
}

static void reap(struct supervisor *supervisor) {
    int wait_status = 0;
    for (pid_t pid; (pid = waitpid(-1, &wait_status, WNOHANG)) > 0;) {
        if (pid == supervisor->broker.server.pid) {
            on_child_ended(supervisor, &supervisor->broker.server, wait_status);
        } else if (pid == supervisor->broker.fetcher.pid) {
            on_child_ended(supervisor, &supervisor->broker.fetcher, wait_status);
        }
    }
}

/* Passes the views and limits of the configuration to the broker. */
static void configure_broker(struct supervisor *supervisor) {
    const struct pil_settings *settings = &supervisor->config->settings;
    for (uint32_t i = 0; i < settings->view_count; i++) {
        pil_broker_set_view(&supervisor->broker, i, !settings->views[i].is_removed, settings->views[i].project);
    }
    uint64_t clients = settings->limits.client_memory_max;
    pil_broker_set_limits(&supervisor->broker,
                          settings->memory_budget > clients ? settings->memory_budget - clients : 0,
                          settings->keep_releases);
}

/* Asks the server to end; the next one starts with the configuration of that time. replace_fetcher does the same. */
static void replace_server(struct supervisor *supervisor) {
    struct pil_child *server = &supervisor->broker.server;
    struct pil_message drain = {.kind = PIL_MESSAGE_DRAIN};
    server->is_replaced = server->pid > 0;
    pil_child_send(server, &drain);
}

static void replace_fetcher(struct supervisor *supervisor) {
    struct pil_child *fetcher = &supervisor->broker.fetcher;
    if (fetcher->pid > 0) {
        fetcher->is_replaced = true;
        kill(fetcher->pid, SIGTERM);
    }
}

/* Sends the configuration to a child, if it runs. Returns false if that failed. */
static bool pass_config(struct supervisor *supervisor, struct pil_child *child) {
    struct pil_error error;
    bool is_told = send_config(supervisor, child, &error) == PIL_STATUS_OK;
    if (!is_told) {
        pil_log(PIL_LOG_ERROR, "configuration not passed on, child replaced", "child", child->role, "why", error.text,
                NULL);
    }
    return is_told;
}

/* Called before anything is sent for new views, so that the server knows them. When views have changed, the fetcher is
 * replaced: a fetch that the old one began for a removed view cannot arrive for another view in the same slot. */
static void tell_children(struct supervisor *supervisor, bool has_views) {
    if (!pass_config(supervisor, &supervisor->broker.server)) {
        replace_server(supervisor);
    }
    if (has_views || !pass_config(supervisor, &supervisor->broker.fetcher)) {
        replace_fetcher(supervisor);
    }
}

static void take_config(struct supervisor *supervisor, struct pil_config *wanted) {
    struct pil_config_changes changes;
    const struct pil_limits *running = &supervisor->config->settings.limits, *asked = &supervisor->limits_asked;
    struct pil_limits *limits = &wanted->settings.limits;
    if (limits->connections_max == asked->connections_max) { /* not a change, though it was lowered at the start */
        limits->connections_max = running->connections_max;
    }
    if (limits->mapped_sessions_max == asked->mapped_sessions_max) {
        limits->mapped_sessions_max = running->mapped_sessions_max;
    }
    pil_config_reload(supervisor->config, wanted, &changes);
    pil_log(PIL_LOG_INFO, "reloaded", "changed", pil_text_chars(&changes.changed), "memory_budget",
            PIL_LOG_NUM(supervisor->config->settings.memory_budget), NULL);
    if (changes.kept_count > 0) {
        pil_log(PIL_LOG_WARN, "changes that need a restart were not taken", "options", pil_text_chars(&changes.kept),
                NULL);
    }
    pil_log_init("supervisor", (pil_log_level)supervisor->config->log_level,
                 (pil_log_format)supervisor->config->log_format);
    tell_children(supervisor, changes.has_views);
    configure_broker(supervisor);
    pil_config_changes_deinit(&changes);
}

/* limits.client_memory stays as it is until a restart, also where it was `auto` and memory_budget changes. */
static bool load_again(struct supervisor *supervisor, struct pil_config *wanted, struct pil_text *problems) {
    struct pil_command_line line;
    return pil_config_load(supervisor->argc, supervisor->argv, &line, wanted, problems) == PIL_STATUS_OK &&
           pil_config_leaves_memory(wanted->settings.memory_budget,
                                    supervisor->config->settings.limits.client_memory_max, problems);
}

static void reload(struct supervisor *supervisor) {
    struct pil_config *wanted = calloc(1, sizeof *wanted);
    struct pil_text problems = {0};
    if (wanted == NULL) {
        pil_log(PIL_LOG_ERROR, "reload refused, nothing changed", "problems", "no memory", NULL);
    } else if (!load_again(supervisor, wanted, &problems)) {
        pil_log(PIL_LOG_ERROR, "reload refused, nothing changed", "problems", pil_text_chars(&problems), NULL);
    } else {
        take_config(supervisor, wanted);
    }
    free(wanted);
    pil_text_deinit(&problems);
}

static void begin_stop(struct supervisor *supervisor) {
    if (supervisor->stop_ns != 0) {
        return;
    }
    pil_log(PIL_LOG_INFO, "stopping", NULL);
    supervisor->stop_ns = pil_clock_monotonic_ns() + STOP_MS * 1000000ull;
    struct pil_message drain = {.kind = PIL_MESSAGE_DRAIN};
    pil_child_send(&supervisor->broker.server, &drain);
    if (supervisor->broker.fetcher.pid > 0) {
        kill(supervisor->broker.fetcher.pid, SIGTERM);
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
        if (child->pid > 0) { /* it runs, without its configuration; SIGCHLD tells when it has ended */
            kill(child->pid, SIGKILL);
        } else {
            pil_child_ended(child, pil_clock_monotonic_ns());
        }
    }
}

/* The timeout for poll. due_ns: when the broker has work to do; UINT64_MAX: never. */
static int wait_ms(const struct supervisor *supervisor, uint64_t due_ns) {
    bool is_stuck = supervisor->broker.server.is_stuck || supervisor->broker.fetcher.is_stuck;
    uint64_t now_ns = pil_clock_monotonic_ns(), stuck_ns = is_stuck ? now_ns + STUCK_MS * 1000000ull : UINT64_MAX;
    due_ns = stuck_ns < due_ns ? stuck_ns : due_ns;
    const struct pil_child *children[] = {&supervisor->broker.server, &supervisor->broker.fetcher};
    if (supervisor->stop_ns != 0 && supervisor->stop_ns < due_ns) {
        due_ns = supervisor->stop_ns;
    }
    for (size_t i = 0; i < 2 && supervisor->stop_ns == 0; i++) {
        if (children[i]->pid == 0 && children[i]->restart_ns < due_ns) {
            due_ns = children[i]->restart_ns;
        }
    }
    return due_ns == UINT64_MAX ? -1 : due_ns <= now_ns ? 0 : (int)((due_ns - now_ns) / 1000000 + 1);
}

static struct pollfd wait_for(const struct pil_child *child) {
    bool wants_room = pil_child_has_mail(child) && !child->is_stuck;
    return (struct pollfd){.fd = child->socket, .events = (short)(POLLIN | (wants_room ? POLLOUT : 0))};
}

static void flush(struct pil_child *child, const struct pollfd *wait) {
    if (child->is_stuck || (wait->revents & ~POLLIN) != 0) {
        pil_child_flush(child);
    }
}

static void run(struct supervisor *supervisor) {
    for (;;) {
        bool stopped = supervisor->broker.server.pid == 0 && supervisor->broker.fetcher.pid == 0;
        if (supervisor->stop_ns != 0 && (stopped || pil_clock_monotonic_ns() >= supervisor->stop_ns)) {
            return;
        }
        restart_due(supervisor, &supervisor->broker.server, start_server);
        restart_due(supervisor, &supervisor->broker.fetcher, start_fetcher);
        uint64_t due_ns = pil_broker_step(&supervisor->broker, pil_clock_monotonic_ns());
        struct pollfd waits[] = {{.fd = supervisor->signals, .events = POLLIN},
                                 wait_for(&supervisor->broker.server),
                                 wait_for(&supervisor->broker.fetcher)};
        if (poll(waits, 3, wait_ms(supervisor, due_ns)) < 0 && errno != EINTR) {
            pil_log(PIL_LOG_ERROR, "poll failed", "why", strerror(errno), NULL);
            return;
        }
        flush(&supervisor->broker.server, &waits[1]);
        flush(&supervisor->broker.fetcher, &waits[2]);
        read_child(supervisor, &supervisor->broker.server);
        read_child(supervisor, &supervisor->broker.fetcher);
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

/* Waits a moment for addresses that are in use: the children of a killed daemon hold them until they have drained. */
static pil_status open_listeners(struct supervisor *supervisor, struct pil_error *ret_error) {
    const struct pil_settings *settings = &supervisor->config->settings;
    const struct timespec pause = {.tv_nsec = 20000000};
    uint64_t deadline_ns = pil_clock_monotonic_ns() + ADDRESS_WAIT_MS * 1000000ull;
    bool is_told = false;
    for (uint32_t i = 0; i < settings->listener_count;) {
        pil_status status = pil_listener_open(&settings->listeners[i], &supervisor->listener_fds[i],
                                              &supervisor->listener_files[i], ret_error);
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

/* Lowers the limits of clients if the hard limit of open files asks for it, and remembers what was configured. */
static pil_status settle_descriptors(struct supervisor *supervisor, struct pil_error *ret_error) {
    struct pil_settings *settings = &supervisor->config->settings;
    struct pil_text warnings = {0};
    supervisor->limits_asked = settings->limits;
    pil_status status = pil_descriptors_settle(settings, &warnings, ret_error);
    char *line = warnings.len > 0 && !warnings.failed ? warnings.data : NULL;
    for (char *end; line != NULL && (end = strchr(line, '\n')) != NULL; line = end + 1) {
        *end = '\0';
        pil_log(PIL_LOG_WARN, "limit lowered", "why", line, NULL);
    }
    pil_text_deinit(&warnings);
    return status;
}

/* Signals come first: an early one must not end the process and leave its socket files behind. */
static pil_status open_all(struct supervisor *supervisor, struct pil_error *ret_error) {
    PIL_TRY(open_signals(supervisor, ret_error));
    PIL_TRY(settle_descriptors(supervisor, ret_error));
    PIL_TRY(pil_preflight(ret_error));
    PIL_TRY(open_listeners(supervisor, ret_error));
    const struct pil_settings *settings = &supervisor->config->settings;
    if (supervisor->config->user[0] != '\0' && geteuid() == 0) {
        PIL_TRY(pil_janitor_start(settings->listeners, supervisor->listener_files, settings->listener_count,
                                  &supervisor->janitor, ret_error));
    }
    PIL_TRY(pil_privilege_drop(supervisor->config->user, ret_error));
    const char *lacks = pil_preflight_lacks(settings);
    if (lacks[0] != '\0') {
        pil_log(PIL_LOG_WARN, "the machine hides facts", "why", lacks, NULL);
    }
    return PIL_STATUS_OK;
}

static void close_all(struct supervisor *supervisor) {
    const struct pil_settings *settings = &supervisor->config->settings;
    struct pil_child *children[] = {&supervisor->broker.server, &supervisor->broker.fetcher};
    for (size_t i = 0; i < 2; i++) {
        if (children[i]->pid > 0) {
            pil_log(PIL_LOG_WARN, "child did not stop in time, killed", "child", children[i]->role, NULL);
            kill(children[i]->pid, SIGKILL);
            waitpid(children[i]->pid, NULL, 0);
        }
    }
    for (uint32_t i = 0; i < settings->listener_count; i++) {
        if (supervisor->listener_fds[i] >= 0) {
            pil_sys_close(&supervisor->listener_fds[i]);
            pil_listener_remove(&settings->listeners[i], &supervisor->listener_files[i]);
        }
    }
    pil_janitor_finish(&supervisor->janitor);
    pil_sys_close(&supervisor->signals);
    pil_sys_close(&supervisor->ready_fd);
    pil_broker_deinit(&supervisor->broker);
}

int pil_supervisor_run(struct pil_config *config, int argc, char **argv, int ready_fd) {
    struct supervisor *supervisor = calloc(1, sizeof *supervisor);
    struct pil_error error;
    int code = EXIT_OK;
    if (supervisor == NULL) {
        pil_log(PIL_LOG_ERROR, "no memory for the supervisor", NULL);
        return EXIT_SYSTEM;
    }
    *supervisor =
        (struct supervisor){.config = config, .argc = argc, .argv = argv, .ready_fd = ready_fd, .signals = -1};
    supervisor->janitor.pipe = -1;
    memset(supervisor->listener_fds, -1, sizeof supervisor->listener_fds);
    pil_broker_init(&supervisor->broker, tell_ready, supervisor);
    configure_broker(supervisor);
    pil_log_init("supervisor", (pil_log_level)config->log_level, (pil_log_format)config->log_format);
    if (ready_fd >= 0) {
        fcntl(ready_fd, F_SETFD, FD_CLOEXEC); /* a child that inherited it would keep it open for its reader */
    }
    if (open_all(supervisor, &error) != PIL_STATUS_OK) {
        fprintf(stderr, "pilliond: %s\n", error.text);
        code = EXIT_SYSTEM;
    } else {
        pil_log(PIL_LOG_INFO, "started", "version", PIL_VERSION, "memory_budget",
                PIL_LOG_NUM(config->settings.memory_budget), NULL);
        run(supervisor);
        pil_log(PIL_LOG_INFO, "stopped", NULL);
    }
    close_all(supervisor);
    free(supervisor);
    return code;
}
