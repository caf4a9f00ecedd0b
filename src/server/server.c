/* SPDX-License-Identifier: Apache-2.0
 * Life of the server, and what the control thread does beside the workers. */
#include "server/server.h"
#include "server/internal.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { OUTPUT_POOL_BYTES = 256 << 20, RECLAIM_SLICE_BYTES = 64 << 20 };

struct pil_retired_project {
    struct pil_retired_project *next;
    struct pil_project *project;
    uint64_t ticket;
};

/* Batches are megabytes of which most requests touch little: mapped, so that only what is used is there. */
static struct pil_batch *map_batch(void) {
    void *batch = mmap(NULL, sizeof(struct pil_batch), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    PIL_ASSERT(batch != MAP_FAILED);
    return batch;
}

static void init_workers(struct pil_server *server) {
    uint32_t command_count = 0;
    pil_redis_commands(&command_count);
    server->workers = aligned_alloc(64, pil_align_up(server->worker_count * sizeof server->workers[0], 64));
    PIL_ASSERT(server->workers != NULL);
    memset(server->workers, 0, server->worker_count * sizeof server->workers[0]);
    for (uint32_t i = 0; i < server->worker_count; i++) {
        struct pil_worker *worker = &server->workers[i];
        worker->server = server;
        worker->index = i;
        worker->batch = map_batch();
        worker->batch->number = 1; /* 0: points into no batch */
        worker->clients = pil_client_table_create(server->settings->limits.connections_max);
        PIL_ASSERT(worker->clients != NULL);
        worker->plans = pil_plan_cache_create();
        worker->command_histograms = calloc(command_count, sizeof worker->command_histograms[0]);
        PIL_ASSERT(worker->command_histograms != NULL);
        pil_chunk_pool_init(&worker->chunks, OUTPUT_POOL_BYTES);
    }
}

pil_status pil_server_create(const struct pil_settings *settings, const int *listener_fds,
                             struct pil_server **ret_server, struct pil_error *ret_error) {
    struct pil_server *server = calloc(1, sizeof *server);
    PIL_ASSERT(server != NULL);
    server->settings = settings;
    server->worker_count = settings->worker_count;
    server->started_ns = pil_clock_monotonic_ns();
    memcpy(server->listener_fds, listener_fds, settings->listener_count * sizeof listener_fds[0]);
    server->cache = pil_cache_create(settings->view_count, settings->worker_count);
    server->slow = pil_slowlog_create();
    init_workers(server);
    pil_status status = PIL_STATUS_OK;
    for (uint32_t i = 0; i < settings->view_count && status == PIL_STATUS_OK; i++) {
        const struct pil_view_settings *view = &settings->views[i];
        status = pil_cache_view_define(server->cache, i, view->project, view->view, view->channel);
    }
    if (status == PIL_STATUS_OK) {
        status = pil_server_metrics_create(server, ret_error);
    }
    if (status != PIL_STATUS_OK) {
        pil_server_destroy(&server);
        return status;
    }
    *ret_server = server;
    return PIL_STATUS_OK;
}

pil_status pil_server_start(struct pil_server *server, struct pil_error *ret_error) {
    for (uint32_t i = 0; i < server->worker_count; i++) {
        int number = pthread_create(&server->workers[i].thread, NULL, pil_worker_main, &server->workers[i]);
        if (number != 0) {
            return pil_fail(ret_error, pil_status_from_errno(number), "worker %u: %s", i, strerror(number));
        }
        server->workers_started++;
    }
    return PIL_STATUS_OK;
}

static bool workers_are_done(const struct pil_server *server) {
    for (uint32_t i = 0; i < server->workers_started; i++) {
        if (!atomic_load_explicit(&server->workers[i].is_done, memory_order_acquire)) {
            return false;
        }
    }
    return true;
}

bool pil_server_drain(struct pil_server *server, uint64_t timeout_ms) {
    uint64_t deadline_ns = pil_clock_monotonic_ns() + timeout_ms * 1000000;
    atomic_store_explicit(&server->is_draining, true, memory_order_release);
    while (!workers_are_done(server) && pil_clock_monotonic_ns() < deadline_ns) {
        struct timespec pause = {.tv_nsec = 1000000};
        nanosleep(&pause, NULL); /* workers look at is_draining at least every few milliseconds of sweep time */
    }
    bool done = workers_are_done(server);
    for (uint32_t i = 0; done && i < server->workers_started; i++) {
        pthread_join(server->workers[i].thread, NULL);
    }
    return done;
}

static void free_projects(struct pil_server *server, bool wait_for_workers) {
    struct pil_retired_project **at = &server->retired_projects;
    while (*at != NULL) {
        struct pil_retired_project *retired = *at;
        if (wait_for_workers && !pil_qsbr_passed(pil_cache_qsbr(server->cache), retired->ticket)) {
            at = &retired->next;
            continue;
        }
        *at = retired->next;
        pil_project_destroy(&retired->project);
        free(retired);
    }
}

void pil_server_destroy(struct pil_server **server_pointer) {
    struct pil_server *server = *server_pointer;
    if (server == NULL) {
        return;
    }
    free_projects(server, false);
    for (uint32_t i = 0; i < PIL_SETTINGS_VIEWS_MAX; i++) {
        struct pil_project *project = atomic_load_explicit(&server->projects[i], memory_order_relaxed);
        pil_project_destroy(&project);
    }
    for (uint32_t i = 0; i < server->worker_count; i++) {
        struct pil_worker *worker = &server->workers[i];
        pil_chunk_pool_deinit(&worker->chunks);
        munmap(worker->batch, sizeof *worker->batch);
        pil_client_table_destroy(&worker->clients);
        pil_plan_cache_destroy(&worker->plans);
        free(worker->command_histograms);
    }
    free(server->workers);
    free(server->slow);
    pil_metric_registry_destroy(&server->metrics);
    pil_cache_destroy(&server->cache);
    free(server);
    *server_pointer = NULL;
}

struct pil_cache *pil_server_cache(struct pil_server *server) {
    return server->cache;
}

struct pil_metric_registry *pil_server_metrics(struct pil_server *server) {
    return server->metrics;
}

const struct pil_settings *pil_server_settings(const struct pil_server *server) {
    return server->settings;
}

uint32_t pil_server_control_shard(const struct pil_server *server) {
    return server->worker_count;
}

void pil_server_set_project(struct pil_server *server, struct pil_project *project) {
    uint32_t slot = 0;
    for (; slot < PIL_SETTINGS_VIEWS_MAX; slot++) {
        const struct pil_project *there = atomic_load_explicit(&server->projects[slot], memory_order_relaxed);
        if (there == NULL || strcmp(there->name, project->name) == 0) {
            break;
        }
    }
    if (slot == PIL_SETTINGS_VIEWS_MAX) {
        pil_project_destroy(&project);
        return;
    }
    struct pil_project *old = atomic_exchange_explicit(&server->projects[slot], project, memory_order_acq_rel);
    atomic_fetch_add_explicit(&server->project_number, 1, memory_order_release);
    if (old != NULL) {
        struct pil_retired_project *retired = calloc(1, sizeof *retired);
        PIL_ASSERT(retired != NULL);
        *retired = (struct pil_retired_project){
            .next = server->retired_projects, .project = old, .ticket = pil_qsbr_begin(pil_cache_qsbr(server->cache))};
        server->retired_projects = retired;
    }
}

/* What the workers' loops count is exposed as gauges of totals: the control thread owns those series. */
static void sum_engines(struct pil_server *server) {
    static const struct {
        pil_metric metric;
        size_t offset;
    } sums[] = {
        {PIL_METRIC_engine_turns_total, offsetof(struct pil_worker, engine_turns)},
        {PIL_METRIC_engine_enters_total, offsetof(struct pil_worker, engine_enters)},
        {PIL_METRIC_engine_parks_total, offsetof(struct pil_worker, engine_parks)},
        {PIL_METRIC_engine_buffers_empty_total, offsetof(struct pil_worker, engine_buffers_empty)},
        {PIL_METRIC_engine_overflows_total, offsetof(struct pil_worker, engine_overflows)},
        {PIL_METRIC_engine_accept_failures_total, offsetof(struct pil_worker, engine_accept_failures)},
    };
    for (size_t i = 0; i < sizeof sums / sizeof sums[0]; i++) {
        const char *labels[] = {NULL};
        uint64_t sum = 0;
        pil_metric_series series = PIL_METRIC_SERIES_NONE;
        for (uint32_t w = 0; w < server->worker_count; w++) {
            const _Atomic uint64_t *value =
                (const _Atomic uint64_t *)(const void *)((const char *)&server->workers[w] + sums[i].offset);
            sum += atomic_load_explicit(value, memory_order_relaxed);
        }
        if (pil_metric_series_get(server->metrics, sums[i].metric, labels, &series) == PIL_STATUS_OK) {
            pil_metric_add_owner(server->metrics, server->worker_count, series,
                                 sum - pil_metric_read(server->metrics, series));
        }
    }
}

static void set_gauge(struct pil_server *server, pil_metric metric, const char *label, double value) {
    const char *labels[] = {label, NULL};
    pil_metric_series series = PIL_METRIC_SERIES_NONE;
    if (pil_metric_series_get(server->metrics, metric, labels, &series) == PIL_STATUS_OK) {
        pil_metric_set(server->metrics, series, value);
    }
}

static void watch_workers(struct pil_server *server) {
    uint64_t now_ns = pil_clock_monotonic_ns();
    for (uint32_t i = 0; i < server->worker_count; i++) {
        uint64_t started_ns = atomic_load_explicit(&server->workers[i].turn_started_ns, memory_order_relaxed);
        const char *label = PIL_LOG_NUM(i);
        set_gauge(server, PIL_METRIC_worker_lag_seconds, label,
                  started_ns == 0 || started_ns > now_ns ? 0.0 : (double)(now_ns - started_ns) / 1e9);
    }
    for (uint32_t protocol = 0; protocol < PIL_PROTOCOL_ADMIN; protocol++) {
        uint32_t sum = 0;
        for (uint32_t i = 0; i < server->worker_count; i++) {
            sum += atomic_load_explicit(&server->workers[i].connections_now[protocol], memory_order_relaxed);
        }
        set_gauge(server, PIL_METRIC_connections, pil_protocol_text((pil_protocol)protocol), sum);
    }
}

uint32_t pil_server_tick(struct pil_server *server) {
    sum_engines(server);
    watch_workers(server);
    free_projects(server, true);
    uint32_t left = pil_cache_reclaim(server->cache, RECLAIM_SLICE_BYTES);
    set_gauge(server, PIL_METRIC_reclaim_pending, NULL, left);
    return left;
}

bool pil_server_failed(const struct pil_server *server) {
    for (uint32_t i = 0; i < server->workers_started; i++) {
        if (atomic_load_explicit(&server->workers[i].is_failed, memory_order_acquire)) {
            return true;
        }
    }
    return false;
}
