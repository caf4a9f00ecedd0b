/* SPDX-License-Identifier: Apache-2.0
 * The server's process. Workers run on threads of their own; this is the control thread, with the supervisor's socket,
 * the mapped listener and the admin listeners. Its work is in src/node. The process opens no file but /proc/self/smaps,
 * and no connection. */
#include "admin/console.h"
#include "base/log.h"
#include "base/sys.h"
#include "daemon/privilege.h"
#include "daemon/process.h"
#include "engine/engine.h"
#include "node/node.h"
#include "protocol/protocols.h"
#include "supervise/outbox.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { EXIT_OK = 0, EXIT_SYSTEM = 3, DRAIN_MS = 1500, FAILED_DRAIN_MS = 100, TICK_NS = 100000000, EVENTS = 64 };

struct process {
    int control;
    struct pil_outbox outbox; /* to the supervisor */
    struct pil_config config;
    bool is_configured;
    int listener_fds[PIL_SETTINGS_LISTENERS_MAX]; /* -1: not received */
    int smaps;
    struct pil_node *node;     /* NULL: not configured yet */
    struct pil_engine *engine; /* of the control thread: epoll, for a few descriptors */
    struct pil_console *console;
    bool is_stopping, is_started;
};

static void tell(void *context, const struct pil_message *message) {
    struct process *process = context;
    pil_status status = pil_outbox_send(&process->outbox, process->control, message);
    if (status != PIL_STATUS_OK && status != PIL_STATUS_CLOSED) {
        pil_log(PIL_LOG_ERROR, "message to the supervisor lost", "message", pil_message_kind_text(message->kind),
                "status", pil_status_text(status), NULL);
        process->is_stopping = true; /* a lost message could make the supervisor count memory or wait for ever */
    }
}

/* ---- Messages. */

static pil_status create_node(struct process *process, struct pil_error *error) {
    struct pil_node_options options = {.settings = &process->config.settings,
                                       .listener_fds = process->listener_fds,
                                       .clock = &pil_clock_system,
                                       .smaps = process->smaps,
                                       .tell = tell,
                                       .context = process};
    PIL_TRY(pil_node_create(&options, &process->node, error));
    process->console = pil_console_create(process->engine, process->node);
    return process->console != NULL ? PIL_STATUS_OK
                                    : pil_fail(error, PIL_STATUS_NO_MEMORY, "no memory for the admin console");
}

/* The engine is chosen here, where the limits of the user who serves are in force. A probe that passed is not enough:
 * each worker needs its own ring. `auto` falls back to epoll when one of them is refused. */
static pil_status start_workers(struct process *process, struct pil_error *error) {
    struct pil_settings *settings = &process->config.settings;
    struct pil_server *server = process->node->server;
    pil_config_choose_engine(&process->config);
    pil_status status = pil_server_start(server, error);
    if (status != PIL_STATUS_OK && process->config.engine == 0 && settings->engine == PIL_ENGINE_IO_URING) {
        settings->engine = PIL_ENGINE_EPOLL;
        snprintf(settings->engine_reason, sizeof settings->engine_reason, "%.*s", PIL_ENGINE_REASON_BYTES - 1,
                 error->text);
        status = pil_server_start(server, error);
    }
    if (status == PIL_STATUS_OK) {
        pil_log(PIL_LOG_INFO, "workers run", "workers", PIL_LOG_NUM(settings->worker_count), "engine",
                pil_engine_kind_text(settings->engine), "engine_reason", settings->engine_reason, NULL);
    }
    return status;
}

static pil_status start(struct process *process, struct pil_error *error) {
    const struct pil_settings *settings = &process->config.settings;
    process->is_started = true;
    for (uint32_t i = 0; i < settings->listener_count; i++) {
        if (settings->listeners[i].protocol == PIL_PROTOCOL_ADMIN) {
            PIL_TRY(pil_console_listen(process->console, process->listener_fds[i]));
        } else if (settings->listeners[i].protocol == PIL_PROTOCOL_MAPPED) {
            PIL_TRY(pil_mapped_listen(process->node->mapped, process->listener_fds[i]));
        }
    }
    return start_workers(process, error);
}

