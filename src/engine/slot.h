/* SPDX-License-Identifier: Apache-2.0
 * The engine's table of handles: one slot per connection, listener or watch, with the state that both back ends keep
 * for it. Slots come in chunks that never move, because the kernel holds addresses inside them; a slot's generation
 * grows each time the slot is released, so that an old handle finds nothing. */
#pragma once

#include "base/status.h"
#include "engine/engine.h"

#include <sys/socket.h>

/* A doubly linked list through one of a slot's links: adding and removing take O(1) and no memory. */
struct pil_slot;
struct pil_slot_link {
    struct pil_slot *prev, *next;
    bool is_linked;
};
struct pil_slot_list {
    struct pil_slot *first, *last;
    uint32_t count;
};

typedef enum pil_slot_kind { PIL_SLOT_FREE, PIL_SLOT_CONNECTION, PIL_SLOT_LISTENER, PIL_SLOT_WATCH } pil_slot_kind;

typedef enum pil_slot_end {
    PIL_SLOT_OPEN,   /* the peer may send more */
    PIL_SLOT_ENDED,  /* half-closed; END waits until the bytes received before it are handed out */
    PIL_SLOT_FAILED, /* the same for an error */
    PIL_SLOT_TOLD,   /* PIL_EVENT_END was handed out */
} pil_slot_end;

/* Received bytes that are held for a later turn or lent to the owner in this one. */
struct pil_piece {
    struct pil_piece *next;
    const uint8_t *data;
    uint32_t len;
    int32_t buffer; /* number in the pool; -1: on the heap, after this struct */
    bool is_kept;   /* by the owner, beyond the turn (pil_engine_keep) */
};

struct pil_slot {
    void *owner;
    int fd;
    pil_slot_kind kind;
    uint32_t index, generation;

    struct pil_slot_link ready; /* has an event to hand out without entering the kernel */
    struct pil_slot_link rearm; /* waits for an operation to be started again */
    bool is_closing, is_closed; /* is_closing: pil_engine_close was called; is_closed: nothing is in flight any more,
                                 * CLOSED may be handed out */
    bool is_paused;
    pil_slot_end end;
    uint64_t rest_until_ns; /* listeners: do not accept before this time */

    struct pil_piece *held_first, *held_last;
    uint64_t received_turn; /* the turn in which received_bytes were handed out */
    uint64_t received_bytes;

    bool is_sending, is_sent, send_failed;
    size_t send_bytes; /* so far */
    struct msghdr message;
    struct iovec parts[PIL_ENGINE_SEND_PARTS_MAX]; /* message.msg_iov points at the first part that is not sent
                                                    * completely */

    /* io_uring */
    uint32_t in_flight;         /* operations whose last completion is outstanding, cancellations included */
    uint32_t armed, cancelling; /* bit sets of the operations that wait in the kernel, and of those being cancelled */
    bool accepts_once;          /* multishot accept returned a bad descriptor: accept one at a time from now on */
    bool saw_hangup;            /* the peer has shut down its sending side, or more */
    bool is_blocked, saw_room;  /* is_blocked: the socket is full; saw_room: the poll reported room while a send was in
                                 * flight */

    uint32_t interest; /* epoll: the events polled for; 0: the descriptor is not in the set */
};

struct pil_slot_table {
    struct pil_slot **chunks;
    uint32_t slots_max;
    uint32_t slots_made;           /* slots below this index were used at least once */
    struct pil_slot_list recycled; /* through `ready` */
};

/* Bits of a handle and of the io_uring back end's user_data: generation 32 | operation 8 (0 in a handle) | index 24. */
enum { PIL_SLOT_INDEX_BITS = 24 };
static inline pil_engine_handle pil_slot_handle(const struct pil_slot *slot) {
    return (uint64_t)slot->generation << 32 | slot->index;
}

/* NO_MEMORY. */
pil_status pil_slot_table_init(struct pil_slot_table *table, uint32_t slots_max) PIL_CHECKED;
void pil_slot_table_deinit(struct pil_slot_table *table);

/* TOO_LARGE when the table is full, NO_MEMORY. */
pil_status pil_slot_acquire(struct pil_slot_table *table, struct pil_slot **ret_slot) PIL_CHECKED;
void pil_slot_release(struct pil_slot_table *table, struct pil_slot *slot);
/* NULL when the slot was released since. The operation bits are ignored. */
struct pil_slot *pil_slot_find(const struct pil_slot_table *table, uint64_t handle);
/* The slot at an index from 0 to slots_made - 1; it may be free. */
struct pil_slot *pil_slot_at(const struct pil_slot_table *table, uint32_t index);

/* Each list uses one link, given by its offset in the slot. Adding a linked slot or removing an unlinked one does
 * nothing. */
#define PIL_SLOT_LINK(link) offsetof(struct pil_slot, link)
void pil_slot_list_add(struct pil_slot_list *list, size_t link, struct pil_slot *slot);
void pil_slot_list_remove(struct pil_slot_list *list, size_t link, struct pil_slot *slot);
