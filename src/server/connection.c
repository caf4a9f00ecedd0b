/* SPDX-License-Identifier: Apache-2.0 */
#include "server/connection.h"

#include "base/clock.h"
#include "server/admission.h"
#include "server/internal.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdalign.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    DRAIN_QUIET_MS = 20,         /* a connection that sent a request this recently may send more */
    INPUT_AHEAD_BYTES = 1 << 17, /* undecoded bytes of a connection that has used up its turn; with more, reading
                                    pauses */
    IN_FLIGHT_BYTES = 1 << 18,   /* bytes that may still arrive after reading was paused */
};

/* ---- Life. */

/* Allocates the connection and the protocol's private part in one piece. */
static struct pil_connection *allocate(const struct pil_protocol *protocol) {
    size_t offset = pil_align_up(sizeof(struct pil_connection), alignof(max_align_t));
    struct pil_connection *connection = calloc(1, offset + protocol->connection_bytes);
    if (connection != NULL) {
        connection->protocol = protocol;
        connection->private = (uint8_t *)connection + offset;
    }
    return connection;
}

static void count_in(struct pil_worker *worker, struct pil_connection *connection) {
    pil_list_append(&worker->connections, &connection->link);
    worker->connection_count++;
    atomic_fetch_add_explicit(&worker->connections_now[connection->listener->protocol], 1, memory_order_relaxed);
}

static void count_out(struct pil_worker *worker, struct pil_connection *connection) {
    PIL_ASSERT(worker->connection_count > 0);
    pil_list_remove(&connection->link);
    worker->connection_count--;
    atomic_fetch_sub_explicit(&worker->connections_now[connection->listener->protocol], 1, memory_order_relaxed);
    pil_admission_leave(worker->server);
}

static void refuse(struct pil_worker *worker, const struct pil_listener_settings *listener, int fd) {
    pil_worker_count(worker, worker->server->series.closed[listener->protocol][PIL_CLOSE_CONNECTIONS], 1);
    close(fd);
}

/* Returns a connection that is counted in; NULL when the limit is reached, memory is short or the protocol refuses. */
static struct pil_connection *admit(struct pil_turn *turn, const struct pil_listener_settings *listener, int fd) {
    struct pil_server *server = turn->server;
    const struct pil_protocol *protocol = server->protocols[listener->protocol];
    if (!pil_admission_enter(server)) {
        return NULL;
    }
    struct pil_connection *connection = allocate(protocol);
    if (connection == NULL) {
        pil_admission_leave(server);
        return NULL;
    }
    connection->magic = PIL_CONNECTION_MAGIC;
    connection->listener = listener;
    connection->id = atomic_fetch_add_explicit(&server->connection_id_next, 1, memory_order_relaxed) + 1;
    connection->created_ns = connection->active_ns = turn->now_ns;
    pil_admission_identify(turn, connection, fd);
    if (protocol->open != NULL && protocol->open(turn, connection) != PIL_STATUS_OK) {
        free(connection);
        pil_admission_leave(server);
        return NULL;
    }
    return connection;
}

struct pil_connection *pil_connection_create(struct pil_turn *turn, const struct pil_listener_settings *listener,
                                             int fd) {
    struct pil_worker *worker = turn->worker;
    struct pil_connection *connection = admit(turn, listener, fd);
    pil_worker_count(worker, turn->server->series.accepted[listener->protocol], 1);
    if (connection == NULL) {
        refuse(worker, listener, fd);
        return NULL;
    }
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* fails on Unix sockets, which does no harm */
    count_in(worker, connection);
    if (pil_engine_attach(worker->engine, fd, connection, &connection->handle) != PIL_STATUS_OK) {
        pil_connection_destroy(turn, connection);
        return NULL;
    }
    return connection;
}

