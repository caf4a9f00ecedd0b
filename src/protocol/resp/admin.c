/* SPDX-License-Identifier: Apache-2.0
 * RESP commands about the server: those that clients send on connect and that people use to look around. */
#include "protocol/resp/handlers.h"

#include "base/log.h"
#include "engine/engine.h"
#include "metric/metric.h"
#include "protocol/resp/subcommand.h"

#include <stdio.h>
#include <unistd.h>

/* ---- COMMAND */

static uint32_t count_words(const char *text) {
    uint32_t words = text[0] != '\0';
    for (; *text != '\0'; text++) {
        words += *text == ' ';
    }
    return words;
}

enum { CATEGORIES_MAX = 3 };

/* A command's ACL categories: what it does, on what, and how fast it is. Returns their number. */
static uint32_t categories_of(const struct pil_redis_command *command, const char *ret_names[CATEGORIES_MAX]) {
    const char *does = strstr(command->flags, "readonly") != NULL ? "read" : command->category;
    const char *takes = strstr(command->flags, "fast") != NULL ? "fast" : "slow";
    uint32_t count = 0;
    ret_names[count++] = does;
    if (strcmp(command->category, does) != 0) {
        ret_names[count++] = command->category;
    }
    if (strcmp(command->category, takes) != 0) {
        ret_names[count++] = takes;
    }
    return count;
}

static bool has_category(const struct pil_redis_command *command, struct pil_bytes name) {
    const char *names[CATEGORIES_MAX];
    bool has = false;
    for (uint32_t i = categories_of(command, names); i > 0; i--) {
        has |= pil_bytes_equal_nocase(name, names[i - 1]);
    }
    return has;
}

static void put_categories(struct pil_sink *sink, pil_resp_protocol protocol, const struct pil_redis_command *command) {
    const char *names[CATEGORIES_MAX];
    uint32_t count = categories_of(command, names);
    pil_resp_put_set(sink, protocol, count);
    for (uint32_t i = 0; i < count; i++) {
        char text[24];
        snprintf(text, sizeof text, "@%s", names[i]);
        pil_resp_put_simple(sink, text);
    }
}

/* The six fields of Redis 2.8 and the four that later versions added. */
static void put_command_info(struct pil_sink *sink, pil_resp_protocol protocol,
                             const struct pil_redis_command *command) {
    pil_resp_put_array(sink, 10);
    pil_resp_put_bulk_text(sink, command->name);
    pil_resp_put_integer(sink, command->arity);
    pil_resp_put_set(sink, protocol, count_words(command->flags));
    for (const char *at = command->flags; *at != '\0';) {
        size_t len = strcspn(at, " ");
        char flag[24];
        snprintf(flag, sizeof flag, "%.*s", (int)len, at);
        pil_resp_put_simple(sink, flag);
        at += len + (at[len] == ' ');
    }
    pil_resp_put_integer(sink, command->first_key);
    pil_resp_put_integer(sink, command->last_key);
    pil_resp_put_integer(sink, command->key_step);
    put_categories(sink, protocol, command);
    pil_resp_put_set(sink, protocol, 0); /* tips */
    pil_resp_put_set(sink, protocol, 0); /* key specifications */
    pil_resp_put_set(sink, protocol, 0); /* subcommands */
}

static void put_command_docs(struct pil_sink *sink, pil_resp_protocol protocol,
                             const struct pil_redis_command *command) {
    pil_resp_put_bulk_text(sink, command->name);
    pil_resp_put_map(sink, protocol, 3);
    pil_resp_put_bulk_text(sink, "summary");
    pil_resp_put_bulk_text(sink, command->summary);
    pil_resp_put_bulk_text(sink, "since");
    pil_resp_put_bulk_text(sink, command->since);
    pil_resp_put_bulk_text(sink, "group");
    pil_resp_put_bulk_text(sink, command->group);
}

