/* SPDX-License-Identifier: Apache-2.0
 * Life of the server, and the work of the control thread beside the workers. */
#include "server/server.h"
#include "base/clock.h"
#include "base/log.h"
#include "server/answer.h"
#include "server/internal.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>

/* Creates the protocols' state of a worker. */
static pil_status create_protocol_states(struct pil_server *server, struct pil_worker *worker) {
    for (uint32_t i = 0; i < server->protocol_count; i++) {
        const struct pil_protocol *protocol = server->protocols[i];
        if (protocol->worker_create != NULL) {
            worker->protocol_states[i] = protocol->worker_create(server->settings);
        }
        if (protocol->operation_count > 0) {
            worker->histograms[i] = calloc(protocol->operation_count, sizeof worker->histograms[i][0]);
        }
        if ((protocol->worker_create != NULL && worker->protocol_states[i] == NULL) ||
            (protocol->operation_count > 0 && worker->histograms[i] == NULL)) {
            return PIL_STATUS_NO_MEMORY;
        }
    }
    return PIL_STATUS_OK;
}

static pil_status init_worker(struct pil_server *server, uint32_t index) {
    struct pil_worker *worker = &server->workers[index];
    worker->server = server;
    worker->index = index;
    pil_list_init(&worker->connections);
    pil_list_init(&worker->ready);
    pil_list_init(&worker->dirty);
    pil_list_init(&worker->left_lanes);
    pil_chunk_pool_init(&worker->chunks, &server->accounts);
    worker->answer = pil_answer_batch;
    worker->lanes[0] = pil_lane_create(worker, 0);
    if (worker->lanes[0] == NULL) {
        return PIL_STATUS_NO_MEMORY;
    }
    worker->turn = &worker->lanes[0]->turn;
    return create_protocol_states(server, worker);
}

static pil_status init_workers(struct pil_server *server) {
    size_t bytes = pil_align_up(server->settings->worker_count * sizeof server->workers[0], 64);
    server->workers = aligned_alloc(64, bytes);
    if (server->workers == NULL) {
        return PIL_STATUS_NO_MEMORY;
    }
    memset(server->workers, 0, bytes);
    server->worker_count = server->settings->worker_count;
    for (uint32_t i = 0; i < server->worker_count; i++) {
        PIL_TRY(init_worker(server, i));
    }
    return PIL_STATUS_OK;
}

static void deinit_worker(struct pil_server *server, struct pil_worker *worker) {
    pil_chunk_pool_deinit(&worker->chunks);
    for (uint32_t i = 0; i < PIL_LANES; i++) {
        pil_lane_destroy(&worker->lanes[i]);
    }
    for (uint32_t i = 0; i < server->protocol_count; i++) {
        if (worker->protocol_states[i] != NULL) {
            server->protocols[i]->worker_destroy(worker->protocol_states[i]);
        }
        free(worker->histograms[i]);
    }
}

/* Defines every slot, then serves those that are not removed: no slot can be defined while another slot of the same
 * name is served, and a removed slot may come behind the served one. */
static pil_status add_views(struct pil_server *server) {
    const struct pil_settings *settings = server->settings;
    for (uint32_t i = 0; i < settings->view_count; i++) {
        PIL_TRY(pil_server_add_view(server, i));
        pil_server_remove_view(server, i);
    }
    for (uint32_t i = 0; i < settings->view_count; i++) {
        if (!settings->views[i].is_removed) {
            PIL_TRY(pil_server_add_view(server, i));
        }
    }
    return PIL_STATUS_OK;
}

static pil_status init_parts(struct pil_server *server, struct pil_error *error) {
    const struct pil_settings *settings = server->settings;
    server->cache = pil_cache_create(PIL_SETTINGS_VIEWS_MAX, settings->worker_count * (1 + PIL_LANES));
    server->slowlog = pil_slowlog_create();
    if (server->cache != NULL) {
        server->projects = pil_projects_create(PIL_SETTINGS_VIEWS_MAX, pil_cache_qsbr(server->cache));
    }
    if (server->projects == NULL || server->slowlog == NULL || init_workers(server) != PIL_STATUS_OK) {
        return pil_fail(error, PIL_STATUS_NO_MEMORY, "no memory for %u workers", settings->worker_count);
    }
    PIL_TRY(pil_series_create(server, error));
    return add_views(server);
}

