/* SPDX-License-Identifier: Apache-2.0
 * What the machine or the container must offer, tried before anything is started, so that a refusal is one sentence
 * instead of children that end again and again. */
#pragma once

#include "base/status.h"
#include "server/settings.h"

/* Tries a sealed memfd, random numbers and /proc/self/exe. UNSUPPORTED, with what was refused and what to allow. */
pil_status pil_preflight(struct pil_error *ret_error) PIL_CHECKED;
/* What a daemon that can run must do without, as one sentence for the log; "": nothing. Call it after privileges were
 * given up. */
const char *pil_preflight_lacks(const struct pil_settings *settings);
