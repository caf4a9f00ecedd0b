/* SPDX-License-Identifier: Apache-2.0
 * A worker's loop. It never locks, blocks only in pil_engine_wait, and allocates only for new connections, for input
 * that arrives in parts, and while pools grow. */
#include "base/clock.h"
#include "server/answer.h"
#include "server/internal.h"

#include "base/log.h"
#include "base/sys.h"

#include <stdlib.h>
#include <unistd.h>

enum {
    SWEEP_NS = 200000000,
    LAST_ACCEPTS_NS = 30000000,
    SPIN_SHARE_MIN = 16,
    SWEEPS_PER_TRIM = 25,
    RETURN_BYTES = 16 << 20
};

static void on_park(void *context) {
    struct pil_worker *worker = context;
    atomic_store_explicit(&worker->turn_started_ns, 0, memory_order_relaxed);
    pil_qsbr_offline(pil_cache_qsbr(worker->server->cache), worker->index);
}

static void on_unpark(void *context) {
    struct pil_worker *worker = context;
    pil_qsbr_online(pil_cache_qsbr(worker->server->cache), worker->index);
}

void pil_server_engine_options(const struct pil_settings *settings, struct pil_engine_options *ret_options) {
    *ret_options = (struct pil_engine_options){.kind = settings->engine,
                                               .connections_max = settings->limits.connections_max + PIL_PLACES_SPARE +
                                                                  settings->listener_count};
}

static pil_status open_engine(struct pil_worker *worker, struct pil_error *error) {
    struct pil_engine_options options;
    pil_server_engine_options(worker->server->settings, &options);
    options.on_park = on_park;
    options.on_unpark = on_unpark;
    options.context = worker;
    return pil_engine_create(&options, &worker->engine, error);
}

pil_status pil_worker_listen(struct pil_worker *worker, struct pil_error *ret_error) {
    const struct pil_settings *settings = worker->server->settings;
    for (uint32_t i = 0; i < settings->listener_count; i++) {
        struct pil_listener *listener = &worker->listeners[i];
        *listener = (struct pil_listener){
            .magic = PIL_LISTENER_MAGIC, .settings = &settings->listeners[i], .fd = worker->server->listener_fds[i]};
        if (listener->fd >= 0) {
            pil_status status = pil_engine_listen(worker->engine, listener->fd, listener, &listener->handle);
            if (status != PIL_STATUS_OK) {
                return pil_fail(ret_error, status, "listen on %s: %s", listener->settings->address,
                                pil_status_text(status));
            }
        }
    }
    pil_qsbr_online(pil_cache_qsbr(worker->server->cache), worker->index);
    return PIL_STATUS_OK;
}

/* Refuses an incomplete request for which there is no memory, in the protocol's words, and ends the connection, because
 * the bytes behind it cannot be framed. The answers before it come first. */
static void refuse_input(struct pil_worker *worker, struct pil_connection *connection) {
    connection->owes_refusal = true;
    if (connection->lane != NULL) {
        return;
    }
    if (!pil_batch_has_room(worker->turn->batch, 0)) {
        pil_lanes_answer(worker, NULL);
    }
    if (connection->lane == NULL && connection->state < PIL_CONNECTION_FINISHING) {
        connection->owes_refusal = false;
        pil_batch_add(worker->turn, connection)->refusal = (struct pil_refusal){
            .reason = PIL_REFUSAL_MEMORY, .limit = worker->server->settings->limits.client_memory_max};
        pil_connection_finish(connection, PIL_CLOSE_MEMORY);
    }
}

/* Decodes the connection's bytes; answers the batch each time the decoder finds it full, and leaves the rest to the
 * next turn when this one is late. The requests of a replay are answered from one moment, however many batches they
 * fill. */
static void advance(struct pil_worker *worker, struct pil_connection *connection) {
    pil_status status = PIL_STATUS_NO_MEMORY;
    while (!connection->owes_refusal &&
           (status = pil_connection_advance(worker->turn, connection)) == PIL_STATUS_BUSY) {
        /* An empty batch without a pinned moment has room for every request, so the loop ends. */
        PIL_ASSERT(worker->turn->batch->request_count > 0 || worker->turn->scope.moment.taken != 0);
        pil_lanes_answer(worker, connection->replay.len > 0 ? connection : NULL);
        if (worker->turn->is_late) {
            pil_connection_defer(worker->turn, connection);
        }
    }
    if (status == PIL_STATUS_NO_MEMORY) {
        refuse_input(worker, connection);
    }
}

