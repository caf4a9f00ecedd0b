/* SPDX-License-Identifier: Apache-2.0 */
#include "server/batch.h"

#include "base/clock.h"
#include "cache/freshness.h"
#include "server/internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>

enum {
    REPLIES_PER_FLUSH = 32,
    SLOW_PER_BATCH_MAX = 16,
    BODY_ALIGNMENT = 16,
    REQUEST_BYTES_USUAL = 4 << 20,
    KEYS_USUAL = 16384,
    ARENA_BYTES_PER_KEY = 256,
    ANSWER_DECAY = 16,
    LATE_NS = 5000000,
};

PIL_STATIC_ASSERT(PIL_BATCH_ROOM_BYTES <= PIL_BATCH_ARENA_BYTES);

/* ---- Life. */

/* What limits wider than the defaults add: unescaped text as long as the longest request, and for each key its parsed
 * value, its canonical bytes, and the texts that the answer repeats for its row. */
static size_t arena_bytes_of(const struct pil_limits *limits) {
    size_t bytes = PIL_BATCH_ARENA_BYTES;
    bytes += limits->request_bytes_max > REQUEST_BYTES_USUAL ? limits->request_bytes_max - REQUEST_BYTES_USUAL : 0;
    bytes += limits->keys_per_request_max > KEYS_USUAL
                 ? (size_t)(limits->keys_per_request_max - KEYS_USUAL) * ARENA_BYTES_PER_KEY
                 : 0;
    return bytes;
}

/* Several megabytes, of which most batches touch little: mmap, so that only the pages in use take memory. */
struct pil_batch *pil_batch_create(const struct pil_limits *limits) {
    uint32_t lookup_max = PIL_BATCH_LOOKUPS_RUN + limits->keys_per_request_max;
    size_t lookups_at = pil_align_up(sizeof(struct pil_batch), 64);
    size_t arena_at = lookups_at + lookup_max * sizeof(struct pil_lookup), arena_bytes = arena_bytes_of(limits);
    uint8_t *memory = mmap(NULL, arena_at + arena_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return NULL;
    }
    struct pil_batch *batch = (struct pil_batch *)(void *)memory;
    batch->number = 1; /* 0 stands for "points into no batch" */
    batch->lookups = (struct pil_lookup *)(void *)(memory + lookups_at);
    batch->lookup_max = lookup_max;
    batch->mapped_bytes = arena_at + arena_bytes;
    pil_arena_init(&batch->arena, memory + arena_at, arena_bytes);
    return batch;
}

void pil_batch_destroy(struct pil_batch **batch) {
    if (*batch != NULL) {
        munmap(*batch, (*batch)->mapped_bytes);
        *batch = NULL;
    }
}

bool pil_batch_validate(const struct pil_batch *batch) {
    uint32_t lookups = 0;
    for (uint32_t i = 0; i < batch->request_count; i++) {
        const struct pil_request *request = &batch->requests[i];
        if (request->lookup_first != lookups || request->connection->magic != PIL_CONNECTION_MAGIC ||
            (const uint8_t *)request->body < batch->arena.data ||
            (const uint8_t *)request->body > batch->arena.data + batch->arena.used) {
            return false;
        }
        lookups += request->lookup_count;
    }
    return batch->request_count <= PIL_BATCH_REQUESTS_MAX && batch->lookup_count <= batch->lookup_max &&
           lookups == batch->lookup_count && batch->arena.used <= batch->arena.capacity;
}

/* ---- Filling it. */

bool pil_batch_has_room(const struct pil_batch *batch, size_t arena_bytes) {
    return batch->request_count < PIL_BATCH_REQUESTS_MAX && batch->lookup_count < PIL_BATCH_LOOKUPS_RUN &&
           pil_arena_left(&batch->arena) >= PIL_BATCH_ROOM_BYTES && pil_arena_left(&batch->arena) >= arena_bytes;
}

