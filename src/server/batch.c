/* SPDX-License-Identifier: Apache-2.0
 * The batch of a turn: requests collect their lookups here, then all are looked up together, encoded in order and sent.
 */
#include "server/internal.h"

#include <stdarg.h>
#include <stdio.h>

enum { REPLIES_PER_FLUSH = 32, SLOW_PER_BATCH_MAX = 16 };

bool pil_batch_is_full(const struct pil_batch *batch) {
    return batch->request_count == PIL_BATCH_REQUESTS_MAX || batch->lookup_count >= PIL_BATCH_LOOKUPS_RUN;
}

struct pil_request *pil_batch_add(struct pil_worker *worker, struct pil_connection *connection) {
    struct pil_batch *batch = worker->batch;
    if (pil_batch_is_full(batch)) {
        pil_batch_run(worker);
    }
    struct pil_request *request = &batch->requests[batch->request_count++];
    memset(request, 0, sizeof *request);
    request->connection = connection;
    request->lookup_first = batch->lookup_count;
    connection->pending++;
    connection->active_ns = worker->now_ns;
    return request;
}

uint8_t *pil_batch_scratch(struct pil_batch *batch, size_t bytes) {
    if (bytes > sizeof batch->scratch - batch->scratch_used) {
        return NULL;
    }
    uint8_t *at = batch->scratch + batch->scratch_used;
    batch->scratch_used += bytes;
    return at;
}

const char *pil_batch_text(struct pil_batch *batch, const char *format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    size_t bytes = (size_t)(len < (int)sizeof text ? len : (int)sizeof text - 1) + 1;
    uint8_t *copy = pil_batch_scratch(batch, bytes);
    if (copy == NULL) {
        return "ERR the request is too large to explain";
    }
    memcpy(copy, text, bytes);
    return (const char *)copy;
}

const struct pil_release *pil_batch_live(struct pil_batch *batch, const struct pil_cache_view *view) {
    if (batch->live[view->index] == NULL) {
        batch->live[view->index] = pil_cache_live(view);
    }
    return batch->live[view->index];
}

struct pil_lookup *pil_batch_lookup(struct pil_worker *worker, struct pil_request *request) {
    struct pil_batch *batch = worker->batch;
    uint32_t limit = worker->server->settings->limits.keys_per_request_max;
    if (request->lookup_count == limit || batch->lookup_count == PIL_BATCH_LOOKUPS_MAX) {
        request->error = pil_batch_text(batch, "ERR more than %u keys in one request; ask for them in several", limit);
        return NULL;
    }
    request->lookup_count++;
    return &batch->lookups[batch->lookup_count++];
}

/* The lookups of a request are done: counts by view and result. The one place that sees every access, request by
 * request. */
static void account(struct pil_worker *worker, const struct pil_request *request) {
    const struct pil_lookup *lookups = &worker->batch->lookups[request->lookup_first];
    for (uint32_t i = 0; i < request->lookup_count;) {
        uint32_t view_index = lookups[i].view_index, hits = 0, begin = i;
        for (; i < request->lookup_count && lookups[i].view_index == view_index; i++) {
            hits += lookups[i].row != NULL;
        }
        pil_worker_count(worker, worker->server->series.lookups[view_index][0], hits);
        pil_worker_count(worker, worker->server->series.lookups[view_index][1], i - begin - hits);
    }
}

static void account_values(struct pil_worker *worker) {
    for (uint32_t view = 0; view < worker->server->settings->view_count; view++) {
        for (uint32_t status = 0; status < PIL_FEAST_STATUS_COUNT; status++) {
            if (worker->values_by_status[view][status] != 0) {
                pil_worker_count(worker, worker->server->series.values[view][status],
                                 worker->values_by_status[view][status]);
                worker->values_by_status[view][status] = 0;
            }
        }
    }
}

static void flush_dirty(struct pil_worker *worker) {
    for (uint32_t i = 0; i < worker->dirty_count; i++) {
        worker->dirty[i]->is_dirty = false;
        pil_connection_flush(worker, worker->dirty[i]);
    }
    worker->dirty_count = 0;
    pil_engine_flush(worker->engine);
}

