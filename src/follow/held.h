/* SPDX-License-Identifier: Apache-2.0
 * The names of the releases of one view that the supervisor holds whole. Their number is not bounded here. */
#pragma once

#include "base/bounds.h"
#include "base/status.h"

#include <stdint.h>

struct pil_held {
    char (*releases)[PIL_RELEASE_ID_CHARS + 1]; /* owned; unordered */
    uint32_t count, capacity;
};

bool pil_held_has(const struct pil_held *held, const char *release);
/* Adds a release; OK if it is there already. NO_MEMORY. */
pil_status pil_held_add(struct pil_held *held, const char *release) PIL_CHECKED;
void pil_held_remove(struct pil_held *held, const char *release);
void pil_held_deinit(struct pil_held *held);
