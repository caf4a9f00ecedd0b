/* SPDX-License-Identifier: Apache-2.0
 * Control pages and releases, counted, and the work that mapping and unmapping is: for a release of a gigabyte some ten
 * milliseconds, which no single call shall take. Calls do it in slices, as they come by. */
#include "client/internal.h"
#include "base/clock.h"
#include "base/panic.h"
#include "base/sys.h"

#include <stdlib.h>
#include <sys/mman.h>

struct pil_page *pil_page_create(const struct pil_mapped_control *control) {
    struct pil_page *page = calloc(1, sizeof *page);
    PIL_ASSERT(page != NULL);
    *page = (struct pil_page){.control = control, .references = 1};
    return page;
}

void pil_page_release(struct pil_page **page_pointer) {
    struct pil_page *page = *page_pointer;
    *page_pointer = NULL;
    if (page != NULL && --page->references == 0) {
        munmap((void *)(uintptr_t)page->control, sizeof *page->control);
        free(page);
    }
}

void pil_mapping_release(struct pillion_client *client, struct pil_mapping **mapping_pointer) {
    struct pil_mapping *mapping = *mapping_pointer;
    *mapping_pointer = NULL;
    if (mapping != NULL && --mapping->references == 0) {
        mapping->next = client->dying;
        client->dying = mapping;
    }
}

static void unmap_slice(struct pillion_client *client) {
    struct pil_mapping *mapping = client->dying;
    (void)pil_cache_release_unmap_slice(mapping->release, PIL_SYS_HUGE_PAGE_BYTES);
    if (mapping->release->shard_count == 0) {
        client->dying = mapping->next;
        pil_cache_release_destroy(&mapping->release);
        pil_session_drop(client, mapping);
        free(mapping);
    }
}

static bool is_prefaulted(const struct pil_mapping *mapping) {
    return mapping == NULL || mapping->prefault_shard == mapping->release->shard_count;
}

/* A fault would be for 2 MiB, or for 64 KiB where there are no huge pages. */
static void prefault_slice(struct pil_mapping *mapping) {
    const struct pil_release *release = mapping->release;
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

void pil_mapping_unmap_all(struct pillion_client *client) {
    while (client->dying != NULL) {
        unmap_slice(client);
    }
}

bool pil_mapping_work(struct pillion_client *client, uint64_t duration_ns) {
    uint64_t begin_ns = pil_clock_monotonic_ns();
    do {
        struct pil_mapping *mapping = next_to_prefault(client);
        if (mapping != NULL) {
            prefault_slice(mapping);
        } else if (client->dying != NULL) {
            unmap_slice(client);
        } else {
            return false;
        }
    } while (pil_clock_monotonic_ns() - begin_ns < duration_ns);
    return true;
}
