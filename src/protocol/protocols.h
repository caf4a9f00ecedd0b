/* SPDX-License-Identifier: Apache-2.0
 * The protocols that listeners may speak, by number: the only place that lists them all. A new protocol is a folder
 * (src/protocol/NAME) and a row here. */
#pragma once

#include "server/protocol.h"

typedef enum pil_protocol_id {
    PIL_PROTOCOL_RESP,
    PIL_PROTOCOL_FEAST,
    PIL_PROTOCOL_OIP,
    PIL_PROTOCOL_ADMIN,  /* spoken by the control thread */
    PIL_PROTOCOL_MAPPED, /* spoken by the control thread, over SOCK_SEQPACKET */
    PIL_PROTOCOL_COUNT
} pil_protocol_id;

/* By pil_protocol_id. The protocols of the control thread have only a name. */
extern const struct pil_protocol *const pil_protocols[PIL_PROTOCOL_COUNT];

static inline bool pil_protocol_is_served_by_workers(uint32_t id) {
    return pil_protocols[id]->decode != NULL;
}