void pil_connection_destroy(struct pil_turn *turn, struct pil_connection *connection) {
    struct pil_worker *worker = turn->worker;
    PIL_ASSERT(connection->magic == PIL_CONNECTION_MAGIC);
    PIL_ASSERT(connection->pending == 0);
    PIL_ASSERT(!pil_list_is_linked(&connection->ready_link) && !pil_list_is_linked(&connection->dirty_link));
    count_out(worker, connection);
    if (connection->protocol->close != NULL) {
        connection->protocol->close(turn, connection);
    }
    pil_worker_count(worker, worker->server->series.closed[connection->listener->protocol][connection->close_reason],
                     1);
    pil_output_clear(&connection->output, &worker->chunks);
    free(connection->input);
    connection->magic = 0;
    free(connection);
}

void pil_connection_close(struct pil_turn *turn, struct pil_connection *connection, pil_close_reason reason) {
    if (connection->state < PIL_CONNECTION_CLOSED) {
        if (connection->state < PIL_CONNECTION_FINISHING) {
            connection->close_reason = reason;
        }
        connection->state = PIL_CONNECTION_CLOSED;
        pil_engine_close(turn->worker->engine, connection->handle);
    }
}

void pil_connection_finish(struct pil_connection *connection, pil_close_reason reason) {
    if (connection->state < PIL_CONNECTION_FINISHING) {
        connection->state = PIL_CONNECTION_FINISHING;
        connection->close_reason = reason;
    }
}

void pil_connection_end(struct pil_turn *turn, struct pil_connection *connection) {
    if (connection->state == PIL_CONNECTION_OPEN) {
        connection->state = PIL_CONNECTION_ENDED;
    }
    pil_connection_flush(turn, connection);
}

/* ---- Waiting for a turn, or for the output. */

static void count_hold(struct pil_worker *worker, const struct pil_connection *connection, pil_hold_reason reason) {
    pil_worker_count(worker, worker->server->series.held[connection->listener->protocol][reason], 1);
}

static void put_on_ready_list(struct pil_worker *worker, struct pil_connection *connection) {
    if (!pil_list_is_linked(&connection->ready_link)) {
        pil_list_append(&worker->ready, &connection->ready_link);
    }
}

static void pause_reading(struct pil_worker *worker, struct pil_connection *connection) {
    if (!connection->is_paused) {
        connection->is_paused = true;
        pil_engine_pause(worker->engine, connection->handle);
    }
}

static size_t waiting_bytes(const struct pil_connection *connection) {
    return connection->input_end - connection->input_begin;
}

/* A connection that sends faster than its share of the turns is not read from, or its input would grow without end. */
static bool is_far_ahead(const struct pil_connection *connection) {
    return pil_list_is_linked(&connection->ready_link) && waiting_bytes(connection) > INPUT_AHEAD_BYTES;
}

void pil_connection_resume(struct pil_turn *turn, struct pil_connection *connection) {
    if (connection->state < PIL_CONNECTION_FINISHING && connection->is_paused && !is_far_ahead(connection) &&
        connection->output.bytes <= turn->settings->limits.output_pause_bytes) {
        connection->is_paused = false;
        pil_engine_resume(turn->worker->engine, connection->handle);
    }
}

/* ---- Input. */

/* Starts the clock of an incomplete request; as long as the same request stays incomplete, its clock keeps running. */
static void note_partial(const struct pil_turn *turn, struct pil_connection *connection, bool is_partial) {
    if (!is_partial) {
        connection->partial_ns = 0;
    } else if (connection->partial_ns == 0 || connection->active_ns >= connection->partial_ns) {
        connection->partial_ns = turn->now_ns;
    }
}

/* Whether the next request must wait: for output to be sent (then reading pauses) or for the next turn (then the
 * connection goes on the ready list). */
