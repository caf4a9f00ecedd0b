/* SPDX-License-Identifier: Apache-2.0
 * The protocols that listeners may speak, by number: the one place that knows them all. A new protocol is a room
 * (src/protocol/NAME) and a row here. */
#pragma once

#include "server/protocol.h"

typedef enum pil_protocol_id {
    PIL_PROTOCOL_RESP,
    PIL_PROTOCOL_FEAST,
    PIL_PROTOCOL_OIP,
    PIL_PROTOCOL_ADMIN,  /* the control thread's */
    PIL_PROTOCOL_MAPPED, /* the control thread's, over SOCK_SEQPACKET */
    PIL_PROTOCOL_COUNT
} pil_protocol_id;

/* By pil_protocol_id. Those that the control thread speaks have a name and nothing else. */
extern const struct pil_protocol *const pil_protocols[PIL_PROTOCOL_COUNT];

static inline bool pil_protocol_is_served_by_workers(uint32_t id) {
    return pil_protocols[id]->decode != NULL;
}
