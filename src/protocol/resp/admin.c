/* SPDX-License-Identifier: Apache-2.0
 * RESP commands about the server that people use to look around: CONFIG, TIME, LATENCY, SLOWLOG. */
#include "protocol/resp/glob.h"
#include "protocol/resp/handlers.h"
#include "protocol/resp/subcommand.h"

#include "base/log.h"
#include "metric/metric.h"

#include <stdio.h>

/* ---- CONFIG GET: the parameters that clients and benchmarks ask for, with values that are true for Pillion. */

enum { PARAMETER_BYTES = 32 };

static void put_save(const struct pil_settings *settings, char value[PARAMETER_BYTES]) {
    (void)settings;
    value[0] = '\0';
}

static void put_no(const struct pil_settings *settings, char value[PARAMETER_BYTES]) {
    (void)settings;
    snprintf(value, PARAMETER_BYTES, "no");
}

static void put_no_eviction(const struct pil_settings *settings, char value[PARAMETER_BYTES]) {
    (void)settings;
    snprintf(value, PARAMETER_BYTES, "noeviction");
}

#define PIL_PARAMETER(name, number) \
    static void name(const struct pil_settings *settings, char value[PARAMETER_BYTES]) { \
        (void)settings; \
        snprintf(value, PARAMETER_BYTES, "%lld", (long long)(number)); \
    }
PIL_PARAMETER(put_databases, 1)
PIL_PARAMETER(put_clients, settings->limits.connections_max)
PIL_PARAMETER(put_memory, settings->memory_budget)
PIL_PARAMETER(put_timeout, settings->limits.idle_timeout_ms / 1000)
PIL_PARAMETER(put_slower_than, settings->slowlog_us)
PIL_PARAMETER(put_slowlog_length, PIL_SLOWLOG_MAX)
PIL_PARAMETER(put_threads, settings->worker_count)
#undef PIL_PARAMETER

static const struct parameter {
    const char *name;
    void (*put)(const struct pil_settings *settings, char value[PARAMETER_BYTES]);
} parameters[] = {
    {"save", put_save},
    {"appendonly", put_no},
    {"databases", put_databases},
    {"maxclients", put_clients},
    {"maxmemory", put_memory},
    {"maxmemory-policy", put_no_eviction},
    {"timeout", put_timeout},
    {"slowlog-log-slower-than", put_slower_than},
    {"slowlog-max-len", put_slowlog_length},
    {"io-threads", put_threads},
};
enum { PARAMETER_COUNT = sizeof parameters / sizeof parameters[0] };

/* Sets the names to answer with, by parameter: the client's spelling, or ours if a pattern matches; the first argument
 * that asks for a parameter decides. Returns their number, -1 when the error is written. */
static int64_t find_asked(struct pil_turn *turn, const struct pil_redis_call *call, struct pil_sink *sink,
                          struct pil_bytes names[PARAMETER_COUNT]) {
    struct pil_arena *arena = &turn->batch->arena;
    uint64_t work_max = turn->work + PIL_TURN_WORK_MAX;
    int64_t asked = 0;
    for (uint32_t i = 2; i < call->arg_count; i++) {
        size_t mark = pil_arena_mark(arena);
        struct pil_glob glob;
        if (!pil_redis_compile(turn, call->args[i], true, sink, &glob)) {
            return -1;
        }
        for (uint32_t k = 0; k < PARAMETER_COUNT; k++) {
            bool is_name = pil_redis_is(call, i, parameters[k].name);
            if (names[k].len == 0 && (is_name || pil_glob_match(&glob, pil_bytes_from_text(parameters[k].name)))) {
                names[k] = is_name ? call->args[i] : pil_bytes_from_text(parameters[k].name);
                asked++;
            }
        }
        pil_arena_rewind(arena, mark);
        turn->work += PARAMETER_COUNT + glob.work;
        if (turn->work > work_max) {
            pil_resp_put_error(sink, "ERR these patterns are too much work for one CONFIG GET; ask in several");
            return -1;
        }
    }
    return asked;
}

static PIL_REPLY(reply_config_get) {
    struct pil_bytes names[PARAMETER_COUNT] = {{0}};
    int64_t asked = find_asked(turn, call, sink, names);
    if (asked < 0) {
        return;
    }
    pil_resp_put_map(sink, call->connection->resp, (uint64_t)asked);
    for (uint32_t i = 0; i < PARAMETER_COUNT; i++) {
        char value[PARAMETER_BYTES];
        if (names[i].len > 0) {
            parameters[i].put(turn->settings, value);
            pil_resp_put_bulk(sink, names[i]);
            pil_resp_put_bulk_text(sink, value);
        }
    }
}