pil_status pil_server_create(const struct pil_settings *settings, const struct pil_protocol *const *protocols,
                             uint32_t protocol_count, const int *listener_fds, struct pil_server **ret_server,
                             struct pil_error *ret_error) {
    PIL_ASSERT(protocol_count <= PIL_SETTINGS_PROTOCOLS_MAX);
    struct pil_server *server = calloc(1, sizeof *server);
    if (server == NULL) {
        return pil_fail(ret_error, PIL_STATUS_NO_MEMORY, "no memory for the server");
    }
    server->settings = settings;
    server->protocols = protocols;
    server->protocol_count = protocol_count;
    server->slice_ns = PIL_SLICE_NS;
    server->started_ns = pil_clock_monotonic_ns();
    uint64_t seed = server->started_ns;
    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) != sizeof seed) {
        seed ^= (uint64_t)(uintptr_t)server; /* too early after boot: what peers cannot guess easily will do */
    }
    pil_accounts_init(&server->accounts, settings->limits.client_memory_max, settings->limits.connections_max, seed);
    memcpy(server->listener_fds, listener_fds, settings->listener_count * sizeof listener_fds[0]);
    pil_status status = init_parts(server, ret_error);
    if (status != PIL_STATUS_OK) {
        pil_server_destroy(&server);
        return status;
    }
    *ret_server = server;
    return PIL_STATUS_OK;
}

pil_status pil_server_add_view(struct pil_server *server, uint32_t view_index) {
    const struct pil_view_settings *view = &server->settings->views[view_index];
    PIL_TRY(pil_series_add_view(server, view_index));
    PIL_TRY(pil_cache_view_define(server->cache, view_index, view->project, view->view, view->channel));
    /* Plans that failed for lack of this view are prepared again. */
    pil_projects_note_change(server->projects);
    return PIL_STATUS_OK;
}

void pil_server_remove_view(struct pil_server *server, uint32_t view_index) {
    pil_cache_view_remove(server->cache, view_index);
    pil_projects_note_change(server->projects);
}

static bool has_opened(const struct pil_worker *worker) {
    return atomic_load_explicit(&worker->turn_last_ns, memory_order_acquire) != 0;
}

static bool has_failed(const struct pil_worker *worker) {
    return atomic_load_explicit(&worker->is_failed, memory_order_acquire);
}

/* Starts the threads, and waits until each has opened its engine or failed. */
static pil_status open_workers(struct pil_server *server, struct pil_error *error) {
    const struct timespec pause = {.tv_nsec = 1000000};
    for (uint32_t i = 0; i < server->worker_count; i++) {
        struct pil_worker *worker = &server->workers[i];
        pil_server_note_turn(server, i, 0);
        worker->is_done = worker->is_failed = false;
        int number = pthread_create(&worker->thread, NULL, pil_worker_main, worker);
        if (number != 0) {
            return pil_fail(error, pil_status_from_errno(number), "start the thread of worker %u: %s", i,
                            strerror(number));
        }
        server->workers_started++;
    }
    for (uint32_t i = 0; i < server->worker_count; i++) {
        const struct pil_worker *worker = &server->workers[i];
        while (!has_opened(worker) && !has_failed(worker)) {
            nanosleep(&pause, NULL);
        }
        if (has_failed(worker)) {
            return pil_fail(error, PIL_STATUS_SYSTEM, "worker %u of %u: %s", i, server->worker_count,
                            worker->failure.text);
        }
    }
    return PIL_STATUS_OK;
}

pil_status pil_server_start(struct pil_server *server, struct pil_error *ret_error) {
    const struct pil_settings *settings = server->settings;
    server->phase = PIL_START_OPENING;
    pil_status status = open_workers(server, ret_error);
    atomic_store_explicit(&server->phase, status == PIL_STATUS_OK ? PIL_START_SERVING : PIL_START_ABANDONED,
                          memory_order_release);
    for (uint32_t i = 0; status != PIL_STATUS_OK && i < server->workers_started; i++) {
        pthread_join(server->workers[i].thread, NULL);
    }
    if (status != PIL_STATUS_OK) {
        server->workers_started = 0;
        return status;
    }
    pil_metric_gauge(server->metrics, PIL_METRIC_io_engine_info,
                     PIL_METRIC_LABELS(pil_engine_kind_text(settings->engine), settings->engine_reason), 1);
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
        nanosleep(&pause, NULL); /* a parked worker sees is_draining when its wait ends: after 200 ms at most */
    }
    bool done = workers_are_done(server);
    for (uint32_t i = 0; done && i < server->workers_started; i++) {
        pthread_join(server->workers[i].thread, NULL);
    }
    return done;
}