static void on_receive(struct pil_worker *worker, struct pil_connection *connection, struct pil_bytes data) {
    pil_worker_count(worker, worker->server->series.received_bytes[connection->listener->protocol], data.len);
    pil_connection_receive(worker->turn, connection, data);
    if (worker->turn->is_late) {
        pil_connection_defer(worker->turn, connection);
    }
    advance(worker, connection);
}

static void on_sent(struct pil_turn *turn, struct pil_connection *connection, const struct pil_event *event) {
    if (event->failed) {
        pil_connection_close(turn, connection, PIL_CLOSE_PEER);
        return;
    }
    const struct pil_series *series = &turn->server->series;
    uint32_t protocol = connection->listener->protocol;
    uint64_t now_ns = pil_clock_monotonic_ns();
    pil_worker_count(turn->worker, series->sent_bytes[protocol], event->bytes);
    pil_worker_record(turn->worker, series->stage[protocol][0][PIL_STAGE_SEND], now_ns - connection->send_ns, 1);
    pil_connection_sent(turn, connection, now_ns);
}

static void on_connection_event(struct pil_worker *worker, struct pil_connection *connection,
                                const struct pil_event *event) {
    PIL_ASSERT(connection->magic == PIL_CONNECTION_MAGIC);
    switch (event->kind) {
    case PIL_EVENT_RECEIVE: on_receive(worker, connection, event->data); break;
    case PIL_EVENT_END:
        if (event->failed) {
            pil_connection_close(worker->turn, connection, PIL_CLOSE_PEER);
        } else {
            pil_connection_end(worker->turn, connection);
        }
        break;
    case PIL_EVENT_SENT: on_sent(worker->turn, connection, event); break;
    case PIL_EVENT_CLOSED:
        connection->state = PIL_CONNECTION_GONE;
        connection->handle = 0;
        if (connection->lane == NULL && !pil_list_is_linked(&connection->ready_link)) { /* else run_ready destroys it */
            pil_connection_destroy(worker->turn, connection);
        }
        break;
    case PIL_EVENT_ACCEPT:
    case PIL_EVENT_READABLE:
    case PIL_EVENT_WAKE: PIL_UNREACHABLE("not an event of a connection");
    }
}

static void on_event(struct pil_worker *worker, const struct pil_event *event) {
    if (event->kind == PIL_EVENT_WAKE) {
        return;
    }
    uint32_t magic = *(const uint32_t *)event->owner;
    if (magic == PIL_CONNECTION_MAGIC) {
        on_connection_event(worker, event->owner, event);
        return;
    }
    struct pil_listener *listener = event->owner;
    PIL_ASSERT(magic == PIL_LISTENER_MAGIC);
    if (event->kind == PIL_EVENT_ACCEPT) {
        if (worker->is_closed) {
            close(event->fd);
        } else {
            pil_connection_create(worker->turn, listener->settings, event->fd);
        }
    }
}

/* Gives another turn to each connection that had requests left over in the turn before, as far as the time allows, but
 * to one at least. Connections that are put on the list meanwhile wait for the next turn. */
static void run_ready(struct pil_worker *worker) {
    worker->turn->work_max = worker->turn->work + PIL_TURN_WORK_MAX; /* long requests that have just come leave work for
                                                                        one that waits */
    const struct pil_list_link *last = worker->ready.head.previous;
    struct pil_list_link *link = pil_list_first(&worker->ready);
    for (bool was_last = link == NULL; !was_last; link = pil_list_first(&worker->ready)) {
        was_last = link == last;
        struct pil_connection *connection = PIL_LIST_ENTRY(struct pil_connection, ready_link, link);
        pil_list_remove(link);
        if (connection->state == PIL_CONNECTION_GONE) {
            if (connection->lane == NULL) { /* else it comes again */
                pil_connection_destroy(worker->turn, connection);
            }
            continue;
        }
        advance(worker, connection);
        pil_connection_resume(worker->turn, connection);
        if (connection->state == PIL_CONNECTION_ENDED && connection->pending == 0) {
            pil_connection_flush(worker->turn, connection);
        }
        was_last |= worker->turn->is_late;
    }
}

static void copy_stats(struct pil_worker *worker) {
    struct pil_engine_stats stats;
    pil_engine_stats(worker->engine, &stats);
    atomic_store_explicit(&worker->engine_turns, stats.turns, memory_order_relaxed);
    atomic_store_explicit(&worker->engine_enters, stats.enters, memory_order_relaxed);
    atomic_store_explicit(&worker->engine_parks, stats.parks, memory_order_relaxed);
    atomic_store_explicit(&worker->engine_buffers_empty, stats.buffers_empty, memory_order_relaxed);
    atomic_store_explicit(&worker->engine_overflows, stats.complete_overflows, memory_order_relaxed);
    atomic_store_explicit(&worker->engine_accept_failures, stats.accept_failures, memory_order_relaxed);
}