struct pil_request *pil_batch_add(struct pil_turn *turn, struct pil_connection *connection) {
    struct pil_batch *batch = turn->batch;
    size_t body_bytes = connection->protocol->request_bytes;
    PIL_ASSERT(batch->request_count < PIL_BATCH_REQUESTS_MAX);
    struct pil_request *request = &batch->requests[batch->request_count++];
    *request = (struct pil_request){.connection = connection,
                                    .body = pil_arena_alloc(&batch->arena, body_bytes, BODY_ALIGNMENT),
                                    .lookup_first = batch->lookup_count};
    PIL_ASSERT(request->body != NULL); /* pil_batch_has_room */
    memset(request->body, 0, body_bytes);
    connection->pending++;
    connection->active_ns = turn->now_ns;
    connection->has_asked = true;
    return request;
}

struct pil_lookup *pil_batch_lookup(struct pil_turn *turn, struct pil_request *request) {
    struct pil_batch *batch = turn->batch;
    uint32_t limit = turn->settings->limits.keys_per_request_max;
    PIL_ASSERT(request == &batch->requests[batch->request_count - 1]);
    if (request->lookup_count == limit || batch->lookup_count == batch->lookup_max) {
        request->refusal = (struct pil_refusal){.reason = PIL_REFUSAL_LOOKUPS, .limit = limit};
        return NULL;
    }
    request->lookup_count++;
    return &batch->lookups[batch->lookup_count++];
}

void pil_batch_drop_lookups(struct pil_turn *turn, struct pil_request *request) {
    PIL_ASSERT(request == &turn->batch->requests[turn->batch->request_count - 1]);
    PIL_ASSERT(request->lookup_first + request->lookup_count == turn->batch->lookup_count);
    turn->batch->lookup_count = request->lookup_first;
    request->lookup_count = 0;
}

const char *pil_batch_text(struct pil_batch *batch, const char *format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    size_t bytes = (size_t)(len < (int)sizeof text ? len : (int)sizeof text - 1) + 1;
    char *copy = pil_arena_alloc(&batch->arena, bytes, 1);
    if (copy == NULL) {
        return "ERR the request is too large to explain";
    }
    memcpy(copy, text, bytes);
    return copy;
}

/* ---- Running it. */

/* Counts the lookups of a request by view and result. */
static void count_lookups(struct pil_turn *turn, const struct pil_request *request) {
    const struct pil_lookup *lookups = pil_request_lookups(turn, request);
    const struct pil_series *series = &turn->server->series;
    for (uint32_t i = 0; i < request->lookup_count;) {
        uint32_t view_index = lookups[i].view_index, hits = 0, begin = i;
        for (; i < request->lookup_count && lookups[i].view_index == view_index; i++) {
            hits += lookups[i].row.fields != NULL;
        }
        pil_worker_count(turn->worker, series->lookups[view_index][0], hits);
        pil_worker_count(turn->worker, series->lookups[view_index][1], i - begin - hits);
    }
}

/* Adds what the encoders have counted in this batch. */
static void count_values(struct pil_turn *turn) {
    for (uint32_t view = 0; view < turn->settings->view_count; view++) {
        turn->value_counts[view][PIL_VALUE_DENIED] += turn->scope.denied_counts[view];
        turn->scope.denied_counts[view] = 0;
        for (uint32_t status = PIL_VALUE_PRESENT; status < PIL_VALUE_STATUS_COUNT; status++) {
            if (turn->value_counts[view][status] != 0) {
                pil_worker_count(turn->worker, turn->server->series.values[view][status],
                                 turn->value_counts[view][status]);
                turn->value_counts[view][status] = 0;
            }
        }
    }
}

/* Marks the rows that are too old for this request, or hides them where its listener hides expired rows. */
static void judge(struct pil_turn *turn, const struct pil_request *request) {
    const struct pil_freshness freshness = {.now_us = turn->wall_us,
                                            .max_age_us = request->max_age_us,
                                            .hide_expired = request->connection->listener->hide_expired};
    pil_freshness_judge(pil_request_lookups(turn, request), request->lookup_count, &freshness);
}

