/* SPDX-License-Identifier: Apache-2.0
 * One client connection: its input until it is decoded, its output until it is sent, and its limits. Owned by the
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
    PIL_CLOSE_CONNECTIONS, /* refused: too many are open */
    PIL_CLOSE_MEMORY,      /* limits.client_memory is used up, and its peer holds more than its share */
    PIL_CLOSE_COUNT
} pil_close_reason;

/* Why a connection's next request has to wait. */
typedef enum pil_hold_reason { PIL_HOLD_TURN, PIL_HOLD_OUTPUT, PIL_HOLD_COUNT } pil_hold_reason;

/* A connection moves through these states only forward. */
typedef enum pil_connection_state {
    PIL_CONNECTION_OPEN,
    PIL_CONNECTION_ENDED,     /* the peer has closed its half; requests that it sent are still answered */
    PIL_CONNECTION_FINISHING, /* no more requests are decoded; closes when the output is sent */
    PIL_CONNECTION_CLOSED,    /* the engine was told to close it; nothing is decoded or sent */
    PIL_CONNECTION_GONE,      /* the engine has released it */
} pil_connection_state;

struct pil_connection {
    uint32_t magic;
    pil_connection_state state;
    const struct pil_listener_settings *listener;
    const struct pil_protocol *protocol;
    void *private; /* private state of the protocol: connection_bytes */
    pil_engine_handle handle;
    uint64_t id;
    struct pil_list_link link;       /* all connections of the worker */
    struct pil_list_link ready_link; /* on the worker's ready list: used up its share of a turn, or waits to resume
                                        reading */
    struct pil_list_link dirty_link; /* on the worker's dirty list: has new output */

    const uint8_t *decoding; /* the bytes being decoded */
    struct pil_bytes fresh;  /* received in this turn, neither decoded nor copied to `input` yet */
    struct pil_bytes replay; /* decoded before anything else; the protocol owns the memory */
    uint64_t replay_batch;   /* number of the batch that may point into replayed bytes */
    uint8_t *input;          /* bytes of earlier turns, not decoded yet; NULL while there are none */
    size_t input_begin, input_end, input_capacity;
    uint64_t input_batch; /* number of the batch that points into `input` */
    struct pil_lent_input {
        uint8_t *bytes;
        size_t capacity;
    } lent; /* the buffer that requests of a lane point into, when another had to take its place as `input` */
    struct pil_output output;
    struct pil_account_use use; /* what it holds: output, input, and what the protocol keeps */
    uint64_t kept_bytes;        /* by the input and the protocol (pil_connection_keep) */
    uint64_t answer_bytes;      /* expected of an answer: the longest of late */

    uint64_t received_ns; /* when the bytes being decoded arrived */
    uint64_t active_ns;   /* when the last request was decoded */
    uint64_t partial_ns;  /* when the incomplete request began; 0: none is incomplete */
    uint64_t taken_ns;    /* when the peer last took waiting output, or the output began to wait; 0: none waits */
    uint64_t untaken;     /* bytes that the peer had not taken at half of the stall limit */
    uint64_t send_ns;     /* start of the send in flight */
    uint64_t created_ns;

    struct pil_lane *lane; /* that was left with requests of this connection; until it is done, none is decoded, and
                              the connection is not destroyed */
    uint64_t later_batch;  /* number of the batch in which its requests wait for one with a long answer */

    uint32_t pending;                  /* requests in the batch that are not answered yet */
    pil_close_reason close_reason;     /* from FINISHING on */
    bool has_asked;                    /* a whole request was decoded */
    bool is_paused;                    /* the engine does not read from it */
    bool is_held;                      /* requests wait for the lane, or until the peer has taken more of the output */
    bool is_lent;                      /* requests of a lane that was left point into `input`, or into `lent` */
    bool is_slow;                      /* the last answer took more than a slice of time */
    bool owes_refusal;                 /* there is no memory for a request that came while one was answered */
    struct pil_peer_identity identity; /* of the peer, taken when it connected */
    uint64_t readable;                 /* the views that it may read, among the first judged_count ones */
    uint32_t judged_count;
};

/* ---- Protocols. */

