/* SPDX-License-Identifier: Apache-2.0
 * RESP requests: from bytes to the batch, from the batch to replies; the command table. */
#include "protocol/resp/handlers.h"
#include "protocol/resp/plan.h"
#include "protocol/resp/tracking.h"

#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>

static PIL_REPLY(reply_write) {
    (void)turn, (void)call;
    pil_resp_put_error(sink, "READONLY Pillion serves immutable releases; build and promote a new release instead");
}

/* The members that all rows have; the macros add those of their kind. */
#define PIL_ROW(row_name, row_arity, row_flags, row_reply) \
    .name = (row_name), .name_len = sizeof(row_name) - 1, .arity = (row_arity), .flags = (row_flags), \
    .reply = (row_reply)
#define PIL_KEYS(first, last, step) .first_key = (first), .last_key = (last), .key_step = (step)
#define PIL_TEXTS(row_category, row_group, row_since, row_summary) \
    .category = (row_category), .group = (row_group), .since = (row_since), .summary = (row_summary)

static const struct pil_redis_command commands[] = {
#define PIL_COMMAND(name_, arity_, flags_, first, last, step, category_, group_, since_, prepare_, reply_, summary_) \
    {PIL_ROW(name_, arity_, flags_, reply_), PIL_KEYS(first, last, step), \
     PIL_TEXTS(category_, group_, since_, summary_), .prepare = (prepare_)},
#define PIL_LONG(name_, arity_, flags_, first, last, step, category_, group_, since_, prepare_, reply_, summary_) \
    {PIL_ROW(name_, arity_, flags_, reply_), PIL_KEYS(first, last, step), \
     PIL_TEXTS(category_, group_, since_, summary_), .prepare = (prepare_), .is_long = true},
#define PIL_CONTROL(name_, arity_, flags_, first, last, step, category_, group_, since_, fits_, prepare_, reply_, \
                    summary_) \
    {PIL_ROW(name_, arity_, flags_, reply_), \
     PIL_KEYS(first, last, step), \
     PIL_TEXTS(category_, group_, since_, summary_), \
     .prepare = (prepare_), \
     .fits = (fits_), \
     .is_control = true},
#include "protocol/resp/commands.def"
#define PIL_WRITE(name_, arity_) \
    {PIL_ROW(name_, arity_, "write", reply_write), \
     PIL_TEXTS("write", "write", "1.0.0", "Refused: releases are immutable."), .is_write = true},
#include "protocol/resp/writes.def"
#undef PIL_COMMAND
#undef PIL_LONG
#undef PIL_CONTROL
#undef PIL_WRITE
};
#undef PIL_ROW
#undef PIL_KEYS
#undef PIL_TEXTS
enum { COMMAND_COUNT = sizeof commands / sizeof commands[0] };

/* Commands that change nothing come first; each of them has a histogram of its latencies. */
enum {
    OPERATION_COUNT = 0
#define PIL_COMMAND(...) +1
#define PIL_LONG(...) +1
#define PIL_CONTROL(...) +1
#include "protocol/resp/commands.def"
#undef PIL_COMMAND
#undef PIL_LONG
#undef PIL_CONTROL
};

const struct pil_redis_command *pil_redis_commands(uint32_t *ret_count) {
    *ret_count = COMMAND_COUNT;
    return commands;
}

/* A linear search: the data commands come first in the table and are found after a few comparisons. */
const struct pil_redis_command *pil_redis_command_find(struct pil_bytes name) {
    for (uint32_t i = 0; i < COMMAND_COUNT; i++) {
        if (name.len == commands[i].name_len && pil_bytes_equal_nocase(name, commands[i].name)) {
            return &commands[i];
        }
    }
    return NULL;
}

/* A browser that was lured into sending commands in the body of a request must not have them executed: as in Redis,
 * these two words end the connection. */
static bool is_http(struct pil_bytes word) {
    return pil_bytes_equal_nocase(word, "post") || pil_bytes_equal_nocase(word, "host:");
}

/* The text of Redis for an unknown command, with at most 128 bytes of arguments. */
static const char *unknown_command(struct pil_batch *batch, const struct pil_bytes *args, uint32_t arg_count) {
    char shown[160] = "";
    size_t used = 0;
    for (uint32_t i = 1; i < arg_count && used < 128; i++) {
        int len = args[i].len < 128 - used ? (int)args[i].len : (int)(128 - used);
        used += (size_t)snprintf(shown + used, sizeof shown - used, "'%.*s' ", len, (const char *)args[i].data);
    }
    return pil_batch_text(batch, "ERR unknown command '%.*s', with args beginning with: %s", pil_redis_shown(args[0]),
                          (const char *)args[0].data, shown);
}