static void flush_dirty(struct pil_turn *turn) {
    struct pil_worker *worker = turn->worker;
    PIL_LIST_EACH(struct pil_connection, dirty_link, connection, &worker->dirty) {
        pil_list_remove(&connection->dirty_link);
        pil_connection_flush(turn, connection);
    }
    worker->dirty_count = 0;
    pil_engine_flush(worker->engine);
}

static void put_answer(struct pil_turn *turn, struct pil_request *request, struct pil_sink *sink) {
    const struct pil_protocol *protocol = request->connection->protocol;
    if (request->refusal.reason != PIL_REFUSAL_NONE) {
        request->is_error = true;
        protocol->refuse(turn, request, sink);
    } else {
        protocol->encode(turn, request, sink);
    }
}

/* What an answer has counted, so that it can be taken back. */
struct counts {
    size_t bytes;
    uint64_t values[PIL_SETTINGS_VIEWS_MAX][PIL_VALUE_STATUS_COUNT];
};

static void save_counts(const struct pil_turn *turn, const struct pil_request *request, struct counts *ret_counts) {
    ret_counts->bytes = request->lookup_count > 0 ? turn->settings->view_count * sizeof *ret_counts->values : 0;
    memcpy(ret_counts->values, turn->value_counts, ret_counts->bytes);
}

/* Writes an error in place of an answer that did not fit. The answers before it stay. */
static pil_output_failure put_refusal(struct pil_turn *turn, struct pil_request *request, const struct counts *before,
                                      struct pil_output_sink *sink) {
    struct pil_connection *connection = request->connection;
    const struct pil_limits *limits = &turn->settings->limits;
    bool is_large = sink->failure == PIL_OUTPUT_TOO_LARGE;
    request->refusal = (struct pil_refusal){.reason = is_large ? PIL_REFUSAL_OUTPUT : PIL_REFUSAL_MEMORY,
                                            .limit = is_large ? limits->output_bytes_max : limits->client_memory_max};
    memcpy(turn->value_counts, before->values, before->bytes);
    pil_output_undo(sink);
    pil_output_begin(sink, &connection->output, &turn->worker->chunks, NULL, PIL_CHUNK_BYTES);
    put_answer(turn, request, &sink->sink);
    return pil_output_finish(sink);
}

/* The longest answers of late say what to expect of the next one. */
static void expect(struct pil_connection *connection, uint64_t bytes) {
    uint64_t expected = connection->answer_bytes - connection->answer_bytes / ANSWER_DECAY;
    connection->answer_bytes = bytes > expected ? bytes : expected;
}

static void encode(struct pil_turn *turn, struct pil_request *request) {
    struct pil_connection *connection = request->connection;
    struct pil_worker *worker = turn->worker;
    struct pil_output_sink sink;
    struct counts counts;
    PIL_ASSERT(connection->pending > 0);
    connection->pending--;
    if (connection->state >= PIL_CONNECTION_CLOSED) {
        return;
    }
    uint64_t before = connection->output.bytes;
    save_counts(turn, request, &counts);
    turn->scope.readable = connection->readable;
    pil_output_begin(&sink, &connection->output, &worker->chunks, &connection->use,
                     turn->settings->limits.output_bytes_max);
    put_answer(turn, request, &sink.sink);
    if (pil_output_finish(&sink) != PIL_OUTPUT_OK && put_refusal(turn, request, &counts, &sink) != PIL_OUTPUT_OK) {
        pil_connection_close(turn, connection, PIL_CLOSE_OUTPUT);
        return;
    }
    expect(connection, connection->output.bytes - before);
    if (!pil_list_is_linked(&connection->dirty_link)) {
        pil_list_append(&worker->dirty, &connection->dirty_link);
        worker->dirty_count++;
    }
}

struct times {
    uint64_t start, looked_up, encoded;
};

