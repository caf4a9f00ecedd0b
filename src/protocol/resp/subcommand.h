/* SPDX-License-Identifier: Apache-2.0
 * Commands with subcommands, such as CLIENT LIST: each has a table, from which HELP and the errors, in Redis' words,
 * are made. */
#pragma once

#include "protocol/resp/internal.h"

struct pil_subcommand {
    const char *name;  /* lower case */
    int arity;         /* of the whole request; negative = at least */
    const char *usage; /* as HELP shows it */
    const char *help;
    void (*reply)(struct pil_turn *turn, struct pil_redis_call *call, struct pil_sink *sink);
};
void pil_redis_reply_subcommand(struct pil_turn *turn, struct pil_redis_call *call, struct pil_sink *sink,
                                const struct pil_subcommand *subcommands, uint32_t count);
