/* SPDX-License-Identifier: Apache-2.0
 * CLIENT: what a connection is called, and who is connected. LIST tells of the connections of all workers: their names
 * as of now, their last command and idle time as of now or, for those of other workers, of some tenths of a second ago.
 */
#include "server/redis.h"

#include <stdio.h>

enum { LINE_BYTES_MAX = 1024 };

/* Takes printable ASCII without spaces, as a line of the list needs it. NULL, or what is wrong. */
static const char *set_text(char to[PIL_CLIENT_NAME_BYTES], struct pil_bytes from, const char *wrong) {
    for (size_t i = 0; i < from.len; i++) {
        if (from.data[i] < '!' || from.data[i] > '~') {
            return wrong;
        }
    }
    if (from.len >= PIL_CLIENT_NAME_BYTES) {
        return "ERR names of clients and libraries have at most 63 bytes";
    }
    memcpy(to, from.data, from.len);
    to[from.len] = '\0';
    return NULL;
}

const char *pil_redis_set_name(struct pil_connection *connection, struct pil_bytes name) {
    return set_text(connection->name, name, "ERR Client names cannot contain spaces, newlines or special characters.");
}

static PIL_REPLY(reply_id) {
    (void)worker;
    pil_resp_put_integer(sink, (int64_t)request->connection->id);
}

static PIL_REPLY(reply_getname) {
    (void)worker;
    if (request->connection->name[0] != '\0') {
        pil_resp_put_bulk_text(sink, request->connection->name);
    } else {
        pil_resp_put_null(sink, request->connection->resp);
    }
}

static void put_done(struct pil_worker *worker, struct pil_connection *connection, struct pil_sink *sink,
                     const char *mistake) {
    if (mistake != NULL) {
        pil_resp_put_error(sink, mistake);
        return;
    }
    pil_connection_list(worker, connection);
    pil_resp_put_simple(sink, "OK");
}

static PIL_REPLY(reply_setname) {
    put_done(worker, request->connection, sink, pil_redis_set_name(request->connection, request->args[2]));
}

static PIL_REPLY(reply_setinfo) {
    static const char wrong[] = "ERR lib-name and lib-ver cannot contain spaces, newlines or special characters.";
    struct pil_connection *connection = request->connection;
    char *to = pil_redis_is(request, 2, "lib-name")  ? connection->library
               : pil_redis_is(request, 2, "lib-ver") ? connection->library_version
                                                     : NULL;
    const char *mistake = to != NULL
                              ? set_text(to, request->args[3], wrong)
                              : pil_batch_text(worker->batch, "ERR Unrecognized option '%.*s'",
                                               pil_redis_shown(request->args[2]), (const char *)request->args[2].data);
    put_done(worker, connection, sink, mistake);
}

/* Nothing here is ever evicted or aged by being read. */
static PIL_REPLY(reply_switch) {
    (void)worker;
    if (pil_redis_is(request, 2, "on") || pil_redis_is(request, 2, "off")) {
        pil_resp_put_simple(sink, "OK");
    } else {
        pil_resp_put_error(sink, "ERR syntax error");
    }
}

static uint64_t seconds_since(const struct pil_worker *worker, uint64_t then_ns) {
    return worker->now_ns > then_ns ? (worker->now_ns - then_ns) / 1000000000 : 0; /* other workers' clocks run on */
}

/* One line of the list; its length. */
static size_t write_line(const struct pil_worker *worker, const struct pil_client *client, char *line) {
    bool is_unix = strncmp(client->listener->address, "unix:", 5) == 0;
    int len = snprintf(
        line, LINE_BYTES_MAX,
        "id=%llu addr=%s laddr=%s fd=-1 name=%s age=%llu idle=%llu flags=%c db=0 cmd=%s user=default lib-name=%s "
        "lib-ver=%s resp=%u\n",
        (unsigned long long)client->id, client->peer, client->listener->address, client->name,
        (unsigned long long)seconds_since(worker, client->created_ns),
        (unsigned long long)seconds_since(worker, client->active_ns), is_unix ? 'U' : 'N', client->command,
        client->library, client->library_version, client->resp);
    PIL_ASSERT(len > 0 && len < LINE_BYTES_MAX); /* every text in it is bounded */
    return (size_t)len;
}