static bool must_wait(struct pil_turn *turn, struct pil_connection *connection, uint32_t decoded) {
    const struct pil_limits *limits = &turn->settings->limits;
    if (connection->output.bytes > limits->output_pause_bytes) {
        count_hold(turn->worker, connection, PIL_HOLD_OUTPUT);
        pause_reading(turn->worker, connection);
        return true;
    }
    if (decoded == limits->requests_per_turn) {
        count_hold(turn->worker, connection, PIL_HOLD_TURN);
        put_on_ready_list(turn->worker, connection);
        return true;
    }
    return false;
}

static pil_status decode_replay(struct pil_turn *turn, struct pil_connection *connection) {
    while (connection->replay.len > 0) {
        size_t consumed = 0;
        pil_status status = connection->protocol->decode(turn, connection, connection->replay, &consumed);
        if (status == PIL_STATUS_BUSY) {
            return status;
        }
        /* Replayed requests were decoded before, under limits that were no wider. */
        PIL_ASSERT(status == PIL_STATUS_OK && consumed > 0 && consumed <= connection->replay.len);
        connection->replay = pil_bytes_from(connection->replay.data + consumed, connection->replay.len - consumed);
        connection->replay_batch = turn->batch->number;
    }
    return PIL_STATUS_OK;
}

/* Decodes requests from the front of *data, as far as the limits allow, and moves *data past them. */
static pil_status decode(struct pil_turn *turn, struct pil_connection *connection, struct pil_bytes *data) {
    bool is_partial = false;
    for (uint32_t count = 0; data->len > 0 && connection->state < PIL_CONNECTION_FINISHING; count++) {
        if (must_wait(turn, connection, count)) {
            break;
        }
        size_t consumed = 0;
        pil_status status = connection->protocol->decode(turn, connection, *data, &consumed);
        if (status == PIL_STATUS_BUSY) {
            return status;
        }
        is_partial = status == PIL_STATUS_AGAIN;
        if (is_partial) {
            break;
        }
        PIL_ASSERT(consumed <= data->len);
        *data = pil_bytes_from(data->data + consumed, data->len - consumed);
        PIL_TRY(decode_replay(turn, connection));
    }
    note_partial(turn, connection, is_partial);
    return PIL_STATUS_OK;
}

/* Ensures that `input` has room for `wanted` bytes; the buffer may move. */
static bool reserve_input(const struct pil_turn *turn, struct pil_connection *connection, size_t wanted) {
    /* One whole request, and the bytes that were in flight behind it when reading was paused. */
    size_t limit = (size_t)turn->settings->limits.request_bytes_max + IN_FLIGHT_BYTES;
    size_t capacity =
        connection->input_capacity < PIL_INPUT_BYTES_MIN ? PIL_INPUT_BYTES_MIN : connection->input_capacity;
    if (wanted <= connection->input_capacity) {
        return true;
    }
    while (capacity < wanted) {
        capacity *= 2;
    }
    uint8_t *grown = wanted > limit ? NULL : realloc(connection->input, capacity);
    if (grown == NULL) {
        return false;
    }
    connection->input = grown;
    connection->input_capacity = capacity;
    return true;
}

/* Appends the fresh bytes to `input`. BUSY: requests of the batch still point into the buffer. TOO_LARGE: over the
 * limit, or memory is short. */
static pil_status keep_fresh(struct pil_turn *turn, struct pil_connection *connection) {
    size_t waiting = waiting_bytes(connection);
    if (connection->fresh.len == 0) {
        return PIL_STATUS_OK;
    }
    if (connection->input_batch == turn->batch->number && connection->pending > 0) {
        return PIL_STATUS_BUSY;
    }
    if (connection->input_begin > 0) {
        memmove(connection->input, connection->input + connection->input_begin, waiting);
        connection->input_begin = 0;
        connection->input_end = waiting;
    }
    if (!reserve_input(turn, connection, waiting + connection->fresh.len)) {
        return PIL_STATUS_TOO_LARGE;
    }
    PIL_ASSERT(connection->fresh.len <= connection->input_capacity - connection->input_end);
    memcpy(connection->input + connection->input_end, connection->fresh.data, connection->fresh.len);
    connection->input_end += connection->fresh.len;
    connection->fresh = (struct pil_bytes){0};
    return PIL_STATUS_OK;
}

