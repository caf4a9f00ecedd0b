/* SPDX-License-Identifier: Apache-2.0 */
#include "node/arrival.h"
#include "base/panic.h"
#include "base/sys.h"

#include <stdlib.h>

static pil_status begin(struct pil_arrival *arrival, const struct pil_message_shard *shard) {
    pil_arrival_clear(arrival);
    int *fds = malloc(shard->place.count * sizeof fds[0]);
    if (fds == NULL) {
        return PIL_STATUS_NO_MEMORY;
    }
    for (uint32_t i = 0; i < shard->place.count; i++) {
        fds[i] = -1;
    }
    *arrival = (struct pil_arrival){.fds = fds, .shard_count = shard->place.count};
    memcpy(arrival->release, shard->release, sizeof arrival->release);
    return PIL_STATUS_OK;
}

pil_status pil_arrival_add(struct pil_arrival *arrival, const struct pil_message_shard *shard, int fd) {
    pil_status status = PIL_STATUS_OK;
    PIL_ASSERT(fd >= 0 && shard->place.index < shard->place.count);
    if (strcmp(arrival->release, shard->release) != 0) {
        status = begin(arrival, shard);
    }
    if (status == PIL_STATUS_OK &&
        (shard->place.count != arrival->shard_count || arrival->fds[shard->place.index] >= 0)) {
        status = PIL_STATUS_CORRUPT;
    }
    if (status != PIL_STATUS_OK) {
        pil_sys_close(&fd);
        return status;
    }
    arrival->fds[shard->place.index] = fd;
    arrival->shards_here++;
    PIL_ASSERT(arrival->shards_here <= arrival->shard_count);
    return PIL_STATUS_OK;
}

bool pil_arrival_is_whole(const struct pil_arrival *arrival, const char *release) {
    return arrival->shard_count > 0 && arrival->shards_here == arrival->shard_count &&
           strcmp(arrival->release, release) == 0;
}

void pil_arrival_clear(struct pil_arrival *arrival) {
    for (uint32_t i = 0; i < arrival->shard_count; i++) {
        pil_sys_close(&arrival->fds[i]);
    }
    free(arrival->fds);
    *arrival = (struct pil_arrival){0};
}
