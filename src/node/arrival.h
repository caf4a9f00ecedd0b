/* SPDX-License-Identifier: Apache-2.0
 * A release that is arriving: its sealed shards come one by one, each in a message. Thread: control. */
#pragma once

#include "supervise/message.h"

struct pil_arrival {
    char release[PIL_RELEASE_ID_CHARS + 1]; /* "": no release is arriving */
    int *fds;                               /* -1: the shard has not arrived */
    uint32_t shard_count, shards_here;
};

/* Takes a shard and, also on failure, ownership of its descriptor. A shard of another release discards the shards so
 * far: the supervisor sends one release after the other. CORRUPT: it contradicts the shards before. NO_MEMORY. */
pil_status pil_arrival_add(struct pil_arrival *arrival, const struct pil_message_shard *shard, int fd) PIL_CHECKED;
/* Whether all shards of this release have arrived. */
bool pil_arrival_is_whole(const struct pil_arrival *arrival, const char *release);
/* Closes the shards that have arrived and frees the memory. */
void pil_arrival_clear(struct pil_arrival *arrival);
