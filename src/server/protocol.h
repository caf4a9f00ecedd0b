/* SPDX-License-Identifier: Apache-2.0
 * The interface between the server, which knows connections, batches and turns, and the protocols, which know bytes. A
 * protocol is one const instance of struct pil_protocol in a folder of its own (src/protocol/NAME); the server calls it
 * through the functions below and knows no protocol by name.
 *
 * The life of a request: decode() takes it off the front of the connection's bytes, adds it to the batch with its
 * lookups (pil_batch_add, pil_batch_lookup), and keeps in the batch's arena what the answer needs. The worker runs the
 * lookups of all requests of the batch together. encode() then writes the answers in the order of the requests.
 *
 * Only the worker begins and ends a batch. A decoder that finds too little room in the batch answers BUSY before it
 * has taken or changed anything; the worker runs the batch and calls decode again.
 *
 * Thread: the worker that owns the connection. No function may block or lock. decode, encode, refuse and describe do
 * not allocate in a steady state. */
#pragma once

#include "base/sink.h"
#include "server/turn.h"

struct pil_request;

/* Why a request was refused, by the server or by the resolution of names that all protocols share. */
typedef enum pil_refusal_reason {
    PIL_REFUSAL_NONE,
    PIL_REFUSAL_LOOKUPS,     /* more lookups than limits.keys_per_request: `limit` */
    PIL_REFUSAL_ROOM,        /* the request needs more memory than a whole batch has */
    PIL_REFUSAL_CONNECTIONS, /* there is no place for the connection, which ends: limits.connections is `limit` */
    PIL_REFUSAL_OUTPUT,      /* the answer is longer than limits.output_bytes: `limit` */
    PIL_REFUSAL_MEMORY, /* the peer holds its share of limits.client_memory: `limit`. The request may be incomplete:
                           then  its private state is zeroed, and the connection ends */
} pil_refusal_reason;

struct pil_refusal {
    pil_refusal_reason reason;
    uint64_t limit;
};

/* What the slow log says about a request. Texts carry no keys and no values. */
struct pil_request_note {
    const char *operation; /* "hmget", "get-online-features"; a constant */
    uint64_t value_count;
};

struct pil_protocol {
    const char *name;         /* as in the configuration; the label of metrics */
    size_t connection_bytes;  /* size of the private state of a connection, zeroed */
    size_t request_bytes;     /* size of the private state of a request, zeroed, in the arena of the batch */
    uint32_t operation_count; /* kinds of requests that have a latency histogram each; 0: none */

    /* State of one worker, created before the workers start and destroyed after they have stopped. NULL when memory is
     * short. Both functions are NULL in a protocol without such state. */
    void *(*worker_create)(const struct pil_settings *settings);
    void (*worker_destroy)(void *state);

    /* A connection was accepted: sets up its private state. Any status but OK closes it at once. NULL: nothing to
     * do. */
    pil_status (*open)(struct pil_turn *turn, struct pil_connection *connection);
    /* Takes one request off the front of `data`, which stay in place until the batch ends. Bytes that it consumes are
     * its own: it may change them.
     *   OK     *ret_consumed bytes are done; a request was added to the batch, or they held none
     *   AGAIN  the request is incomplete, or waits for the next turn (pil_connection_yield); *ret_consumed bytes of it,
     *          usually none, are done and not needed any more
     *   BUSY   the batch has no room for it: nothing was taken
     * Bytes that are not a request are consumed and answered in the protocol's own words. They end the connection
     * (pil_connection_finish) when the bytes behind them cannot be framed. */
    pil_status (*decode)(struct pil_turn *turn, struct pil_connection *connection, struct pil_bytes data,
                         size_t *ret_consumed);
    /* Does what decode has left for later (pil_batch_prepare_later), before the lookups of the batch run. NULL in a
     * protocol whose requests are all prepared at once. */
    void (*prepare)(struct pil_turn *turn, struct pil_request *request);
    /* Encodes the answer to a request, after its lookups. */
    void (*encode)(struct pil_turn *turn, struct pil_request *request, struct pil_sink *sink);
    /* Encodes the answer to a refused request (request->refusal), in the protocol's own words, in less than 8 KiB. It
     * may follow a call of encode, whose output was taken back. */
    void (*refuse)(struct pil_turn *turn, struct pil_request *request, struct pil_sink *sink);
    /* Describes the request to the slow log, after it was answered. */
    void (*describe)(const struct pil_request *request, struct pil_request_note *ret_note);
    /* Called a few times a second for each open connection, after the turn's batch was answered. NULL: nothing to
     * do. */
    void (*sweep)(struct pil_turn *turn, struct pil_connection *connection);
    /* The connection is closed: releases what open and decode have allocated. NULL: nothing to do. */
    void (*close)(struct pil_turn *turn, struct pil_connection *connection);
};
