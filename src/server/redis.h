/* SPDX-License-Identifier: Apache-2.0
 * RESP handlers by file: redis_read.c answers from rows, redis_admin.c about the server. The table that names them is
 * redis_commands.def; redis.c decodes, dispatches and describes. */
#pragma once

#include "server/internal.h"

#define PIL_PREPARE(name) void name(struct pil_worker *worker, struct pil_request *request)
#define PIL_REPLY(name) void name(struct pil_worker *worker, struct pil_request *request, struct pil_sink *sink)

/* redis_read.c */
PIL_PREPARE(pil_redis_prepare_fields);
PIL_PREPARE(pil_redis_prepare_row);
PIL_PREPARE(pil_redis_prepare_packed);
PIL_PREPARE(pil_redis_prepare_presence);
PIL_REPLY(pil_redis_reply_hget);
PIL_REPLY(pil_redis_reply_hmget);
PIL_REPLY(pil_redis_reply_hgetall);
PIL_REPLY(pil_redis_reply_hexists);
PIL_REPLY(pil_redis_reply_hlen);
PIL_REPLY(pil_redis_reply_hkeys);
PIL_REPLY(pil_redis_reply_hvals);
PIL_REPLY(pil_redis_reply_hstrlen);
PIL_REPLY(pil_redis_reply_hscan);
PIL_REPLY(pil_redis_reply_get);
PIL_REPLY(pil_redis_reply_mget);
PIL_REPLY(pil_redis_reply_exists);
PIL_REPLY(pil_redis_reply_type);
PIL_REPLY(pil_redis_reply_ttl);
PIL_REPLY(pil_redis_reply_pttl);
/* redis_vector.c */
PIL_PREPARE(pil_redis_prepare_plan);
PIL_REPLY(pil_redis_reply_plan);
PIL_PREPARE(pil_redis_prepare_forget);
PIL_REPLY(pil_redis_reply_forget);
PIL_PREPARE(pil_redis_prepare_describe);
PIL_REPLY(pil_redis_reply_describe);
PIL_PREPARE(pil_redis_prepare_vector);
PIL_PREPARE(pil_redis_prepare_vector64);
PIL_REPLY(pil_redis_reply_vector);
/* redis_columns.c: keys as for vectors */
PIL_REPLY(pil_redis_reply_columns);
/* Event timestamps, [row_count][view_count]: a part of both answers. */
void pil_redis_put_times(struct pil_worker *worker, const struct pil_request *request, struct pil_sink *sink);
/* Any count. */
void pil_redis_put_zeros(struct pil_sink *sink, uint64_t count);
/* The answer would have so many bytes, which is too many. */
void pil_redis_refuse_answer(struct pil_worker *worker, struct pil_request *request, uint64_t bytes,
                             struct pil_sink *sink);
/* redis_scan.c */
PIL_REPLY(pil_redis_reply_scan);
PIL_REPLY(pil_redis_reply_dbsize);
/* redis_connection.c */
PIL_REPLY(pil_redis_reply_ping);
PIL_REPLY(pil_redis_reply_echo);
PIL_REPLY(pil_redis_reply_hello);
PIL_REPLY(pil_redis_reply_auth);
PIL_REPLY(pil_redis_reply_select);
PIL_PREPARE(pil_redis_prepare_reset);
PIL_REPLY(pil_redis_reply_reset);
PIL_PREPARE(pil_redis_prepare_quit);
PIL_REPLY(pil_redis_reply_quit);
/* redis_client.c */
PIL_REPLY(pil_redis_reply_client);
/* NULL, or the mistake in it. */
const char *pil_redis_set_name(struct pil_connection *connection, struct pil_bytes name);
/* redis_multi.c: transactions, which clients use to have several answers from one moment */
PIL_PREPARE(pil_redis_prepare_multi);
PIL_REPLY(pil_redis_reply_multi);
PIL_PREPARE(pil_redis_prepare_exec);
PIL_REPLY(pil_redis_reply_exec);
PIL_PREPARE(pil_redis_prepare_discard);
/* As if there had been no MULTI. */
void pil_redis_close_transaction(struct pil_transaction *transaction);
/* Whether a request of this connection waits for EXEC. */
bool pil_redis_is_queued(const struct pil_request *request);
/* Keeps its bytes until EXEC; a mistake in it aborts the transaction. */
void pil_redis_queue(struct pil_worker *worker, struct pil_request *request, struct pil_bytes bytes);
/* redis_admin.c */
PIL_REPLY(pil_redis_reply_command);
PIL_REPLY(pil_redis_reply_config);
PIL_REPLY(pil_redis_reply_info);
PIL_REPLY(pil_redis_reply_time);
PIL_REPLY(pil_redis_reply_latency);
PIL_REPLY(pil_redis_reply_slowlog);

/* redis.c: commands of commands. Each has a table; HELP, and the mistakes as Redis words them, come from it. */
struct pil_subcommand {
    const char *name;  /* lower case */
    int arity;         /* of the whole request; negative = at least */
    const char *usage; /* as HELP shows it */
    const char *help;
    void (*reply)(struct pil_worker *worker, struct pil_request *request, struct pil_sink *sink);
};
void pil_redis_reply_subcommand(struct pil_worker *worker, struct pil_request *request, struct pil_sink *sink,
                                const struct pil_subcommand *subcommands, uint32_t count);
/* Whether there is such an argument and it is this word, in any case. */
static inline bool pil_redis_is(const struct pil_request *request, uint32_t arg, const char *word) {
    return arg < request->arg_count && pil_bytes_equal_nocase(request->args[arg], word);
}
/* How much of an argument an error shows, for %.*s. */
static inline int pil_redis_shown(struct pil_bytes arg) {
    return arg.len < 128 ? (int)arg.len : 128;
}
/* Whether text matches a Redis glob (*, ?, [a-c], [^a], \x), in time of at most len(text) * len(pattern), without
 * recursion. */
bool pil_redis_match(struct pil_bytes pattern, struct pil_bytes text);
/* A decimal int64 and nothing else. */
bool pil_redis_parse_i64(struct pil_bytes text, int64_t *ret_value);