static PIL_REPLY(reply_command_docs) {
    (void)turn;
    pil_resp_protocol protocol = call->connection->resp;
    uint32_t count = 0, known = 0;
    const struct pil_redis_command *commands = pil_redis_commands(&count);
    for (uint32_t i = 2; i < call->arg_count; i++) {
        known += pil_redis_command_find(call->args[i]) != NULL;
    }
    pil_resp_put_map(sink, protocol, call->arg_count > 2 ? known : count);
    for (uint32_t i = 0; call->arg_count == 2 && i < count; i++) {
        put_command_docs(sink, protocol, &commands[i]);
    }
    for (uint32_t i = 2; i < call->arg_count; i++) {
        const struct pil_redis_command *command = pil_redis_command_find(call->args[i]);
        if (command != NULL) {
            put_command_docs(sink, protocol, command);
        }
    }
}

static PIL_REPLY(reply_command_info) {
    (void)turn;
    uint32_t count = 0;
    const struct pil_redis_command *commands = pil_redis_commands(&count);
    bool all = call->arg_count <= 2;
    pil_resp_put_array(sink, all ? count : call->arg_count - 2);
    for (uint32_t i = 0; all && i < count; i++) {
        put_command_info(sink, call->connection->resp, &commands[i]);
    }
    for (uint32_t i = 2; i < call->arg_count; i++) {
        const struct pil_redis_command *command = pil_redis_command_find(call->args[i]);
        if (command != NULL) {
            put_command_info(sink, call->connection->resp, command);
        } else {
            pil_resp_put_null(sink, call->connection->resp);
        }
    }
}

static PIL_REPLY(reply_command_count) {
    uint32_t count = 0;
    (void)turn, (void)call;
    pil_redis_commands(&count);
    pil_resp_put_integer(sink, count);
}

/* Whether COMMAND LIST shows a command: all of them, or those that match FILTERBY. There are no modules. */
static bool passes(const struct pil_redis_call *call, const struct pil_redis_command *command) {
    if (call->arg_count == 2) {
        return true;
    }
    if (pil_redis_is(call, 3, "pattern")) {
        return pil_redis_match(call->args[4], pil_bytes_from_text(command->name));
    }
    return pil_redis_is(call, 3, "aclcat") && has_category(command, call->args[4]);
}

static PIL_REPLY(reply_command_list) {
    uint32_t count = 0, passed = 0;
    const struct pil_redis_command *commands = pil_redis_commands(&count);
    bool is_filter =
        call->arg_count == 5 && pil_redis_is(call, 2, "filterby") &&
        (pil_redis_is(call, 3, "module") || pil_redis_is(call, 3, "aclcat") || pil_redis_is(call, 3, "pattern"));
    (void)turn;
    if (call->arg_count != 2 && !is_filter) {
        pil_resp_put_error(sink, "ERR syntax error");
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        passed += passes(call, &commands[i]);
    }
    pil_resp_put_array(sink, passed);
    for (uint32_t i = 0; i < count; i++) {
        if (passes(call, &commands[i])) {
            pil_resp_put_bulk_text(sink, commands[i].name);
        }
    }
}

PIL_REPLY(pil_redis_reply_command) {
    static const struct pil_subcommand subcommands[] = {
        {"count", 2, "COUNT", "Return the number of commands.", reply_command_count},
        {"docs", -2, "DOCS [<command-name> ...]", "Return what commands are for; all by default.", reply_command_docs},
        {"info", -2, "INFO [<command-name> ...]", "Return arity, flags and keys of commands; all by default.",
         reply_command_info},
        {"list", -2, "LIST [FILTERBY (MODULE <name>|ACLCAT <category>|PATTERN <pattern>)]",
         "Return the names of the commands.", reply_command_list},
    };
    if (call->arg_count == 1) {
        reply_command_info(turn, call, sink);
    } else {
        pil_redis_reply_subcommand(turn, call, sink, subcommands, sizeof subcommands / sizeof *subcommands);
    }
}

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

/* The name to answer with when the parameter is asked for: the client's spelling, or ours if a pattern matches. Empty
 * when the parameter is not asked for. */
static struct pil_bytes asked_name(const struct pil_redis_call *call, const char *name) {
    for (uint32_t i = 2; i < call->arg_count; i++) {
        uint8_t lower[PARAMETER_BYTES];
        struct pil_bytes pattern = call->args[i];
        if (pil_redis_is(call, i, name)) {
            return pattern;
        }
        for (size_t k = 0; k < pattern.len && k < sizeof lower; k++) {
            uint8_t c = pattern.data[k];
            lower[k] = (uint8_t)(c >= 'A' && c <= 'Z' ? c + 32 : c);
        }
        if (pattern.len <= sizeof lower &&
            pil_redis_match(pil_bytes_from(lower, pattern.len), pil_bytes_from_text(name))) {
            return pil_bytes_from_text(name);
        }
    }
    return (struct pil_bytes){0};
}

