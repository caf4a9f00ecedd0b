/* SPDX-License-Identifier: Apache-2.0
 * Whether the feature services of the applied projects can be answered from the releases that are live. Thread:
 * control. */
#pragma once

#include "node/node.h"

/* Looks up every feature of every service again if a release, a project or a view has changed since the last call, and
 * logs the first service that has become broken. A service of which no release is live here, or some view is not
 * served, is not counted: other terms of readiness and other nodes care for it. Cost: a hash lookup per feature. */
void pil_services_check(struct pil_node *node);
