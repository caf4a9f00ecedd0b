/* SPDX-License-Identifier: Apache-2.0
 * RESP commands about the connection itself. They answer as Redis 7.0 does, so that its clients connect unchanged. */
#include "protocol/resp/handlers.h"
#include "protocol/resp/plan.h"
#include "protocol/resp/tracking.h"

PIL_PREPARE(pil_redis_prepare_ping) {
    (void)turn;
    call->request->is_health = true;
}

PIL_REPLY(pil_redis_reply_ping) {
    (void)turn;
    if (call->arg_count > 2) {
        pil_resp_put_error(sink, "ERR wrong number of arguments for 'ping' command");
    } else if (call->arg_count == 2) {
        pil_resp_put_bulk(sink, call->args[1]);
    } else {
        pil_resp_put_simple(sink, "PONG");
    }
}

PIL_REPLY(pil_redis_reply_echo) {
    (void)turn;
    pil_resp_put_bulk(sink, call->args[1]);
}

static void put_hello(const struct pil_redis_connection *connection, struct pil_sink *sink) {
    pil_resp_put_map(sink, connection->resp, 7);
    pil_resp_put_bulk_text(sink, "server");
    pil_resp_put_bulk_text(sink, "redis"); /* clients choose dialects by this name; INFO gives the real one */
    pil_resp_put_bulk_text(sink, "version");
    pil_resp_put_bulk_text(sink, PIL_REDIS_VERSION);
    pil_resp_put_bulk_text(sink, "proto");
    pil_resp_put_integer(sink, connection->resp);
    pil_resp_put_bulk_text(sink, "id");
    pil_resp_put_integer(sink, (int64_t)connection->base->id);
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
    struct pil_redis_connection *connection = call->connection;
    int64_t version = connection->resp;
    struct pil_bytes name = {0};
    bool has_name = false;
    if (call->arg_count > 1 && !pil_number_parse_i64(call->args[1], &version)) {
        pil_resp_put_error(sink, "ERR Protocol version is not an integer or out of range");
        return;
    }
    if (version != PIL_RESP_2 && version != PIL_RESP_3) {
        pil_resp_put_error(sink, "NOPROTO unsupported protocol version");
        return;
    }
    for (uint32_t i = 2; i < call->arg_count;) {
        if (pil_redis_is(call, i, "auth") && i + 2 < call->arg_count) {
            if (!user_is_ok(call->args[i + 1])) {
                pil_resp_put_error(sink, wrong_pass);
                return;
            }
            i += 3;
        } else if (pil_redis_is(call, i, "setname") && i + 1 < call->arg_count) {
            name = call->args[i + 1];
            has_name = true;
            i += 2;
        } else {
            pil_resp_put_error(sink, pil_batch_text(turn->batch, "ERR Syntax error in HELLO option '%.*s'",
                                                    pil_redis_shown(call->args[i]), (const char *)call->args[i].data));
            return;
        }
    }
    const char *mistake = has_name ? pil_redis_set_name(connection, name) : NULL;
    if (mistake != NULL) {
        pil_resp_put_error(sink, mistake);
        return;
    }
    connection->resp = (pil_resp_protocol)version;
    pil_redis_list(turn, connection);
    put_hello(connection, sink);
}

PIL_REPLY(pil_redis_reply_auth) {
    (void)turn;
    if (call->arg_count > 3) {
        pil_resp_put_error(sink, "ERR syntax error");
    } else if (call->arg_count == 2) {
        pil_resp_put_error(sink, "ERR AUTH <password> called without any password configured for the default user. Are "
                                 "you sure your configuration is correct?");
    } else if (!user_is_ok(call->args[1])) {
        pil_resp_put_error(sink, wrong_pass);
    } else {
        pil_resp_put_simple(sink, "OK");
    }
}

PIL_REPLY(pil_redis_reply_select) {
    (void)turn;
    int64_t index = 0;
    if (!pil_number_parse_i64(call->args[1], &index) || index != (int32_t)index) {
        pil_resp_put_error(sink, "ERR value is not an integer or out of range");
    } else if (index != 0) {
        pil_resp_put_error(sink, "ERR DB index is out of range");
    } else {
        pil_resp_put_simple(sink, "OK");
    }
}

PIL_PREPARE(pil_redis_prepare_reset) {
    pil_redis_close_transaction(&call->connection->transaction);
    pil_redis_forget_watched(call->connection);
    pil_redis_plans_forget(turn, call->connection);
}

PIL_REPLY(pil_redis_reply_reset) {
    call->connection->resp = PIL_RESP_2;
    pil_redis_tracking_end(call->connection);
    call->connection->name[0] = '\0';
    pil_redis_list(turn, call->connection);
    pil_resp_put_simple(sink, "RESET");
}

/* Requests behind a QUIT are not decoded. */
PIL_PREPARE(pil_redis_prepare_quit) {
    (void)turn;
    pil_connection_finish(call->connection->base, PIL_CLOSE_QUIT);
}

PIL_REPLY(pil_redis_reply_quit) {
    (void)turn, (void)call;
    pil_resp_put_simple(sink, "OK");
}