/* Between MULTI and EXEC a command is queued, unless it is about the transaction or the connection itself. */
static bool is_to_be_queued(const struct pil_redis_connection *connection, const struct pil_redis_command *command) {
    return connection->transaction.is_open && (command == NULL || !command->is_control);
}

/* One batch answers one long command, so that its work is known before the next one is taken. Answers BUSY when the
 * batch has one, AGAIN when the turn has done enough: the connection has yielded. Those of a transaction do not wait
 * here: the server pauses between their batches. */
static pil_status begin_long(struct pil_turn *turn, struct pil_connection *connection) {
    struct pil_redis_worker *worker = pil_redis_worker_of(turn, pil_redis_of(connection));
    if (worker->long_batch == turn->batch->number) {
        return PIL_STATUS_BUSY;
    }
    if (turn->work >= turn->work_max && connection->replay.len == 0) {
        pil_connection_yield(turn, connection);
        return PIL_STATUS_AGAIN;
    }
    worker->long_batch = turn->batch->number;
    return PIL_STATUS_OK;
}

static void dispatch(struct pil_turn *turn, struct pil_redis_call *call, bool is_to_wait) {
    const struct pil_redis_command *command = call->command;
    if (command == NULL && is_http(call->args[0])) {
        call->error = "ERR this listener speaks RESP, not HTTP";
        pil_connection_finish(call->connection->base, PIL_CLOSE_PROTOCOL);
        return;
    }
    if (command == NULL) {
        call->error = unknown_command(turn->batch, call->args, call->arg_count);
        return;
    }
    call->request->operation = (uint32_t)(command - commands);
    call->request->is_timed = !command->is_write;
    call->connection->last_command = command->name;
    turn->work += call->arg_count;
    if (!pil_redis_has_arity(command->arity, call->arg_count)) {
        call->error = pil_batch_text(turn->batch, "ERR wrong number of arguments for '%s' command", command->name);
    } else if (command->prepare != NULL && !is_to_wait) {
        command->prepare(turn, call);
    }
}

/* ---- Interface to the server. */

static struct pil_redis_call *add_call(struct pil_turn *turn, struct pil_connection *connection) {
    struct pil_request *request = pil_batch_add(turn, connection);
    struct pil_redis_call *call = request->body;
    call->request = request;
    call->connection = pil_redis_of(connection);
    return call;
}

/* Answers bytes that are not RESP and ends the connection, because nothing behind them can be framed. */
static void reject(struct pil_turn *turn, struct pil_connection *connection, pil_status status, const char *error) {
    add_call(turn, connection)->error = pil_batch_text(turn->batch, "ERR %s", error);
    pil_connection_finish(connection, status == PIL_STATUS_TOO_LARGE ? PIL_CLOSE_REQUEST_BYTES : PIL_CLOSE_PROTOCOL);
}

static struct pil_resp_limits limits_of(const struct pil_turn *turn) {
    return (struct pil_resp_limits){
        .args_max = turn->settings->limits.arguments_max,
        .bulk_bytes_max = turn->settings->limits.request_bytes_max,
        .inline_bytes_max = pil_resp_limits_default.inline_bytes_max,
        .request_bytes_max = turn->settings->limits.request_bytes_max,
    };
}

/* Skips the rest of a request that is over a limit, and answers it once its end is there. The connection stays open. */
static pil_status skip(struct pil_turn *turn, struct pil_connection *connection, struct pil_bytes data,
                       size_t *ret_consumed) {
    struct pil_redis_connection *state = pil_redis_of(connection);
    const struct pil_limits *limits = &turn->settings->limits;
    bool is_args = state->cursor.excess == PIL_RESP_EXCESS_ARGS;
    struct pil_resp_request request = {0};
    size_t done = 0;
    pil_status status = pil_resp_skip(&state->cursor, data, &request, &done);
    if (status == PIL_STATUS_INVALID) {
        reject(turn, connection, status, request.error);
        *ret_consumed = data.len;
        return PIL_STATUS_OK;
    }
    *ret_consumed = done;
    if (status == PIL_STATUS_OK) {
        add_call(turn, connection)->error =
            is_args ? pil_batch_text(turn->batch, "ERR a request has at most %u arguments (limits.arguments)",
                                     limits->arguments_max)
                    : pil_batch_text(turn->batch, "ERR a request has at most %u bytes (limits.request_bytes)",
                                     limits->request_bytes_max);
        state->transaction.is_aborted = state->transaction.is_open;
    }
    return status;
}

