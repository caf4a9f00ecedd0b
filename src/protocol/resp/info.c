/* SPDX-License-Identifier: Apache-2.0
 * INFO: the fields that clients and exporters of metrics read, by sections. */
#include "protocol/resp/handlers.h"

#include "engine/engine.h"
#include "metric/metric.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

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

/* Some sections are shown only when they or all are asked for, as in Redis. */
static bool wants_section(const struct pil_redis_call *call, const char *name, bool is_default) {
    for (uint32_t i = 1; i < call->arg_count; i++) {
        if (pil_redis_is(call, i, name) || pil_redis_is(call, i, "all") || pil_redis_is(call, i, "everything") ||
            (is_default && pil_redis_is(call, i, "default"))) {
            return true;
        }
    }
    return is_default && call->arg_count == 1;
}

/* "1.46M", as Redis writes amounts of memory for people. */
static const char *human(uint64_t bytes, char text[32]) {
    static const char units[] = "BKMGTP";
    double amount = (double)bytes;
    size_t unit = 0;
    for (; amount >= 1024 && units[unit + 1] != '\0'; unit++) {
        amount /= 1024;
    }
    snprintf(text, 32, unit == 0 ? "%.0f%c" : "%.2f%c", amount, units[unit]);
    return text;
}

/* The port of the first RESP listener on TCP; 0: there is none. */
static unsigned tcp_port(const struct pil_settings *settings, uint32_t protocol) {
    for (uint32_t i = 0; i < settings->listener_count; i++) {
        const char *address = settings->listeners[i].address, *colon = strrchr(address, ':');
        if (settings->listeners[i].protocol == protocol && strncmp(address, "tcp:", 4) == 0 && colon != NULL) {
            return (unsigned)strtoul(colon + 1, NULL, 10);
        }
    }
    return 0;
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
    pil_server_facts(turn->server, &facts);
    unsigned long long uptime_s = (turn->now_ns - facts.started_ns) / 1000000000;
    add(info,
        "# Server\r\nredis_version:" PIL_REDIS_VERSION "\r\nredis_mode:standalone\r\nos:Linux\r\narch_bits:64\r\n");
    add(info, "monotonic_clock:POSIX clock_gettime\r\nmultiplexing_api:%s\r\nprocess_id:%d\r\ntcp_port:%u\r\n",
        pil_engine_kind_text(turn->settings->engine), getpid(),
        tcp_port(turn->settings, call->connection->base->listener->protocol));
    add(info, "server_time_usec:%lld\r\nuptime_in_seconds:%llu\r\nuptime_in_days:%llu\r\n\r\n",
        (long long)turn->wall_us, uptime_s, uptime_s / 86400);
}

static void add_clients(struct pil_turn *turn, const struct pil_redis_call *call, struct info *info) {
    struct pil_server_facts facts;
    (void)call;
    pil_server_facts(turn->server, &facts);
    add(info,
        "# Clients\r\nconnected_clients:%u\r\ncluster_connections:0\r\nmaxclients:%u\r\nblocked_clients:0\r\n\r\n",
        facts.connections_now, turn->settings->limits.connections_max);
}

static void add_memory(struct pil_turn *turn, const struct pil_redis_call *call, struct info *info) {
    uint64_t rows = 0, bytes = 0, budget = turn->settings->memory_budget;
    char used[32], most[32];
    (void)call;
    sum_releases(turn, &rows, &bytes);
    add(info, "# Memory\r\nused_memory:%llu\r\nused_memory_human:%s\r\nused_memory_dataset:%llu\r\n",
        (unsigned long long)bytes, human(bytes, used), (unsigned long long)bytes);
    add(info, "maxmemory:%llu\r\nmaxmemory_human:%s\r\nmaxmemory_policy:noeviction\r\n\r\n", (unsigned long long)budget,
        human(budget, most));
}

static void add_persistence(struct pil_turn *turn, const struct pil_redis_call *call, struct info *info) {
    (void)call;
    add(info,
        "# Persistence\r\nloading:%d\r\nasync_loading:0\r\nrdb_changes_since_last_save:0\r\n"
        "rdb_bgsave_in_progress:0\r\naof_enabled:0\r\naof_rewrite_in_progress:0\r\n\r\n",
        pil_redis_is_loading(turn));
}

