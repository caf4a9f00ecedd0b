/* SPDX-License-Identifier: Apache-2.0
 * One client connection: its input until it is decoded, its output until it is sent, and its limits. */
#include "server/internal.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    DRAIN_QUIET_MS = 20,         /* a connection that asked just now may have more on its way */
    INPUT_AHEAD_BYTES = 1 << 17, /* waiting behind a connection's share of a turn: no more is received */
};

static void describe_peer(int fd, char text[PIL_PEER_TEXT_BYTES]) {
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof address;
    char host[INET6_ADDRSTRLEN] = "";
    snprintf(text, PIL_PEER_TEXT_BYTES, "unknown");
    if (getpeername(fd, (struct sockaddr *)&address, &len) != 0) {
        return;
    }
    if (address.ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)&address;
        inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
        snprintf(text, PIL_PEER_TEXT_BYTES, "%.15s:%u", host, ntohs(in->sin_port));
    } else if (address.ss_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)&address;
        inet_ntop(AF_INET6, &in->sin6_addr, host, sizeof host);
        snprintf(text, PIL_PEER_TEXT_BYTES, "[%.39s]:%u", host, ntohs(in->sin6_port));
    } else {
        struct ucred peer = {0};
        socklen_t peer_len = sizeof peer;
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &peer_len);
        snprintf(text, PIL_PEER_TEXT_BYTES, "unix:pid=%d,uid=%u", peer.pid, peer.uid);
    }
}

static void link_connection(struct pil_worker *worker, struct pil_connection *connection) {
    connection->next = worker->connections;
    if (worker->connections != NULL) {
        worker->connections->previous = connection;
    }
    worker->connections = connection;
    worker->connection_count++;
    atomic_fetch_add_explicit(&worker->connections_now[connection->listener->protocol], 1, memory_order_relaxed);
}

static void unlink_connection(struct pil_worker *worker, struct pil_connection *connection) {
    if (connection->previous != NULL) {
        connection->previous->next = connection->next;
    } else {
        worker->connections = connection->next;
    }
    if (connection->next != NULL) {
        connection->next->previous = connection->previous;
    }
    worker->connection_count--;
    atomic_fetch_sub_explicit(&worker->connections_now[connection->listener->protocol], 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&worker->server->connection_count, 1, memory_order_relaxed);
}

static bool is_listed(const struct pil_connection *connection) {
    return connection->listener->protocol == PIL_PROTOCOL_RESP;
}

void pil_connection_list(struct pil_worker *worker, struct pil_connection *connection) {
    if (!is_listed(connection)) {
        return;
    }
    struct pil_client client = {.id = connection->id,
                                .created_ns = connection->created_ns,
                                .active_ns = connection->active_ns,
                                .listener = connection->listener,
                                .command = connection->last_command,
                                .resp = connection->resp};
    memcpy(client.name, connection->name, sizeof client.name);
    memcpy(client.library, connection->library, sizeof client.library);
    memcpy(client.library_version, connection->library_version, sizeof client.library_version);
    memcpy(client.peer, connection->peer, sizeof client.peer);
    pil_client_table_write(worker->clients, connection->client_slot, &client);
    connection->listed_ns = connection->active_ns;
}

static struct pil_connection *allocate(struct pil_worker *worker, const struct pil_listener_settings *listener) {
    struct pil_connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL) {
        return NULL;
    }
    connection->listener = listener;
    if (is_listed(connection) && pil_client_table_acquire(worker->clients, &connection->client_slot) != PIL_STATUS_OK) {
        free(connection);
        return NULL;
    }
    return connection;
}

struct pil_connection *pil_connection_create(struct pil_worker *worker, const struct pil_listener_settings *listener,
                                             int fd) {
    struct pil_server *server = worker->server;
    uint32_t now_open = atomic_fetch_add_explicit(&server->connection_count, 1, memory_order_relaxed);
    struct pil_connection *connection =
        now_open < server->settings->limits.connections_max ? allocate(worker, listener) : NULL;
    pil_worker_count(worker, server->series.accepted[listener->protocol], 1);
    if (connection == NULL) {
        atomic_fetch_sub_explicit(&server->connection_count, 1, memory_order_relaxed);
        pil_worker_count(worker, server->series.closed[listener->protocol][PIL_CLOSE_CONNECTIONS], 1);
        close(fd);
        return NULL;
    }
    connection->magic = PIL_CONNECTION_MAGIC;
    connection->id = atomic_fetch_add_explicit(&server->connection_id_next, 1, memory_order_relaxed) + 1;
    connection->resp = PIL_RESP_2;
    connection->created_ns = connection->active_ns = worker->now_ns;
    connection->last_command = "NULL";
    describe_peer(fd, connection->peer);
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* fails on Unix sockets, which is fine */
    link_connection(worker, connection);
    pil_connection_list(worker, connection);
    if (pil_engine_attach(worker->engine, fd, connection, &connection->handle) != PIL_STATUS_OK) {
        pil_connection_destroy(worker, connection);
        return NULL;
    }
    return connection;
}

