/* SPDX-License-Identifier: Apache-2.0
 * The seam between the server, which knows connections, batches and turns, and the protocols, which know bytes. A
 * protocol is one const instance of struct pil_protocol in a room of its own (src/protocol/NAME); the server calls it
 * through the functions below and knows none by name.
 *
 * The life of a request: decode() takes it off the front of the connection's bytes, adds it to the batch with its
 * lookups (pil_batch_add, pil_batch_lookup), and keeps what the answer needs in the batch's arena. The worker looks up
 * all requests of the batch together. encode() then writes the answers in the order of the requests.
 *
 * Only the worker begins and ends a batch. A decoder that finds too little room in it answers BUSY before it has taken
 * or changed anything; the worker runs the batch and asks again.
 *
 * Thread: the worker that owns the connection. No function may block or lock. decode, encode, refuse and describe do
 * not allocate in a steady state. */
#pragma once

#include "base/sink.h"
#include "server/turn.h"

struct pil_request;

/* Why the server, or the resolution of names that all protocols share, turns a request down. */
typedef enum pil_refusal_reason {
    PIL_REFUSAL_NONE,
    PIL_REFUSAL_LOOKUPS, /* more lookups than limits.keys_per_request: `limit` */
    PIL_REFUSAL_ROOM,    /* the request needs more memory than a whole batch has */
} pil_refusal_reason;

struct pil_refusal {
    pil_refusal_reason reason;
    uint64_t limit;
};

/* What the slow log and other books say of a request. Texts carry no keys and no values. */
struct pil_request_note {
    const char *operation; /* "hmget", "get-online-features"; a constant */
    uint64_t value_count;
};

struct pil_protocol {
    const char *name;         /* the word of the configuration, and the label of metrics */
    size_t connection_bytes;  /* private state behind every connection, zeroed */
    size_t request_bytes;     /* private state of every request, zeroed, in the arena of the batch */
    uint32_t operation_count; /* kinds of requests that are timed one by one (pil_request.operation); 0: none */

    /* State of one worker, made before the workers start and destroyed after they have stopped; NULL when there is no
     * memory. Both functions are NULL where the protocol keeps none. */
    void *(*worker_create)(const struct pil_settings *settings);
    void (*worker_destroy)(void *state);

    /* A connection was accepted: its private state may be set up. Anything but OK closes it at once. NULL: nothing to
     * do. */
    pil_status (*open)(struct pil_turn *turn, struct pil_connection *connection);
    /* One request off the front of `data`, which stay where they are until the batch ends.
     *   OK     *ret_consumed bytes are done; a request was added to the batch, or there was none in them
     *   AGAIN  the request is incomplete
     *   BUSY   the batch has no room for it: nothing was taken
     * Bytes that are no request are consumed, answered in the protocol's own words, and end the connection
     * (pil_connection_finish) where nothing behind them can be framed. */
    pil_status (*decode)(struct pil_turn *turn, struct pil_connection *connection, struct pil_bytes data,
                         size_t *ret_consumed);
    /* The answer to a request, after its lookups. */
    void (*encode)(struct pil_turn *turn, struct pil_request *request, struct pil_sink *sink);
    /* The answer to a request that was refused (request->refusal), in the protocol's own words. */
    void (*refuse)(struct pil_turn *turn, struct pil_request *request, struct pil_sink *sink);
    /* For the books, after the answer. */
    void (*describe)(const struct pil_request *request, struct pil_request_note *ret_note);
    /* A few times a second, and after requests: the connection is open. NULL: nothing to do. */
    void (*sweep)(struct pil_turn *turn, struct pil_connection *connection);
    /* The connection is gone. Releases what open and decode have allocated. NULL: nothing to do. */
    void (*close)(struct pil_turn *turn, struct pil_connection *connection);
};
