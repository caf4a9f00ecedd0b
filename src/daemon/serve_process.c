/* SPDX-License-Identifier: Apache-2.0
 * The server's process: workers on their threads, and here the control thread: messages of the supervisor, publishing,
 * reclaiming and the admin listeners. It opens no file and no connection of its own. */
#include "admin/console.h"
#include "protocol/protocols.h"
#include "base/clock.h"
#include "base/panic.h"
#include "base/sys.h"
#include "daemon/handover.h"
#include "daemon/privilege.h"
#include "daemon/process.h"
#include "release/project.h"
#include "mapped/mapped.h"
#include "sync/fetcher.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EXIT_OK = 0, EXIT_SYSTEM = 3, DRAIN_MS = 1500, TICK_NS = 100000000, EVENTS = 64, RETIRED_MAX = 1024,
       RECLAIM_SLICE_BYTES = 64 << 20 };

/* Shards of a release that is arriving. */
struct arrival {
    char release[PIL_RELEASE_ID_CHARS + 8];
    int *fds;
    uint32_t shard_count;
};

/* A release that was published before and is still to be reported as reclaimed. */
struct retired {
    uint32_t view_index;
    uint64_t generation;
    bool is_unmapped; /* by the server; clients may still have it */
    char release[PIL_RELEASE_ID_CHARS + 8];
};

struct process {
    int control;
    struct pil_config config;
    int listener_fds[PIL_SETTINGS_LISTENERS_MAX]; /* as they came */
    struct pil_node node;
    struct pil_engine *engine; /* the control thread's own: epoll, for a handful of descriptors */
    struct pil_console *console;
    struct pil_mapped *mapped; /* NULL: no such listener */
    struct arrival arrivals[PIL_SETTINGS_VIEWS_MAX];
    struct retired retired[RETIRED_MAX];
    uint32_t retired_count;
    int pages;            /* /proc/self/smaps_rollup, or -1 */
    uint64_t remapped_ns; /* when what it tells changed; 0: not since it was read */
    bool is_ready, is_stopping, is_started;
};

static void drop_arrival(struct arrival *arrival) {
    for (uint32_t i = 0; i < arrival->shard_count; i++) {
        pil_sys_close(&arrival->fds[i]);
    }
    free(arrival->fds);
    *arrival = (struct arrival){0};
}

static void on_shard(struct process *process, const struct pil_message *message, int fd) {
    struct arrival *arrival = &process->arrivals[message->view_index];
    if (strcmp(arrival->release, message->release) != 0) {
        drop_arrival(arrival);
        memcpy(arrival->release, message->release, sizeof arrival->release);
        arrival->shard_count = message->count;
        arrival->fds = malloc(message->count * sizeof arrival->fds[0]);
        PIL_ASSERT(arrival->fds != NULL);
        memset(arrival->fds, -1, message->count * sizeof arrival->fds[0]);
    }
    if (message->index >= arrival->shard_count || arrival->fds[message->index] >= 0) {
        pil_sys_close(&fd);
        return;
    }
    arrival->fds[message->index] = fd;
}

static void set_release_info(struct process *process, uint32_t view_index, const char *old, const char *new) {
    struct pil_metric_registry *metrics = pil_server_metrics(process->node.server);
    const struct pil_view_settings *view = &process->config.settings.views[view_index];
    char label[2 * PIL_NAME_BYTES_MAX + 2];
    snprintf(label, sizeof label, "%s/%s", view->project, view->view);
    const char *old_labels[] = {label, view->channel, old, NULL}, *new_labels[] = {label, view->channel, new, NULL},
               *view_labels[] = {label, NULL};
    pil_metric_series series = PIL_METRIC_SERIES_NONE;
    if (old[0] != '\0' &&
        pil_metric_series_get(metrics, PIL_METRIC_release_info, old_labels, &series) == PIL_STATUS_OK) {
        pil_metric_series_drop(metrics, series);
    }
    if (pil_metric_series_get(metrics, PIL_METRIC_release_info, new_labels, &series) == PIL_STATUS_OK) {
        pil_metric_set(metrics, series, 1);
    }
    if (pil_metric_series_get(metrics, PIL_METRIC_releases_published_total, view_labels, &series) == PIL_STATUS_OK) {
        pil_metric_add_owner(metrics, pil_server_control_shard(process->node.server), series, 1);
    }
}

