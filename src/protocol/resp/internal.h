/* SPDX-License-Identifier: Apache-2.0
 * Shared by the files of this folder. resp.c decodes, dispatches and describes; handlers (handlers.h) are in read.c
 * (rows), feast_layout.c (the same as Feast keeps them in Redis), vector.c and columns.c (vectors), scan.c (keys),
 * admin.c (the server), connection.c and client.c (the connection), multi.c (transactions). subcommand.c dispatches
 * subcommands, glob.c matches patterns. commands.def is the table of commands.
 *
 * Work is bounded: a command takes steps (a byte matched, a row passed, a name compared) in proportion to its own
 * bytes, its rows and its answer, and counts in turn->work those that its bytes do not pay for. A command that is
 * marked PIL_LONG in the table waits for the next turn when the work of this one is used up. */
#pragma once

#include "base/number.h"
#include "protocol/resp/client_table.h"
#include "protocol/resp/resp.h"
#include "selection/selection.h"
#include "selection/tensor_rows.h"
#include "server/batch.h"
#include "server/server.h"
#include "wire/resp.h"

struct pil_glob;
struct pil_redis_call;
struct pil_redis_plans;     /* plan.c */
struct pil_redis_forgotten; /* plan.c */
struct pil_redis_tracking;  /* tracking.c */

/* A row of commands.def. */
struct pil_redis_command {
    const char *name; /* lower case */
    uint32_t name_len;
    int arity;         /* as in Redis: negative = at least */
    const char *flags; /* space-separated */
    int first_key, last_key, key_step;
    const char *category; /* ACL categories, space-separated; those that the flags say can be left out */
    const char *group;
    const char *since;
    const char *summary;
    /* Resolves view, keys and fields into lookups; sets call->error when that fails. NULL: the command needs no
     * lookups. */
    void (*prepare)(struct pil_turn *turn, struct pil_redis_call *call);
    /* Encodes the reply, after the lookups. */
    void (*reply)(struct pil_turn *turn, struct pil_redis_call *call, struct pil_sink *sink);
    /* Whether this batch can take the command; if not, decode answers BUSY. NULL: any batch can. */
    bool (*fits)(struct pil_turn *turn, struct pil_connection *connection);
    bool is_control; /* runs at once, even between MULTI and EXEC */
    bool is_long;    /* one such command may use up the work of a turn */
    bool is_write;   /* refused */
};

/* The bytes of the requests between MULTI and EXEC, replayed by EXEC (pil_connection_replay). */
struct pil_redis_transaction {
    uint8_t *bytes;
    size_t len, capacity;
    uint32_t count;
    bool is_open;
    bool is_aborted; /* a queued command had a mistake */
};

/* The generations of views that a connection has read or watches. */
struct pil_redis_seen {
    uint64_t views; /* one bit each; the others have no generation here */
    uint64_t generations[PIL_MOMENT_VIEWS_MAX];
};

/* State of a connection. */
struct pil_redis_connection {
    struct pil_connection *base;
    struct pil_list_link link; /* all RESP connections of the worker */
    pil_resp_protocol resp;
    struct pil_resp_cursor cursor;
    struct pil_redis_transaction transaction;
    struct pil_redis_plans *plans;       /* NULL until the first PIL.PLAN */
    struct pil_redis_seen *watched;      /* NULL until the first WATCH */
    struct pil_redis_tracking *tracking; /* NULL: CLIENT TRACKING is off */
    char name[PIL_CLIENT_NAME_BYTES];
    char library[PIL_CLIENT_NAME_BYTES], library_version[PIL_CLIENT_NAME_BYTES];
    const char *last_command;
    uint64_t listed_ns; /* base->active_ns when CLIENT LIST was last updated */
    uint32_t client_slot;
};

/* State of a worker. */
struct pil_redis_worker {
    struct pil_client_table *clients; /* of this worker's connections; other workers read it */
    struct pil_list connections;
    struct pil_redis_forgotten *forgotten; /* plans that requests of a batch may still use */
    uint64_t long_batch;                   /* number of the last batch with a long command */
};

/* The version of Redis that HELLO and INFO tell: clients enable what they know of by it (redis-py: caching, from 7.4
 * on). */
#define PIL_REDIS_VERSION "7.4.0"

/* Arguments of a command that looks for each of them in a list. */
enum { PIL_REDIS_WORDS_MAX = 1024 };

/* State of a request. */
struct pil_redis_call {
    struct pil_request *request;
    struct pil_redis_connection *connection;
    const struct pil_redis_command *command; /* NULL: unknown, or the bytes are not a request; `error` says which */
    const struct pil_bytes *args;
    uint32_t arg_count;
    const char *error;              /* answered instead of a reply; begins with its code */
    struct pil_selection selection; /* the fields that the command names */
    uint32_t field_count;           /* of the answer, for the slow log */
    uint32_t exec_count;            /* number of requests that EXEC replays */
    bool is_void;                   /* EXEC, after the swap of a watched view: answered with null */
    bool is_queued;                 /* waits for EXEC, answered with QUEUED */
    bool is_replayed;               /* an element of the answer of EXEC */
    bool is_feast_layout;           /* HMGET of a key in Feast's layout */
    bool says_forget;               /* CLIENT TRACKING: a push begins the answer, also when it is refused */
    struct pil_tensor_rows rows;    /* for PIL.VECTOR, PIL.COLUMNS and PIL.DESCRIBE */
    uint32_t plan_number;           /* for PIL.PLAN */
};