static PIL_REPLY(reply_info) {
    char line[LINE_BYTES_MAX];
    struct pil_client client;
    pil_connection_list(worker, request->connection);
    bool is_there = pil_client_table_read(worker->clients, request->connection->client_slot, &client);
    PIL_ASSERT(is_there);
    pil_resp_put_verbatim(sink, request->connection->resp, pil_bytes_from(line, write_line(worker, &client, line)));
}

/* TYPE type, or ID id...: NULL, or what is wrong. */
static const char *check_filter(struct pil_worker *worker, const struct pil_request *request) {
    static const char *const types[] = {"normal", "master", "replica", "slave", "pubsub"};
    int64_t id = 0;
    if (request->arg_count == 4 && pil_redis_is(request, 2, "type")) {
        for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
            if (pil_redis_is(request, 3, types[i])) {
                return NULL;
            }
        }
        return pil_batch_text(worker->batch, "ERR Unknown client type '%.*s'", pil_redis_shown(request->args[3]),
                              (const char *)request->args[3].data);
    }
    if (request->arg_count > 3 && pil_redis_is(request, 2, "id")) {
        for (uint32_t i = 3; i < request->arg_count; i++) {
            if (!pil_redis_parse_i64(request->args[i], &id)) {
                return "ERR Invalid client ID";
            }
        }
        return NULL;
    }
    return request->arg_count == 2 ? NULL : "ERR syntax error";
}

static bool is_wanted(const struct pil_request *request, const struct pil_client *client) {
    if (request->arg_count == 2) {
        return true;
    }
    if (pil_redis_is(request, 2, "type")) {
        return pil_redis_is(request, 3, "normal");
    }
    for (uint32_t i = 3; i < request->arg_count; i++) {
        int64_t id = 0;
        if (pil_redis_parse_i64(request->args[i], &id) && (uint64_t)id == client->id) {
            return true;
        }
    }
    return false;
}

/* The lines go to what is left of scratch, because their length comes first in the reply. */
static PIL_REPLY(reply_list) {
    struct pil_batch *batch = worker->batch;
    const struct pil_server *server = worker->server;
    const char *mistake = check_filter(worker, request);
    if (mistake != NULL) {
        pil_resp_put_error(sink, mistake);
        return;
    }
    for (struct pil_connection *own = worker->connections; own != NULL; own = own->next) {
        pil_connection_list(worker, own);
    }
    char *lines = (char *)batch->scratch + batch->scratch_used;
    size_t room = sizeof batch->scratch - batch->scratch_used, len = 0;
    for (uint32_t w = 0; w < server->worker_count; w++) {
        const struct pil_client_table *table = server->workers[w].clients;
        for (uint32_t slot = 0, count = pil_client_table_size(table); slot < count; slot++) {
            struct pil_client client;
            if (!pil_client_table_read(table, slot, &client) || !is_wanted(request, &client)) {
                continue;
            }
            if (room - len < LINE_BYTES_MAX) {
                pil_resp_put_error(sink, "ERR too many clients for one answer; ask for some with CLIENT LIST ID");
                return;
            }
            len += write_line(worker, &client, lines + len);
        }
    }
    pil_resp_put_verbatim(sink, request->connection->resp, pil_bytes_from(lines, len));
}

PIL_REPLY(pil_redis_reply_client) {
    static const struct pil_subcommand subcommands[] = {
        {"id", 2, "ID", "Return the number of this connection.", reply_id},
        {"getname", 2, "GETNAME", "Return the name of this connection.", reply_getname},
        {"setname", 3, "SETNAME <name>", "Name this connection.", reply_setname},
        {"setinfo", 4, "SETINFO (LIB-NAME|LIB-VER) <text>", "Say which library this connection uses.", reply_setinfo},
        {"info", 2, "INFO", "Return what LIST tells of this connection.", reply_info},
        {"list", -2, "LIST [TYPE (NORMAL|MASTER|REPLICA|PUBSUB)|ID <id> [<id> ...]]",
         "Return all connections, of all workers.", reply_list},
        {"no-evict", 3, "NO-EVICT (ON|OFF)", "Accepted: nothing is ever evicted.", reply_switch},
        {"no-touch", 3, "NO-TOUCH (ON|OFF)", "Accepted: reading changes nothing.", reply_switch},
    };
    pil_redis_reply_subcommand(worker, request, sink, subcommands, sizeof subcommands / sizeof *subcommands);
}