/* Turns a decoded request into a call; `bytes` are the whole request. BUSY: it must wait for the next batch. */
static pil_status take(struct pil_turn *turn, struct pil_connection *connection, const struct pil_resp_request *decoded,
                       struct pil_bytes bytes) {
    const struct pil_redis_command *command = pil_redis_command_find(decoded->args[0]);
    if (command != NULL && command->fits != NULL && !command->fits(turn, connection)) {
        return PIL_STATUS_BUSY;
    }
    if (command != NULL && command->is_long && !is_to_be_queued(pil_redis_of(connection), command)) {
        PIL_TRY(begin_long(turn, connection));
    }
    struct pil_redis_call *call = add_call(turn, connection);
    call->command = command;
    call->args = decoded->args;
    call->arg_count = decoded->arg_count;
    call->is_replayed = connection->replay.len > 0;
    bool is_to_wait = is_to_be_queued(call->connection, command);
    dispatch(turn, call, is_to_wait);
    if (is_to_wait) {
        pil_redis_queue(turn, call, bytes);
    }
    return PIL_STATUS_OK;
}

static pil_status decode(struct pil_turn *turn, struct pil_connection *connection, struct pil_bytes data,
                         size_t *ret_consumed) {
    struct pil_redis_connection *state = pil_redis_of(connection);
    struct pil_arena *arena = &turn->batch->arena;
    const struct pil_resp_limits limits = limits_of(turn);
    size_t mark = pil_arena_mark(arena), args_bytes = limits.args_max * sizeof(struct pil_bytes);
    if (!pil_batch_has_room(turn->batch, args_bytes + limits.inline_bytes_max)) {
        return PIL_STATUS_BUSY;
    }
    if (state->cursor.excess != PIL_RESP_EXCESS_NONE) {
        return skip(turn, connection, data, ret_consumed);
    }
    size_t line_bytes = data.len < limits.inline_bytes_max ? data.len : limits.inline_bytes_max;
    const uint8_t *newline = data.data[0] != '*' ? memchr(data.data, '\n', line_bytes) : NULL;
    struct pil_resp_request decoded = {
        .scratch = newline != NULL ? pil_arena_alloc(arena, (size_t)(newline - data.data), 1) : NULL,
        .args = pil_arena_alloc(arena, args_bytes, alignof(struct pil_bytes)),
    };
    pil_status status = pil_resp_decode(&state->cursor, data, &limits, &decoded);
    if (status == PIL_STATUS_OK && decoded.arg_count > 0) {
        /* Returns the unused part to the arena. */
        pil_arena_rewind(arena, (size_t)((const uint8_t *)(decoded.args + decoded.arg_count) - arena->data));
        status = take(turn, connection, &decoded, pil_bytes_from(data.data, decoded.consumed));
    } else {
        pil_arena_rewind(arena, mark);
    }
    if (status == PIL_STATUS_BUSY || status == PIL_STATUS_AGAIN) {
        pil_arena_rewind(arena, mark);
        return status;
    }
    if (state->cursor.excess != PIL_RESP_EXCESS_NONE) {
        return skip(turn, connection, data, ret_consumed);
    }
    if (status != PIL_STATUS_OK) {
        reject(turn, connection, status, decoded.error);
    }
    *ret_consumed = status == PIL_STATUS_OK ? decoded.consumed : data.len;
    return PIL_STATUS_OK;
}

static void encode(struct pil_turn *turn, struct pil_request *request, struct pil_sink *sink) {
    struct pil_redis_call *call = request->body;
    if (call->connection->tracking != NULL) {
        pil_redis_track(turn, call, sink);
    }
    if (call->error != NULL) {
        pil_resp_put_error(sink, call->error);
    } else if (call->is_queued) {
        pil_resp_put_simple(sink, "QUEUED");
    } else {
        call->command->reply(turn, call, sink);
    }
    request->is_error = call->error != NULL;
}

static void refuse(struct pil_turn *turn, struct pil_request *request, struct pil_sink *sink) {
    const char *error = NULL;
    switch (request->refusal.reason) {
    case PIL_REFUSAL_LOOKUPS:
        error = pil_batch_text(
            turn->batch, "ERR more than %llu keys in one request (limits.keys_per_request); ask for them in several",
            (unsigned long long)request->refusal.limit);
        break;
    case PIL_REFUSAL_ROOM:
        error = "TOOLARGE the request needs more memory than a batch has; ask for less in one request";
        break;
    case PIL_REFUSAL_CONNECTIONS: error = "ERR max number of clients reached"; break;
    case PIL_REFUSAL_OUTPUT:
        error = pil_batch_text(
            turn->batch, "TOOLARGE the answer is longer than limits.output_bytes (%llu): ask for less in one request",
            (unsigned long long)request->refusal.limit);
        break;
    case PIL_REFUSAL_MEMORY:
        error = pil_batch_text(turn->batch,
                               "ERR this client holds its share of limits.client_memory (%llu): take answers "
                               "before you ask for more",
                               (unsigned long long)request->refusal.limit);
        break;
    case PIL_REFUSAL_NONE: PIL_UNREACHABLE("a request that was not refused");
    }
    const struct pil_redis_call *call = request->body;
    if (call->says_forget) {
        pil_redis_put_forget(sink); /* the first one was taken back with the answer */
    }
    pil_resp_put_error(sink, error);
}