static inline struct pil_redis_connection *pil_redis_of(const struct pil_connection *connection) {
    return connection->private;
}
static inline struct pil_redis_worker *pil_redis_worker_of(const struct pil_turn *turn,
                                                           const struct pil_redis_connection *connection) {
    return pil_turn_protocol_state(turn, connection->base);
}

static inline const struct pil_lookup *pil_redis_lookup_of(const struct pil_turn *turn,
                                                           const struct pil_redis_call *call) {
    return pil_request_lookups(turn, call->request);
}
static inline bool pil_redis_is_there(const struct pil_lookup *lookup) {
    return lookup->row.fields != NULL;
}
static inline void pil_redis_count_value(struct pil_turn *turn, const struct pil_lookup *lookup,
                                         pil_value_status status, uint64_t count) {
    turn->value_counts[lookup->view_index][status] += count;
}

/* read.c. Splits "view:key" into a view and the rest. Returns NULL with the error set when the view cannot be read. */
const struct pil_cache_view *pil_redis_find_view(struct pil_turn *turn, struct pil_redis_call *call,
                                                 struct pil_bytes key, struct pil_bytes *ret_rest);
/* Adds the lookup of one key. NULL: the error or refusal is set. */
struct pil_lookup *pil_redis_add_key(struct pil_turn *turn, struct pil_redis_call *call, struct pil_bytes text);
/* The release of a view that this batch reads; NULL: there is none yet, and the error is set. */
const struct pil_serving *pil_redis_serving(struct pil_turn *turn, struct pil_redis_call *call,
                                            const struct pil_cache_view *view);
/* Sets the error of a key that is longer than keys are. */
void pil_redis_refuse_length(struct pil_turn *turn, struct pil_redis_call *call, const struct pil_cache_view *view);
/* How many features of a row are not null. */
uint32_t pil_redis_count_present(const struct pil_lookup *lookup);
/* The mask of all cache lines of a row. */
uint64_t pil_redis_whole_row(const struct pil_view *schema);
/* Whether no view has a release yet: only then an error begins with LOADING, because clients connect anew and try for
 * seconds when they read that word. A single view without a release is NOTREADY. */
bool pil_redis_is_loading(struct pil_turn *turn);
/* columns.c. Writes event timestamps, [row_count][view_count], a part of the answers of PIL.VECTOR and PIL.COLUMNS. */
void pil_redis_put_times(const struct pil_tensor_rows *rows, struct pil_sink *sink);
/* Writes any number of zero bytes. */
void pil_redis_put_zeros(struct pil_sink *sink, uint64_t count);
/* Writes the error for an answer that would have `bytes` bytes, over the limit. */
void pil_redis_refuse_answer(struct pil_turn *turn, struct pil_redis_call *call, uint64_t bytes, struct pil_sink *sink);
/* client.c. Returns NULL, or the error. */
const char *pil_redis_set_name(struct pil_redis_connection *connection, struct pil_bytes name);
/* Updates the connection's entry in CLIENT LIST. To be called after a change of its name, its library or its protocol;
 * command and times are updated by sweeps. */
void pil_redis_list(struct pil_turn *turn, struct pil_redis_connection *connection);
/* multi.c. Drops the transaction, as if there had been no MULTI. */
void pil_redis_close_transaction(struct pil_redis_transaction *transaction);
void pil_redis_see(struct pil_redis_seen *seen, uint32_t view_index, uint64_t generation);
/* The generation of the release that this batch reads of the view; 0: it has none. */
uint64_t pil_redis_generation(struct pil_turn *turn, uint32_t view_index);
/* As UNWATCH. */
void pil_redis_forget_watched(struct pil_redis_connection *connection);
/* Gives back the bytes of a large transaction that has ended. */
void pil_redis_trim_transaction(struct pil_turn *turn, struct pil_redis_connection *connection);
/* Keeps a request's bytes until EXEC; an error in the request aborts the transaction. */
void pil_redis_queue(struct pil_turn *turn, struct pil_redis_call *call, struct pil_bytes bytes);
/* Whether argument `arg` exists and is this word, ignoring case. */
static inline bool pil_redis_is(const struct pil_redis_call *call, uint32_t arg, const char *word) {
    return arg < call->arg_count && pil_bytes_equal_nocase(call->args[arg], word);
}
static inline bool pil_redis_has_arity(int arity, uint32_t arg_count) {
    return arity < 0 ? arg_count >= (uint32_t)-arity : arg_count == (uint32_t)arity;
}
/* How many bytes of an argument an error shows, for %.*s. */
static inline int pil_redis_shown(struct pil_bytes arg) {
    return arg.len < 128 ? (int)arg.len : 128;
}
/* command.c */
bool pil_redis_has_category(const struct pil_redis_command *command, struct pil_bytes name);
/* resp.c */
const struct pil_redis_command *pil_redis_commands(uint32_t *ret_count);
const struct pil_redis_command *pil_redis_command_find(struct pil_bytes name);
/* scan.c. Compiles a pattern of the request into the arena (pil_glob_compile). Returns false when the error is written
 * instead. */
bool pil_redis_compile(struct pil_turn *turn, struct pil_bytes pattern, bool folds, struct pil_sink *sink,
                       struct pil_glob *ret_glob) PIL_CHECKED;
