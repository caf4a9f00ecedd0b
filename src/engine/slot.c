/* SPDX-License-Identifier: Apache-2.0
 * The engine's table of handles. */
#include "engine/slot.h"

#include "base/panic.h"

#include <stdlib.h>

enum { CHUNK_SLOTS = 64 };

static struct pil_slot_link *link_of(struct pil_slot *slot, size_t link) {
    return (struct pil_slot_link *)((char *)slot + link);
}

void pil_slot_list_add(struct pil_slot_list *list, size_t link, struct pil_slot *slot) {
    struct pil_slot_link *own = link_of(slot, link);
    if (own->is_linked) {
        return;
    }
    *own = (struct pil_slot_link){.prev = list->last, .is_linked = true};
    if (list->last != NULL) {
        link_of(list->last, link)->next = slot;
    } else {
        list->first = slot;
    }
    list->last = slot;
    list->count++;
}

void pil_slot_list_remove(struct pil_slot_list *list, size_t link, struct pil_slot *slot) {
    struct pil_slot_link *own = link_of(slot, link);
    if (!own->is_linked) {
        return;
    }
    if (own->prev != NULL) {
        link_of(own->prev, link)->next = own->next;
    } else {
        list->first = own->next;
    }
    if (own->next != NULL) {
        link_of(own->next, link)->prev = own->prev;
    } else {
        list->last = own->prev;
    }
    *own = (struct pil_slot_link){0};
    list->count--;
}

pil_status pil_slot_table_init(struct pil_slot_table *table, uint32_t slots_max) {
    PIL_ASSERT(slots_max > 0 && slots_max <= 1U << PIL_SLOT_INDEX_BITS);
    struct pil_slot **chunks = calloc((slots_max + CHUNK_SLOTS - 1) / CHUNK_SLOTS, sizeof *chunks);
    if (chunks == NULL) {
        return PIL_STATUS_NO_MEMORY;
    }
    *table = (struct pil_slot_table){.chunks = chunks, .slots_max = slots_max};
    return PIL_STATUS_OK;
}

void pil_slot_table_deinit(struct pil_slot_table *table) {
    for (uint32_t i = 0; i < table->slots_made; i += CHUNK_SLOTS) {
        free(table->chunks[i / CHUNK_SLOTS]);
    }
    free(table->chunks);
    *table = (struct pil_slot_table){0};
}

struct pil_slot *pil_slot_at(const struct pil_slot_table *table, uint32_t index) {
    PIL_ASSERT(index < table->slots_made);
    return &table->chunks[index / CHUNK_SLOTS][index % CHUNK_SLOTS];
}

pil_status pil_slot_acquire(struct pil_slot_table *table, struct pil_slot **ret_slot) {
    struct pil_slot *slot = table->recycled.last; /* most recently released: its memory may still be in the CPU cache */
    if (slot != NULL) {
        pil_slot_list_remove(&table->recycled, PIL_SLOT_LINK(ready), slot);
        *ret_slot = slot;
        return PIL_STATUS_OK;
    }
    if (table->slots_made == table->slots_max) {
        return PIL_STATUS_TOO_LARGE;
    }
    uint32_t index = table->slots_made;
    if (index % CHUNK_SLOTS == 0) {
        struct pil_slot *chunk = calloc(CHUNK_SLOTS, sizeof *chunk);
        if (chunk == NULL) {
            return PIL_STATUS_NO_MEMORY;
        }
        table->chunks[index / CHUNK_SLOTS] = chunk;
    }
    table->slots_made++;
    slot = pil_slot_at(table, index);
    slot->index = index;
    slot->generation = 1;
    *ret_slot = slot;
    return PIL_STATUS_OK;
}

void pil_slot_release(struct pil_slot_table *table, struct pil_slot *slot) {
    PIL_ASSERT(slot->kind != PIL_SLOT_FREE && !slot->ready.is_linked && !slot->rearm.is_linked);
    PIL_ASSERT(slot->in_flight == 0 && slot->held_first == NULL);
    uint32_t generation = slot->generation + 1;
    *slot = (struct pil_slot){.index = slot->index, .generation = generation != 0 ? generation : 1};
    pil_slot_list_add(&table->recycled, PIL_SLOT_LINK(ready), slot);
}

struct pil_slot *pil_slot_find(const struct pil_slot_table *table, uint64_t handle) {
    uint32_t index = handle & ((1U << PIL_SLOT_INDEX_BITS) - 1);
    if (index >= table->slots_made) {
        return NULL;
    }
    struct pil_slot *slot = pil_slot_at(table, index);
    return slot->kind != PIL_SLOT_FREE && slot->generation == handle >> 32 ? slot : NULL;
}
