/* SPDX-License-Identifier: Apache-2.0
 * One client connection: its input until it is decoded, its output until it is sent, and its limits. It belongs to the
 * worker that accepted it. Thread: that worker. */
#pragma once

#include "base/list.h"
#include "engine/engine.h"
#include "peer/identity.h"
#include "server/output.h"
#include "server/protocol.h"
#include "server/turn.h"

enum {
    PIL_CONNECTION_MAGIC = 0x434f4e4e,
    PIL_INPUT_BYTES_MIN = 16384,
};

typedef enum pil_close_reason {
    PIL_CLOSE_PEER,
    PIL_CLOSE_QUIT,
    PIL_CLOSE_PROTOCOL,
    PIL_CLOSE_REQUEST_BYTES,
    PIL_CLOSE_OUTPUT,
    PIL_CLOSE_STALL,
    PIL_CLOSE_IDLE,
    PIL_CLOSE_REQUEST_TIMEOUT,
    PIL_CLOSE_DRAIN,
    PIL_CLOSE_CONNECTIONS, /* it was not taken: too many are open */
    PIL_CLOSE_COUNT
} pil_close_reason;

/* Why a connection's next request has to wait. */
typedef enum pil_hold_reason { PIL_HOLD_TURN, PIL_HOLD_OUTPUT, PIL_HOLD_COUNT } pil_hold_reason;

/* A connection only moves forward through these. */
typedef enum pil_connection_state {
    PIL_CONNECTION_OPEN,
    PIL_CONNECTION_ENDED,     /* the peer sends no more; what it sent is still answered */
    PIL_CONNECTION_FINISHING, /* no more requests are decoded; closed when the output is out */
    PIL_CONNECTION_CLOSED,    /* the engine was told to close it; nothing is decoded or sent */
    PIL_CONNECTION_GONE,      /* the engine has let it go */
} pil_connection_state;

struct pil_connection {
    uint32_t magic;
    pil_connection_state state;
    const struct pil_listener_settings *listener;
    const struct pil_protocol *protocol;
    void *private; /* the protocol's: connection_bytes */
    pil_engine_handle handle;
    uint64_t id;
    struct pil_list_link link;       /* all connections of the worker */
    struct pil_list_link ready_link; /* on the worker's ready list: has more than its share of a turn */
    struct pil_list_link dirty_link; /* on the worker's dirty list: has new output */

    struct pil_bytes fresh;  /* what was received in this turn, as far as no decoder took it and it is not in `input` */
    struct pil_bytes replay; /* decoded before anything else; the protocol's memory */
    uint64_t replay_batch;   /* number of the batch that may point into replayed bytes */
    uint8_t *input;          /* earlier bytes that no decoder took yet; NULL until a request came in parts */
    size_t input_begin, input_end, input_capacity;
    uint64_t input_batch; /* number of the batch that points into `input` */
    struct pil_output output;

    uint64_t received_ns; /* of the bytes being decoded */
    uint64_t active_ns;   /* last request */
    uint64_t partial_ns;  /* since when a request is incomplete; 0: none is */
    uint64_t taken_ns;    /* since when output waits without the peer taking any; 0: none waits */
    uint64_t send_ns;     /* start of the send in flight */
    uint64_t created_ns;

    uint32_t pending;                  /* requests in the batch that are not answered yet */
    pil_close_reason close_reason;     /* from FINISHING on */
    bool is_paused;                    /* the engine does not receive for it */
    struct pil_peer_identity identity; /* of the peer, as it connected */
    uint64_t readable;                 /* views that it may read, of the first judged_count ones */
    uint32_t judged_count;
};

/* ---- Protocols. */

/* Closes once the output is out; no more requests are decoded. */
void pil_connection_finish(struct pil_connection *connection, pil_close_reason reason);
/* Decodes these bytes again, as requests of this connection, before anything that comes behind the request being
 * decoded now: all of them in this turn, and all from the moment of this batch. The memory is the protocol's; it must
 * stay as it is until pil_connection_is_replayed says no more. */
void pil_connection_replay(struct pil_turn *turn, struct pil_connection *connection, struct pil_bytes bytes);
/* Whether requests of the current batch may point into bytes that were replayed. */
bool pil_connection_is_replayed(const struct pil_turn *turn, const struct pil_connection *connection);
/* Writes and sends something that is no answer to a request ("100 Continue"). BUSY: answers must go first. */
pil_status pil_connection_interject(struct pil_turn *turn, struct pil_connection *connection,
                                    void (*put)(struct pil_sink *sink)) PIL_CHECKED;

/* ---- The worker. */

/* Takes the descriptor; NULL: it was refused and is closed. */
struct pil_connection *pil_connection_create(struct pil_turn *turn, const struct pil_listener_settings *listener,
                                             int fd);
void pil_connection_destroy(struct pil_turn *turn, struct pil_connection *connection);
/* New bytes; pil_connection_advance decodes them. They are the connection's until the turn ends. */
void pil_connection_receive(struct pil_turn *turn, struct pil_connection *connection, struct pil_bytes data);
/* Decodes into the batch what has come, as far as the limits allow, and keeps the rest. BUSY: the batch must be run
 * first; call again then. */
pil_status pil_connection_advance(struct pil_turn *turn, struct pil_connection *connection) PIL_CHECKED;
/* The peer sends no more. */
void pil_connection_end(struct pil_turn *turn, struct pil_connection *connection);
/* Receives again where enough of the input and of the output is gone. */
void pil_connection_resume(struct pil_turn *turn, struct pil_connection *connection);
/* Starts a send when there is output and none is in flight; closes when that was all and the connection is to end. */
void pil_connection_flush(struct pil_turn *turn, struct pil_connection *connection);
/* A send is complete. */
void pil_connection_sent(struct pil_turn *turn, struct pil_connection *connection, uint64_t now_ns);
/* Closes at once; output is lost. */
void pil_connection_close(struct pil_turn *turn, struct pil_connection *connection, pil_close_reason reason);
/* Enforces the time limits; calls the protocol's sweep. */
void pil_connection_sweep(struct pil_turn *turn, struct pil_connection *connection);
/* The invariants; for PIL_ASSERT_SLOW and tests. */
bool pil_connection_validate(const struct pil_connection *connection);
