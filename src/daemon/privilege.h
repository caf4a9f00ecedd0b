/* SPDX-License-Identifier: Apache-2.0
 * The privileges that a process gives up before it reads foreign bytes. */
#pragma once

#include "base/status.h"

/* Becomes `user` (needs root; "": stays), then gives up all capabilities for good, and new privileges by exec; no core
 * dumps, not dumpable. Listeners must be open already. INVALID: there is no such user. DENIED: not root. */
pil_status pil_privilege_drop(const char *user, struct pil_error *ret_error) PIL_CHECKED;