void pil_server_destroy(struct pil_server **server_pointer) {
    struct pil_server *server = *server_pointer;
    if (server == NULL) {
        return;
    }
    pil_projects_destroy(&server->projects);
    for (uint32_t i = 0; i < server->worker_count; i++) {
        deinit_worker(server, &server->workers[i]);
    }
    free(server->workers);
    pil_slowlog_destroy(&server->slowlog);
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

void pil_server_facts(const struct pil_server *server, struct pil_server_facts *ret_facts) {
    *ret_facts = (struct pil_server_facts){
        .started_ns = server->started_ns,
        .connections_total = atomic_load_explicit(&server->connection_id_next, memory_order_relaxed),
        .connections_now = atomic_load_explicit(&server->accounts.places, memory_order_relaxed),
        .worker_count = server->worker_count,
    };
}

uint64_t pil_server_requests(const struct pil_server *server, uint32_t protocol) {
    return pil_metric_read(server->metrics, server->series.requests[protocol][0]);
}

void *pil_server_protocol_state(const struct pil_server *server, uint32_t protocol, uint32_t worker_index) {
    PIL_ASSERT(protocol < server->protocol_count && worker_index < server->worker_count);
    return server->workers[worker_index].protocol_states[protocol];
}

void pil_server_operation(const struct pil_server *server, uint32_t protocol, uint32_t operation,
                          struct pil_histogram_view *ret_view) {
    PIL_ASSERT(operation < server->protocols[protocol]->operation_count);
    memset(ret_view, 0, sizeof *ret_view);
    for (uint32_t i = 0; i < server->worker_count; i++) {
        pil_histogram_merge(ret_view, &server->workers[i].histograms[protocol][operation]);
    }
}

uint32_t pil_server_slowlog(struct pil_server *server, struct pil_slow_request ret_requests[PIL_SLOWLOG_MAX]) {
    return pil_slowlog_read(server->slowlog, ret_requests);
}

void pil_server_slowlog_reset(struct pil_server *server) {
    pil_slowlog_reset(server->slowlog);
}

uint32_t pil_server_control_shard(const struct pil_server *server) {
    return server->worker_count;
}

pil_status pil_server_set_project(struct pil_server *server, struct pil_project **project) {
    return pil_projects_set(server->projects, project);
}

const struct pil_project *pil_server_project(const struct pil_server *server, const char *name) {
    return pil_projects_find(server->projects, name);
}

void *pil_turn_protocol_state(const struct pil_turn *turn, const struct pil_connection *connection) {
    return turn->worker->protocol_states[connection->listener->protocol];
}

/* Publishes the counters of the workers' engines as totals; the control thread owns these series. */
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
        uint64_t sum = 0;
        for (uint32_t w = 0; w < server->worker_count; w++) {
            const _Atomic uint64_t *value =
                (const _Atomic uint64_t *)(const void *)((const char *)&server->workers[w] + sums[i].offset);
            sum += atomic_load_explicit(value, memory_order_relaxed);
        }
        pil_metric_count_to(server->metrics, server->worker_count, sums[i].metric, NULL, sum);
    }
}

static void watch_workers(struct pil_server *server) {
    uint64_t now_ns = pil_clock_monotonic_ns();
    for (uint32_t i = 0; i < server->worker_count; i++) {
        uint64_t started_ns = atomic_load_explicit(&server->workers[i].turn_started_ns, memory_order_relaxed);
        const char *label = PIL_LOG_NUM(i);
        pil_metric_gauge(server->metrics, PIL_METRIC_worker_lag_seconds, PIL_METRIC_LABELS(label),
                         started_ns == 0 || started_ns > now_ns ? 0.0 : (double)(now_ns - started_ns) / 1e9);
    }
    for (uint32_t protocol = 0; protocol < server->protocol_count; protocol++) {
        uint32_t sum = 0;
        if (server->protocols[protocol]->decode == NULL) {
            continue; /* the control thread speaks it */
        }
        for (uint32_t i = 0; i < server->worker_count; i++) {
            sum += atomic_load_explicit(&server->workers[i].connections_now[protocol], memory_order_relaxed);
        }
        pil_metric_gauge(server->metrics, PIL_METRIC_connections, PIL_METRIC_LABELS(server->protocols[protocol]->name),
                         sum);
    }
}

static void report_memory(struct pil_server *server) {
    pil_metric_gauge(server->metrics, PIL_METRIC_client_memory_bytes, NULL,
                     (double)atomic_load_explicit(&server->accounts.allocated, memory_order_relaxed));
    pil_metric_gauge(server->metrics, PIL_METRIC_client_memory_limit_bytes, NULL, (double)server->accounts.bytes_max);
}

void pil_server_tick(struct pil_server *server) {
    report_memory(server);
    sum_engines(server);
    watch_workers(server);
    pil_projects_reclaim(server->projects);
}

bool pil_server_failed(const struct pil_server *server) {
    for (uint32_t i = 0; i < server->workers_started; i++) {
        if (has_failed(&server->workers[i])) {
            return true;
        }
    }
    return false;
}

uint64_t pil_server_turn_age_ns(const struct pil_server *server, uint64_t now_ns, uint32_t *ret_worker) {
    uint64_t age_ns_max = 0;
    *ret_worker = 0;
    for (uint32_t i = 0; i < server->worker_count; i++) {
        uint64_t last_ns = atomic_load_explicit(&server->workers[i].turn_last_ns, memory_order_relaxed);
        uint64_t age_ns = last_ns == 0 ? UINT64_MAX : now_ns > last_ns ? now_ns - last_ns : 0;
        if (age_ns > age_ns_max) {
            age_ns_max = age_ns;
            *ret_worker = i;
        }
    }
    return age_ns_max;
}
