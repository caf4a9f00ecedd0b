/* SPDX-License-Identifier: Apache-2.0
 * The privileges that a process gives up before it reads foreign bytes. */
#pragma once

#include "base/status.h"

/* Empties the capability bounding set (where the process may: with CAP_SETPCAP), becomes `user` (needs root; "":
 * stays), then gives up all capabilities for good, and new privileges by exec; no core dumps, not dumpable. None is
 * kept: what needs one, listeners and the change of user, comes before. INVALID: there is no such user. DENIED: not
 * root. */
pil_status pil_privilege_drop(const char *user, struct pil_error *ret_error) PIL_CHECKED;
