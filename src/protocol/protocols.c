/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/protocols.h"

#include "protocol/feast/feast.h"
#include "protocol/oip/oip.h"
#include "protocol/resp/resp.h"

static const struct pil_protocol admin = {.name = "admin"};
static const struct pil_protocol mapped = {.name = "mapped"};

const struct pil_protocol *const pil_protocols[PIL_PROTOCOL_COUNT] = {
    [PIL_PROTOCOL_RESP] = &pil_redis_protocol, [PIL_PROTOCOL_FEAST] = &pil_feast_protocol,
    [PIL_PROTOCOL_OIP] = &pil_oip_protocol,    [PIL_PROTOCOL_ADMIN] = &admin,
    [PIL_PROTOCOL_MAPPED] = &mapped,
};