static PIL_REPLY(reply_config_change) {
    (void)turn, (void)call;
    pil_resp_put_error(sink, "ERR the configuration of pilliond is its file and flags; change them and send SIGHUP");
}

PIL_REPLY(pil_redis_reply_config) {
    static const struct pil_subcommand subcommands[] = {
        {"get", -3, "GET <pattern> [<pattern> ...]", "Return parameters that match, and their values.",
         reply_config_get},
        {"set", -4, "SET <directive> <value>", "Refused: the configuration is a file.", reply_config_change},
        {"rewrite", 2, "REWRITE", "Refused likewise.", reply_config_change},
        {"resetstat", 2, "RESETSTAT", "Refused: counters only grow.", reply_config_change},
    };
    pil_redis_reply_subcommand(turn, call, sink, subcommands, sizeof subcommands / sizeof *subcommands);
}

PIL_REPLY(pil_redis_reply_time) {
    (void)call;
    char text[24];
    pil_resp_put_array(sink, 2);
    pil_resp_put_bulk_text(sink, pil_log_number(text, turn->wall_us / 1000000));
    pil_resp_put_bulk_text(sink, pil_log_number(text, turn->wall_us % 1000000));
}

/* ---- LATENCY HISTOGRAM */

enum { HISTOGRAM_WORK = 2 * PIL_HISTOGRAM_BUCKETS }; /* to add up the workers' and to print */

/* Cumulative counts at powers of two microseconds, as in Redis; the last count includes all calls. */
static void put_histogram(struct pil_sink *sink, pil_resp_protocol protocol, const char *name,
                          const struct pil_histogram_view *view) {
    uint64_t bounds[48], counts[48], sum = 0;
    uint32_t count = 0, bucket = 0;
    for (uint64_t limit_us = 1; sum < view->count && count < 48; limit_us *= 2) {
        uint64_t before = sum;
        for (; bucket < PIL_HISTOGRAM_BUCKETS && pil_histogram_bucket_low(bucket) < limit_us * 1000; bucket++) {
            sum += view->counts[bucket];
        }
        if (sum > before) {
            bounds[count] = limit_us;
            counts[count++] = sum;
        }
        if (bucket == PIL_HISTOGRAM_BUCKETS) {
            break;
        }
    }
    pil_resp_put_bulk_text(sink, name);
    pil_resp_put_map(sink, protocol, 2);
    pil_resp_put_bulk_text(sink, "calls");
    pil_resp_put_integer(sink, (int64_t)view->count);
    pil_resp_put_bulk_text(sink, "histogram_usec");
    pil_resp_put_map(sink, protocol, count);
    for (uint32_t i = 0; i < count; i++) {
        pil_resp_put_integer(sink, (int64_t)bounds[i]);
        pil_resp_put_integer(sink, (int64_t)counts[i]);
    }
}

static bool is_asked(const struct pil_redis_call *call, const char *name) {
    for (uint32_t i = 2; i < call->arg_count; i++) {
        if (pil_redis_is(call, i, name)) {
            return true;
        }
    }
    return call->arg_count == 2;
}

static PIL_REPLY(reply_latency_histogram) {
    uint32_t count = 0, asked = 0;
    const struct pil_redis_command *commands = pil_redis_commands(&count);
    struct pil_histogram_view view;
    bool has_calls[256] = {false};
    uint32_t protocol = call->connection->base->listener->protocol;
    for (uint32_t i = 0; i < count && !commands[i].is_write; i++) {
        PIL_ASSERT(i < sizeof has_calls / sizeof has_calls[0]);
        turn->work += call->arg_count;
        if (is_asked(call, commands[i].name)) {
            pil_server_operation(turn->server, protocol, i, &view);
            has_calls[i] = view.count > 0;
            asked += has_calls[i];
            turn->work += HISTOGRAM_WORK;
        }
    }
    pil_resp_put_map(sink, call->connection->resp, asked);
    for (uint32_t i = 0; i < count && !commands[i].is_write; i++) {
        if (has_calls[i]) {
            pil_server_operation(turn->server, protocol, i, &view);
            put_histogram(sink, call->connection->resp, commands[i].name, &view);
        }
    }
}

