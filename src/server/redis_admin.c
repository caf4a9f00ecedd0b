/* SPDX-License-Identifier: Apache-2.0
 * RESP commands about the server: what clients and people ask for on connect and when they look around. */
#include "server/redis.h"

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

/* What a command does, on what, and how long it takes. Returns how many. */
static uint32_t categories_of(const struct pil_command *command, const char *ret_names[CATEGORIES_MAX]) {
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

static bool has_category(const struct pil_command *command, struct pil_bytes name) {
    const char *names[CATEGORIES_MAX];
    bool has = false;
    for (uint32_t i = categories_of(command, names); i > 0; i--) {
        has |= pil_bytes_equal_nocase(name, names[i - 1]);
    }
    return has;
}

static void put_categories(struct pil_sink *sink, pil_resp_protocol protocol, const struct pil_command *command) {
    const char *names[CATEGORIES_MAX];
    uint32_t count = categories_of(command, names);
    pil_resp_put_set(sink, protocol, count);
    for (uint32_t i = 0; i < count; i++) {
        char text[24];
        snprintf(text, sizeof text, "@%s", names[i]);
        pil_resp_put_simple(sink, text);
    }
}

/* The six fields of Redis 2.8 and the four that came later. */
static void put_command_info(struct pil_sink *sink, pil_resp_protocol protocol, const struct pil_command *command) {
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

static void put_command_docs(struct pil_sink *sink, pil_resp_protocol protocol, const struct pil_command *command) {
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
    (void)worker;
    pil_resp_protocol protocol = request->connection->resp;
    uint32_t count = 0, known = 0;
    const struct pil_command *commands = pil_redis_commands(&count);
    for (uint32_t i = 2; i < request->arg_count; i++) {
        known += pil_redis_command_find(request->args[i]) != NULL;
    }
    pil_resp_put_map(sink, protocol, request->arg_count > 2 ? known : count);
    for (uint32_t i = 0; request->arg_count == 2 && i < count; i++) {
        put_command_docs(sink, protocol, &commands[i]);
    }
    for (uint32_t i = 2; i < request->arg_count; i++) {
        const struct pil_command *command = pil_redis_command_find(request->args[i]);
        if (command != NULL) {
            put_command_docs(sink, protocol, command);
        }
    }
}

static PIL_REPLY(reply_command_info) {
    (void)worker;
    uint32_t count = 0;
    const struct pil_command *commands = pil_redis_commands(&count);
    bool all = request->arg_count <= 2;
    pil_resp_put_array(sink, all ? count : request->arg_count - 2);
    for (uint32_t i = 0; all && i < count; i++) {
        put_command_info(sink, request->connection->resp, &commands[i]);
    }
    for (uint32_t i = 2; i < request->arg_count; i++) {
        const struct pil_command *command = pil_redis_command_find(request->args[i]);
        if (command != NULL) {
            put_command_info(sink, request->connection->resp, command);
        } else {
            pil_resp_put_null(sink, request->connection->resp);
        }
    }
}

static PIL_REPLY(reply_command_count) {
    uint32_t count = 0;
    (void)worker, (void)request;
    pil_redis_commands(&count);
    pil_resp_put_integer(sink, count);
}

/* Whether LIST shows it: all, or those that FILTERBY lets through. We have no modules. */
static bool passes(const struct pil_request *request, const struct pil_command *command) {
    if (request->arg_count == 2) {
        return true;
    }
    if (pil_redis_is(request, 3, "pattern")) {
        return pil_redis_match(request->args[4], pil_bytes_from_text(command->name));
    }
    return pil_redis_is(request, 3, "aclcat") && has_category(command, request->args[4]);
}

static PIL_REPLY(reply_command_list) {
    uint32_t count = 0, passed = 0;
    const struct pil_command *commands = pil_redis_commands(&count);
    bool is_filter = request->arg_count == 5 && pil_redis_is(request, 2, "filterby") &&
                     (pil_redis_is(request, 3, "module") || pil_redis_is(request, 3, "aclcat") ||
                      pil_redis_is(request, 3, "pattern"));
    (void)worker;
    if (request->arg_count != 2 && !is_filter) {
        pil_resp_put_error(sink, "ERR syntax error");
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        passed += passes(request, &commands[i]);
    }
    pil_resp_put_array(sink, passed);
    for (uint32_t i = 0; i < count; i++) {
        if (passes(request, &commands[i])) {
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
    if (request->arg_count == 1) {
        reply_command_info(worker, request, sink);
    } else {
        pil_redis_reply_subcommand(worker, request, sink, subcommands, sizeof subcommands / sizeof *subcommands);
    }
}

/* ---- CONFIG GET: the parameters that clients and benchmarks ask for, as they are true here. */

enum { PARAMETER_BYTES = 32 };

static uint32_t config_value(const struct pil_settings *settings, uint32_t index, const char **ret_name,
                             char value[PARAMETER_BYTES]) {
    static const char *const names[] = {"save",
                                        "appendonly",
                                        "databases",
                                        "maxclients",
                                        "maxmemory",
                                        "maxmemory-policy",
                                        "timeout",
                                        "slowlog-log-slower-than",
                                        "slowlog-max-len",
                                        "io-threads"};
    enum { COUNT = sizeof names / sizeof names[0] };
    const long long values[COUNT] = {0,
                                     0,
                                     1,
                                     settings->limits.connections_max,
                                     (long long)settings->memory_budget,
                                     0,
                                     settings->limits.idle_timeout_ms / 1000,
                                     (long long)settings->slowlog_us,
                                     PIL_SLOWLOG_MAX,
                                     settings->worker_count};
    if (index < COUNT) {
        *ret_name = names[index];
        const char *text = index == 0 ? "" : index == 1 ? "no" : index == 5 ? "noeviction" : NULL;
        if (text != NULL) {
            snprintf(value, PARAMETER_BYTES, "%s", text);
        } else {
            snprintf(value, PARAMETER_BYTES, "%lld", values[index]);
        }
    }
    return COUNT;
}

/* The name to answer with when the parameter is asked for: as it was asked, or our own for a pattern; else empty. */
static struct pil_bytes asked_name(const struct pil_request *request, const char *name) {
    for (uint32_t i = 2; i < request->arg_count; i++) {
        uint8_t lower[PARAMETER_BYTES];
        struct pil_bytes pattern = request->args[i];
        if (pil_redis_is(request, i, name)) {
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
    const struct pil_settings *settings = worker->server->settings;
    const char *name = NULL;
    char value[PARAMETER_BYTES];
    uint32_t count = config_value(settings, UINT32_MAX, &name, value), asked = 0;
    for (uint32_t i = 0; i < count; i++) {
        config_value(settings, i, &name, value);
        asked += asked_name(request, name).len > 0;
    }
    pil_resp_put_map(sink, request->connection->resp, asked);
    for (uint32_t i = 0; i < count; i++) {
        config_value(settings, i, &name, value);
        struct pil_bytes told = asked_name(request, name);
        if (told.len > 0) {
            pil_resp_put_bulk(sink, told);
            pil_resp_put_bulk_text(sink, value);
        }
    }
}

static PIL_REPLY(reply_config_change) {
    (void)worker, (void)request;
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
    pil_redis_reply_subcommand(worker, request, sink, subcommands, sizeof subcommands / sizeof *subcommands);
}

/* ---- INFO */

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

static bool wants_section(const struct pil_request *request, const char *name) {
    if (request->arg_count == 1) {
        return true;
    }
    for (uint32_t i = 1; i < request->arg_count; i++) {
        if (pil_redis_is(request, i, name) || pil_redis_is(request, i, "all") ||
            pil_redis_is(request, i, "everything") || pil_redis_is(request, i, "default")) {
            return true;
        }
    }
    return false;
}

static void add_keyspace(struct pil_worker *worker, struct info *info) {
    struct pil_cache *cache = worker->server->cache;
    uint64_t rows = 0;
    for (uint32_t i = 0; i < pil_cache_view_count(cache); i++) {
        const struct pil_release *release = pil_cache_live(pil_cache_view_at(cache, i));
        rows += release != NULL ? release->row_count : 0;
    }
    add(info, "# Keyspace\r\ndb0:keys=%llu,expires=0,avg_ttl=0\r\n\r\n", (unsigned long long)rows);
}

static void add_views(struct pil_worker *worker, struct info *info) {
    struct pil_cache *cache = worker->server->cache;
    add(info, "# Pillion\r\npillion_version:%s\r\nio_engine:%s\r\nworkers:%u\r\n", PIL_VERSION,
        pil_engine_kind_text(worker->server->settings->engine), worker->server->worker_count);
    for (uint32_t i = 0; i < pil_cache_view_count(cache); i++) {
        const struct pil_cache_view *view = pil_cache_view_at(cache, i);
        const struct pil_release *release = pil_cache_live(view);
        add(info, "view_%u:name=%s/%s,channel=%s,release=%s,generation=%llu,rows=%llu,bytes=%llu\r\n", i, view->project,
            view->name, view->channel, release != NULL ? release->id : "",
            (unsigned long long)(release != NULL ? release->generation : 0),
            (unsigned long long)(release != NULL ? release->row_count : 0),
            (unsigned long long)(release != NULL ? release->bytes : 0));
    }
    add(info, "\r\n");
}

static uint64_t release_bytes(struct pil_cache *cache) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < pil_cache_view_count(cache); i++) {
        const struct pil_release *release = pil_cache_live(pil_cache_view_at(cache, i));
        bytes += release != NULL ? release->bytes : 0;
    }
    return bytes;
}

PIL_REPLY(pil_redis_reply_info) {
    const struct pil_server *server = worker->server;
    size_t begin = worker->batch->scratch_used;
    struct info info = {.text = (char *)pil_batch_scratch(worker->batch, 32768), .capacity = 32768};
    if (info.text == NULL) {
        pil_resp_put_error(sink, "ERR no room for INFO in this turn; ask again");
        return;
    }
    if (wants_section(request, "server")) {
        add(&info,
            "# "
            "Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\nos:Linux\r\narch_bits:64\r\nprocess_id:%"
            "d\r\nuptime_in_seconds:%llu\r\n\r\n",
            getpid(), (unsigned long long)((worker->now_ns - server->started_ns) / 1000000000));
    }
    if (wants_section(request, "clients")) {
        add(&info, "# Clients\r\nconnected_clients:%u\r\nmaxclients:%u\r\n\r\n",
            atomic_load_explicit(&server->connection_count, memory_order_relaxed),
            server->settings->limits.connections_max);
    }
    if (wants_section(request, "memory")) {
        add(&info, "# Memory\r\nused_memory:%llu\r\nmaxmemory:%llu\r\nmaxmemory_policy:noeviction\r\n\r\n",
            (unsigned long long)release_bytes(server->cache), (unsigned long long)server->settings->memory_budget);
    }
    if (wants_section(request, "stats")) {
        add(&info,
            "# "
            "Stats\r\ntotal_connections_received:%llu\r\ntotal_commands_processed:%llu\r\nexpired_keys:0\r\nevicted_"
            "keys:0\r\n\r\n",
            (unsigned long long)atomic_load_explicit(&server->connection_id_next, memory_order_relaxed),
            (unsigned long long)pil_metric_read(server->metrics, server->series.requests[PIL_PROTOCOL_RESP][0]));
    }
    if (wants_section(request, "replication")) {
        add(&info, "# Replication\r\nrole:master\r\nconnected_slaves:0\r\n\r\n");
    }
    if (wants_section(request, "keyspace")) {
        add_keyspace(worker, &info);
    }
    if (wants_section(request, "pillion")) {
        add_views(worker, &info);
    }
    pil_resp_put_verbatim(sink, request->connection->resp, pil_bytes_from(info.text, info.len));
    worker->batch->scratch_used = begin;
}

PIL_REPLY(pil_redis_reply_time) {
    (void)request;
    char text[24];
    pil_resp_put_array(sink, 2);
    pil_resp_put_bulk_text(sink, pil_log_number(text, worker->now_wall_us / 1000000));
    pil_resp_put_bulk_text(sink, pil_log_number(text, worker->now_wall_us % 1000000));
}

/* ---- LATENCY HISTOGRAM */

static void merge_command(const struct pil_server *server, uint32_t index, struct pil_histogram_view *view) {
    memset(view, 0, sizeof *view);
    for (uint32_t i = 0; i < server->worker_count; i++) {
        pil_histogram_merge(view, &server->workers[i].command_histograms[index]);
    }
}

/* Cumulative counts at powers of two microseconds, as Redis shows them; the last one is all calls. */
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

static bool is_asked(const struct pil_request *request, const char *name) {
    for (uint32_t i = 2; i < request->arg_count; i++) {
        if (pil_redis_is(request, i, name)) {
            return true;
        }
    }
    return request->arg_count == 2;
}

static PIL_REPLY(reply_latency_histogram) {
    uint32_t count = 0, asked = 0;
    const struct pil_command *commands = pil_redis_commands(&count);
    struct pil_histogram_view view;
    bool has_calls[256] = {false};
    PIL_ASSERT(count <= 256);
    for (uint32_t i = 0; i < count; i++) {
        if (is_asked(request, commands[i].name)) {
            merge_command(worker->server, i, &view);
            has_calls[i] = view.count > 0;
            asked += has_calls[i];
        }
    }
    pil_resp_put_map(sink, request->connection->resp, asked);
    for (uint32_t i = 0; i < count; i++) {
        if (has_calls[i]) {
            merge_command(worker->server, i, &view);
            put_histogram(sink, request->connection->resp, commands[i].name, &view);
        }
    }
}

PIL_REPLY(pil_redis_reply_latency) {
    static const struct pil_subcommand subcommands[] = {
        {"histogram", -2, "HISTOGRAM [COMMAND ...]",
         "Return calls by latency, in microseconds, cumulative; all commands by default.", reply_latency_histogram},
    };
    pil_redis_reply_subcommand(worker, request, sink, subcommands, sizeof subcommands / sizeof *subcommands);
}

/* ---- SLOWLOG: Redis's six fields; the arguments are the command and the view. */

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

/* The slow requests in scratch, *ret_count of them; NULL: there is no room in this turn. */
static const struct pil_slow_request *slow_requests(struct pil_worker *worker, struct pil_sink *sink,
                                                    int64_t *ret_count) {
    uint8_t *room = pil_batch_scratch(worker->batch, sizeof(struct pil_slow_request) * PIL_SLOWLOG_MAX + 16);
    if (room == NULL) {
        pil_resp_put_error(sink, "ERR no room for SLOWLOG in this turn; ask again");
        return NULL;
    }
    struct pil_slow_request *slow = (struct pil_slow_request *)pil_align_up((uintptr_t)room, 16);
    *ret_count = pil_server_slowlog(worker->server, slow);
    return slow;
}

static PIL_REPLY(reply_slowlog_get) {
    size_t begin = worker->batch->scratch_used;
    int64_t wanted = 10, count = 0;
    if (request->arg_count > 3) {
        pil_resp_put_error(sink, "ERR unknown subcommand or wrong number of arguments for 'GET'. Try SLOWLOG HELP.");
        return;
    }
    if (request->arg_count == 3 && (!pil_redis_parse_i64(request->args[2], &wanted) || wanted < -1)) {
        pil_resp_put_error(sink, "ERR count should be greater than or equal to -1");
        return;
    }
    const struct pil_slow_request *slow = slow_requests(worker, sink, &count);
    if (slow != NULL) {
        count = wanted < 0 || wanted > count ? count : wanted;
        pil_resp_put_array(sink, (uint64_t)count);
        for (int64_t i = 0; i < count; i++) {
            put_slow(sink, &slow[i]);
        }
    }
    worker->batch->scratch_used = begin;
}

static PIL_REPLY(reply_slowlog_len) {
    size_t begin = worker->batch->scratch_used;
    int64_t count = 0;
    (void)request;
    if (slow_requests(worker, sink, &count) != NULL) {
        pil_resp_put_integer(sink, count);
    }
    worker->batch->scratch_used = begin;
}

static PIL_REPLY(reply_slowlog_reset) {
    (void)request;
    pil_slowlog_reset(worker->server);
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
    pil_redis_reply_subcommand(worker, request, sink, subcommands, sizeof subcommands / sizeof *subcommands);
}