static pil_status decode_input(struct pil_turn *turn, struct pil_connection *connection) {
    struct pil_bytes rest = pil_bytes_from(connection->input + connection->input_begin, waiting_bytes(connection));
    connection->input_batch = turn->batch->number;
    pil_status status = decode(turn, connection, &rest);
    connection->input_begin = connection->input_end - rest.len;
    return status;
}

/* Decodes replayed bytes first; then `input` with the fresh bytes appended or, when it is empty, the fresh bytes in
 * place. Undecoded fresh bytes are kept in `input`. */
static pil_status decode_all(struct pil_turn *turn, struct pil_connection *connection) {
    bool is_fresh = connection->fresh.len > 0, is_ready = pil_list_is_linked(&connection->ready_link);
    PIL_TRY(decode_replay(turn, connection));
    if (waiting_bytes(connection) > 0) {
        PIL_TRY(keep_fresh(turn, connection));
        return is_ready || (is_fresh && connection->is_paused) ? PIL_STATUS_OK : decode_input(turn, connection);
    }
    if (!is_ready) {
        PIL_TRY(decode(turn, connection, &connection->fresh));
    }
    return connection->state < PIL_CONNECTION_FINISHING ? keep_fresh(turn, connection) : PIL_STATUS_OK;
}

/* Decodes the bytes at hand, as far as limits allow. */
static pil_status take_in(struct pil_turn *turn, struct pil_connection *connection) {
    turn->scope.readable = pil_admission_readable(turn, connection);
    pil_status status = decode_all(turn, connection);
    if (status == PIL_STATUS_BUSY) {
        return status;
    }
    if (status != PIL_STATUS_OK) {
        pil_connection_close(turn, connection, PIL_CLOSE_REQUEST_BYTES);
    } else if (is_far_ahead(connection)) {
        pause_reading(turn->worker, connection);
    }
    return PIL_STATUS_OK;
}

pil_status pil_connection_advance(struct pil_turn *turn, struct pil_connection *connection) {
    PIL_ASSERT_SLOW(pil_connection_validate(connection));
    if (connection->state < PIL_CONNECTION_FINISHING) {
        PIL_TRY(take_in(turn, connection));
    }
    connection->fresh = (struct pil_bytes){0}; /* also when a batch that ran in between closed the connection */
    return PIL_STATUS_OK;
}

void pil_connection_receive(struct pil_turn *turn, struct pil_connection *connection, struct pil_bytes data) {
    PIL_ASSERT(connection->fresh.len == 0);
    if (connection->state < PIL_CONNECTION_FINISHING) {
        PIL_ASSERT(connection->replay.len == 0);
        connection->received_ns = turn->now_ns;
        connection->fresh = data;
    }
}

void pil_connection_replay(struct pil_turn *turn, struct pil_connection *connection, struct pil_bytes bytes) {
    PIL_ASSERT(connection->replay.len == 0);
    connection->replay = bytes;
    connection->replay_batch = turn->batch->number;
}

bool pil_connection_is_replayed(const struct pil_turn *turn, const struct pil_connection *connection) {
    return connection->replay_batch == turn->batch->number;
}

/* ---- Output. */

pil_status pil_connection_interject(struct pil_turn *turn, struct pil_connection *connection,
                                    void (*put)(struct pil_sink *sink)) {
    struct pil_output_sink sink;
    if (connection->pending > 0) {
        return PIL_STATUS_BUSY;
    }
    pil_output_begin(&sink, &connection->output, &turn->worker->chunks, PIL_CHUNK_BYTES);
    put(&sink.sink);
    if (pil_output_finish(&sink)) {
        pil_connection_flush(turn, connection);
    }
    return PIL_STATUS_OK;
}

