/* SPDX-License-Identifier: Apache-2.0
 * COMMAND: what the table of commands says, in the shape that Redis gives it. */
#include "protocol/resp/glob.h"
#include "protocol/resp/handlers.h"
#include "protocol/resp/subcommand.h"

#include <stdio.h>

static uint32_t count_words(const char *text) {
    uint32_t words = text[0] != '\0';
    for (; *text != '\0'; text++) {
        words += *text == ' ';
    }
    return words;
}

enum { CATEGORIES_MAX = 5, CATEGORY_BYTES = 24 };

/* The ACL categories of a command, each with its '@': what it does, on what, and how fast it is. */
struct categories {
    char names[CATEGORIES_MAX][CATEGORY_BYTES];
    uint32_t count;
};

static void add_category(struct categories *categories, const char *name, size_t len) {
    char text[CATEGORY_BYTES];
    snprintf(text, sizeof text, "@%.*s", (int)len, name);
    for (uint32_t i = 0; i < categories->count; i++) {
        if (strcmp(categories->names[i], text) == 0) {
            return;
        }
    }
    PIL_ASSERT(categories->count < CATEGORIES_MAX);
    memcpy(categories->names[categories->count++], text, sizeof text);
}

static struct categories categories_of(const struct pil_redis_command *command) {
    struct categories categories = {0};
    if (strstr(command->flags, "readonly") != NULL) {
        add_category(&categories, "read", 4);
    }
    for (const char *at = command->category; *at != '\0';) {
        size_t len = strcspn(at, " ");
        add_category(&categories, at, len);
        at += len + (at[len] == ' ');
    }
    add_category(&categories, strstr(command->flags, "fast") != NULL ? "fast" : "slow", 4);
    return categories;
}

bool pil_redis_has_category(const struct pil_redis_command *command, struct pil_bytes name) {
    struct categories categories = categories_of(command);
    bool has = false;
    for (uint32_t i = 0; i < categories.count; i++) {
        has |= pil_bytes_equal_nocase(name, categories.names[i] + 1);
    }
    return has;
}

static void put_categories(struct pil_sink *sink, pil_resp_protocol protocol, const struct pil_redis_command *command) {
    struct categories categories = categories_of(command);
    pil_resp_put_set(sink, protocol, categories.count);
    for (uint32_t i = 0; i < categories.count; i++) {
        pil_resp_put_simple(sink, categories.names[i]);
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
    pil_resp_protocol protocol = call->connection->resp;
    uint32_t count = 0, known = 0;
    const struct pil_redis_command *commands = pil_redis_commands(&count);
    turn->work += 2ull * call->arg_count * count; /* names are searched for one after another */
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
    uint32_t count = 0;
    const struct pil_redis_command *commands = pil_redis_commands(&count);
    bool all = call->arg_count <= 2;
    turn->work += (uint64_t)call->arg_count * count; /* names are searched for one after another */
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

static struct pil_bytes bytes_of_name(const struct pil_redis_command *command) {
    return pil_bytes_from(command->name, command->name_len);
}

/* Appends to the arena one byte per command: whether COMMAND LIST shows it. There are no modules. NULL: the error is
 * written. */
static const bool *filter(struct pil_turn *turn, const struct pil_redis_call *call, struct pil_sink *sink,
                          uint32_t *ret_passed) {
    uint32_t count = 0;
    const struct pil_redis_command *commands = pil_redis_commands(&count);
    bool *passes = PIL_ARENA_NEW(&turn->batch->arena, bool, count);
    bool is_pattern = call->arg_count == 5 && pil_redis_is(call, 3, "pattern");
    struct pil_glob glob = {0};
    if (passes == NULL) {
        pil_resp_put_error(sink, "ERR no room for COMMAND LIST in this turn; ask again");
        return NULL;
    }
    if (is_pattern && !pil_redis_compile(turn, call->args[4], true, sink, &glob)) {
        return NULL;
    }
    for (uint32_t i = 0; i < count; i++) {
        passes[i] = call->arg_count == 2 || (is_pattern && pil_glob_match(&glob, bytes_of_name(&commands[i]))) ||
                    (pil_redis_is(call, 3, "aclcat") && pil_redis_has_category(&commands[i], call->args[4]));
        *ret_passed += passes[i];
    }
    turn->work += count + glob.work;
    return passes;
}

static PIL_REPLY(reply_command_list) {
    size_t begin = pil_arena_mark(&turn->batch->arena);
    uint32_t count = 0, passed = 0;
    const struct pil_redis_command *commands = pil_redis_commands(&count);
    bool is_filter =
        call->arg_count == 5 && pil_redis_is(call, 2, "filterby") &&
        (pil_redis_is(call, 3, "module") || pil_redis_is(call, 3, "aclcat") || pil_redis_is(call, 3, "pattern"));
    if (call->arg_count != 2 && !is_filter) {
        pil_resp_put_error(sink, "ERR syntax error");
        return;
    }
    const bool *passes = filter(turn, call, sink, &passed);
    if (passes != NULL) {
        pil_resp_put_array(sink, passed);
        for (uint32_t i = 0; i < count; i++) {
            if (passes[i]) {
                pil_resp_put_bulk(sink, bytes_of_name(&commands[i]));
            }
        }
    }
    pil_arena_rewind(&turn->batch->arena, begin);
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