/* Closes the connection once its output is sent; no more requests are decoded. */
void pil_connection_finish(struct pil_connection *connection, pil_close_reason reason);
/* Decodes these bytes again, as requests of this connection, before any bytes behind the request that is being decoded
 * now: all answered from this batch's moment. The protocol owns the memory and must keep it unchanged as long as
 * pil_connection_is_replayed returns true. */
void pil_connection_replay(struct pil_turn *turn, struct pil_connection *connection, struct pil_bytes bytes);
/* Whether requests of the current batch may point into replayed bytes. */
bool pil_connection_is_replayed(const struct pil_turn *turn, const struct pil_connection *connection);
/* The request at hand waits for the connection's next turn, because this turn has done enough (turn->work). decode
 * takes nothing and answers AGAIN. Not for replayed bytes: their lane is left between two batches. */
void pil_connection_yield(struct pil_turn *turn, struct pil_connection *connection);
/* Writes and sends bytes that are not an answer to a request ("100 Continue"). Nothing is written on BUSY, when answers
 * must go first, and on NO_MEMORY. */
pil_status pil_connection_interject(struct pil_turn *turn, struct pil_connection *connection,
                                    void (*put)(struct pil_sink *sink)) PIL_CHECKED;

/* Counts memory that the protocol keeps for this connection beyond the request. Returns false, and counts nothing, when
 * the peer would hold more than its share (limits.client_memory); the request is then to be refused. */
bool pil_connection_keep(struct pil_turn *turn, struct pil_connection *connection, uint64_t bytes);
void pil_connection_unkeep(struct pil_turn *turn, struct pil_connection *connection, uint64_t bytes);

/* ---- The worker. */

/* Takes ownership of the descriptor. NULL: the connection was refused, and the descriptor is closed. */
struct pil_connection *pil_connection_create(struct pil_turn *turn, const struct pil_listener_settings *listener,
                                             int fd);
void pil_connection_destroy(struct pil_turn *turn, struct pil_connection *connection);
/* Hands over received bytes, which must stay valid until the turn ends; pil_connection_advance decodes them. */
void pil_connection_receive(struct pil_turn *turn, struct pil_connection *connection, struct pil_bytes data);
/* Decodes the received bytes into the batch, as far as the limits allow, and keeps the rest. BUSY: run the batch, then
 * call again. NO_MEMORY: an incomplete request lacks room; refuse it, and end the connection. */
pil_status pil_connection_advance(struct pil_turn *turn, struct pil_connection *connection) PIL_CHECKED;
/* Decodes replayed requests; results as above. */
pil_status pil_connection_replay_on(struct pil_turn *turn, struct pil_connection *connection) PIL_CHECKED;
/* The lane of the batch that has requests of this connection was left: decodes nothing more until
 * pil_connection_let_go, which may be called twice. */
void pil_connection_hold(struct pil_turn *turn, struct pil_connection *connection);
void pil_connection_let_go(struct pil_turn *turn, struct pil_connection *connection);
/* Leaves the received bytes to the next turn. */
void pil_connection_defer(struct pil_turn *turn, struct pil_connection *connection);
/* The peer has closed its half of the connection. */
void pil_connection_end(struct pil_turn *turn, struct pil_connection *connection);
/* Resumes reading once enough of the input is decoded, or there is memory for more of it. */
void pil_connection_resume(struct pil_turn *turn, struct pil_connection *connection);
/* Starts a send when there is output and none is in flight. When all output is sent and the connection is to end,
 * closes it. */
void pil_connection_flush(struct pil_turn *turn, struct pil_connection *connection);
/* A send is complete. */
void pil_connection_sent(struct pil_turn *turn, struct pil_connection *connection, uint64_t now_ns);
/* Closes at once; unsent output is lost. */
void pil_connection_close(struct pil_turn *turn, struct pil_connection *connection, pil_close_reason reason);
/* Enforces the time limits, gives back memory that is not needed, and calls the protocol's sweep. */
void pil_connection_sweep(struct pil_turn *turn, struct pil_connection *connection);
/* Whether memory is short, the peer holds more than its share of it, and has taken nothing for a second. */
bool pil_connection_owes(const struct pil_turn *turn, const struct pil_connection *connection);
/* Checks the invariants; for PIL_ASSERT_SLOW and tests. */
bool pil_connection_validate(const struct pil_connection *connection);
