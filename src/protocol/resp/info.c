/* SPDX-License-Identifier: Apache-2.0
 * INFO: the fields that clients and exporters of metrics read, by sections. */
#include "protocol/resp/handlers.h"

#include "engine/engine.h"
#include "metric/metric.h"

#include <stdio.h>
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
    turn->work += call->arg_count;
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