static void add_stats(struct pil_turn *turn, const struct pil_redis_call *call, struct info *info) {
    struct pil_server_facts facts;
    pil_server_facts(turn->server, &facts);
    add(info,
        "# Stats\r\ntotal_connections_received:%llu\r\ntotal_commands_processed:%llu\r\nexpired_keys:0\r\n"
        "evicted_keys:0\r\npubsub_channels:0\r\npubsub_patterns:0\r\n\r\n",
        (unsigned long long)facts.connections_total,
        (unsigned long long)pil_server_requests(turn->server, call->connection->base->listener->protocol));
}

static void add_replication(struct pil_turn *turn, const struct pil_redis_call *call, struct info *info) {
    (void)turn, (void)call;
    add(info, "# Replication\r\nrole:master\r\nconnected_slaves:0\r\nmaster_repl_offset:0\r\n\r\n");
}

static void add_cpu(struct pil_turn *turn, const struct pil_redis_call *call, struct info *info) {
    struct rusage usage = {0};
    (void)turn, (void)call;
    getrusage(RUSAGE_SELF, &usage);
    add(info, "# CPU\r\nused_cpu_sys:%lld.%06lld\r\nused_cpu_user:%lld.%06lld\r\n\r\n",
        (long long)usage.ru_stime.tv_sec, (long long)usage.ru_stime.tv_usec, (long long)usage.ru_utime.tv_sec,
        (long long)usage.ru_utime.tv_usec);
}

/* Calls that were answered with their time in the server, from the histograms of LATENCY. */
static void add_command_stats(struct pil_turn *turn, const struct pil_redis_call *call, struct info *info) {
    uint32_t count = 0, protocol = call->connection->base->listener->protocol;
    const struct pil_redis_command *commands = pil_redis_commands(&count);
    add(info, "# Commandstats\r\n");
    for (uint32_t i = 0; i < count && !commands[i].is_write; i++) {
        struct pil_histogram_view view;
        pil_server_operation(turn->server, protocol, i, &view);
        turn->work += PIL_HISTOGRAM_BUCKETS;
        if (view.count > 0) {
            double us = (double)view.sum / 1000;
            add(info, "cmdstat_%s:calls=%llu,usec=%.0f,usec_per_call=%.2f\r\n", commands[i].name,
                (unsigned long long)view.count, us, us / (double)view.count);
        }
    }
    add(info, "\r\n");
}

static void add_cluster(struct pil_turn *turn, const struct pil_redis_call *call, struct info *info) {
    (void)turn, (void)call;
    add(info, "# Cluster\r\ncluster_enabled:0\r\n\r\n");
}

static void add_keyspace(struct pil_turn *turn, const struct pil_redis_call *call, struct info *info) {
    uint64_t rows = 0, bytes = 0;
    (void)call;
    sum_releases(turn, &rows, &bytes);
    add(info, "# Keyspace\r\n");
    if (rows > 0) {
        add(info, "db0:keys=%llu,expires=0,avg_ttl=0\r\n", (unsigned long long)rows);
    }
    add(info, "\r\n");
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
        bool is_default;
    } sections[] = {{"server", add_server, true},   {"clients", add_clients, true},
                    {"memory", add_memory, true},   {"persistence", add_persistence, true},
                    {"stats", add_stats, true},     {"replication", add_replication, true},
                    {"cpu", add_cpu, true},         {"commandstats", add_command_stats, false},
                    {"cluster", add_cluster, true}, {"keyspace", add_keyspace, true},
                    {"pillion", add_views, true}};
    struct pil_arena *arena = &turn->batch->arena;
    size_t mark = pil_arena_mark(arena);
    turn->work += call->arg_count;
    struct info info = {.text = pil_arena_alloc(arena, INFO_BYTES, 1), .capacity = INFO_BYTES};
    if (info.text == NULL) {
        pil_resp_put_error(sink, "ERR no room for INFO in this turn; ask again");
        return;
    }
    for (size_t i = 0; i < sizeof sections / sizeof sections[0]; i++) {
        if (wants_section(call, sections[i].name, sections[i].is_default)) {
            sections[i].add(turn, call, &info);
        }
    }
    pil_resp_put_verbatim(sink, call->connection->resp, pil_bytes_from(info.text, info.len));
    pil_arena_rewind(arena, mark);
}