/* What of the mapped releases is mapped by huge pages, as the kernel counts it. */
static void record_huge_pages(struct process *process) {
    char text[4096];
    ssize_t len = process->pages >= 0 ? pread(process->pages, text, sizeof text - 1, 0) : 0;
    pil_metric_series series = PIL_METRIC_SERIES_NONE;
    const char *labels[] = {NULL};
    text[len > 0 ? len : 0] = '\0';
    process->remapped_ns = 0;
    const char *at = strstr(text, "ShmemPmdMapped:");
    if (at != NULL && pil_metric_series_get(pil_server_metrics(process->node.server), PIL_METRIC_huge_page_bytes,
                                            labels, &series) == PIL_STATUS_OK) {
        pil_metric_set(pil_server_metrics(process->node.server), series,
                       1024 * strtod(at + strlen("ShmemPmdMapped:"), NULL));
    }
}

/* Counting takes its time, and clients are asking for the release now. */
static void note_remapped(struct process *process) {
    process->remapped_ns = process->remapped_ns != 0 ? process->remapped_ns : pil_clock_monotonic_ns();
}

static void note_refused(struct process *process, uint32_t view_index, const char *release, pil_fetch_result result,
                         const char *why) {
    struct pil_node_view *view = &process->node.views[view_index];
    view->refused_result = pil_fetch_result_text(result);
    view->refused_us = pil_clock_wall_us();
    snprintf(view->refused, sizeof view->refused, "%s", release);
    snprintf(view->refused_why, sizeof view->refused_why, "%s", why);
}

/* The server has not mapped this release, or does not any more. */
static void tell_unmapped(struct process *process, uint32_t view_index, const char *release) {
    struct pil_message message = pil_message_make(PIL_MESSAGE_RECLAIMED, view_index, release);
    pil_ignore(pil_message_send(process->control, &message, -1), "a supervisor that is gone is seen by reading");
}

/* Clients of mapped reads meanwhile see that the server lives. */
static void prefault(struct process *process, const struct pil_release *release) {
    for (uint32_t i = 0; i < release->shard_count; i++) {
        (void)pil_release_prefault(release, i, 0, UINT64_MAX);
        (void)pil_release_touch(release, i, 0, UINT64_MAX);
        if (process->mapped != NULL) {
            pil_mapped_tick(process->mapped);
        }
    }
}

static void on_publish(struct process *process, const struct pil_message *message) {
    struct arrival *arrival = &process->arrivals[message->view_index];
    struct pil_cache *cache = pil_server_cache(process->node.server);
    struct pil_cache_view *view = pil_cache_view_at(cache, message->view_index);
    struct pil_release *release = NULL;
    struct pil_error error;
    char old[PIL_RELEASE_ID_CHARS + 8] = "";
    if (strcmp(arrival->release, message->release) != 0) {
        return;
    }
    const struct pil_release *live = pil_cache_live(view);
    uint64_t old_generation = live != NULL ? live->generation : 0;
    if (live != NULL) {
        snprintf(old, sizeof old, "%s", live->id);
    }
    if (pil_release_map(message->release, arrival->fds, arrival->shard_count, &release, &error) != PIL_STATUS_OK) {
        pil_log(PIL_LOG_ERROR, "release not published", "view", view->name, "release", message->release, "why",
                error.text, NULL);
        note_refused(process, message->view_index, message->release, PIL_FETCH_ERROR, error.text);
        tell_unmapped(process, message->view_index, message->release);
    } else {
        set_release_info(process, message->view_index, old, message->release);
        if (old[0] != '\0') {
            prefault(process, release);
        }
        release->created_us = message->time_us;
        pil_cache_publish(cache, view, release);
        if (process->mapped != NULL) {
            pil_mapped_publish(process->mapped, message->view_index, release, message->time_us, arrival->fds,
                               arrival->shard_count);
            memset(arrival->fds, -1, arrival->shard_count * sizeof arrival->fds[0]); /* they are its own now */
        }
        if (old[0] == '\0') { /* nothing was served: answering comes first */
            prefault(process, release);
            record_huge_pages(process);
        } else {
            note_remapped(process);
        }
        if (old[0] != '\0' && process->retired_count < RETIRED_MAX) {
            process->retired[process->retired_count].view_index = message->view_index;
            process->retired[process->retired_count].generation = old_generation;
            process->retired[process->retired_count].is_unmapped = false;
            memcpy(process->retired[process->retired_count++].release, old, sizeof old);
        }
        pil_log(PIL_LOG_INFO, "release published", "view", view->name, "release", release->id, "rows",
                PIL_LOG_NUM(release->row_count), "generation", PIL_LOG_NUM(release->generation), NULL);
    }
    drop_arrival(arrival); /* mappings stay; the supervisor holds the descriptors, too */
}

