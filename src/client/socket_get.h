/* SPDX-License-Identifier: Apache-2.0
 * Calls over the resp listener. For this module only. */
#pragma once

#include "client/socket.h"

pillion_result pil_socket_get(struct pillion_plan *plan, const struct pillion_keys *keys,
                              const struct pillion_output *output, struct pillion_answer *answer);
pillion_result pil_socket_get_columns(struct pillion_plan *plan, const struct pillion_keys *keys,
                                      const struct pillion_columns *columns, struct pillion_answer *answer);