/* There is no latency monitor: as with Redis's default threshold of 0, no event was ever recorded. */
static PIL_REPLY(reply_latency_events) {
    (void)turn, (void)call;
    pil_resp_put_array(sink, 0);
}

static PIL_REPLY(reply_latency_reset) {
    (void)turn, (void)call;
    pil_resp_put_integer(sink, 0);
}

PIL_REPLY(pil_redis_reply_latency) {
    static const struct pil_subcommand subcommands[] = {
        {"history", 3, "HISTORY <event>", "Return time-latency samples of an event: there are none.",
         reply_latency_events},
        {"latest", 2, "LATEST", "Return the latest latency samples of all events: there are none.",
         reply_latency_events},
        {"reset", -2, "RESET [<event> ...]", "Return how many events were forgotten: none.", reply_latency_reset},
        {"histogram", -2, "HISTOGRAM [COMMAND ...]",
         "Return calls by latency, in microseconds, cumulative; all commands by default.", reply_latency_histogram},
    };
    pil_redis_reply_subcommand(turn, call, sink, subcommands, sizeof subcommands / sizeof *subcommands);
}

/* ---- SLOWLOG: the six fields of Redis; the arguments are the command and the view. */

static void put_slow(struct pil_sink *sink, const struct pil_slow_request *slow) {
    pil_resp_put_array(sink, 6);
    pil_resp_put_integer(sink, (int64_t)slow->id);
    pil_resp_put_integer(sink, slow->wall_us / 1000000);
    pil_resp_put_integer(sink, (int64_t)slow->duration_us);
    pil_resp_put_array(sink, 1);
    pil_resp_put_bulk_text(sink, slow->what);
    pil_resp_put_bulk_text(sink, slow->peer);
    pil_resp_put_bulk_text(sink, "");
}

/* Copies the slow requests into the arena and sets *ret_count; NULL when there is no room in this turn. */
static const struct pil_slow_request *slow_requests(struct pil_turn *turn, struct pil_sink *sink, int64_t *ret_count) {
    struct pil_slow_request *slow = PIL_ARENA_NEW(&turn->batch->arena, struct pil_slow_request, PIL_SLOWLOG_MAX);
    if (slow == NULL) {
        pil_resp_put_error(sink, "ERR no room for SLOWLOG in this turn; ask again");
        return NULL;
    }
    *ret_count = pil_server_slowlog(turn->server, slow);
    return slow;
}

static PIL_REPLY(reply_slowlog_get) {
    size_t begin = pil_arena_mark(&turn->batch->arena);
    int64_t wanted = 10, count = 0;
    if (call->arg_count > 3) {
        pil_resp_put_error(sink, "ERR unknown subcommand or wrong number of arguments for 'GET'. Try SLOWLOG HELP.");
        return;
    }
    if (call->arg_count == 3 && (!pil_number_parse_i64(call->args[2], &wanted) || wanted < -1)) {
        pil_resp_put_error(sink, "ERR count should be greater than or equal to -1");
        return;
    }
    const struct pil_slow_request *slow = slow_requests(turn, sink, &count);
    if (slow != NULL) {
        count = wanted < 0 || wanted > count ? count : wanted;
        pil_resp_put_array(sink, (uint64_t)count);
        for (int64_t i = 0; i < count; i++) {
            put_slow(sink, &slow[i]);
        }
    }
    pil_arena_rewind(&turn->batch->arena, begin);
}

static PIL_REPLY(reply_slowlog_len) {
    size_t begin = pil_arena_mark(&turn->batch->arena);
    int64_t count = 0;
    (void)call;
    if (slow_requests(turn, sink, &count) != NULL) {
        pil_resp_put_integer(sink, count);
    }
    pil_arena_rewind(&turn->batch->arena, begin);
}

static PIL_REPLY(reply_slowlog_reset) {
    (void)call;
    pil_server_slowlog_reset(turn->server);
    pil_resp_put_simple(sink, "OK");
}

PIL_REPLY(pil_redis_reply_slowlog) {
    static const struct pil_subcommand subcommands[] = {
        {"get", -2, "GET [<count>]",
         "Return the newest slow requests (default: 10, -1 mean all): id, time, microseconds, command and view, peer.",
         reply_slowlog_get},
        {"len", 2, "LEN", "Return how many are remembered.", reply_slowlog_len},
        {"reset", 2, "RESET", "Forget them.", reply_slowlog_reset},
    };
    pil_redis_reply_subcommand(turn, call, sink, subcommands, sizeof subcommands / sizeof *subcommands);
}