static pil_status on_config(struct process *process, int fd, struct pil_error *error) {
    PIL_TRY(pil_config_receive(&process->config, fd, !process->is_configured, "server", error));
    process->is_configured = true;
    if (process->node != NULL) {
        pil_node_views_changed(process->node);
    }
    return PIL_STATUS_OK;
}

static pil_status on_message(struct process *process, struct pil_message *message, struct pil_error *error) {
    if (message->kind == PIL_MESSAGE_CONFIG) {
        return on_config(process, message->fd, error);
    }
    if (message->kind == PIL_MESSAGE_LISTENER && process->node == NULL &&
        message->listener.listener_index < PIL_SETTINGS_LISTENERS_MAX) {
        if (message->fd < 0) {
            return pil_fail(error, PIL_STATUS_NO_MEMORY, "no descriptors for the listeners");
        }
        process->listener_fds[message->listener.listener_index] = message->fd;
        message->fd = -1;
        return PIL_STATUS_OK;
    }
    if (process->node == NULL) { /* all listeners have been received */
        PIL_TRY(process->is_configured ? create_node(process, error) : PIL_STATUS_CORRUPT);
    }
    if (message->kind == PIL_MESSAGE_DRAIN) {
        process->is_stopping = true;
        return PIL_STATUS_OK;
    }
    pil_node_take(process->node, message);
    return message->kind == PIL_MESSAGE_START && !process->is_started ? start(process, error) : PIL_STATUS_OK;
}

/* Handles the messages that have arrived; `block` true: waits for messages until START or DRAIN. */
static pil_status read_control(struct process *process, bool block, struct pil_error *error) {
    struct pil_message message;
    pil_status status;
    while ((status = pil_message_receive(process->control, PIL_ROUTE_TO_SERVER, block, &message)) == PIL_STATUS_OK) {
        status = on_message(process, &message, error);
        pil_message_close(&message);
        if (status != PIL_STATUS_OK || (block && (process->is_started || process->is_stopping))) {
            return status;
        }
    }
    if (status == PIL_STATUS_CLOSED) {
        process->is_stopping = true; /* the supervisor has ended: drain, then end, too */
    }
    return status == PIL_STATUS_AGAIN ? PIL_STATUS_OK : status;
}

/* ---- The loop. */

/* The owner of an event of the control thread's engine; the admin console has its own owners. */
struct owner {
    pil_status (*handle)(struct process *process, struct pil_error *error);
};

static pil_status on_control(struct process *process, struct pil_error *error) {
    pil_status status = read_control(process, false, error);
    return process->is_stopping ? PIL_STATUS_OK : status;
}

static pil_status on_mapped(struct process *process, struct pil_error *error) {
    (void)error;
    pil_mapped_turn(process->node->mapped);
    return PIL_STATUS_OK;
}

static struct owner control_owner = {on_control}, mapped_owner = {on_mapped};

static pil_status on_event(struct process *process, const struct pil_event *event, struct pil_error *error) {
    if (event->owner == &control_owner || event->owner == &mapped_owner) {
        return ((const struct owner *)event->owner)->handle(process, error);
    }
    pil_console_event(process->console, event);
    return PIL_STATUS_OK;
}

static pil_status turn(struct process *process, struct pil_error *error) {
    struct pil_event events[EVENTS];
    uint32_t count = 0;
    bool has_work = pil_node_work(process->node);
    PIL_TRY(pil_engine_wait(process->engine, events, EVENTS, 0, has_work ? 0 : TICK_NS, &count));
    for (uint32_t i = 0; i < count; i++) {
        PIL_TRY(on_event(process, &events[i], error));
    }
    if (count > 0 || !has_work || pil_clock_monotonic_ns() - process->node->ticked_ns >= TICK_NS) {
        pil_node_tick(process->node);
        pil_console_sweep(process->console);
    }
    pil_ignore(pil_outbox_flush(&process->outbox, process->control), "tried again in the next turn");
    return PIL_STATUS_OK;
}

