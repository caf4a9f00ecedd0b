/* SPDX-License-Identifier: Apache-2.0
 * What the files of the RESP room share. resp.c decodes, dispatches and describes; handlers (handlers.h) are in read.c
 * (rows), vector.c and columns.c (vectors), scan.c (keys), admin.c (about the server), connection.c and client.c (about
 * the connection), multi.c (transactions). subcommand.c dispatches once more, glob.c matches patterns. The table that
 * names the commands is commands.def. */
#pragma once

#include "base/number.h"
#include "protocol/resp/client_table.h"
#include "protocol/resp/resp.h"
#include "selection/selection.h"
#include "selection/tensor_rows.h"
#include "server/batch.h"
#include "server/server.h"
#include "wire/resp.h"

struct pil_redis_call;
struct pil_redis_plans;     /* plan.c */
struct pil_redis_forgotten; /* plan.c */

/* A row of commands.def. */
struct pil_redis_command {
    const char *name;  /* lower case */
    int arity;         /* as Redis has it: negative = at least */
    const char *flags; /* space-separated */
    int first_key, last_key, key_step;
    const char *category; /* ACL category */
    const char *group;
    const char *since;
    const char *summary;
    /* Resolves view, keys and fields into lookups; sets call->error when it cannot. NULL: needs no lookups. */
    void (*prepare)(struct pil_turn *turn, struct pil_redis_call *call);
    /* Encodes the reply, after the lookups. */
    void (*reply)(struct pil_turn *turn, struct pil_redis_call *call, struct pil_sink *sink);
    /* Whether this batch can take the command; false: decode answers BUSY. NULL: it can. */
    bool (*fits)(struct pil_turn *turn, struct pil_connection *connection);
    bool is_control; /* done at once, also between MULTI and EXEC */
};

/* Requests between MULTI and EXEC, as they came: replayed when EXEC comes (pil_connection_replay). */
struct pil_redis_transaction {
    uint8_t *bytes;
    size_t len, capacity;
    uint32_t count;
    bool is_open;
    bool is_aborted; /* a queued command was a mistake */
};

/* State of a connection. */
struct pil_redis_connection {
    struct pil_connection *base;
    struct pil_list_link link; /* all RESP connections of the worker */
    pil_resp_protocol resp;
    struct pil_resp_cursor cursor;
    bool is_trusted; /* a valid command has come: the full limits apply */
    struct pil_redis_transaction transaction;
    struct pil_redis_plans *plans; /* NULL until the first PIL.PLAN */
    char name[PIL_CLIENT_NAME_BYTES];
    char library[PIL_CLIENT_NAME_BYTES], library_version[PIL_CLIENT_NAME_BYTES];
    const char *last_command;
    uint64_t listed_ns; /* base->active_ns as CLIENT LIST knows it */
    uint32_t client_slot;
};

/* State of a worker. */
struct pil_redis_worker {
    struct pil_client_table *clients; /* of its connections; other workers read it */
    struct pil_list connections;
    struct pil_redis_forgotten *forgotten; /* plans that requests of a batch may still use */
};

/* State of a request. */
struct pil_redis_call {
    struct pil_request *request;
    struct pil_redis_connection *connection;
    const struct pil_redis_command *command; /* NULL: unknown, or no request at all; `error` says so */
    const struct pil_bytes *args;
    uint32_t arg_count;
    const char *error;              /* answered instead of a reply; begins with its code */
    struct pil_selection selection; /* of commands that name fields */
    uint32_t field_count;           /* of the answer, for the books */
    uint32_t exec_count;            /* requests of the transaction that EXEC answers */
    bool is_queued;                 /* waits for EXEC, answered with QUEUED */
    struct pil_tensor_rows rows;    /* of PIL.VECTOR, PIL.COLUMNS and PIL.DESCRIBE */
    uint32_t plan_number;           /* of PIL.PLAN */
};

static inline struct pil_redis_connection *pil_redis_of(const struct pil_connection *connection) {
    return connection->private;
}
static inline struct pil_redis_worker *pil_redis_worker_of(const struct pil_turn *turn,
                                                           const struct pil_redis_connection *connection) {
    return pil_turn_protocol_state(turn, connection->base);
}

/* columns.c. Event timestamps, [row_count][view_count]: a part of both answers. */
void pil_redis_put_times(const struct pil_tensor_rows *rows, struct pil_sink *sink);
/* Any count. */
void pil_redis_put_zeros(struct pil_sink *sink, uint64_t count);
/* The answer would have so many bytes, which is too many. */
void pil_redis_refuse_answer(struct pil_turn *turn, struct pil_redis_call *call, uint64_t bytes, struct pil_sink *sink);
/* client.c. NULL, or the mistake in it. */
const char *pil_redis_set_name(struct pil_redis_connection *connection, struct pil_bytes name);
/* Tells CLIENT LIST what the connection is by now: after each change of what does not change with every request. */
void pil_redis_list(struct pil_turn *turn, struct pil_redis_connection *connection);
/* multi.c. As if there had been no MULTI. */
void pil_redis_close_transaction(struct pil_redis_transaction *transaction);
/* Keeps a request's bytes until EXEC; a mistake in it aborts the transaction. */
void pil_redis_queue(struct pil_turn *turn, struct pil_redis_call *call, struct pil_bytes bytes);
/* Whether there is such an argument and it is this word, in any case. */
static inline bool pil_redis_is(const struct pil_redis_call *call, uint32_t arg, const char *word) {
    return arg < call->arg_count && pil_bytes_equal_nocase(call->args[arg], word);
}
static inline bool pil_redis_has_arity(int arity, uint32_t arg_count) {
    return arity < 0 ? arg_count >= (uint32_t)-arity : arg_count == (uint32_t)arity;
}
/* How much of an argument an error shows, for %.*s. */
static inline int pil_redis_shown(struct pil_bytes arg) {
    return arg.len < 128 ? (int)arg.len : 128;
}
/* resp.c */
const struct pil_redis_command *pil_redis_commands(uint32_t *ret_count);
const struct pil_redis_command *pil_redis_command_find(struct pil_bytes name);
/* glob.c: whether text matches a Redis glob (*, ?, [a-c], [^a], \x), in time of at most len(text) * len(pattern),
 * without recursion. */
bool pil_redis_match(struct pil_bytes pattern, struct pil_bytes text);