/* When memory is short, those who hold most of it and take nothing pay, until a sixteenth of the budget is free again.
 */
static void collect_debts(struct pil_worker *worker) {
    uint64_t largest = 0, freed = 0, wanted = worker->server->settings->limits.client_memory_max / 16;
    PIL_LIST_EACH(struct pil_connection, link, connection, &worker->connections) {
        if (connection->use.bytes > largest && pil_connection_owes(worker->turn, connection)) {
            largest = connection->use.bytes;
        }
    }
    PIL_LIST_EACH(struct pil_connection, link, connection, &worker->connections) {
        if (largest > 0 && freed < wanted && connection->use.bytes >= largest / 2 &&
            pil_connection_owes(worker->turn, connection)) {
            freed += connection->use.bytes;
            pil_connection_close(worker->turn, connection, PIL_CLOSE_MEMORY);
        }
    }
}

/* An allocator keeps what was freed, mimalloc until the thread allocates as much again: what connections held that are
 * gone would be paid for until the end. Does nothing unless much was freed. */
static void return_memory(struct pil_worker *worker) {
    if (worker->freed_bytes >= RETURN_BYTES) {
        worker->freed_bytes = 0;
        pil_sys_return_memory();
    }
}

static void sweep(struct pil_worker *worker) {
    worker->swept_ns = worker->turn->now_ns;
    PIL_LIST_EACH(struct pil_connection, link, connection, &worker->connections) {
        pil_connection_sweep(worker->turn, connection);
    }
    collect_debts(worker);
    if (++worker->sweep_count % SWEEPS_PER_TRIM == 0) {
        uint64_t before = worker->chunks.free_count;
        pil_chunk_pool_trim(&worker->chunks);
        worker->freed_bytes += (before - worker->chunks.free_count) * PIL_CHUNK_BYTES;
        return_memory(worker);
    }
    copy_stats(worker);
}

/* Closes the listeners 30 ms after draining began, so that connections which the kernel has already accepted are still
 * served. */
static void drain(struct pil_worker *worker) {
    if (!worker->is_draining) {
        worker->is_draining = true;
        worker->drain_ns = worker->swept_ns = worker->turn->now_ns;
    }
    if (worker->is_closed || worker->turn->now_ns - worker->drain_ns < LAST_ACCEPTS_NS) {
        return;
    }
    worker->is_closed = true;
    for (uint32_t i = 0; i < worker->server->settings->listener_count; i++) {
        if (worker->listeners[i].handle != 0) {
            pil_engine_close(worker->engine, worker->listeners[i].handle);
        }
    }
}

/* Halves the spin time after a spin that ended in parking, doubles it after one that found events. */
static void adapt_spin(struct pil_worker *worker, uint64_t parks_before, uint64_t hits_before) {
    uint64_t max = worker->server->settings->spin_ns_max;
    if (pil_engine_parks(worker->engine) != parks_before && worker->spin_ns > max / SPIN_SHARE_MIN) {
        worker->spin_ns /= 2;
    } else if (pil_engine_spins_hit(worker->engine) != hits_before) {
        worker->spin_ns = worker->spin_ns * 2 < max ? worker->spin_ns * 2 : max;
    }
}

/* Whether something is left over from the turn before. */
static bool must_not_wait(const struct pil_worker *worker) {
    return !pil_list_is_empty(&worker->ready) || worker->left_count > 0;
}

static pil_status wait_events(struct pil_worker *worker, uint32_t *ret_count) {
    uint64_t parks_before = pil_engine_parks(worker->engine), hits_before = pil_engine_spins_hit(worker->engine);
    pil_qsbr_quiescent(pil_cache_qsbr(worker->server->cache), worker->index);
    bool is_ready = must_not_wait(worker);
    uint64_t timeout_ns = is_ready ? 0 : worker->is_draining ? SWEEP_NS / 20 : SWEEP_NS;
    PIL_TRY(pil_engine_wait(worker->engine, worker->events, PIL_WORKER_EVENTS, is_ready ? 0 : worker->spin_ns,
                            timeout_ns, ret_count));
    adapt_spin(worker, parks_before, hits_before);
    return PIL_STATUS_OK;
}

