/* SPDX-License-Identifier: Apache-2.0
 * CLIENT: the name of a connection, and the list of connections. LIST shows the connections of all workers with their
 * current names; last command and idle time are current for this worker's connections and some tenths of a second old
 * for those of other workers. */
#include "protocol/resp/handlers.h"
#include "protocol/resp/subcommand.h"

#include <stdlib.h>

enum {
    LINE_BYTES_MAX = 1024,
    CLIENT_WORK = 64, /* steps to read the facts of a connection, or to write its line */
};

/* Accepts printable ASCII without spaces, because the list separates fields by spaces. Returns NULL, or the error. */
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

const char *pil_redis_set_name(struct pil_redis_connection *connection, struct pil_bytes name) {
    return set_text(connection->name, name, "ERR Client names cannot contain spaces, newlines or special characters.");
}

void pil_redis_list(struct pil_turn *turn, struct pil_redis_connection *connection) {
    const struct pil_connection *base = connection->base;
    struct pil_client client = {.id = base->id,
                                .created_ns = base->created_ns,
                                .active_ns = base->active_ns,
                                .listener = base->listener,
                                .command = connection->last_command,
                                .queued = connection->transaction.is_open ? (int32_t)connection->transaction.count : -1,
                                .input_bytes = (uint32_t)(base->input_end - base->input_begin),
                                .output_bytes = (uint32_t)base->output.bytes,
                                .is_tracking = connection->tracking != NULL,
                                .resp = connection->resp};
    memcpy(client.name, connection->name, sizeof client.name);
    memcpy(client.library, connection->library, sizeof client.library);
    memcpy(client.library_version, connection->library_version, sizeof client.library_version);
    memcpy(client.peer, base->identity.address, sizeof client.peer);
    pil_client_table_write(pil_redis_worker_of(turn, connection)->clients, connection->client_slot, &client);
    connection->listed_ns = base->active_ns;
}

static PIL_REPLY(reply_id) {
    (void)turn;
    pil_resp_put_integer(sink, (int64_t)call->connection->base->id);
}

static PIL_REPLY(reply_getname) {
    (void)turn;
    if (call->connection->name[0] != '\0') {
        pil_resp_put_bulk_text(sink, call->connection->name);
    } else {
        pil_resp_put_null(sink, call->connection->resp);
    }
}

static void put_done(struct pil_turn *turn, struct pil_redis_connection *connection, struct pil_sink *sink,
                     const char *mistake) {
    if (mistake != NULL) {
        pil_resp_put_error(sink, mistake);
        return;
    }
    pil_redis_list(turn, connection);
    pil_resp_put_simple(sink, "OK");
}

static PIL_REPLY(reply_setname) {
    put_done(turn, call->connection, sink, pil_redis_set_name(call->connection, call->args[2]));
}

static PIL_REPLY(reply_setinfo) {
    static const char wrong[] = "ERR lib-name and lib-ver cannot contain spaces, newlines or special characters.";
    struct pil_redis_connection *connection = call->connection;
    char *to = pil_redis_is(call, 2, "lib-name")  ? connection->library
               : pil_redis_is(call, 2, "lib-ver") ? connection->library_version
                                                  : NULL;
    const char *mistake = to != NULL ? set_text(to, call->args[3], wrong)
                                     : pil_batch_text(turn->batch, "ERR Unrecognized option '%.*s'",
                                                      pil_redis_shown(call->args[2]), (const char *)call->args[2].data);
    put_done(turn, connection, sink, mistake);
}

/* NO-EVICT and NO-TOUCH have no effect: nothing is evicted, and reading does not age anything. */
static PIL_REPLY(reply_switch) {
    (void)turn;
    if (pil_redis_is(call, 2, "on") || pil_redis_is(call, 2, "off")) {
        pil_resp_put_simple(sink, "OK");
    } else {
        pil_resp_put_error(sink, "ERR syntax error");
    }
}

static uint64_t seconds_since(const struct pil_turn *turn, uint64_t then_ns) {
    return turn->now_ns > then_ns ? (turn->now_ns - then_ns) / 1000000000 : 0; /* another worker's clock may be ahead */
}

