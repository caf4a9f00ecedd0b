/* SPDX-License-Identifier: Apache-2.0
 * RESP commands about the connection itself. Answers are Redis 7.0's, so that its clients connect unchanged. */
#include "server/redis.h"

#include <stdio.h>

static bool is(const struct pil_request *request, uint32_t arg, const char *text) {
    return arg < request->arg_count && pil_bytes_equal_nocase(request->args[arg], text);
}

PIL_REPLY(pil_redis_reply_ping) {
    (void)worker;
    if (request->arg_count > 2) {
        pil_resp_put_error(sink, "ERR wrong number of arguments for 'ping' command");
    } else if (request->arg_count == 2) {
        pil_resp_put_bulk(sink, request->args[1]);
    } else {
        pil_resp_put_simple(sink, "PONG");
    }
}

PIL_REPLY(pil_redis_reply_echo) {
    (void)worker;
    pil_resp_put_bulk(sink, request->args[1]);
}

/* Printable ASCII without spaces, as CLIENT LIST needs it. */
static bool set_text(char to[PIL_CLIENT_NAME_BYTES], struct pil_bytes from) {
    for (size_t i = 0; i < from.len; i++) {
        if (from.data[i] < '!' || from.data[i] > '~') {
            return false;
        }
    }
    if (from.len >= PIL_CLIENT_NAME_BYTES) {
        return false;
    }
    memcpy(to, from.data, from.len);
    to[from.len] = '\0';
    return true;
}

static void put_hello(struct pil_worker *worker, const struct pil_connection *connection, struct pil_sink *sink) {
    (void)worker;
    pil_resp_put_map(sink, connection->resp, 7);
    pil_resp_put_bulk_text(sink, "server");
    pil_resp_put_bulk_text(sink, "redis"); /* clients choose dialects by it; INFO says who we are */
    pil_resp_put_bulk_text(sink, "version");
    pil_resp_put_bulk_text(sink, "7.0.15");
    pil_resp_put_bulk_text(sink, "proto");
    pil_resp_put_integer(sink, connection->resp);
    pil_resp_put_bulk_text(sink, "id");
    pil_resp_put_integer(sink, (int64_t)connection->id);
    pil_resp_put_bulk_text(sink, "mode");
    pil_resp_put_bulk_text(sink, "standalone");
    pil_resp_put_bulk_text(sink, "role");
    pil_resp_put_bulk_text(sink, "master");
    pil_resp_put_bulk_text(sink, "modules");
    pil_resp_put_array(sink, 0);
}

static bool user_is_ok(struct pil_bytes user) {
    return pil_bytes_equal_text(user, "default");
}

static const char wrong_pass[] = "WRONGPASS invalid username-password pair or user is disabled.";

PIL_REPLY(pil_redis_reply_hello) {
    struct pil_connection *connection = request->connection;
    int64_t version = connection->resp;
    struct pil_bytes name = {0};
    bool has_name = false;
    if (request->arg_count > 1 && !pil_redis_parse_i64(request->args[1], &version)) {
        pil_resp_put_error(sink, "ERR Protocol version is not an integer or out of range");
        return;
    }
    if (version != PIL_RESP_2 && version != PIL_RESP_3) {
        pil_resp_put_error(sink, "NOPROTO unsupported protocol version");
        return;
    }
    for (uint32_t i = 2; i < request->arg_count;) {
        if (is(request, i, "auth") && i + 2 < request->arg_count) {
            if (!user_is_ok(request->args[i + 1])) {
                pil_resp_put_error(sink, wrong_pass);
                return;
            }
            i += 3;
        } else if (is(request, i, "setname") && i + 1 < request->arg_count) {
            name = request->args[i + 1];
            has_name = true;
            i += 2;
        } else {
            pil_resp_put_error(sink,
                               pil_batch_text(worker->batch, "ERR Syntax error in HELLO option '%.*s'",
                                              (int)(request->args[i].len & 127), (const char *)request->args[i].data));
            return;
        }
    }
    if (has_name && !set_text(connection->name, name)) {
        pil_resp_put_error(sink, "ERR Client names cannot contain spaces, newlines or special characters.");
        return;
    }
    connection->resp = (pil_resp_protocol)version;
    put_hello(worker, connection, sink);
}

PIL_REPLY(pil_redis_reply_auth) {
    (void)worker;
    if (request->arg_count > 3) {
        pil_resp_put_error(sink, "ERR syntax error");
    } else if (request->arg_count == 2) {
        pil_resp_put_error(sink, "ERR AUTH <password> called without any password configured for the default user. Are "
                                 "you sure your configuration is correct?");
    } else if (!user_is_ok(request->args[1])) {
        pil_resp_put_error(sink, wrong_pass);
    } else {
        pil_resp_put_simple(sink, "OK");
    }
}

PIL_REPLY(pil_redis_reply_select) {
    (void)worker;
    int64_t index = 0;
    if (!pil_redis_parse_i64(request->args[1], &index) || index != (int32_t)index) {
        pil_resp_put_error(sink, "ERR value is not an integer or out of range");
    } else if (index != 0) {
        pil_resp_put_error(sink, "ERR DB index is out of range");
    } else {
        pil_resp_put_simple(sink, "OK");
    }
}