static void record_fetch(struct process *process, const struct pil_message *message, const char *label) {
    static const struct {
        const char *phase;
        size_t number;
    } phases[] = {{"copy", 0}, {"verify", 1}, {"collapse", 3}};
    struct pil_metric_registry *metrics = pil_server_metrics(process->node.server);
    uint32_t shard = pil_server_control_shard(process->node.server);
    const char *result_labels[] = {label, pil_fetch_result_text((pil_fetch_result)message->index), NULL};
    pil_metric_series series = PIL_METRIC_SERIES_NONE;
    if (pil_metric_series_get(metrics, PIL_METRIC_fetches_total, result_labels, &series) == PIL_STATUS_OK) {
        pil_metric_add_owner(metrics, shard, series, 1);
    }
    for (size_t i = 0; i < sizeof phases / sizeof phases[0] && message->numbers[2] > 0; i++) {
        const char *labels[] = {label, phases[i].phase, NULL};
        if (pil_metric_series_get(metrics, PIL_METRIC_fetch_duration_seconds, labels, &series) == PIL_STATUS_OK) {
            pil_metric_record_owner(metrics, shard, series, message->numbers[phases[i].number], 1);
        }
    }
}

static void on_report(struct process *process, const struct pil_message *message) {
    const struct pil_view_settings *settings = &process->config.settings.views[message->view_index];
    char label[2 * PIL_NAME_BYTES_MAX + 2];
    snprintf(label, sizeof label, "%s/%s", settings->project, settings->view);
    if (message->index > PIL_FETCH_ERROR) {
        return;
    }
    record_fetch(process, message, label);
    if (message->index == PIL_FETCH_OK) {
        process->node.views[message->view_index].refused_result = NULL;
    } else {
        note_refused(process, message->view_index, message->release, (pil_fetch_result)message->index, message->text);
    }
}

static void on_checked(struct process *process, const struct pil_message *message) {
    struct pil_node_view *view = &process->node.views[message->view_index];
    const struct pil_release *live =
        pil_cache_live(pil_cache_view_at(pil_server_cache(process->node.server), message->view_index));
    view->checked_us = message->time_us;
    if (process->mapped != NULL) {
        pil_mapped_checked(process->mapped, message->view_index, message->time_us);
    }
    view->sequence = message->numbers[0];
    view->is_pinned = message->index != 0;
    memcpy(view->effective, message->release, sizeof view->effective);
    if (live != NULL && strcmp(live->id, message->release) == 0) {
        view->refused_result = NULL; /* the channel has turned away from what was refused, or could not be read */
    }
}

static void on_project(struct process *process, uint32_t view_index, int fd) {
    struct stat info;
    struct pil_project *project = NULL;
    struct pil_error error;
    if (fd < 0 || !pil_sys_memfd_is_sealed(fd) || fstat(fd, &info) != 0 || info.st_size == 0) {
        return;
    }
    void *data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (data == MAP_FAILED) {
        return;
    }
    if (pil_project_document_parse(pil_bytes_from(data, (size_t)info.st_size), &project, &error) == PIL_STATUS_OK) {
        pil_log(PIL_LOG_INFO, "project taken", "project", project->name, "services",
                PIL_LOG_NUM(project->service_count), NULL);
        if (process->mapped != NULL) {
            pil_mapped_set_project(process->mapped, project);
        }
        if (pil_server_set_project(process->node.server, &project) != PIL_STATUS_OK) {
            pil_log(PIL_LOG_WARN, "project not served: no memory, or too many of them", "project", project->name, NULL);
            pil_project_destroy(&project);
        }
    } else {
        pil_log(PIL_LOG_WARN, "project refused, the one before goes on", "why", error.text, NULL);
        if (process->mapped != NULL) {
            pil_mapped_miss_project(process->mapped, view_index);
        }
    }
    munmap(data, (size_t)info.st_size);
}

