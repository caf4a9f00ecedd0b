/* SPDX-License-Identifier: Apache-2.0
 * Feast's HTTP API on a listener: the endpoints that its remote online store, and people with curl, use. */
#pragma once

#include "server/protocol.h"

extern const struct pil_protocol pil_feast_protocol;
