/* SPDX-License-Identifier: Apache-2.0
 * What a process gives up before it meets anybody's bytes. */
#pragma once

#include "base/status.h"

/* Becomes `user` ("" stays; needs root), then gives up every capability for good, and new privileges by exec; no core
 * dumps, not dumpable. Listeners must be open. */
pil_status pil_privilege_drop(const char *user, struct pil_error *ret_error) PIL_CHECKED;