static pil_status create_server(struct process *process, struct pil_error *error) {
    const struct pil_settings *settings = &process->config.settings;
    int fds[PIL_SETTINGS_LISTENERS_MAX];
    bool has_mapped = false;
    memset(fds, -1, sizeof fds);
    for (uint32_t i = 0; i < settings->listener_count; i++) {
        fds[i] = pil_protocol_is_served_by_workers(settings->listeners[i].protocol) ? process->listener_fds[i] : -1;
        has_mapped |= settings->listeners[i].protocol == PIL_PROTOCOL_MAPPED;
    }
    PIL_TRY(pil_server_create(settings, pil_protocols, PIL_PROTOCOL_COUNT, fds, &process->node.server, error));
    if (has_mapped) {
        PIL_TRY(pil_mapped_create(process->node.server, &process->mapped, error));
        process->node.mapped = process->mapped;
    }
    const char *engine_labels[] = {pil_engine_kind_text(settings->engine), settings->engine_reason, NULL},
               *version_labels[] = {PIL_VERSION, NULL};
    pil_metric_series series = PIL_METRIC_SERIES_NONE;
    struct pil_metric_registry *metrics = pil_server_metrics(process->node.server);
    if (pil_metric_series_get(metrics, PIL_METRIC_io_engine_info, engine_labels, &series) == PIL_STATUS_OK) {
        pil_metric_set(metrics, series, 1);
    }
    if (pil_metric_series_get(metrics, PIL_METRIC_build_info, version_labels, &series) == PIL_STATUS_OK) {
        pil_metric_set(metrics, series, 1);
    }
    return PIL_STATUS_OK;
}

static pil_status start(struct process *process, struct pil_error *error) {
    const struct pil_settings *settings = &process->config.settings;
    process->is_started = true;
    for (uint32_t i = 0; i < settings->listener_count; i++) {
        if (settings->listeners[i].protocol == PIL_PROTOCOL_ADMIN) {
            PIL_TRY(pil_console_listen(process->console, process->listener_fds[i]));
        } else if (settings->listeners[i].protocol == PIL_PROTOCOL_MAPPED) {
            PIL_TRY(pil_mapped_listen(process->mapped, process->listener_fds[i]));
        }
    }
    return pil_server_start(process->node.server, error);
}

static void count_restarts(struct process *process, const char *name, uint64_t restarts) {
    const char *labels[] = {name, NULL};
    pil_metric_series series = PIL_METRIC_SERIES_NONE;
    struct pil_metric_registry *metrics = pil_server_metrics(process->node.server);
    if (pil_metric_series_get(metrics, PIL_METRIC_process_restarts_total, labels, &series) == PIL_STATUS_OK) {
        pil_metric_add_owner(metrics, pil_server_control_shard(process->node.server), series,
                             restarts - pil_metric_read(metrics, series));
    }
}

/* Messages before the server is there: its configuration and its listeners. */
static pil_status on_early_message(struct process *process, const struct pil_message *message, int *fd,
                                   struct pil_error *error) {
    if (message->kind == PIL_MESSAGE_LISTENER && message->index < PIL_SETTINGS_LISTENERS_MAX) {
        process->listener_fds[message->index] = *fd;
        *fd = -1;
        return PIL_STATUS_OK;
    }
    if (message->kind == PIL_MESSAGE_CONFIG) {
        pil_config_receive(&process->config, *fd, process->node.server == NULL, "server");
        return PIL_STATUS_OK;
    }
    return process->node.server == NULL ? create_server(process, error) : PIL_STATUS_OK;
}

