/* SPDX-License-Identifier: Apache-2.0
 * The Open Inference Protocol (version 2, over HTTP) on a listener: every feature service is a model. Its inputs are
 * the join keys. Its outputs are `features` with all numbers and vectors in the service's order, `statuses` with one
 * byte for each feature, and for each string or bytes feature a BYTES tensor "view:feature". */
#pragma once

#include "server/protocol.h"

extern const struct pil_protocol pil_oip_protocol;
