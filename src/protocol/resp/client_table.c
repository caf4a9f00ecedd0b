/* SPDX-License-Identifier: Apache-2.0
 * Version v of a slot lies in its copy v % 2. The owner overwrites that copy only after it has published version v + 1,
 * so a reader that finds v unchanged after copying has read version v in one piece. Slots come in chunks that never
 * move and live as long as the table. */
#include "protocol/resp/client_table.h"

#include "base/panic.h"
#include "base/seqlock.h"

#include <stdlib.h>

enum { CHUNK_SLOTS = 64, NO_SLOT = UINT32_MAX };

struct client_slot {
    _Atomic uint64_t version;
    _Atomic uint64_t copies[2][PIL_SEQLOCK_WORDS(struct pil_client)];
    uint32_t next_free;
};

struct pil_client_table {
    uint32_t capacity;
    uint32_t free_first;
    _Atomic uint32_t size;
    _Atomic(struct client_slot *) chunks[]; /* the owner stores with release, so that readers see zeroed slots */
};

struct pil_client_table *pil_client_table_create(uint32_t capacity) {
    uint32_t chunk_count = (capacity + CHUNK_SLOTS - 1) / CHUNK_SLOTS;
    struct pil_client_table *table = calloc(1, sizeof *table + chunk_count * sizeof table->chunks[0]);
    if (table != NULL) {
        table->capacity = capacity;
        table->free_first = NO_SLOT;
    }
    return table;
}

void pil_client_table_destroy(struct pil_client_table **table_pointer) {
    struct pil_client_table *table = *table_pointer;
    if (table == NULL) {
        return;
    }
    for (uint32_t slot = 0; slot < pil_client_table_size(table); slot += CHUNK_SLOTS) {
        free(atomic_load_explicit(&table->chunks[slot / CHUNK_SLOTS], memory_order_relaxed));
    }
    free(table);
    *table_pointer = NULL;
}

static struct client_slot *slot_at(const struct pil_client_table *table, uint32_t slot) {
    PIL_ASSERT(slot < pil_client_table_size(table));
    return &atomic_load_explicit(&table->chunks[slot / CHUNK_SLOTS], memory_order_acquire)[slot % CHUNK_SLOTS];
}

pil_status pil_client_table_acquire(struct pil_client_table *table, uint32_t *ret_slot) {
    uint32_t slot = table->free_first;
    if (slot != NO_SLOT) {
        table->free_first = slot_at(table, slot)->next_free;
        *ret_slot = slot;
        return PIL_STATUS_OK;
    }
    slot = pil_client_table_size(table);
    if (slot == table->capacity) {
        return PIL_STATUS_TOO_LARGE;
    }
    if (slot % CHUNK_SLOTS == 0) {
        struct client_slot *chunk = calloc(CHUNK_SLOTS, sizeof *chunk);
        if (chunk == NULL) {
            return PIL_STATUS_NO_MEMORY;
        }
        atomic_store_explicit(&table->chunks[slot / CHUNK_SLOTS], chunk, memory_order_release);
    }
    atomic_store_explicit(&table->size, slot + 1, memory_order_release);
    *ret_slot = slot;
    return PIL_STATUS_OK;
}

void pil_client_table_write(struct pil_client_table *table, uint32_t slot, const struct pil_client *client) {
    struct client_slot *at = slot_at(table, slot);
    uint64_t version = atomic_load_explicit(&at->version, memory_order_relaxed) + 1;
    pil_seqlock_store(at->copies[version % 2], client, sizeof *client);
    atomic_store_explicit(&at->version, version, memory_order_release);
}

void pil_client_table_release(struct pil_client_table *table, uint32_t slot) {
    static const struct pil_client nobody;
    pil_client_table_write(table, slot, &nobody);
    slot_at(table, slot)->next_free = table->free_first;
    table->free_first = slot;
}

uint32_t pil_client_table_size(const struct pil_client_table *table) {
    return atomic_load_explicit(&table->size, memory_order_acquire);
}

bool pil_client_table_read(const struct pil_client_table *table, uint32_t slot, struct pil_client *ret_client) {
    const struct client_slot *at = slot_at(table, slot);
    struct pil_client client;
    uint64_t before, after = atomic_load_explicit(&at->version, memory_order_acquire);
    do { /* tries again when a newer version was published meanwhile */
        before = after;
        pil_seqlock_load(at->copies[before % 2], &client, sizeof client);
        after = atomic_load_explicit(&at->version, memory_order_acquire);
    } while (after != before);
    if (client.id != 0) {
        *ret_client = client;
    }
    return client.id != 0;
}