static void put_text(struct pil_sink *line, const char *name, const char *value) {
    pil_sink_write_text(line, name);
    pil_sink_write_text(line, value);
}

static void put_number(struct pil_sink *line, const char *name, int64_t value) {
    pil_sink_write_text(line, name);
    pil_sink_write_i64(line, value);
}

/* Writes one line of the list and returns its length. Not by snprintf, which takes ten times as long. */
static size_t write_line(const struct pil_turn *turn, const struct pil_client *client, char line[LINE_BYTES_MAX]) {
    struct pil_sink to = {.at = (uint8_t *)line, .end = (uint8_t *)line + LINE_BYTES_MAX};
    bool is_unix = strncmp(client->listener->address, "unix:", 5) == 0;
    put_number(&to, "id=", (int64_t)client->id);
    put_text(&to, " addr=", client->peer);
    put_text(&to, " laddr=", client->listener->address);
    put_text(&to, " fd=-1 name=", client->name);
    put_number(&to, " age=", (int64_t)seconds_since(turn, client->created_ns));
    put_number(&to, " idle=", (int64_t)seconds_since(turn, client->active_ns));
    put_text(&to, " flags=", client->is_tracking ? "t" : "");
    put_text(&to, "", is_unix ? "U" : client->is_tracking ? "" : "N");
    put_number(&to, " db=0 sub=0 psub=0 ssub=0 multi=", client->queued);
    put_number(&to, " qbuf=", client->input_bytes);
    put_number(&to, " omem=", client->output_bytes);
    put_text(&to, " events=r cmd=", client->command);
    put_number(&to, " user=default redir=", client->is_tracking ? 0 : -1);
    put_number(&to, " resp=", client->resp);
    put_text(&to, " lib-name=", client->library);
    put_text(&to, " lib-ver=", client->library_version);
    pil_sink_put(&to, '\n');
    PIL_ASSERT(!to.failed); /* every text in it is bounded */
    return (size_t)(to.at - (uint8_t *)line);
}

static PIL_REPLY(reply_info) {
    char line[LINE_BYTES_MAX];
    struct pil_client client;
    const struct pil_redis_worker *worker = pil_redis_worker_of(turn, call->connection);
    pil_redis_list(turn, call->connection);
    bool is_there = pil_client_table_read(worker->clients, call->connection->client_slot, &client);
    PIL_ASSERT(is_there);
    pil_resp_put_verbatim(sink, call->connection->resp, pil_bytes_from(line, write_line(turn, &client, line)));
}

/* Which clients CLIENT LIST shows. */
struct filter {
    bool is_none;        /* a type that no connection has here */
    bool is_by_id;       /* only these */
    const uint64_t *ids; /* sorted; in the arena */
    uint32_t id_count;
};

/* Returns NULL, or the error. */
static const char *read_type(struct pil_turn *turn, const struct pil_redis_call *call, struct filter *filter) {
    static const char *const types[] = {"normal", "master", "replica", "slave", "pubsub"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (pil_redis_is(call, 3, types[i])) {
            filter->is_none = i != 0;
            return NULL;
        }
    }
    return pil_batch_text(turn->batch, "ERR Unknown client type '%.*s'", pil_redis_shown(call->args[3]),
                          (const char *)call->args[3].data);
}

/* Sorts the ids by insertion: there are at most PIL_REDIS_WORDS_MAX. Returns NULL, or the error. */
static const char *read_ids(struct pil_turn *turn, const struct pil_redis_call *call, struct filter *filter) {
    uint64_t *ids = PIL_ARENA_NEW(&turn->batch->arena, uint64_t, call->arg_count);
    uint32_t count = 0;
    if (ids == NULL) {
        return "ERR no room for the ids in this turn; ask again";
    }
    for (uint32_t i = 3; i < call->arg_count; i++) {
        int64_t id = 0;
        if (!pil_number_parse_i64(call->args[i], &id)) {
            return "ERR Invalid client ID";
        }
        uint32_t at = count++;
        for (; at > 0 && ids[at - 1] > (uint64_t)id; at--) {
            ids[at] = ids[at - 1];
            turn->work++;
        }
        ids[at] = (uint64_t)id;
    }
    *filter = (struct filter){.is_by_id = true, .ids = ids, .id_count = count};
    return NULL;
}

