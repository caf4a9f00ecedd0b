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
    DRAIN_QUIET_MS = 20,           /* a connection that sent a request this recently may send more */
    INPUT_AHEAD_BYTES = 1 << 17,   /* undecoded bytes of a connection that has used up its turn; with more, reading
                                      pauses */
    IN_FLIGHT_BYTES = 1 << 18,     /* bytes that may still arrive after reading was paused */
    AHEAD_BYTES = 1 << 16,         /* bytes that one connection may receive in a turn */
    INPUT_DOUBLES_BYTES = 1 << 20, /* larger buffers grow by half */
    ANSWER_SHARE = 16, /* the first answers of a connection are expected to have 1/16 of limits.output_bytes */
    QUIET_MS = 10000,
    WAITS_MS = 100,  /* output that waits for longer is charged to the peer */
    SPARE_MS = 1000, /* a connection without a full place lasts no longer */
    OWES_MS = 1000,  /* a peer that owes memory is closed when it has taken nothing for as long */
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
}

static void refuse(struct pil_worker *worker, const struct pil_listener_settings *listener, int fd) {
    pil_worker_count(worker, worker->server->series.closed[listener->protocol][PIL_CLOSE_CONNECTIONS], 1);
    close(fd);
}

/* Returns a connection that is counted in; NULL when there is not even a spare place, memory is short or the protocol
 * refuses. */
