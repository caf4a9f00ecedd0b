/* SPDX-License-Identifier: Apache-2.0
 * A release on its way in: its sealed shards come one by one, each in a message. Thread: control. */
#pragma once

#include "supervise/message.h"

struct pil_arrival {
    char release[PIL_RELEASE_ID_CHARS + 1]; /* "": none is on its way */
    int *fds;                               /* -1: not here yet */
    uint32_t shard_count, shards_here;
};

/* Takes a shard; the descriptor is the arrival's from here, also on failure. A shard of another release starts anew:
 * the supervisor sends one release after the other. CORRUPT: it contradicts those before. NO_MEMORY. */
pil_status pil_arrival_add(struct pil_arrival *arrival, const struct pil_message_shard *shard, int fd) PIL_CHECKED;
/* Whether all shards of this release are here. */
bool pil_arrival_is_whole(const struct pil_arrival *arrival, const char *release);
/* Closes what came. */
void pil_arrival_clear(struct pil_arrival *arrival);
