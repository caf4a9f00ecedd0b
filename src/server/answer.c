/* SPDX-License-Identifier: Apache-2.0 */
#include "server/answer.h"

#include "base/clock.h"
#include "cache/freshness.h"
#include "server/internal.h"

#include <stdio.h>

enum {
    REPLIES_PER_FLUSH = 32,
    SLOW_PER_BATCH_MAX = 16,
    ANSWER_DECAY = 16,
    LATE_NS = 5000000,
    PATIENCE_BYTES = 1 << 16, /* an answer that was not thought to be long is left in the middle once it has as much */
    LOOKUPS_PER_PAUSE = 1024,
};

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

void pil_answer_flush(struct pil_turn *turn) {
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

static void take_back(struct pil_turn *turn, const struct counts *before, struct pil_output_sink *sink) {
    memcpy(turn->value_counts, before->values, before->bytes);
    pil_output_undo(sink);
}

/* Writes an error in place of an answer that did not fit. The answers before it stay. */
static pil_output_failure put_refusal(struct pil_turn *turn, struct pil_request *request, const struct counts *before,
                                      struct pil_output_sink *sink) {
    struct pil_connection *connection = request->connection;
    const struct pil_limits *limits = &turn->settings->limits;
    bool is_large = sink->failure == PIL_OUTPUT_TOO_LARGE;
    request->refusal = (struct pil_refusal){.reason = is_large ? PIL_REFUSAL_OUTPUT : PIL_REFUSAL_MEMORY,
                                            .limit = is_large ? limits->output_bytes_max : limits->client_memory_max};
    take_back(turn, before, sink);
    pil_output_begin(sink, &connection->output, &turn->worker->chunks, NULL, PIL_CHUNK_BYTES);
    put_answer(turn, request, &sink->sink);
    return pil_output_finish(sink);
}

/* The longest answers of late say what to expect of the next one. */
static void expect(struct pil_connection *connection, uint64_t bytes) {
    uint64_t expected = connection->answer_bytes - connection->answer_bytes / ANSWER_DECAY;
    connection->answer_bytes = bytes > expected ? bytes : expected;
}

struct writing {
    struct pil_lane *lane;
    const struct pil_connection *connection;
    uint64_t patience; /* bytes of the answer, before which the lane is not left */
};

static bool pause_writing(void *context) {
    const struct writing *writing = context;
    if (writing->connection->output.open_bytes >= writing->patience) {
        pil_lane_pause(writing->lane);
    }
    return writing->connection->state < PIL_CONNECTION_CLOSED;
}

/* Writes the answer, or an error in its place. Returns false when the connection was closed. */
static bool write_answer(struct pil_turn *turn, struct pil_request *request) {
    struct pil_connection *connection = request->connection;
    struct writing writing = {turn->lane, connection, request->is_later ? 0 : PATIENCE_BYTES};
    struct pil_output_sink sink PIL_UNINITIALIZED;
    struct counts counts PIL_UNINITIALIZED;
    save_counts(turn, request, &counts);
    turn->scope.readable = connection->readable;
    pil_output_begin(&sink, &connection->output, &turn->worker->chunks, &connection->use,
                     turn->settings->limits.output_bytes_max);
    if (request->lookup_count > 0) {
        sink.pause = pause_writing;
        sink.context = &writing;
    }
    put_answer(turn, request, &sink.sink);
    uint64_t bytes = pil_output_position(&sink);
    if (pil_output_finish(&sink) != PIL_OUTPUT_OK) {
        if (connection->state >= PIL_CONNECTION_CLOSED) {
            take_back(turn, &counts, &sink);
            return false;
        }
        if (put_refusal(turn, request, &counts, &sink) != PIL_OUTPUT_OK) {
            pil_connection_close(turn, connection, PIL_CLOSE_OUTPUT);
            return false;
        }
    }
    expect(connection, bytes);
    return true;
}

static void encode(struct pil_turn *turn, struct pil_request *request) {
    struct pil_connection *connection = request->connection;
    struct pil_worker *worker = turn->worker;
    uint64_t leaves = turn->lane->leaves;
    PIL_ASSERT(connection->pending > 0);
    bool is_written = connection->state < PIL_CONNECTION_CLOSED && write_answer(turn, request);
    connection->pending--;
    connection->is_slow = turn->lane->leaves != leaves || request->is_slow;
    if (is_written && !pil_list_is_linked(&connection->dirty_link)) {
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
        .duration_us = (times->encoded - request->received_ns) / 1000,
        .queue_us = (times->start - request->received_ns) / 1000,
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

static void measure(struct pil_turn *turn, struct pil_request *request, const struct times *times,
                    uint32_t *slow_count) {
    const struct pil_series *all = &turn->server->series;
    struct pil_worker *worker = turn->worker;
    uint64_t received_ns = request->received_ns, total = times->encoded - received_ns;
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
    if (total >= turn->settings->slowlog_us * 1000 && *slow_count < SLOW_PER_BATCH_MAX) {
        note_slow(turn, request, times);
        (*slow_count)++;
    }
    request->is_done = true;
}

/* Marks the requests with long answers, and those that came after them from the same peer. */
static void mark_later(struct pil_batch *batch) {
    for (uint32_t i = 0; batch->weight >= PIL_BATCH_WEIGHT_LONG && i < batch->request_count; i++) {
        struct pil_request *request = &batch->requests[i];
        request->is_later =
            request->weight >= PIL_BATCH_WEIGHT_LONG || request->connection->later_batch == batch->number;
        if (request->is_later) {
            request->connection->later_batch = batch->number;
        }
    }
}

/* The lookups of all requests that are not for later; neighbours run together. */
static void look_up(struct pil_batch *batch) {
    uint32_t begin = 0;
    for (uint32_t i = 0; i < batch->request_count; i++) {
        const struct pil_request *request = &batch->requests[i];
        if (request->is_later) {
            pil_chain_lookup(&batch->lookups[begin], request->lookup_first - begin);
            begin = request->lookup_first + request->lookup_count;
        }
    }
    pil_chain_lookup(&batch->lookups[begin], batch->lookup_count - begin);
}

static void answer(struct pil_turn *turn, struct pil_request *request) {
    count_lookups(turn, request);
    judge(turn, request);
    encode(turn, request);
}

static void note_lateness(struct pil_turn *turn, uint64_t now_ns) {
    turn->is_late = now_ns - turn->now_ns > LATE_NS || turn->work >= turn->work_max;
}

static void answer_short(struct pil_turn *turn) {
    struct pil_batch *batch = turn->batch;
    struct times times = {.start = pil_clock_monotonic_ns()};
    uint32_t slow_count = 0;
    look_up(batch);
    times.looked_up = batch->lookup_count > 0 ? pil_clock_monotonic_ns() : times.start;
    turn->wall_us = pil_clock_wall_us();
    for (uint32_t i = 0; i < batch->request_count; i++) {
        if (!batch->requests[i].is_later) {
            answer(turn, &batch->requests[i]);
            if (turn->worker->dirty_count == REPLIES_PER_FLUSH && i + 1 < batch->request_count) {
                pil_answer_flush(turn); /* so that the first answers do not wait for the last */
            }
        }
    }
    times.encoded = pil_clock_monotonic_ns();
    note_lateness(turn, times.encoded);
    for (uint32_t i = 0; i < batch->request_count; i++) {
        if (!batch->requests[i].is_later) {
            measure(turn, &batch->requests[i], &times, &slow_count);
        }
    }
}

static void answer_later(struct pil_turn *turn, struct pil_request *request) {
    struct pil_lookup *lookups = pil_request_lookups(turn, request);
    struct times times = {.start = pil_clock_monotonic_ns()};
    uint32_t slow_count = 0;
    for (uint32_t i = 0, count; i < request->lookup_count; i += count) {
        count = request->lookup_count - i < LOOKUPS_PER_PAUSE ? request->lookup_count - i : LOOKUPS_PER_PAUSE;
        pil_chain_lookup(&lookups[i], count);
        pil_lane_pause(turn->lane);
    }
    times.looked_up = pil_clock_monotonic_ns();
    turn->wall_us = pil_clock_wall_us();
    answer(turn, request);
    times.encoded = pil_clock_monotonic_ns();
    note_lateness(turn, times.encoded);
    measure(turn, request, &times, &slow_count);
}

/* Who has an answer finds it counted. */
static void send_counted(struct pil_turn *turn) {
    count_values(turn);
    pil_answer_flush(turn);
}

/* Prepares the request that decode has left for later. Others are served meanwhile. */
static void prepare(struct pil_turn *turn) {
    struct pil_request *request = turn->batch->unprepared;
    if (request == NULL) {
        return;
    }
    uint64_t leaves = turn->lane->leaves;
    turn->scope.readable = request->connection->readable;
    if (request->refusal.reason == PIL_REFUSAL_NONE) {
        request->connection->protocol->prepare(turn, request);
    }
    request->is_slow = turn->lane->leaves != leaves;
    turn->batch->unprepared = NULL;
}

static void answer_all(struct pil_turn *turn) {
    struct pil_batch *batch = turn->batch;
    if (batch->request_count == 0) {
        return;
    }
    prepare(turn);
    PIL_ASSERT_SLOW(pil_batch_validate(batch));
    pil_batch_weigh(turn);
    mark_later(batch);
    if (batch->lookup_count > 0) {
        pil_worker_record(turn->worker, turn->server->series.batch_size, batch->lookup_count, 1);
    }
    answer_short(turn);
    send_counted(turn);
    for (uint32_t i = 0; i < batch->request_count; i++) {
        if (batch->requests[i].is_later) {
            answer_later(turn, &batch->requests[i]);
            send_counted(turn);
            pil_lane_pause(turn->lane);
        }
    }
}

static void end(struct pil_turn *turn) {
    struct pil_batch *batch = turn->batch;
    pil_lane_release(turn->lane);
    turn->scope.batch_number = batch->number = ++turn->worker->batch_number;
    batch->request_count = batch->lookup_count = batch->weighed_count = 0;
    batch->weight = 0;
    pil_arena_rewind(&batch->arena, 0);
}

void pil_answer_batch(struct pil_lane *lane) {
    struct pil_turn *turn = &lane->turn;
    pil_status status = lane->replaying != NULL ? PIL_STATUS_BUSY : PIL_STATUS_OK;
    answer_all(turn);
    while (status == PIL_STATUS_BUSY) {
        end(turn);
        pil_lane_pause(lane);
        status = pil_connection_replay_on(turn, lane->replaying);
        answer_all(turn);
    }
    end(turn);
    pil_moment_clear(&turn->scope.moment);
}