static void encode(struct pil_worker *worker, struct pil_request *request) {
    struct pil_connection *connection = request->connection;
    connection->pending--;
    if (connection->is_closed) {
        return;
    }
    struct pil_output_sink sink;
    pil_output_begin(&sink, &connection->output, &worker->chunks, worker->server->settings->limits.output_bytes_max);
    if (connection->listener->protocol == PIL_PROTOCOL_RESP) {
        pil_redis_encode(worker, request, &sink.sink);
    } else {
        pil_web_encode(worker, request, &sink.sink);
    }
    if (!pil_output_finish(&sink)) {
        pil_connection_close(worker, connection, PIL_CLOSE_OUTPUT);
    } else if (!connection->is_dirty) {
        connection->is_dirty = true;
        worker->dirty[worker->dirty_count++] = connection;
    }
}

struct times {
    uint64_t start, looked_up, encoded;
};

static void note_slow(struct pil_worker *worker, const struct pil_request *request, const struct times *times) {
    const struct pil_connection *connection = request->connection;
    struct pil_slow_request slow = {
        .wall_us = worker->now_wall_us,
        .duration_us = (times->encoded - connection->received_ns) / 1000,
        .queue_us = (times->start - connection->received_ns) / 1000,
        .lookup_us = (times->looked_up - times->start) / 1000,
        .encode_us = (times->encoded - times->looked_up) / 1000,
        .keys = request->lookup_count,
        .values = request->is_feast ? request->plan_feature_count * request->row_count : request->field_count,
    };
    const char *name = request->command != NULL ? request->command->name
                       : request->is_feast      ? "get-online-features"
                       : request->oip != NULL   ? "infer"
                                                : "http";
    snprintf(slow.what, sizeof slow.what, "%.20s %.70s", name, request->view != NULL ? request->view->name : "");
    snprintf(slow.peer, sizeof slow.peer, "%s", connection->peer);
    pil_slowlog_add(worker->server, &slow);
}

static void measure(struct pil_worker *worker, const struct times *times) {
    const struct pil_batch *batch = worker->batch;
    const struct pil_server *server = worker->server;
    uint64_t slow_ns = server->settings->slowlog_us * 1000;
    uint32_t slow_count = 0;
    for (uint32_t i = 0; i < batch->request_count; i++) {
        const struct pil_request *request = &batch->requests[i];
        uint64_t received_ns = request->connection->received_ns, total = times->encoded - received_ns;
        pil_protocol protocol = request->connection->listener->protocol;
        const pil_metric_series *series =
            server->series.stage[protocol][request->view != NULL ? request->view->index + 1 : 0];
        pil_worker_record(worker, series[PIL_STAGE_QUEUE], times->start - received_ns, 1);
        pil_worker_record(worker, series[PIL_STAGE_LOOKUP], times->looked_up - times->start, 1);
        pil_worker_record(worker, series[PIL_STAGE_ENCODE], times->encoded - times->looked_up, 1);
        pil_worker_record(worker, series[PIL_STAGE_TOTAL], total, 1);
        bool is_error = request->error != NULL || request->head.status >= 400;
        pil_worker_count(worker, server->series.requests[protocol][is_error], 1);
        if (request->command != NULL) {
            pil_histogram_add_owner(&worker->command_histograms[pil_redis_command_index(request->command)], total, 1);
        }
        if (total >= slow_ns && slow_count < SLOW_PER_BATCH_MAX) {
            note_slow(worker, request, times);
            slow_count++;
        }
    }
}

static void reset(struct pil_batch *batch) {
    batch->number++;
    batch->request_count = batch->lookup_count = batch->arg_count = batch->field_count = 0;
    batch->scratch_used = 0;
    memset(batch->live, 0, sizeof batch->live);
    batch->feast_used = false;
}

void pil_batch_run(struct pil_worker *worker) {
    struct pil_batch *batch = worker->batch;
    if (batch->request_count == 0) {
        return;
    }
    struct times times = {.start = pil_clock_monotonic_ns()};
    pil_cache_lookup(batch->lookups, batch->lookup_count);
    times.looked_up = batch->lookup_count > 0 ? pil_clock_monotonic_ns() : times.start;
    worker->now_wall_us = pil_clock_wall_us();
    for (uint32_t i = 0; i < batch->request_count; i++) {
        account(worker, &batch->requests[i]);
        encode(worker, &batch->requests[i]);
        if (worker->dirty_count == REPLIES_PER_FLUSH && i + 1 < batch->request_count) {
            flush_dirty(worker); /* the first answers do not wait for the last */
        }
    }
    times.encoded = pil_clock_monotonic_ns();
    measure(worker, &times);
    account_values(worker);
    if (batch->lookup_count > 0) {
        pil_worker_record(worker, worker->server->series.batch_size, batch->lookup_count, 1);
    }
    flush_dirty(worker);
    pil_vector_plans_sweep(worker);
    reset(batch);
}