static PIL_REPLY(reply_config_get) {
    uint64_t asked = 0;
    for (uint32_t i = 0; i < PARAMETER_COUNT; i++) {
        asked += asked_name(call, parameters[i].name).len > 0;
    }
    pil_resp_put_map(sink, call->connection->resp, asked);
    for (uint32_t i = 0; i < PARAMETER_COUNT; i++) {
        struct pil_bytes told = asked_name(call, parameters[i].name);
        char value[PARAMETER_BYTES];
        if (told.len > 0) {
            parameters[i].put(turn->settings, value);
            pil_resp_put_bulk(sink, told);
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

/* ---- INFO */

enum { INFO_BYTES = 65536 };

struct info {
    char *text;
    size_t len, capacity;
};

static void add(struct info *info, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(struct info *info, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(info->text + info->len, info->capacity - info->len, format, arguments);
    va_end(arguments);
    if (len > 0 && (size_t)len < info->capacity - info->len) {
        info->len += (size_t)len;
    }
}

static bool wants_section(const struct pil_redis_call *call, const char *name) {
    if (call->arg_count == 1) {
        return true;
    }
    for (uint32_t i = 1; i < call->arg_count; i++) {
        if (pil_redis_is(call, i, name) || pil_redis_is(call, i, "all") || pil_redis_is(call, i, "everything") ||
            pil_redis_is(call, i, "default")) {
            return true;
        }
    }
    return false;
}

/* Sums rows and bytes of the live releases that the peer may read. */
static void sum_releases(struct pil_turn *turn, uint64_t *ret_rows, uint64_t *ret_bytes) {
    uint64_t rows = 0, bytes = 0;
    for (uint32_t i = 0; i < pil_cache_view_count(turn->scope.cache); i++) {
        const struct pil_cache_view *view = pil_cache_view_at(turn->scope.cache, i);
        const struct pil_release *release = pil_scope_live(&turn->scope, view);
        if (release != NULL && pil_scope_may_read(&turn->scope, view)) {
            rows += release->row_count;
            bytes += release->bytes;
        }
    }
    *ret_rows = rows;
    *ret_bytes = bytes;
}

static void add_server(struct pil_turn *turn, const struct pil_redis_call *call, struct info *info) {
    struct pil_server_facts facts;
    (void)call;
    pil_server_facts(turn->server, &facts);
    add(info,
        "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\nos:Linux\r\narch_bits:64\r\nprocess_id:%d\r\n"
        "uptime_in_seconds:%llu\r\n\r\n",
        getpid(), (unsigned long long)((turn->now_ns - facts.started_ns) / 1000000000));
}

static void add_clients(struct pil_turn *turn, const struct pil_redis_call *call, struct info *info) {
    struct pil_server_facts facts;
    (void)call;
    pil_server_facts(turn->server, &facts);
    add(info, "# Clients\r\nconnected_clients:%u\r\nmaxclients:%u\r\n\r\n", facts.connections_now,
        turn->settings->limits.connections_max);
}

static void add_memory(struct pil_turn *turn, const struct pil_redis_call *call, struct info *info) {
    uint64_t rows = 0, bytes = 0;
    (void)call;
    sum_releases(turn, &rows, &bytes);
    add(info, "# Memory\r\nused_memory:%llu\r\nmaxmemory:%llu\r\nmaxmemory_policy:noeviction\r\n\r\n",
        (unsigned long long)bytes, (unsigned long long)turn->settings->memory_budget);
}

static void add_stats(struct pil_turn *turn, const struct pil_redis_call *call, struct info *info) {
    struct pil_server_facts facts;
    pil_server_facts(turn->server, &facts);
    add(info,
        "# Stats\r\ntotal_connections_received:%llu\r\ntotal_commands_processed:%llu\r\nexpired_keys:0\r\n"
        "evicted_keys:0\r\n\r\n",
        (unsigned long long)facts.connections_total,
        (unsigned long long)pil_server_requests(turn->server, call->connection->base->listener->protocol));
}

static void add_replication(struct pil_turn *turn, const struct pil_redis_call *call, struct info *info) {
    (void)turn, (void)call;
    add(info, "# Replication\r\nrole:master\r\nconnected_slaves:0\r\n\r\n");
}

static void add_keyspace(struct pil_turn *turn, const struct pil_redis_call *call, struct info *info) {
    uint64_t rows = 0, bytes = 0;
    (void)call;
    sum_releases(turn, &rows, &bytes);
    add(info, "# Keyspace\r\ndb0:keys=%llu,expires=0,avg_ttl=0\r\n\r\n", (unsigned long long)rows);
}

static void add_views(struct pil_turn *turn, const struct pil_redis_call *call, struct info *info) {
    (void)call;
    add(info, "# Pillion\r\npillion_version:%s\r\nio_engine:%s\r\nworkers:%u\r\n", PIL_VERSION,
        pil_engine_kind_text(turn->settings->engine), turn->settings->worker_count);
    for (uint32_t i = 0; i < pil_cache_view_count(turn->scope.cache); i++) {
        const struct pil_cache_view *view = pil_cache_view_at(turn->scope.cache, i);
        const struct pil_release *release = pil_scope_live(&turn->scope, view);
        if (!pil_scope_may_read(&turn->scope, view)) {
            continue;
        }
        add(info, "view_%u:name=%s/%s,channel=%s,release=%s,generation=%llu,rows=%llu,bytes=%llu\r\n", i, view->project,
            view->name, view->channel, release != NULL ? release->id : "",
            (unsigned long long)(release != NULL ? release->generation : 0),
            (unsigned long long)(release != NULL ? release->row_count : 0),
            (unsigned long long)(release != NULL ? release->bytes : 0));
    }
    add(info, "\r\n");
}

PIL_REPLY(pil_redis_reply_info) {
    static const struct {
        const char *name;
        void (*add)(struct pil_turn *turn, const struct pil_redis_call *call, struct info *info);
    } sections[] = {{"server", add_server}, {"clients", add_clients},         {"memory", add_memory},
                    {"stats", add_stats},   {"replication", add_replication}, {"keyspace", add_keyspace},
                    {"pillion", add_views}};
    struct pil_arena *arena = &turn->batch->arena;
    size_t mark = pil_arena_mark(arena);
    struct info info = {.text = pil_arena_alloc(arena, INFO_BYTES, 1), .capacity = INFO_BYTES};
    if (info.text == NULL) {
        pil_resp_put_error(sink, "ERR no room for INFO in this turn; ask again");
        return;
    }
    for (size_t i = 0; i < sizeof sections / sizeof sections[0]; i++) {
        if (wants_section(call, sections[i].name)) {
            sections[i].add(turn, call, &info);
        }
    }
    pil_resp_put_verbatim(sink, call->connection->resp, pil_bytes_from(info.text, info.len));
    pil_arena_rewind(arena, mark);
}

PIL_REPLY(pil_redis_reply_time) {
    (void)call;
    char text[24];
    pil_resp_put_array(sink, 2);
    pil_resp_put_bulk_text(sink, pil_log_number(text, turn->wall_us / 1000000));
    pil_resp_put_bulk_text(sink, pil_log_number(text, turn->wall_us % 1000000));
}

/* ---- LATENCY HISTOGRAM */

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
    PIL_ASSERT(count <= 256);
    for (uint32_t i = 0; i < count; i++) {
        if (is_asked(call, commands[i].name)) {
            pil_server_operation(turn->server, protocol, i, &view);
            has_calls[i] = view.count > 0;
            asked += has_calls[i];
        }
    }
    pil_resp_put_map(sink, call->connection->resp, asked);
    for (uint32_t i = 0; i < count; i++) {
        if (has_calls[i]) {
            pil_server_operation(turn->server, protocol, i, &view);
            put_histogram(sink, call->connection->resp, commands[i].name, &view);
        }
    }
}

PIL_REPLY(pil_redis_reply_latency) {
    static const struct pil_subcommand subcommands[] = {
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