static pil_status on_message(struct process *process, const struct pil_message *message, int *fd,
                             struct pil_error *error) {
    PIL_TRY(on_early_message(process, message, fd, error));
    if (process->node.server == NULL || message->view_index >= process->config.settings.view_count) {
        return PIL_STATUS_OK;
    }
    struct pil_node_view *view = &process->node.views[message->view_index];
    if (message->kind == PIL_MESSAGE_SHARD && message->count > 0 && message->count <= 1u << PIL_SHARD_BITS_MAX) {
        on_shard(process, message, *fd);
        *fd = -1;
    } else if (message->kind == PIL_MESSAGE_PUBLISH) {
        on_publish(process, message);
    } else if (message->kind == PIL_MESSAGE_START) {
        process->node.server_restarts = message->numbers[0];
        count_restarts(process, "server", message->numbers[0]);
        return start(process, error);
    } else if (message->kind == PIL_MESSAGE_DRAIN) {
        process->is_stopping = true;
    } else if (message->kind == PIL_MESSAGE_CHECKED) {
        on_checked(process, message);
    } else if (message->kind == PIL_MESSAGE_REPORT) {
        on_report(process, message);
    } else if (message->kind == PIL_MESSAGE_PROJECT) {
        on_project(process, message->view_index, *fd);
    } else if (message->kind == PIL_MESSAGE_HELD) {
        view->held_bytes = message->numbers[0];
        view->held_count = message->index;
        process->node.fetcher_restarts = message->numbers[1];
        count_restarts(process, "fetcher", message->numbers[1]);
    }
    return PIL_STATUS_OK;
}

static pil_status read_control(struct process *process, bool block, struct pil_error *error) {
    struct pil_message message;
    int fd = -1;
    pil_status status;
    while ((status = pil_message_receive(process->control, block, &message, &fd)) == PIL_STATUS_OK) {
        status = on_message(process, &message, &fd, error);
        pil_sys_close(&fd);
        if (status != PIL_STATUS_OK || (block && process->is_started)) {
            return status;
        }
    }
    if (status == PIL_STATUS_CLOSED) {
        process->is_stopping = true; /* the supervisor is gone: so are we, after what is in flight */
    }
    return status == PIL_STATUS_AGAIN ? PIL_STATUS_OK : status;
}

static void on_reclaimed(void *context, uint32_t view_index, const struct pil_release *release) {
    struct process *process = context;
    for (uint32_t i = 0; i < process->retired_count; i++) {
        struct retired *retired = &process->retired[i];
        if (retired->view_index == view_index && retired->generation == release->generation) {
            retired->is_unmapped = true;
            note_remapped(process);
        }
    }
}

/* Tells the supervisor which releases' memory is free again: those that are past their grace period, unmapped here, and
 * held by no client that mapped them. */
static void tell_reclaimed(struct process *process) {
    struct pil_cache *cache = pil_server_cache(process->node.server);
    pil_cache_reclaim(cache, RECLAIM_SLICE_BYTES, on_reclaimed, process);
    pil_metric_gauge(pil_server_metrics(process->node.server), PIL_METRIC_reclaim_pending, NULL,
                     pil_cache_retired_count(cache));
    for (uint32_t i = 0; i < process->retired_count;) {
        struct retired *retired = &process->retired[i];
        if (!retired->is_unmapped || (process->mapped != NULL &&
                                      pil_mapped_is_held(process->mapped, retired->view_index, retired->generation))) {
            i++;
            continue;
        }
        tell_unmapped(process, retired->view_index, retired->release);
        process->retired_count--;
        memmove(retired, retired + 1, (process->retired_count - i) * sizeof *retired);
    }
}

static void tell_readiness(struct process *process) {
    bool ready = pil_node_is_ready(&process->node, NULL);
    if (ready != process->is_ready) {
        struct pil_message message = pil_message_make(PIL_MESSAGE_READINESS, 0, NULL);
        message.index = ready;
        process->is_ready = ready;
        pil_log(PIL_LOG_INFO, ready ? "ready" : "not ready", NULL);
        pil_ignore(pil_message_send(process->control, &message, -1), "a supervisor that is gone is seen by reading");
    }
}

