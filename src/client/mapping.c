/* SPDX-License-Identifier: Apache-2.0
 * Mapping and unmapping a release of a gigabyte takes some ten milliseconds, too long for a single call. Calls do this
 * work in slices. */
#include "client/mapping.h"
#include "base/clock.h"
#include "base/panic.h"
#include "base/sys.h"
#include "client/client.h"

void pil_mapping_release(struct pil_mapping_lists *lists, struct pil_mapping **mapping_pointer) {
    struct pil_mapping *mapping = *mapping_pointer;
    *mapping_pointer = NULL;
    if (mapping == NULL) {
        return;
    }
    PIL_ASSERT(mapping->references > 0);
    if (--mapping->references == 0) {
        mapping->next = lists->retired;
        lists->retired = mapping;
    }
}

static void unmap_slice(struct pil_mapping_lists *lists) {
    struct pil_mapping *mapping = lists->retired;
    PIL_ASSERT(mapping->references == 0);
    (void)pil_cache_release_unmap_slice(mapping->release, PIL_SYS_HUGE_PAGE_BYTES);
    if (mapping->release->shard_count == 0) {
        lists->retired = mapping->next;
        pil_cache_release_destroy(&mapping->release);
        mapping->next = lists->unmapped;
        lists->unmapped = mapping;
    }
}

static bool is_prefaulted(const struct pil_mapping *mapping) {
    return mapping == NULL || mapping->prefault_shard == mapping->release->shard_count;
}

/* Without prefaulting, each later fault would fill 2 MiB, or 64 KiB where there are no huge pages. */
static void prefault_slice(struct pil_mapping *mapping) {
    const struct pil_release *release = mapping->release;
    PIL_ASSERT(mapping->prefault_shard < release->shard_count);
    uint64_t done =
        pil_cache_release_prefault(release, mapping->prefault_shard, mapping->prefault_offset, PIL_SYS_HUGE_PAGE_BYTES);
    mapping->prefault_offset += done;
    if (done == 0) {
        mapping->prefault_shard = release->shard_count;
    } else if (mapping->prefault_offset == release->shards[mapping->prefault_shard].file.len) {
        mapping->prefault_shard++;
        mapping->prefault_offset = 0;
    }
}

static struct pil_mapping *next_to_prefault(const struct pillion_client *client) {
    for (uint32_t i = 0; i < client->view_count; i++) {
        if (!is_prefaulted(client->views[i].mapping)) {
            return client->views[i].mapping;
        }
    }
    return NULL;
}

void pil_mapping_unmap_all(struct pil_mapping_lists *lists) {
    while (lists->retired != NULL) {
        unmap_slice(lists);
    }
}

bool pil_mapping_work(struct pillion_client *client, uint64_t duration_ns) {
    PIL_ASSERT(pil_client_is_locked(client));
    uint64_t begin_ns = pil_clock_monotonic_ns();
    do {
        struct pil_mapping *mapping = next_to_prefault(client);
        if (mapping != NULL) {
            prefault_slice(mapping);
        } else if (client->mappings.retired != NULL) {
            unmap_slice(&client->mappings);
        } else {
            return false;
        }
    } while (pil_clock_monotonic_ns() - begin_ns < duration_ns);
    return true;
}
