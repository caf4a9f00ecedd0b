/* SPDX-License-Identifier: Apache-2.0
 * The last slow requests of all workers, in a ring of slots. A writer claims a slot by a counter and marks it odd while
 * it writes; a reader that sees an odd or changed mark skips the slot. */
#include "server/internal.h"
#include "base/seqlock.h"

#include <stdlib.h>

struct pil_slow_slot {
    _Atomic uint64_t mark; /* 2 * id + 1 while writing, 2 * id + 2 when done; 0: never used */
    _Atomic uint64_t words[PIL_SEQLOCK_WORDS(struct pil_slow_request)];
};

struct pil_slow_slot *pil_slowlog_create(void) {
    struct pil_slow_slot *slots = calloc(PIL_SLOWLOG_MAX, sizeof slots[0]);
    PIL_ASSERT(slots != NULL);
    return slots;
}

void pil_slowlog_add(struct pil_server *server, const struct pil_slow_request *slow) {
    uint64_t id = atomic_fetch_add_explicit(&server->slow_next, 1, memory_order_relaxed);
    struct pil_slow_slot *slot = &server->slow[id % PIL_SLOWLOG_MAX];
    struct pil_slow_request copy = *slow;
    copy.id = id;
    atomic_store_explicit(&slot->mark, 2 * id + 1, memory_order_relaxed);
    pil_seqlock_store(slot->words, &copy, sizeof copy);
    atomic_store_explicit(&slot->mark, 2 * id + 2, memory_order_release);
}

uint32_t pil_server_slowlog(struct pil_server *server, struct pil_slow_request ret_requests[PIL_SLOWLOG_MAX]) {
    uint64_t next = atomic_load_explicit(&server->slow_next, memory_order_acquire);
    uint32_t count = 0;
    uint64_t reset = atomic_load_explicit(&server->slow_reset, memory_order_relaxed);
    for (uint64_t back = 1; back <= PIL_SLOWLOG_MAX && back + reset <= next; back++) {
        uint64_t id = next - back;
        struct pil_slow_request copy;
        struct pil_slow_slot *slot = &server->slow[id % PIL_SLOWLOG_MAX];
        uint64_t before = atomic_load_explicit(&slot->mark, memory_order_acquire);
        pil_seqlock_load(slot->words, &copy, sizeof copy);
        if (before == 2 * id + 2 && atomic_load_explicit(&slot->mark, memory_order_relaxed) == before) {
            ret_requests[count++] = copy;
        }
    }
    return count;
}

void pil_slowlog_reset(struct pil_server *server) {
    uint64_t next = atomic_load_explicit(&server->slow_next, memory_order_relaxed);
    atomic_store_explicit(&server->slow_reset, next, memory_order_relaxed);
}