static struct pil_connection *admit(struct pil_turn *turn, const struct pil_listener_settings *listener, int fd) {
    struct pil_server *server = turn->server;
    const struct pil_protocol *protocol = server->protocols[listener->protocol];
    struct pil_connection *connection = allocate(protocol);
    if (connection == NULL) {
        return NULL;
    }
    pil_admission_identify(turn, connection, fd);
    if (pil_accounts_enter(&server->accounts, &connection->identity, &connection->use) == PIL_PLACE_NONE) {
        free(connection);
        return NULL;
    }
    connection->magic = PIL_CONNECTION_MAGIC;
    connection->listener = listener;
    connection->id = atomic_fetch_add_explicit(&server->connection_id_next, 1, memory_order_relaxed) + 1;
    connection->created_ns = connection->active_ns = turn->now_ns;
    connection->answer_bytes = turn->settings->limits.output_bytes_max / ANSWER_SHARE;
    if (protocol->open != NULL && protocol->open(turn, connection) != PIL_STATUS_OK) {
        pil_accounts_leave(&server->accounts, &connection->use);
        free(connection);
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
    PIL_ASSERT(connection->pending == 0 && connection->lane == NULL);
    PIL_ASSERT(!pil_list_is_linked(&connection->ready_link) && !pil_list_is_linked(&connection->dirty_link));
    count_out(worker, connection);
    if (connection->protocol->close != NULL) {
        connection->protocol->close(turn, connection);
    }
    pil_worker_count(worker, worker->server->series.closed[connection->listener->protocol][connection->close_reason],
                     1);
    pil_output_clear(&connection->output, &worker->chunks, &connection->use);
    free(connection->input);
    free(connection->lent.bytes);
    worker->freed_bytes += connection->kept_bytes;
    pil_accounts_free(&worker->server->accounts, connection->kept_bytes);
    pil_accounts_leave(&worker->server->accounts, &connection->use);
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

static void wait_for_turn(struct pil_worker *worker, struct pil_connection *connection) {
    count_hold(worker, connection, PIL_HOLD_TURN);
    put_on_ready_list(worker, connection);
}

void pil_connection_yield(struct pil_turn *turn, struct pil_connection *connection) {
    PIL_ASSERT(connection->replay.len == 0);
    wait_for_turn(turn->worker, connection);
}

void pil_connection_defer(struct pil_turn *turn, struct pil_connection *connection) {
    if (connection->state < PIL_CONNECTION_FINISHING && !pil_list_is_linked(&connection->ready_link)) {
        wait_for_turn(turn->worker, connection);
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

/* Whether requests must wait until the peer has taken some of its answers. Not without output, whose end would never
 * come. */
static bool must_hold(const struct pil_turn *turn, const struct pil_connection *connection) {
    const struct pil_output *output = &connection->output;
    return output->bytes >= turn->settings->limits.output_bytes_max ||
           (output->chunk_count > 1 &&
            !pil_accounts_may_hold(&turn->server->accounts, &connection->use, connection->answer_bytes));
}

/* Decodes again, in the next turn, once half of the output is taken. */
static void unhold(struct pil_turn *turn, struct pil_connection *connection) {
    if (connection->is_held && connection->lane == NULL &&
        connection->output.bytes <= turn->settings->limits.output_bytes_max / 2 &&
        (connection->output.bytes == 0 || !must_hold(turn, connection))) {
        connection->is_held = false;
        put_on_ready_list(turn->worker, connection);
    }
}

bool pil_connection_keep(struct pil_turn *turn, struct pil_connection *connection, uint64_t bytes) {
    struct pil_accounts *accounts = &turn->server->accounts;
    if (!pil_accounts_allocate(accounts, bytes)) {
        return false;
    }
    if (!pil_accounts_charge(accounts, &connection->use, bytes)) {
        pil_accounts_free(accounts, bytes);
        return false;
    }
    connection->kept_bytes += bytes;
    return true;
}

void pil_connection_unkeep(struct pil_turn *turn, struct pil_connection *connection, uint64_t bytes) {
    PIL_ASSERT(connection->kept_bytes >= bytes);
    connection->kept_bytes -= bytes;
    turn->worker->freed_bytes += bytes;
    pil_account_remove(&connection->use, bytes);
    pil_accounts_free(&turn->server->accounts, bytes);
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

/* Whether its answers take long, and lanes must be left for those of others. */
static bool must_leave_lanes(const struct pil_worker *worker, const struct pil_connection *connection) {
    return connection->is_slow && worker->left_count >= PIL_LANES_SHARE;
}

/* Whether the next request must wait: for the peer to take its answers (then the connection is held) or for the next
 * turn (then it goes on the ready list). */
static bool must_wait(struct pil_turn *turn, struct pil_connection *connection, uint32_t decoded) {
    if (must_hold(turn, connection)) {
        count_hold(turn->worker, connection, PIL_HOLD_OUTPUT);
        connection->is_held = true;
        return true;
    }
    if (decoded == turn->settings->limits.requests_per_turn || must_leave_lanes(turn->worker, connection)) {
        wait_for_turn(turn->worker, connection);
        return true;
    }
    return false;
}

/* Whether the answers that the batch owes may fill the output: then they are encoded before the next request is
 * decoded, so that an answer is never refused because of those before it. */
static bool owes_much(const struct pil_turn *turn, const struct pil_connection *connection) {
    uint64_t expected = connection->output.bytes + (connection->pending + 1) * connection->answer_bytes;
    return connection->pending > 0 && expected > turn->settings->limits.output_bytes_max;
}

static pil_status decode_replay(struct pil_turn *turn, struct pil_connection *connection) {
    while (connection->replay.len > 0) {
        size_t consumed = 0;
        connection->decoding = connection->replay.data;
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

/* A connection without a full place may ask for the health of the server. Any other request is refused, so that the
 * client learns why, and ends the connection. */
static void refuse_place(struct pil_turn *turn, struct pil_connection *connection) {
    struct pil_batch *batch = turn->batch;
    PIL_ASSERT(batch->request_count > 0);
    struct pil_request *request = &batch->requests[batch->request_count - 1];
    PIL_ASSERT(request->connection == connection);
    if (!request->is_health && request->refusal.reason == PIL_REFUSAL_NONE) {
        request->refusal =
            (struct pil_refusal){.reason = PIL_REFUSAL_CONNECTIONS, .limit = turn->settings->limits.connections_max};
        pil_connection_finish(connection, PIL_CLOSE_CONNECTIONS);
    }
}

/* Decodes requests from the front of *data, as far as the limits allow, and moves *data past them. */
static pil_status decode(struct pil_turn *turn, struct pil_connection *connection, struct pil_bytes *data) {
    bool is_partial = false;
    for (uint32_t count = 0; data->len > 0 && connection->state < PIL_CONNECTION_FINISHING; count++) {
        if (must_wait(turn, connection, count)) {
            break;
        }
        if (owes_much(turn, connection)) {
            return PIL_STATUS_BUSY;
        }
        size_t consumed = 0;
        uint32_t pending = connection->pending;
        connection->decoding = data->data;
        pil_status status = connection->protocol->decode(turn, connection, *data, &consumed);
        if (status == PIL_STATUS_BUSY) {
            return status;
        }
        PIL_ASSERT(consumed <= data->len);
        *data = pil_bytes_from(data->data + consumed, data->len - consumed);
        if (status == PIL_STATUS_AGAIN) {
            is_partial = !pil_list_is_linked(&connection->ready_link); /* else it has yielded */
            break;
        }
        if (connection->use.is_spare && connection->pending > pending) {
            refuse_place(turn, connection);
        }
        PIL_TRY(decode_replay(turn, connection));
    }
    note_partial(turn, connection, is_partial);
    return PIL_STATUS_OK;
}

static size_t grown_capacity(size_t capacity, size_t wanted) {
    capacity = capacity < PIL_INPUT_BYTES_MIN ? PIL_INPUT_BYTES_MIN : capacity;
    while (capacity < wanted) {
        capacity += capacity < INPUT_DOUBLES_BYTES ? capacity : capacity / 2;
    }
    return capacity;
}

static void free_input(struct pil_turn *turn, struct pil_connection *connection) {
    PIL_ASSERT(connection->pending == 0);
    free(connection->input);
    pil_connection_unkeep(turn, connection, connection->input_capacity);
    connection->input = NULL;
    connection->input_begin = connection->input_end = connection->input_capacity = 0;
}

/* Makes `input` larger; it may move. NO_MEMORY; TOO_LARGE: more than one whole request and the bytes that were in
 * flight behind it when reading was paused, unless requests are read ahead. */
static pil_status grow_input(struct pil_turn *turn, struct pil_connection *connection, size_t wanted) {
    size_t capacity = grown_capacity(connection->input_capacity, wanted), more = capacity - connection->input_capacity;
    if (!connection->is_held && wanted > (size_t)turn->settings->limits.request_bytes_max + IN_FLIGHT_BYTES) {
        return PIL_STATUS_TOO_LARGE;
    }
    if (!pil_connection_keep(turn, connection, more)) {
        return PIL_STATUS_NO_MEMORY;
    }
    uint8_t *grown = realloc(connection->input, capacity);
    if (grown == NULL) {
        pil_connection_unkeep(turn, connection, more);
        return PIL_STATUS_NO_MEMORY;
    }
    connection->input = grown;
    connection->input_capacity = capacity;
    return PIL_STATUS_OK;
}

/* Puts a buffer with room for `wanted` bytes in the place of `input`, which stays where it is for those who point into
 * it. NO_MEMORY. */
static pil_status replace_input(struct pil_turn *turn, struct pil_connection *connection, size_t wanted) {
    struct pil_lent_input lent = {connection->input, connection->input_capacity};
    size_t begin = connection->input_begin, waiting = waiting_bytes(connection);
    connection->input = NULL;
    connection->input_capacity = 0;
    pil_status status = grow_input(turn, connection, wanted);
    if (status != PIL_STATUS_OK) {
        connection->input = lent.bytes;
        connection->input_capacity = lent.capacity;
        return status;
    }
    memcpy(connection->input, lent.bytes + begin, waiting);
    connection->input_begin = 0;
    connection->input_end = waiting;
    connection->lent = lent;
    return PIL_STATUS_OK;
}

/* Makes room for `bytes` behind the waiting ones. */
static pil_status reserve_input(struct pil_turn *turn, struct pil_connection *connection, size_t bytes) {
    size_t waiting = waiting_bytes(connection);
    if (bytes <= connection->input_capacity - connection->input_end) {
        return PIL_STATUS_OK;
    }
    if (connection->is_lent && connection->lent.bytes == NULL) {
        return replace_input(turn, connection, waiting + bytes);
    }
    if (connection->input_begin > 0) { /* at least what a whole buffer has received since the last move */
        memmove(connection->input, connection->input + connection->input_begin, waiting);
        connection->input_begin = 0;
        connection->input_end = waiting;
    }
    return bytes <= connection->input_capacity - waiting ? PIL_STATUS_OK
                                                         : grow_input(turn, connection, waiting + bytes);
}

/* Appends the fresh bytes to `input`. BUSY: requests of the batch still point into the buffer. TOO_LARGE, NO_MEMORY. */
static pil_status keep_fresh(struct pil_turn *turn, struct pil_connection *connection) {
    if (connection->fresh.len == 0) {
        return PIL_STATUS_OK;
    }
    if (connection->input_batch == turn->batch->number && connection->pending > 0) {
        return PIL_STATUS_BUSY;
    }
    PIL_TRY(reserve_input(turn, connection, connection->fresh.len));
    memcpy(connection->input + connection->input_end, connection->fresh.data, connection->fresh.len);
    connection->input_end += connection->fresh.len;
    connection->fresh = (struct pil_bytes){0};
    return PIL_STATUS_OK;
}

/* Requests of a lane that was left point into `input`: it must neither move nor be overwritten. */
static void lend_input(struct pil_turn *turn, struct pil_connection *connection) {
    if (connection->input != NULL && connection->input_batch == turn->batch->number) {
        connection->is_lent = true;
        pause_reading(turn->worker, connection); /* so that little comes for which there may be no room behind it */
    }
}

static void take_input_back(struct pil_turn *turn, struct pil_connection *connection) {
    if (connection->is_lent) {
        free(connection->lent.bytes);
        pil_connection_unkeep(turn, connection, connection->lent.capacity);
        connection->lent = (struct pil_lent_input){0};
        connection->is_lent = false;
        connection->input_batch = 0;
    }
}

void pil_connection_hold(struct pil_turn *turn, struct pil_connection *connection) {
    if (connection->lane == NULL) {
        connection->lane = turn->lane;
        connection->is_held = true;
        lend_input(turn, connection);
    }
}

void pil_connection_let_go(struct pil_turn *turn, struct pil_connection *connection) {
    if (connection->lane == NULL) {
        return;
    }
    connection->lane = NULL;
    take_input_back(turn, connection);
    unhold(turn, connection);
    if (connection->state == PIL_CONNECTION_GONE || connection->owes_refusal) {
        put_on_ready_list(turn->worker, connection);
    } else {
        pil_connection_flush(turn, connection);
    }
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
    bool must_wait_on = connection->is_held || pil_list_is_linked(&connection->ready_link);
    if (connection->lane != NULL) {
        return keep_fresh(turn, connection);
    }
    PIL_TRY(decode_replay(turn, connection));
    if (waiting_bytes(connection) > 0) {
        PIL_TRY(keep_fresh(turn, connection));
        return must_wait_on ? PIL_STATUS_OK : decode_input(turn, connection);
    }
    if (!must_wait_on) {
        PIL_TRY(decode(turn, connection, &connection->fresh));
    }
    return connection->state < PIL_CONNECTION_FINISHING ? keep_fresh(turn, connection) : PIL_STATUS_OK;
}

/* Requests that wait for the output are read ahead, so that a client may send all of them before it takes any answer.
 * The room for what may arrive in a turn is made before; not while requests of the batch point into the buffer. */
static bool may_read_ahead(struct pil_turn *turn, struct pil_connection *connection) {
    bool is_in_use = connection->is_lent || (connection->pending > 0 && connection->input_batch == turn->batch->number);
    return !is_in_use && reserve_input(turn, connection, AHEAD_BYTES) == PIL_STATUS_OK;
}

void pil_connection_resume(struct pil_turn *turn, struct pil_connection *connection) {
    if (connection->state < PIL_CONNECTION_FINISHING && connection->is_paused && !connection->is_lent &&
        !is_far_ahead(connection) && (!connection->is_held || may_read_ahead(turn, connection))) {
        connection->is_paused = false;
        pil_engine_resume(turn->worker->engine, connection->handle);
    }
}

/* Decodes the bytes at hand, as far as limits allow. */
static pil_status take_in(struct pil_turn *turn, struct pil_connection *connection) {
    turn->scope.readable = pil_admission_readable(turn, connection);
    pil_status status = decode_all(turn, connection);
    if (status == PIL_STATUS_BUSY || status == PIL_STATUS_NO_MEMORY) {
        return status;
    }
    if (status != PIL_STATUS_OK) {
        pil_connection_close(turn, connection, PIL_CLOSE_REQUEST_BYTES);
    } else if (is_far_ahead(connection) || (connection->is_held && !may_read_ahead(turn, connection))) {
        pause_reading(turn->worker, connection);
    }
    return PIL_STATUS_OK;
}

pil_status pil_connection_advance(struct pil_turn *turn, struct pil_connection *connection) {
    PIL_ASSERT_SLOW(pil_connection_validate(connection));
    pil_status status = PIL_STATUS_OK;
    if (connection->state < PIL_CONNECTION_FINISHING) {
        status = take_in(turn, connection);
    }
    if (status != PIL_STATUS_BUSY) {
        connection->fresh = (struct pil_bytes){0}; /* also when a batch that ran in between closed the connection */
    }
    return status;
}

pil_status pil_connection_replay_on(struct pil_turn *turn, struct pil_connection *connection) {
    if (connection->state >= PIL_CONNECTION_FINISHING) {
        return PIL_STATUS_OK;
    }
    turn->scope.readable = pil_admission_readable(turn, connection);
    return decode_replay(turn, connection);
}

void pil_connection_receive(struct pil_turn *turn, struct pil_connection *connection, struct pil_bytes data) {
    PIL_ASSERT(connection->fresh.len == 0);
    if (connection->state < PIL_CONNECTION_FINISHING) {
        PIL_ASSERT(connection->replay.len == 0 || connection->lane != NULL);
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
    return connection->replay_batch == turn->batch->number || connection->lane != NULL;
}

/* ---- Output. */

pil_status pil_connection_interject(struct pil_turn *turn, struct pil_connection *connection,
                                    void (*put)(struct pil_sink *sink)) {
    struct pil_output_sink sink;
    if (connection->pending > 0 || connection->lane != NULL) {
        return PIL_STATUS_BUSY;
    }
    pil_output_begin(&sink, &connection->output, &turn->worker->chunks, &connection->use, PIL_CHUNK_BYTES);
    put(&sink.sink);
    if (pil_output_finish(&sink) != PIL_OUTPUT_OK) {
        pil_output_undo(&sink);
        return PIL_STATUS_NO_MEMORY;
    }
    pil_connection_flush(turn, connection);
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
    if (pil_output_whole_bytes(&connection->output) > 0) {
        send_output(turn, connection);
        pil_connection_resume(turn, connection); /* the batch does not point into the input any more */
        return;
    }
    if (connection->lane != NULL) {
        return; /* an answer follows */
    }
    connection->taken_ns = 0;
    unhold(turn, connection);
    if (connection->is_paused) {
        put_on_ready_list(turn->worker, connection); /* run_ready resumes reading */
    }
    bool is_answered = connection->state == PIL_CONNECTION_FINISHING ||
                       (connection->state == PIL_CONNECTION_ENDED && !connection->is_held &&
                        !pil_list_is_linked(&connection->ready_link));
    if (connection->pending == 0 && is_answered) {
        pil_connection_close(turn, connection, PIL_CLOSE_PEER);
    }
}

void pil_connection_sent(struct pil_turn *turn, struct pil_connection *connection, uint64_t now_ns) {
    pil_output_sent(&connection->output, &turn->worker->chunks, &connection->use);
    connection->taken_ns = pil_output_whole_bytes(&connection->output) > 0 ? now_ns : 0;
    connection->untaken = 0;
    unhold(turn, connection);
    pil_connection_flush(turn, connection);
}

/* ---- Time limits. */

static bool is_past(uint64_t since_ns, uint64_t now_ns, uint64_t limit_ms) {
    return since_ns != 0 && limit_ms != 0 && now_ns > since_ns && now_ns - since_ns > limit_ms * 1000000;
}

static uint64_t look_at_untaken(const struct pil_turn *turn, const struct pil_connection *connection) {
    return pil_engine_untaken(turn->worker->engine, connection->handle) + 1;
}

/* Whether the peer has taken nothing since it was looked at last, nor for limits.output_stall. */
static bool has_stalled(const struct pil_turn *turn, const struct pil_connection *connection) {
    return is_past(connection->taken_ns, turn->now_ns, turn->settings->limits.output_stall_ms) &&
           connection->untaken == look_at_untaken(turn, connection);
}

/* Charges output that waits, and restarts the clock of a peer that takes some of it, however slowly. */
static void watch_output(struct pil_turn *turn, struct pil_connection *connection) {
    if (is_past(connection->taken_ns, turn->now_ns, WAITS_MS)) {
        pil_output_charge(&connection->output, &connection->use);
    }
    if (!is_past(connection->taken_ns, turn->now_ns, turn->settings->limits.output_stall_ms / 2)) {
        return;
    }
    uint64_t untaken = look_at_untaken(turn, connection);
    if (connection->untaken != 0 && connection->untaken != untaken) {
        connection->taken_ns = turn->now_ns;
        untaken = 0;
    }
    connection->untaken = untaken;
}

/* Gives back an input buffer that is empty: at once when it is large, so that filling it costs far more than allocating
 * it again; else when the connection is quiet. */
static void trim_input(struct pil_turn *turn, struct pil_connection *connection) {
    if (connection->input != NULL && connection->pending == 0 && connection->lane == NULL &&
        waiting_bytes(connection) == 0 &&
        (connection->input_capacity > INPUT_DOUBLES_BYTES || is_past(connection->active_ns, turn->now_ns, QUIET_MS))) {
        free_input(turn, connection);
    }
}

bool pil_connection_owes(const struct pil_turn *turn, const struct pil_connection *connection) {
    return connection->state < PIL_CONNECTION_CLOSED && connection->use.bytes > 0 &&
           (is_past(connection->taken_ns, turn->now_ns, OWES_MS) ||
            is_past(connection->partial_ns, turn->now_ns, OWES_MS)) &&
           pil_accounts_owes(&turn->server->accounts, &connection->use);
}

/* Whether an incomplete request has waited too long for its rest. A client whose requests were answered is no stranger
 * that takes up a place: it pauses within a pipeline, and may do so as long as one that pauses before it reads. */
static bool is_overdue(const struct pil_turn *turn, const struct pil_connection *connection) {
    const struct pil_limits *limits = &turn->settings->limits;
    uint64_t limit_ms = limits->request_timeout_ms;
    if (connection->has_asked && limits->output_stall_ms > limit_ms) {
        limit_ms = limits->output_stall_ms;
    }
    return is_past(connection->partial_ns, turn->now_ns, limit_ms);
}

static void enforce_times(struct pil_turn *turn, struct pil_connection *connection) {
    const struct pil_limits *limits = &turn->settings->limits;
    bool is_idle = connection->output.bytes == 0 && connection->pending == 0 && connection->lane == NULL;
    if (connection->use.is_spare && is_past(connection->created_ns, turn->now_ns, SPARE_MS)) {
        pil_connection_close(turn, connection, PIL_CLOSE_CONNECTIONS);
    } else if (has_stalled(turn, connection)) {
        pil_connection_close(turn, connection, PIL_CLOSE_STALL);
    } else if (is_overdue(turn, connection)) {
        pil_connection_close(turn, connection, PIL_CLOSE_REQUEST_TIMEOUT);
    } else if (is_idle && is_past(connection->active_ns, turn->now_ns, limits->idle_timeout_ms)) {
        pil_connection_close(turn, connection, PIL_CLOSE_IDLE);
    } else if (turn->worker->is_draining && is_idle && !pil_list_is_linked(&connection->ready_link) &&
               is_past(connection->active_ns, turn->now_ns, DRAIN_QUIET_MS)) {
        pil_connection_close(turn, connection, PIL_CLOSE_DRAIN);
    }
}

void pil_connection_sweep(struct pil_turn *turn, struct pil_connection *connection) {
    if (connection->state >= PIL_CONNECTION_CLOSED) {
        return;
    }
    if (connection->protocol->sweep != NULL) {
        connection->protocol->sweep(turn, connection);
    }
    enforce_times(turn, connection);
    if (connection->state >= PIL_CONNECTION_CLOSED) {
        return;
    }
    watch_output(turn, connection);
    trim_input(turn, connection);
    pil_connection_resume(turn, connection); /* other peers may have given memory back */
}

bool pil_connection_validate(const struct pil_connection *connection) {
    return connection->magic == PIL_CONNECTION_MAGIC && connection->state <= PIL_CONNECTION_GONE &&
           connection->input_begin <= connection->input_end && connection->input_end <= connection->input_capacity &&
           (connection->input != NULL) == (connection->input_capacity > 0) &&
           connection->input_capacity + connection->lent.capacity <= connection->kept_bytes &&
           (connection->is_lent || connection->lent.bytes == NULL) && pil_list_is_linked(&connection->link) &&
           /* the batch bounds the requests that are not answered yet */
           connection->pending <= PIL_BATCH_REQUESTS_MAX && pil_output_validate(&connection->output) &&
           (connection->state != PIL_CONNECTION_GONE || connection->handle == 0);
}
