/* SPDX-License-Identifier: Apache-2.0
 * Commands with subcommands: CLIENT LIST, CONFIG GET. */
#include "protocol/resp/subcommand.h"

#include <stdio.h>

static const char *upper_name(struct pil_batch *batch, const char *name) {
    char upper[32] = "";
    for (size_t i = 0; name[i] != '\0' && i + 1 < sizeof upper; i++) {
        upper[i] = (char)(name[i] - 'a' + 'A');
    }
    return pil_batch_text(batch, "%s", upper);
}

static void put_help(struct pil_sink *sink, const char *command, const struct pil_subcommand *subcommands,
                     uint32_t count) {
    char line[160];
    pil_resp_put_array(sink, 2ull * count + 3);
    snprintf(line, sizeof line, "%s <subcommand> [<arg> [value] [opt] ...]. Subcommands are:", command);
    pil_resp_put_simple(sink, line);
    for (uint32_t i = 0; i < count; i++) {
        pil_resp_put_simple(sink, subcommands[i].usage);
        snprintf(line, sizeof line, "    %s", subcommands[i].help);
        pil_resp_put_simple(sink, line);
    }
    pil_resp_put_simple(sink, "HELP");
    pil_resp_put_simple(sink, "    Prints this help.");
}

void pil_redis_reply_subcommand(struct pil_turn *turn, struct pil_redis_call *call, struct pil_sink *sink,
                                const struct pil_subcommand *subcommands, uint32_t count) {
    struct pil_batch *batch = turn->batch;
    const char *command = call->command->name;
    if (call->arg_count > PIL_REDIS_WORDS_MAX) {
        pil_resp_put_error(sink, pil_batch_text(batch, "ERR %s takes at most %d arguments; ask in several requests",
                                                upper_name(batch, command), PIL_REDIS_WORDS_MAX - 1));
        return;
    }
    if (pil_redis_is(call, 1, "help") && call->arg_count == 2) {
        put_help(sink, upper_name(batch, command), subcommands, count);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct pil_subcommand *subcommand = &subcommands[i];
        if (!pil_redis_is(call, 1, subcommand->name)) {
            continue;
        }
        if (pil_redis_has_arity(subcommand->arity, call->arg_count)) {
            subcommand->reply(turn, call, sink);
        } else {
            pil_resp_put_error(sink, pil_batch_text(batch, "ERR wrong number of arguments for '%s|%s' command", command,
                                                    subcommand->name));
        }
        return;
    }
    pil_resp_put_error(sink, pil_batch_text(batch, "ERR unknown subcommand '%.*s'. Try %s HELP.",
                                            pil_redis_shown(call->args[1]), (const char *)call->args[1].data,
                                            upper_name(batch, command)));
}
