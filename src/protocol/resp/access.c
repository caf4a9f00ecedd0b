/* SPDX-License-Identifier: Apache-2.0
 * What clients ask of a server's users, role and cluster. There is one user, who needs no password and may not write:
 * who may read what is decided by the identity of the peer (selection/scope.h). There are no replicas and no cluster.
 */
#include "protocol/resp/handlers.h"
#include "protocol/resp/subcommand.h"

#include <stdio.h>

static PIL_REPLY(reply_whoami) {
    (void)turn, (void)call;
    pil_resp_put_bulk_text(sink, "default");
}

static PIL_REPLY(reply_users) {
    (void)turn, (void)call;
    pil_resp_put_array(sink, 1);
    pil_resp_put_bulk_text(sink, "default");
}

static PIL_REPLY(reply_acl_list) {
    (void)turn, (void)call;
    pil_resp_put_array(sink, 1);
    pil_resp_put_bulk_text(sink, "user default on nopass ~* &* +@all -@write");
}

static void put_words(struct pil_sink *sink, const char *name, const char *const *words, uint32_t count) {
    pil_resp_put_bulk_text(sink, name);
    pil_resp_put_array(sink, count);
    for (uint32_t i = 0; i < count; i++) {
        pil_resp_put_bulk_text(sink, words[i]);
    }
}

static PIL_REPLY(reply_getuser) {
    static const char *const flags[] = {"on", "nopass"};
    static const char *const texts[][2] = {{"commands", "+@all -@write"}, {"keys", "~*"}, {"channels", "&*"}};
    pil_resp_protocol protocol = call->connection->resp;
    (void)turn;
    if (!pil_bytes_equal_text(call->args[2], "default")) {
        pil_resp_put_null(sink, protocol);
        return;
    }
    pil_resp_put_map(sink, protocol, 6);
    pil_resp_put_bulk_text(sink, "flags");
    pil_resp_put_set(sink, protocol, 2);
    pil_resp_put_bulk_text(sink, flags[0]);
    pil_resp_put_bulk_text(sink, flags[1]);
    put_words(sink, "passwords", NULL, 0);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        pil_resp_put_bulk_text(sink, texts[i][0]);
        pil_resp_put_bulk_text(sink, texts[i][1]);
    }
    put_words(sink, "selectors", NULL, 0);
}

/* The categories of Redis, in its order. */
static const char *const categories[] = {
    "keyspace", "read",   "write",       "set",       "sortedset",  "list",        "hash",
    "string",   "bitmap", "hyperloglog", "geo",       "stream",     "pubsub",      "admin",
    "fast",     "slow",   "blocking",    "dangerous", "connection", "transaction", "scripting"};
enum { CATEGORY_COUNT = sizeof categories / sizeof *categories };

static PIL_REPLY(reply_category) {
    uint32_t count = 0, found = 0, known = 0;
    const struct pil_redis_command *commands = pil_redis_commands(&count);
    for (uint32_t i = 0; i < CATEGORY_COUNT; i++) {
        known += pil_redis_is(call, 2, categories[i]);
    }
    if (known == 0) {
        pil_resp_put_error(sink, pil_batch_text(turn->batch, "ERR Unknown category '%.*s'",
                                                pil_redis_shown(call->args[2]), (const char *)call->args[2].data));
        return;
    }
    turn->work += 2ull * count;
    for (uint32_t i = 0; i < count; i++) {
        found += pil_redis_has_category(&commands[i], call->args[2]);
    }
    pil_resp_put_array(sink, found);
    for (uint32_t i = 0; i < count; i++) {
        if (pil_redis_has_category(&commands[i], call->args[2])) {
            pil_resp_put_bulk_text(sink, commands[i].name);
        }
    }
}

static PIL_REPLY(reply_cat) {
    if (call->arg_count == 3) {
        reply_category(turn, call, sink);
        return;
    }
    pil_resp_put_array(sink, CATEGORY_COUNT);
    for (uint32_t i = 0; i < CATEGORY_COUNT; i++) {
        pil_resp_put_bulk_text(sink, categories[i]);
    }
}

PIL_REPLY(pil_redis_reply_acl) {
    static const struct pil_subcommand subcommands[] = {
        {"cat", -2, "CAT [<category>]", "Return the categories of commands, or the commands of one.", reply_cat},
        {"getuser", 3, "GETUSER <username>", "Return what the user may do; null for any but default.", reply_getuser},
        {"list", 2, "LIST", "Return the one user, as a rule.", reply_acl_list},
        {"users", 2, "USERS", "Return the one user's name.", reply_users},
        {"whoami", 2, "WHOAMI", "Return default.", reply_whoami},
    };
    pil_redis_reply_subcommand(turn, call, sink, subcommands, sizeof subcommands / sizeof *subcommands);
}

PIL_REPLY(pil_redis_reply_role) {
    (void)turn, (void)call;
    pil_resp_put_array(sink, 3);
    pil_resp_put_bulk_text(sink, "master");
    pil_resp_put_integer(sink, 0);
    pil_resp_put_array(sink, 0);
}

PIL_REPLY(pil_redis_reply_no_cluster) {
    (void)turn, (void)call;
    pil_resp_put_error(sink, "ERR This instance has cluster support disabled");
}