static const char *client_line(struct pil_worker *worker, const struct pil_connection *connection) {
    return pil_batch_text(
        worker->batch,
        "id=%llu addr=%s laddr=%s fd=-1 name=%s age=%llu idle=%llu flags=N db=0 cmd=%s user=default lib-name=%s "
        "lib-ver=%s resp=%d\n",
        (unsigned long long)connection->id, connection->peer, connection->listener->address, connection->name,
        (unsigned long long)((worker->now_ns - connection->created_ns) / 1000000000),
        (unsigned long long)((worker->now_ns - connection->active_ns) / 1000000000), connection->last_command,
        connection->library, connection->library_version, (int)connection->resp);
}

/* The connections of this worker: those of others belong to other threads. */
static void put_list(struct pil_worker *worker, const struct pil_request *request, struct pil_sink *sink) {
    size_t begin = worker->batch->scratch_used, len = 0;
    char *all = (char *)pil_batch_scratch(worker->batch, 65536);
    for (const struct pil_connection *connection = worker->connections; all != NULL && connection != NULL;
         connection = connection->next) {
        const char *line = connection->listener->protocol == PIL_PROTOCOL_RESP ? client_line(worker, connection) : "";
        size_t bytes = strlen(line);
        if (len + bytes > 65536) {
            break;
        }
        memcpy(all + len, line, bytes);
        len += bytes;
    }
    pil_resp_put_verbatim(sink, request->connection->resp, pil_bytes_from(all, len));
    worker->batch->scratch_used = begin;
}

static void set_info(struct pil_worker *worker, const struct pil_request *request, struct pil_sink *sink) {
    struct pil_connection *connection = request->connection;
    char *to = is(request, 2, "lib-name")  ? connection->library
               : is(request, 2, "lib-ver") ? connection->library_version
                                           : NULL;
    if (to == NULL) {
        pil_resp_put_error(sink,
                           pil_batch_text(worker->batch, "ERR Unrecognized option '%.*s'",
                                          (int)(request->args[2].len & 127), (const char *)request->args[2].data));
    } else if (!set_text(to, request->args[3])) {
        pil_resp_put_error(sink, "ERR lib-name and lib-ver cannot contain spaces, newlines or special characters.");
    } else {
        pil_resp_put_simple(sink, "OK");
    }
}

static void put_help(struct pil_sink *sink, const char *const *lines, uint32_t count) {
    pil_resp_put_array(sink, count);
    for (uint32_t i = 0; i < count; i++) {
        pil_resp_put_simple(sink, lines[i]);
    }
}

PIL_REPLY(pil_redis_reply_client) {
    static const char *const help[] = {"CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
                                       "ID",
                                       "GETNAME",
                                       "SETNAME <name>",
                                       "SETINFO (lib-name|lib-ver) <text>",
                                       "INFO",
                                       "LIST",
                                       "NO-EVICT (ON|OFF)",
                                       "NO-TOUCH (ON|OFF)",
                                       "HELP"};
    struct pil_connection *connection = request->connection;
    uint32_t count = request->arg_count;
    if (is(request, 1, "id") && count == 2) {
        pil_resp_put_integer(sink, (int64_t)connection->id);
    } else if (is(request, 1, "getname") && count == 2) {
        if (connection->name[0] != '\0') {
            pil_resp_put_bulk_text(sink, connection->name);
        } else {
            pil_resp_put_null(sink, connection->resp);
        }
    } else if (is(request, 1, "setname") && count == 3) {
        if (set_text(connection->name, request->args[2])) {
            pil_resp_put_simple(sink, "OK");
        } else {
            pil_resp_put_error(sink, "ERR Client names cannot contain spaces, newlines or special characters.");
        }
    } else if (is(request, 1, "setinfo") && count == 4) {
        set_info(worker, request, sink);
    } else if (is(request, 1, "info") && count == 2) {
        pil_resp_put_verbatim(sink, connection->resp, pil_bytes_from_text(client_line(worker, connection)));
    } else if (is(request, 1, "list")) {
        put_list(worker, request, sink);
    } else if ((is(request, 1, "no-evict") || is(request, 1, "no-touch")) && count == 3) {
        bool ok = is(request, 2, "on") || is(request, 2, "off");
        if (ok) {
            pil_resp_put_simple(sink, "OK"); /* nothing here is ever evicted */
        } else {
            pil_resp_put_error(sink, "ERR syntax error");
        }
    } else if (is(request, 1, "help") && count == 2) {
        put_help(sink, help, sizeof help / sizeof help[0]);
    } else {
        pil_redis_put_unknown_subcommand(worker, request, sink);
    }
}

PIL_PREPARE(pil_redis_prepare_reset) {
    pil_redis_close_transaction(&request->connection->transaction);
    pil_vector_plans_forget(worker, request->connection->vector_plans);
}

PIL_REPLY(pil_redis_reply_reset) {
    (void)worker;
    request->connection->resp = PIL_RESP_2;
    request->connection->name[0] = '\0';
    pil_resp_put_simple(sink, "RESET");
}

/* Nothing behind a QUIT is decoded. */
PIL_PREPARE(pil_redis_prepare_quit) {
    pil_connection_finish(worker, request->connection, PIL_CLOSE_QUIT);
}

PIL_REPLY(pil_redis_reply_quit) {
    (void)worker, (void)request;
    pil_resp_put_simple(sink, "OK");
}