void pil_connection_destroy(struct pil_worker *worker, struct pil_connection *connection) {
    PIL_ASSERT(connection->magic == PIL_CONNECTION_MAGIC && connection->pending == 0);
    unlink_connection(worker, connection);
    if (is_listed(connection)) {
        pil_client_table_release(worker->clients, connection->client_slot);
    }
    pil_worker_count(worker, worker->server->series.closed[connection->listener->protocol][connection->close_reason],
                     1);
    pil_output_clear(&connection->output, &worker->chunks);
    free(connection->input);
    free(connection->transaction.bytes);
    pil_vector_plans_destroy(&connection->vector_plans);
    connection->magic = 0;
    free(connection);
}

void pil_connection_close(struct pil_worker *worker, struct pil_connection *connection, pil_close_reason reason) {
    if (!connection->is_closed) {
        connection->is_closed = true;
        if (!connection->is_closing) {
            connection->close_reason = reason;
        }
        pil_engine_close(worker->engine, connection->handle);
    }
}

void pil_connection_finish(struct pil_worker *worker, struct pil_connection *connection, pil_close_reason reason) {
    (void)worker;
    if (!connection->is_closing && !connection->is_closed) {
        connection->is_closing = true;
        connection->close_reason = reason;
    }
}

static void count_hold(struct pil_worker *worker, const struct pil_connection *connection, pil_hold_reason reason) {
    pil_worker_count(worker, worker->server->series.held[connection->listener->protocol][reason], 1);
}

