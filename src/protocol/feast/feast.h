/* SPDX-License-Identifier: Apache-2.0
 * Feast's HTTP API on a listener: what its remote online store, and curl, ask for. */
#pragma once

#include "server/protocol.h"

extern const struct pil_protocol pil_feast_protocol;