/* Reads TYPE type or ID id...; returns NULL, or the error. */
static const char *read_filter(struct pil_turn *turn, const struct pil_redis_call *call, struct filter *filter) {
    if (call->arg_count == 4 && pil_redis_is(call, 2, "type")) {
        return read_type(turn, call, filter);
    }
    if (call->arg_count > 3 && pil_redis_is(call, 2, "id")) {
        return read_ids(turn, call, filter);
    }
    return call->arg_count == 2 ? NULL : "ERR syntax error";
}

static int compare_ids(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static bool is_wanted(const struct filter *filter, const struct pil_client *client) {
    return !filter->is_none &&
           (!filter->is_by_id || bsearch(&client->id, filter->ids, filter->id_count, sizeof client->id, compare_ids));
}

/* Appends the lines of a worker's connections. Returns false when there is no room. */
static bool add_lines(struct pil_turn *turn, const struct filter *filter, const struct pil_client_table *table,
                      char *lines, size_t room, size_t *len) {
    for (uint32_t slot = 0, count = pil_client_table_size(table); slot < count; slot++) {
        struct pil_client client;
        turn->work += CLIENT_WORK;
        if (!pil_client_table_read(table, slot, &client) || !is_wanted(filter, &client)) {
            continue;
        }
        if (room - *len < LINE_BYTES_MAX) {
            return false;
        }
        *len += write_line(turn, &client, lines + *len);
        turn->work += CLIENT_WORK;
    }
    return true;
}

/* The lines are collected in the rest of the arena, because the reply begins with their length. */
static PIL_REPLY(reply_list) {
    struct pil_arena *arena = &turn->batch->arena;
    size_t mark = pil_arena_mark(arena), len = 0;
    uint32_t protocol = call->connection->base->listener->protocol;
    struct pil_server_facts facts;
    struct filter filter = {0};
    const char *mistake = read_filter(turn, call, &filter);
    if (mistake != NULL) {
        pil_resp_put_error(sink, mistake);
        return;
    }
    pil_server_facts(turn->server, &facts);
    PIL_LIST_EACH(struct pil_redis_connection, link, own, &pil_redis_worker_of(turn, call->connection)->connections) {
        pil_redis_list(turn, own);
        turn->work += CLIENT_WORK;
    }
    size_t room = pil_arena_left(arena);
    char *lines = pil_arena_alloc(arena, room, 1);
    bool fits = true;
    for (uint32_t i = 0; i < facts.worker_count && fits; i++) {
        const struct pil_redis_worker *worker = pil_server_protocol_state(turn->server, protocol, i);
        fits = add_lines(turn, &filter, worker->clients, lines, room, &len);
    }
    if (fits) {
        pil_resp_put_verbatim(sink, call->connection->resp, pil_bytes_from(lines, len));
    } else {
        pil_resp_put_error(sink, "ERR too many clients for one answer; ask for some with CLIENT LIST ID");
    }
    pil_arena_rewind(arena, mark);
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
        {"tracking", -3, "TRACKING (ON|OFF) [OPTIN] [OPTOUT] [BCAST] [PREFIX <prefix> [...]] [NOLOOP]",
         "Tell this connection when to forget what it has read (RESP3).", pil_redis_reply_tracking},
        {"trackinginfo", 2, "TRACKINGINFO", "Return how this connection is told.", pil_redis_reply_trackinginfo},
        {"caching", 3, "CACHING (YES|NO)", "Track the next request, or not, with OPTIN or OPTOUT.",
         pil_redis_reply_caching},
        {"getredir", 2, "GETREDIR", "Return 0 when this connection is told, else -1.", pil_redis_reply_getredir},
    };
    pil_redis_reply_subcommand(turn, call, sink, subcommands, sizeof subcommands / sizeof *subcommands);
}