static void send_output(struct pil_turn *turn, struct pil_connection *connection) {
    struct iovec parts[PIL_ENGINE_SEND_PARTS_MAX];
    uint32_t part_count = pil_output_take(&connection->output, parts, PIL_ENGINE_SEND_PARTS_MAX);
    PIL_ASSERT(part_count > 0);
    connection->send_ns = pil_clock_monotonic_ns();
    if (connection->taken_ns == 0) {
        connection->taken_ns = connection->send_ns;
    }
    pil_engine_send(turn->worker->engine, connection->handle, parts, part_count);
}

void pil_connection_flush(struct pil_turn *turn, struct pil_connection *connection) {
    if (connection->state >= PIL_CONNECTION_CLOSED || connection->output.bytes_in_flight != 0) {
        return;
    }
    if (connection->output.bytes > 0) {
        send_output(turn, connection);
        return;
    }
    connection->taken_ns = 0;
    if (connection->is_paused) {
        put_on_ready_list(turn->worker, connection); /* run_ready resumes reading */
    }
    bool is_answered = connection->state == PIL_CONNECTION_FINISHING ||
                       (connection->state == PIL_CONNECTION_ENDED && !pil_list_is_linked(&connection->ready_link));
    if (connection->pending == 0 && is_answered) {
        pil_connection_close(turn, connection, PIL_CLOSE_PEER);
    }
}

void pil_connection_sent(struct pil_turn *turn, struct pil_connection *connection, uint64_t now_ns) {
    pil_output_sent(&connection->output, &turn->worker->chunks);
    connection->taken_ns = connection->output.bytes > 0 ? now_ns : 0;
    pil_connection_flush(turn, connection);
}

/* ---- Time limits. */

static bool is_past(uint64_t since_ns, uint64_t now_ns, uint64_t limit_ms) {
    return since_ns != 0 && limit_ms != 0 && now_ns > since_ns && now_ns - since_ns > limit_ms * 1000000;
}

void pil_connection_sweep(struct pil_turn *turn, struct pil_connection *connection) {
    const struct pil_limits *limits = &turn->settings->limits;
    if (connection->state >= PIL_CONNECTION_CLOSED) {
        return;
    }
    if (connection->protocol->sweep != NULL) {
        connection->protocol->sweep(turn, connection);
    }
    bool is_idle = connection->output.bytes == 0 && connection->pending == 0;
    if (is_past(connection->taken_ns, turn->now_ns, limits->output_stall_ms)) {
        pil_connection_close(turn, connection, PIL_CLOSE_STALL);
    } else if (is_past(connection->partial_ns, turn->now_ns, limits->request_timeout_ms)) {
        pil_connection_close(turn, connection, PIL_CLOSE_REQUEST_TIMEOUT);
    } else if (connection->output.bytes == 0 && is_past(connection->active_ns, turn->now_ns, limits->idle_timeout_ms)) {
        pil_connection_close(turn, connection, PIL_CLOSE_IDLE);
    } else if (turn->worker->is_draining && is_idle && !pil_list_is_linked(&connection->ready_link) &&
               is_past(connection->active_ns, turn->now_ns, DRAIN_QUIET_MS)) {
        pil_connection_close(turn, connection, PIL_CLOSE_DRAIN);
    }
}

bool pil_connection_validate(const struct pil_connection *connection) {
    return connection->magic == PIL_CONNECTION_MAGIC && connection->state <= PIL_CONNECTION_GONE &&
           connection->input_begin <= connection->input_end && connection->input_end <= connection->input_capacity &&
           (connection->input != NULL) == (connection->input_capacity > 0) && pil_list_is_linked(&connection->link) &&
           /* the batch bounds the requests that are not answered yet */
           connection->pending <= PIL_BATCH_REQUESTS_MAX && pil_output_validate(&connection->output) &&
           (connection->state != PIL_CONNECTION_GONE || connection->handle == 0);
}