static pil_status run(struct process *process, struct pil_error *error) {
    static uint32_t control_magic, mapped_magic; /* owners that are neither console nor client */
    struct pil_event events[EVENTS];
    pil_engine_handle handle = 0;
    PIL_TRY(pil_engine_watch(process->engine, process->control, &control_magic, &handle));
    if (process->mapped != NULL) {
        int mapped = pil_mapped_descriptor(process->mapped);
        PIL_TRY(pil_engine_watch(process->engine, mapped, &mapped_magic, &handle));
    }
    while (!process->is_stopping && !pil_server_failed(process->node.server)) {
        uint32_t count = 0;
        PIL_TRY(pil_engine_wait(process->engine, events, EVENTS, 0, TICK_NS, &count));
        for (uint32_t i = 0; i < count; i++) {
            if (events[i].owner == &control_magic) {
                pil_status status = read_control(process, false, error);
                if (status != PIL_STATUS_OK && !process->is_stopping) {
                    return status;
                }
            } else if (events[i].owner == &mapped_magic) {
                pil_mapped_turn(process->mapped);
            } else {
                pil_console_event(process->console, &events[i]);
            }
        }
        if (process->mapped != NULL) {
            pil_mapped_tick(process->mapped);
        }
        pil_server_tick(process->node.server);
        tell_reclaimed(process);
        tell_readiness(process);
        pil_console_sweep(process->console);
        if (process->remapped_ns != 0 && pil_clock_monotonic_ns() - process->remapped_ns > TICK_NS) {
            record_huge_pages(process);
        }
    }
    return pil_server_failed(process->node.server) ? PIL_STATUS_SYSTEM : PIL_STATUS_OK;
}

/* Answers what has arrived; meanwhile the admin listeners say that this is so. */
static bool drain(struct process *process) {
    uint64_t deadline_ns = pil_clock_monotonic_ns() + DRAIN_MS * 1000000ull;
    struct pil_event events[EVENTS];
    bool is_done = false;
    process->node.is_draining = true;
    while (!(is_done = pil_server_drain(process->node.server, 1)) && pil_clock_monotonic_ns() < deadline_ns) {
        uint32_t count = 0;
        pil_ignore(pil_engine_wait(process->engine, events, EVENTS, 0, 0, &count), "draining does not need it");
        for (uint32_t i = 0; i < count; i++) {
            pil_console_event(process->console, &events[i]);
        }
    }
    return is_done;
}

static pil_status open_control(struct process *process, struct pil_error *error) {
    struct pil_engine_options options = {.kind = PIL_ENGINE_EPOLL, .connections_max = 80};
    PIL_TRY(pil_privilege_drop("", error));
    PIL_TRY(pil_engine_create(&options, &process->engine, error));
    process->console = pil_console_create(process->engine, &process->node);
    while (!process->is_started && !process->is_stopping) {
        PIL_TRY(read_control(process, true, error));
    }
    return PIL_STATUS_OK;
}

int pil_server_process_run(int control) {
    struct process *process = calloc(1, sizeof *process);
    struct pil_error error = {.text = "see above"};
    PIL_ASSERT(process != NULL);
    process->control = control;
    process->pages = open("/proc/self/smaps_rollup", O_RDONLY | O_CLOEXEC);
    process->node.started_us = pil_clock_wall_us();
    memset(process->listener_fds, -1, sizeof process->listener_fds);
    pil_log_init("server", PIL_LOG_INFO, PIL_LOG_FORMAT_LOGFMT);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGTERM, SIG_IGN); /* ends with the supervisor: by its word, or with its socket */
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    pil_status status = open_control(process, &error);
    if (status == PIL_STATUS_OK && !process->is_stopping) {
        status = run(process, &error);
    }
    process->node.mapped = NULL;
    pil_mapped_destroy(&process->mapped); /* clients look for the next server at once */
    if (status != PIL_STATUS_OK && !process->is_stopping) {
        pil_log(PIL_LOG_ERROR, "server cannot run", "status", pil_status_text(status), "why", error.text, NULL);
        return EXIT_SYSTEM; /* workers may still run: the process ends as it is, and is restarted from the sealed
                               releases */
    }
    if (process->is_started && !drain(process)) {
        pil_log(PIL_LOG_WARN, "connections were cut at the end of the drain", NULL);
        return EXIT_OK;
    }
    pil_engine_destroy(&process->engine);
    pil_console_destroy(&process->console);
    pil_server_destroy(&process->node.server);
    free(process);
    return EXIT_OK;
}