static pil_status run(struct process *process, struct pil_error *error) {
    pil_engine_handle handle = 0;
    PIL_TRY(pil_engine_watch(process->engine, process->control, &control_owner, &handle));
    if (process->node->mapped != NULL) {
        int mapped = pil_mapped_descriptor(process->node->mapped);
        PIL_TRY(pil_engine_watch(process->engine, mapped, &mapped_owner, &handle));
    }
    while (!process->is_stopping && !pil_server_failed(process->node->server)) {
        PIL_TRY(turn(process, error));
    }
    return pil_server_failed(process->node->server) ? PIL_STATUS_SYSTEM : PIL_STATUS_OK;
}

/* Answers the requests that have arrived. The admin listeners still answer in the meantime, and report that the node is
 * draining. */
static bool drain(struct process *process) {
    uint64_t deadline_ns = pil_clock_monotonic_ns() + DRAIN_MS * 1000000ull;
    struct pil_event events[EVENTS];
    bool is_done = false;
    process->node->is_draining = true;
    while (!(is_done = pil_server_drain(process->node->server, 1)) && pil_clock_monotonic_ns() < deadline_ns) {
        uint32_t count = 0;
        pil_ignore(pil_engine_wait(process->engine, events, EVENTS, 0, 0, &count), "draining does not need it");
        for (uint32_t i = 0; i < count; i++) {
            pil_console_event(process->console, &events[i]);
        }
    }
    return is_done;
}

/* ---- Life. */

static pil_status open_control(struct process *process, struct pil_error *error) {
    struct pil_engine_options options = {.kind = PIL_ENGINE_EPOLL, .connections_max = 2 * PIL_CONSOLE_CLIENTS_MAX};
    PIL_TRY(pil_privilege_drop("", error));
    PIL_TRY(pil_engine_create(&options, &process->engine, error));
    while (!process->is_started && !process->is_stopping) {
        PIL_TRY(read_control(process, true, error));
    }
    return PIL_STATUS_OK;
}

static void destroy(struct process *process) {
    pil_engine_destroy(&process->engine);
    pil_console_destroy(&process->console);
    pil_node_destroy(&process->node);
    pil_outbox_clear(&process->outbox);
    free(process);
}

/* Where workers still run at the end, the process leaves by _exit: nothing may be freed under them, by the handlers of
 * exit() neither. */
int pil_server_process_run(int control) {
    struct process *process = calloc(1, sizeof *process);
    struct pil_error error = {.text = "see above"};
    if (process == NULL) {
        pil_log(PIL_LOG_ERROR, "server cannot run", "why", "no memory", NULL);
        return EXIT_SYSTEM;
    }
    process->control = control;
    process->smaps = open("/proc/self/smaps", O_RDONLY | O_CLOEXEC);
    pil_outbox_init(&process->outbox);
    memset(process->listener_fds, -1, sizeof process->listener_fds);
    pil_log_init("server", PIL_LOG_INFO, PIL_LOG_FORMAT_LOGFMT);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGTERM, SIG_IGN); /* the server ends after DRAIN, or when the supervisor's socket closes */
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    pil_status status = open_control(process, &error);
    if (status == PIL_STATUS_OK && !process->is_stopping) {
        status = run(process, &error);
    }
    if (process->node != NULL) {
        pil_node_stop_mapped(process->node); /* clients look for the next server at once */
    }
    if (status != PIL_STATUS_OK && !process->is_stopping) {
        pil_log(PIL_LOG_ERROR, "server cannot run", "status", pil_status_text(status), "why", error.text, NULL);
        if (process->node != NULL && !pil_server_drain(process->node->server, FAILED_DRAIN_MS)) {
            _exit(EXIT_SYSTEM); /* the next server starts from the sealed releases */
        }
        destroy(process);
        return EXIT_SYSTEM;
    }
    if (process->is_started && !drain(process)) {
        pil_log(PIL_LOG_WARN, "connections were cut at the end of the drain", NULL);
        _exit(EXIT_OK);
    }
    destroy(process);
    return EXIT_OK;
}