static void describe(const struct pil_request *request, struct pil_request_note *ret_note) {
    const struct pil_redis_call *call = request->body;
    *ret_note = (struct pil_request_note){.operation = call->command != NULL ? call->command->name : "unknown",
                                          .value_count = call->field_count};
}

/* ---- Connections and workers. */

static pil_status open_connection(struct pil_turn *turn, struct pil_connection *base) {
    struct pil_redis_connection *connection = pil_redis_of(base);
    connection->base = base;
    connection->resp = PIL_RESP_2;
    connection->last_command = "NULL";
    struct pil_redis_worker *worker = pil_redis_worker_of(turn, connection);
    PIL_TRY(pil_client_table_acquire(worker->clients, &connection->client_slot));
    pil_list_append(&worker->connections, &connection->link);
    pil_redis_list(turn, connection);
    return PIL_STATUS_OK;
}

static void sweep_connection(struct pil_turn *turn, struct pil_connection *base) {
    struct pil_redis_connection *connection = pil_redis_of(base);
    pil_redis_plans_sweep(turn, pil_redis_worker_of(turn, connection));
    pil_redis_tracking_sweep(turn, connection);
    pil_redis_trim_transaction(turn, connection);
    if (base->active_ns != connection->listed_ns) {
        pil_redis_list(turn, connection);
    }
}

static void close_connection(struct pil_turn *turn, struct pil_connection *base) {
    struct pil_redis_connection *connection = pil_redis_of(base);
    struct pil_redis_worker *worker = pil_redis_worker_of(turn, connection);
    pil_list_remove(&connection->link);
    pil_client_table_release(worker->clients, connection->client_slot);
    free(connection->transaction.bytes);
    free(connection->watched);
    pil_redis_tracking_end(connection);
    pil_redis_plans_destroy(&connection->plans);
}

static void destroy_worker(void *state) {
    struct pil_redis_worker *worker = state;
    pil_redis_forgotten_destroy(worker);
    pil_client_table_destroy(&worker->clients);
    free(worker);
}

static void *create_worker(const struct pil_settings *settings) {
    struct pil_redis_worker *worker = calloc(1, sizeof *worker);
    if (worker == NULL) {
        return NULL;
    }
    pil_list_init(&worker->connections);
    worker->clients = pil_client_table_create(settings->limits.connections_max + PIL_PLACES_SPARE);
    if (worker->clients == NULL) {
        destroy_worker(worker);
        return NULL;
    }
    return worker;
}

const struct pil_protocol pil_redis_protocol = {
    .name = "resp",
    .connection_bytes = sizeof(struct pil_redis_connection),
    .request_bytes = sizeof(struct pil_redis_call),
    .operation_count = OPERATION_COUNT,
    .worker_create = create_worker,
    .worker_destroy = destroy_worker,
    .open = open_connection,
    .decode = decode,
    .encode = encode,
    .refuse = refuse,
    .describe = describe,
    .sweep = sweep_connection,
    .close = close_connection,
};

/* ---- docs/reference/commands.md */

/* A bar would end the table cell. */
static void put_cell(struct pil_text *page, const char *text) {
    for (; *text != '\0'; text++) {
        if (*text == '|') {
            pil_text_append(page, "\\", 1);
        }
        pil_text_append(page, text, 1);
    }
}

void pil_redis_describe_commands(struct pil_text *page) {
    pil_text_format(
        page,
        "# RESP commands\n\nPrinted by `pilliond --describe commands`. Keys are `view:key`, or `project/view:key` "
        "where the client may read views of that name from several projects; the parts of a composite key are joined "
        "by `|`, with `\\` before a `|` or `\\` inside a part. Errors of PIL.* begin with a word for programs: "
        "[wire](../../schemas/wire.md#errors). "
        "Limits: [config](config.md); a pattern has at most 1,024 bytes, a command about the server at most 1,023 "
        "arguments. SCAN and HSCAN, KEYS, COMMAND, CONFIG, CLIENT and the like wait for the next turn when others like "
        "them have used up this one, in a transaction, too.\n\n"
        "| command | arity | category | meaning |\n|---|---|---|---|\n");
    for (uint32_t i = 0; i < COMMAND_COUNT; i++) {
        if (!commands[i].is_write) {
            pil_text_format(page, "| %s | %d | %s | ", commands[i].name, commands[i].arity, commands[i].category);
            put_cell(page, commands[i].summary);
            pil_text_format(page, " |\n");
        }
    }
    pil_text_format(page, "\nRefused with READONLY:");
    for (uint32_t i = 0; i < COMMAND_COUNT; i++) {
        if (commands[i].is_write) {
            pil_text_format(page, " %s", commands[i].name);
        }
    }
    pil_text_format(page, ".\n");
}