static void note_slow(struct pil_turn *turn, const struct pil_request *request, const struct times *times) {
    const struct pil_connection *connection = request->connection;
    struct pil_request_note note = {0};
    connection->protocol->describe(request, &note);
    struct pil_slow_request slow = {
        .wall_us = turn->wall_us,
        .duration_us = (times->encoded - connection->received_ns) / 1000,
        .queue_us = (times->start - connection->received_ns) / 1000,
        .lookup_us = (times->looked_up - times->start) / 1000,
        .encode_us = (times->encoded - times->looked_up) / 1000,
        .keys = request->lookup_count,
        .values = (uint32_t)note.value_count,
        .features = request->selection != NULL ? request->selection->feature_count : 0,
        .selection = request->selection != NULL ? pil_selection_digest(request->selection) : 0,
    };
    snprintf(slow.what, sizeof slow.what, "%.20s %.70s", note.operation,
             request->view != NULL ? request->view->name : "");
    snprintf(slow.peer, sizeof slow.peer, "%s", connection->identity.address);
    pil_slowlog_add(turn->server->slowlog, &slow);
}

static void measure(struct pil_turn *turn, const struct times *times) {
    const struct pil_batch *batch = turn->batch;
    const struct pil_series *all = &turn->server->series;
    struct pil_worker *worker = turn->worker;
    uint64_t slow_ns = turn->settings->slowlog_us * 1000;
    uint32_t slow_count = 0;
    for (uint32_t i = 0; i < batch->request_count; i++) {
        const struct pil_request *request = &batch->requests[i];
        uint64_t received_ns = request->connection->received_ns, total = times->encoded - received_ns;
        uint32_t protocol = request->connection->listener->protocol;
        const pil_metric_series *series = all->stage[protocol][request->view != NULL ? request->view->index + 1 : 0];
        pil_worker_record(worker, series[PIL_STAGE_QUEUE], times->start - received_ns, 1);
        pil_worker_record(worker, series[PIL_STAGE_LOOKUP], times->looked_up - times->start, 1);
        pil_worker_record(worker, series[PIL_STAGE_ENCODE], times->encoded - times->looked_up, 1);
        pil_worker_record(worker, series[PIL_STAGE_TOTAL], total, 1);
        pil_worker_count(worker, all->requests[protocol][request->is_error], 1);
        if (request->is_timed) {
            PIL_ASSERT(request->operation < request->connection->protocol->operation_count);
            pil_histogram_add_owner(&worker->histograms[protocol][request->operation], total, 1);
        }
        if (total >= slow_ns && slow_count < SLOW_PER_BATCH_MAX) {
            note_slow(turn, request, times);
            slow_count++;
        }
    }
}

static void end(struct pil_turn *turn, bool keep_moment) {
    struct pil_batch *batch = turn->batch;
    turn->scope.batch_number = ++batch->number;
    batch->request_count = batch->lookup_count = 0;
    pil_arena_rewind(&batch->arena, 0);
    if (!keep_moment) {
        pil_moment_clear(&turn->scope.moment);
    }
}

void pil_batch_run(struct pil_turn *turn, bool keep_moment) {
    struct pil_batch *batch = turn->batch;
    if (batch->request_count > 0) {
        PIL_ASSERT_SLOW(pil_batch_validate(batch));
        struct times times = {.start = pil_clock_monotonic_ns()};
        pil_chain_lookup(batch->lookups, batch->lookup_count);
        times.looked_up = batch->lookup_count > 0 ? pil_clock_monotonic_ns() : times.start;
        turn->wall_us = pil_clock_wall_us();
        for (uint32_t i = 0; i < batch->request_count; i++) {
            count_lookups(turn, &batch->requests[i]);
            judge(turn, &batch->requests[i]);
            encode(turn, &batch->requests[i]);
            if (turn->worker->dirty_count == REPLIES_PER_FLUSH && i + 1 < batch->request_count) {
                flush_dirty(turn); /* so that the first answers do not wait for the last */
            }
        }
        times.encoded = pil_clock_monotonic_ns();
        turn->is_late = times.encoded - turn->now_ns > LATE_NS || turn->work >= turn->work_max;
        measure(turn, &times);
        count_values(turn);
        if (batch->lookup_count > 0) {
            pil_worker_record(turn->worker, turn->server->series.batch_size, batch->lookup_count, 1);
        }
        flush_dirty(turn);
    }
    end(turn, keep_moment);
}
