/* SPDX-License-Identifier: Apache-2.0
 * A writer claims a slot by incrementing a counter and makes its mark odd while it writes; a reader that sees an odd or
 * changed mark skips the slot. */
#include "server/note.h"

#include "base/seqlock.h"

#include <stdlib.h>

struct slot {
    _Atomic uint64_t mark; /* 2 * id + 1 while writing, 2 * id + 2 when done; 0: never used */
    _Atomic uint64_t words[PIL_SEQLOCK_WORDS(struct pil_slow_request)];
};

struct pil_slowlog {
    _Atomic uint64_t next;
    _Atomic uint64_t reset; /* requests with smaller ids are forgotten */
    struct slot slots[PIL_SLOWLOG_MAX];
};

struct pil_slowlog *pil_slowlog_create(void) {
    return calloc(1, sizeof(struct pil_slowlog));
}

void pil_slowlog_destroy(struct pil_slowlog **slowlog) {
    free(*slowlog);
    *slowlog = NULL;
}

void pil_slowlog_add(struct pil_slowlog *slowlog, const struct pil_slow_request *slow) {
    uint64_t id = atomic_fetch_add_explicit(&slowlog->next, 1, memory_order_relaxed);
    struct slot *slot = &slowlog->slots[id % PIL_SLOWLOG_MAX];
    struct pil_slow_request copy = *slow;
    copy.id = id;
    atomic_store_explicit(&slot->mark, 2 * id + 1, memory_order_relaxed);
    pil_seqlock_store(slot->words, &copy, sizeof copy);
    atomic_store_explicit(&slot->mark, 2 * id + 2, memory_order_release);
}

uint32_t pil_slowlog_read(struct pil_slowlog *slowlog, struct pil_slow_request ret_requests[PIL_SLOWLOG_MAX]) {
    uint64_t next = atomic_load_explicit(&slowlog->next, memory_order_acquire);
    uint64_t reset = atomic_load_explicit(&slowlog->reset, memory_order_relaxed);
    uint32_t count = 0;
    for (uint64_t back = 1; back <= PIL_SLOWLOG_MAX && back + reset <= next; back++) {
        uint64_t id = next - back;
        struct pil_slow_request copy;
        struct slot *slot = &slowlog->slots[id % PIL_SLOWLOG_MAX];
        uint64_t before = atomic_load_explicit(&slot->mark, memory_order_acquire);
        pil_seqlock_load(slot->words, &copy, sizeof copy);
        if (before == 2 * id + 2 && atomic_load_explicit(&slot->mark, memory_order_relaxed) == before) {
            ret_requests[count++] = copy;
        }
    }
    return count;
}

void pil_slowlog_reset(struct pil_slowlog *slowlog) {
    uint64_t next = atomic_load_explicit(&slowlog->next, memory_order_relaxed);
    atomic_store_explicit(&slowlog->reset, next, memory_order_relaxed);
}
