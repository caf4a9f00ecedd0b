/* SPDX-License-Identifier: Apache-2.0
 * RESP2 and RESP3 on a listener: the commands of Redis clients, and PIL.* commands for whole vectors
 * (schemas/wire.md). */
#pragma once

#include "base/text.h"
#include "server/protocol.h"

extern const struct pil_protocol pil_redis_protocol;

/* Writes docs/reference/commands.md from the table of commands. */
void pil_redis_describe_commands(struct pil_text *page);