static void put_on_ready_list(struct pil_worker *worker, struct pil_connection *connection) {
    if (!connection->is_ready) {
        connection->is_ready = true;
        connection->ready_next = NULL;
        *worker->ready_end = connection;
        worker->ready_end = &connection->ready_next;
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

/* One that pipelines faster than its share of the turns is not read from, or what waits would grow without end. */
static bool is_far_ahead(const struct pil_connection *connection) {
    return connection->is_ready && waiting_bytes(connection) > INPUT_AHEAD_BYTES;
}

/* Decodes what is there, as far as limits allow. Returns the bytes that are done. */
static size_t decode(struct pil_worker *worker, struct pil_connection *connection, struct pil_bytes data) {
    const struct pil_limits *limits = &worker->server->settings->limits;
    bool is_resp = connection->listener->protocol == PIL_PROTOCOL_RESP;
    size_t done = 0;
    connection->partial_ns = 0;
    for (uint32_t count = 0; done < data.len && !connection->is_closing && !connection->is_closed; count++) {
        if (connection->output.bytes > limits->output_pause_bytes) {
            count_hold(worker, connection, PIL_HOLD_OUTPUT);
            pause_reading(worker, connection);
            break;
        }
        if (count == limits->requests_per_turn) {
            count_hold(worker, connection, PIL_HOLD_TURN);
            put_on_ready_list(worker, connection);
            break;
        }
        struct pil_bytes rest = pil_bytes_from(data.data + done, data.len - done);
        size_t consumed = 0;
        pil_status status = is_resp ? pil_redis_decode(worker, connection, rest, &consumed)
                                    : pil_web_decode(worker, connection, rest, &consumed);
        if (status == PIL_STATUS_AGAIN) {
            connection->partial_ns = worker->now_ns;
            break;
        }
        done += consumed;
    }
    return connection->is_closing || connection->is_closed ? data.len : done;
}

/* Adds bytes behind those that wait. Requests of the current batch may point into the buffer: they are answered first.
 */
static bool keep_input(struct pil_worker *worker, struct pil_connection *connection, struct pil_bytes data) {
    if (connection->input_batch == worker->batch->number && connection->pending > 0) {
        pil_batch_run(worker);
    }
    size_t waiting = waiting_bytes(connection);
    if (connection->input_begin > 0) {
        memmove(connection->input, connection->input + connection->input_begin, waiting);
        connection->input_begin = 0;
        connection->input_end = waiting;
    }
    size_t wanted = waiting + data.len;
    if (wanted > connection->input_capacity) {
        /* One whole request, and what was in flight behind it when reading was paused. */
        size_t limit = (size_t)worker->server->settings->limits.request_bytes_max + (1u << 18);
        size_t capacity =
            connection->input_capacity < PIL_INPUT_BYTES_MIN ? PIL_INPUT_BYTES_MIN : connection->input_capacity;
        while (capacity < wanted) {
            capacity *= 2;
        }
        uint8_t *grown = wanted > limit ? NULL : realloc(connection->input, capacity);
        if (grown == NULL) {
            return false;
        }
        connection->input = grown;
        connection->input_capacity = capacity;
    }
    memcpy(connection->input + connection->input_end, data.data, data.len);
    connection->input_end += data.len;
    return true;
}

static void decode_input(struct pil_worker *worker, struct pil_connection *connection) {
    connection->input_batch = worker->batch->number;
    size_t begin = connection->input_begin;
    size_t done = decode(worker, connection, pil_bytes_from(connection->input + begin, connection->input_end - begin));
    connection->input_begin = begin + done;
    connection->input_batch = worker->batch->number; /* a run in between has begun another one */
}

void pil_connection_receive(struct pil_worker *worker, struct pil_connection *connection, struct pil_bytes data) {
    if (connection->is_closing || connection->is_closed) {
        return;
    }
    connection->received_ns = worker->now_ns;
    uint64_t partial_ns = connection->partial_ns;
    bool kept = true;
    if (waiting_bytes(connection) > 0) {
        kept = data.len == 0 || keep_input(worker, connection, data);
        if (kept && !connection->is_paused && !connection->is_ready) {
            decode_input(worker, connection);
        }
    } else if (data.len > 0) {
        size_t done = decode(worker, connection, data);
        kept = done == data.len || keep_input(worker, connection, pil_bytes_from(data.data + done, data.len - done));
    }
    if (!kept) {
        pil_connection_close(worker, connection, PIL_CLOSE_REQUEST_BYTES);
    } else if (is_far_ahead(connection)) {
        pause_reading(worker, connection);
    }
    if (connection->partial_ns != 0 && partial_ns != 0 && connection->active_ns < partial_ns) {
        connection->partial_ns = partial_ns; /* still the same request: its clock goes on */
    }
}

void pil_connection_resume(struct pil_worker *worker, struct pil_connection *connection) {
    if (connection->is_closing || connection->is_closed) {
        return;
    }
    if (waiting_bytes(connection) > 0) {
        decode_input(worker, connection);
    }
    if (connection->is_paused && !is_far_ahead(connection) &&
        connection->output.bytes <= worker->server->settings->limits.output_pause_bytes) {
        connection->is_paused = false;
        pil_engine_resume(worker->engine, connection->handle);
    }
}

void pil_connection_flush(struct pil_worker *worker, struct pil_connection *connection) {
    struct iovec parts[PIL_ENGINE_SEND_PARTS_MAX];
    if (connection->is_closed || connection->output.bytes_in_flight != 0) {
        return;
    }
    uint32_t part_count = pil_output_take(&connection->output, parts, PIL_ENGINE_SEND_PARTS_MAX);
    if (part_count > 0) {
        connection->send_ns = pil_clock_monotonic_ns();
        if (connection->taken_ns == 0) {
            connection->taken_ns = connection->send_ns;
        }
        pil_engine_send(worker->engine, connection->handle, parts, part_count);
        return;
    }
    connection->taken_ns = 0;
    if (connection->is_paused) {
        put_on_ready_list(worker, connection); /* resumes */
    }
    if (connection->pending == 0 && (connection->is_closing || (connection->is_ended && !connection->is_ready))) {
        pil_connection_close(worker, connection, PIL_CLOSE_PEER);
    }
}

static bool is_past(uint64_t since_ns, uint64_t now_ns, uint64_t limit_ms) {
    return since_ns != 0 && limit_ms != 0 && now_ns > since_ns && now_ns - since_ns > limit_ms * 1000000;
}

void pil_connection_sweep(struct pil_worker *worker, struct pil_connection *connection) {
    const struct pil_limits *limits = &worker->server->settings->limits;
    if (connection->is_closed) {
        return;
    }
    if (connection->active_ns != connection->listed_ns) {
        pil_connection_list(worker, connection);
    }
    if (is_past(connection->taken_ns, worker->now_ns, limits->output_stall_ms)) {
        pil_connection_close(worker, connection, PIL_CLOSE_STALL);
    } else if (is_past(connection->partial_ns, worker->now_ns, limits->request_timeout_ms)) {
        pil_connection_close(worker, connection, PIL_CLOSE_REQUEST_TIMEOUT);
    } else if (connection->output.bytes == 0 &&
               is_past(connection->active_ns, worker->now_ns, limits->idle_timeout_ms)) {
        pil_connection_close(worker, connection, PIL_CLOSE_IDLE);
    } else if (worker->is_draining && connection->pending == 0 && connection->output.bytes == 0 &&
               !connection->is_ready && is_past(connection->active_ns, worker->now_ns, DRAIN_QUIET_MS)) {
        pil_connection_close(worker, connection, PIL_CLOSE_DRAIN);
    }
}
