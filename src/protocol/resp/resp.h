/* SPDX-License-Identifier: Apache-2.0
 * RESP2 and RESP3 on a listener: what Redis clients speak, and PIL.* commands for whole vectors (schemas/wire.md). */
#pragma once

#include "base/text.h"
#include "server/protocol.h"

extern const struct pil_protocol pil_redis_protocol;

/* docs/reference/commands.md: the commands, from their table. */
void pil_redis_describe_commands(struct pil_text *page);
