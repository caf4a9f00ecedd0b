/* SPDX-License-Identifier: Apache-2.0 */
#include "follow/held.h"

#include "base/panic.h"

#include <stdlib.h>
#include <string.h>

static uint32_t find(const struct pil_held *held, const char *release) {
    for (uint32_t i = 0; i < held->count; i++) {
        if (strcmp(held->releases[i], release) == 0) {
            return i;
        }
    }
    return UINT32_MAX;
}

bool pil_held_has(const struct pil_held *held, const char *release) {
    return find(held, release) != UINT32_MAX;
}

pil_status pil_held_add(struct pil_held *held, const char *release) {
    PIL_ASSERT(strlen(release) <= PIL_RELEASE_ID_CHARS);
    if (pil_held_has(held, release)) {
        return PIL_STATUS_OK;
    }
    if (held->count == held->capacity) {
        uint32_t capacity = held->capacity == 0 ? 8 : 2 * held->capacity;
        void *releases = realloc(held->releases, capacity * sizeof *held->releases);
        if (releases == NULL) {
            return PIL_STATUS_NO_MEMORY;
        }
        held->releases = releases;
        held->capacity = capacity;
    }
    memcpy(held->releases[held->count++], release, strlen(release) + 1);
    return PIL_STATUS_OK;
}

void pil_held_remove(struct pil_held *held, const char *release) {
    uint32_t at = find(held, release);
    if (at != UINT32_MAX) {
        held->count--;
        memmove(held->releases[at], held->releases[held->count], sizeof held->releases[at]);
    }
}

void pil_held_deinit(struct pil_held *held) {
    free(held->releases);
    *held = (struct pil_held){0};
}