void pil_server_note_turn(struct pil_server *server, uint32_t worker, uint64_t now_ns) {
    PIL_ASSERT(worker < server->worker_count);
    atomic_store_explicit(&server->workers[worker].turn_last_ns, now_ns, memory_order_release);
}

pil_status pil_worker_turn(struct pil_worker *worker) {
    uint32_t count = 0;
    PIL_TRY(wait_events(worker, &count));
    worker->turn->now_ns = pil_clock_monotonic_ns();
    worker->turn->is_late = false;
    worker->turn->work = 0;
    worker->turn->work_max = PIL_TURN_WORK_MAX;
    atomic_store_explicit(&worker->turn_started_ns, worker->turn->now_ns, memory_order_relaxed);
    pil_server_note_turn(worker->server, worker->index, worker->turn->now_ns);
    if (atomic_load_explicit(&worker->server->is_draining, memory_order_acquire)) {
        drain(worker);
    }
    bool has_work = count > 0 || must_not_wait(worker);
    for (uint32_t i = 0; i < count; i++) {
        on_event(worker, &worker->events[i]);
    }
    run_ready(worker);
    pil_lanes_answer(worker, NULL);
    pil_lanes_go_on(worker);
    if (worker->dirty_count > 0) { /* what a lane wrote that was left then */
        pil_answer_flush(worker->turn);
    }
    if (worker->turn->now_ns - worker->swept_ns > (worker->is_draining ? SWEEP_NS / 20 : SWEEP_NS)) {
        sweep(worker);
    }
    if (has_work) {
        pil_worker_record(worker, worker->server->series.turn, pil_clock_monotonic_ns() - worker->turn->now_ns, 1);
    }
    return PIL_STATUS_OK;
}

pil_status pil_worker_open(struct pil_worker *worker, struct pil_error *ret_error) {
    worker->spin_ns = worker->server->settings->spin_ns_max;
    worker->turn->now_ns = worker->swept_ns = pil_clock_monotonic_ns();
    pil_ignore(pil_peer_diag_open(&worker->diag, NULL), "peers over TCP stay unknown where the kernel does not tell");
    PIL_TRY(open_engine(worker, ret_error));
    pil_server_note_turn(worker->server, worker->index, worker->turn->now_ns);
    return PIL_STATUS_OK;
}

void pil_worker_close(struct pil_worker *worker) {
    pil_lanes_drop(worker);
    pil_qsbr_offline(pil_cache_qsbr(worker->server->cache), worker->index);
    pil_engine_destroy(&worker->engine);
    PIL_LIST_EACH(struct pil_connection, ready_link, connection, &worker->ready) {
        pil_list_remove(&connection->ready_link);
    }
    PIL_LIST_EACH(struct pil_connection, link, connection, &worker->connections) {
        connection->pending = 0;
        connection->lane = NULL;
        pil_connection_destroy(worker->turn, connection);
    }
    pil_peer_diag_close(&worker->diag);
}

/* Waits until every worker has opened its engine. Returns false if one of them could not. */
static bool await_others(const struct pil_worker *worker) {
    const struct timespec pause = {.tv_nsec = 1000000};
    pil_start_phase phase;
    while ((phase = atomic_load_explicit(&worker->server->phase, memory_order_acquire)) == PIL_START_OPENING) {
        nanosleep(&pause, NULL);
    }
    return phase == PIL_START_SERVING;
}

static pil_status serve(struct pil_worker *worker) {
    worker->failure = (struct pil_error){.text = "the ring is beyond repair"};
    pil_status status = pil_worker_listen(worker, &worker->failure);
    while (status == PIL_STATUS_OK && !(worker->is_closed && worker->connection_count == 0)) {
        status = pil_worker_turn(worker);
    }
    if (status != PIL_STATUS_OK) {
        pil_log(PIL_LOG_ERROR, "worker failed", "worker", PIL_LOG_NUM(worker->index), "status", pil_status_text(status),
                "why", worker->failure.text, NULL);
    }
    copy_stats(worker);
    return status;
}

void *pil_worker_main(void *argument) {
    struct pil_worker *worker = argument;
    pil_sys_run_promptly();
    pil_status status = pil_worker_open(worker, &worker->failure); /* pil_server_start reports a failure */
    if (status == PIL_STATUS_OK && await_others(worker)) {
        status = serve(worker);
    }
    if (status != PIL_STATUS_OK) {
        atomic_store_explicit(&worker->is_failed, true, memory_order_release);
    }
    pil_worker_close(worker);
    atomic_store_explicit(&worker->turn_started_ns, 0, memory_order_relaxed);
    atomic_store_explicit(&worker->is_done, true, memory_order_release);
    return NULL;
}
