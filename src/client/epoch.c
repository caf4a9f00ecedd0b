/* SPDX-License-Identifier: Apache-2.0 */
#include "client/epoch.h"
#include "base/panic.h"
#include "client/client.h"

#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>

/* ---- Slots. Anonymous memory, because a signal handler may add a block. */

static struct pil_epoch_block *map_block(void) {
    void *memory =
        mmap(NULL, sizeof(struct pil_epoch_block), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory != MAP_FAILED ? memory : NULL;
}

pil_status pil_epoch_create(struct pil_epoch_block **ret_first, struct pil_error *ret_error) {
    struct pil_epoch_block *block = map_block();
    if (block == NULL) {
        return pil_fail(ret_error, PIL_STATUS_NO_MEMORY, "no memory for the slots of calls: %s", strerror(errno));
    }
    if (madvise(block, sizeof *block, MADV_WIPEONFORK) != 0) {
        int number = errno;
        munmap(block, sizeof *block);
        return pil_fail(ret_error, number == ENOMEM ? PIL_STATUS_NO_MEMORY : PIL_STATUS_UNSUPPORTED,
                        "madvise MADV_WIPEONFORK, of Linux 4.14 and later: %s", strerror(number));
    }
    atomic_store(&block->is_ours, PIL_EPOCH_IS_OURS);
    *ret_first = block;
    return PIL_STATUS_OK;
}

void pil_epoch_destroy(struct pil_epoch_block **first) {
    for (struct pil_epoch_block *block = *first; block != NULL;) {
        struct pil_epoch_block *next = atomic_load(&block->next);
        munmap(block, sizeof *block);
        block = next;
    }
    *first = NULL;
}

/* Adds a block when needed, which is rare: when 255 calls are in flight. */
static struct pil_epoch_block *next_block(struct pil_epoch_block *block) {
    struct pil_epoch_block *next = atomic_load(&block->next);
    if (next != NULL) {
        return next;
    }
    struct pil_epoch_block *new = map_block();
    if (new == NULL || atomic_compare_exchange_strong(&block->next, &next, new)) {
        return new;
    }
    munmap(new, sizeof *new);
    return next;
}

/* Takes a free slot by pointing it to `reads`. Threads start their search at different slots, each always at the same
 * one. */
static struct pil_epoch_slot *take_slot(struct pil_epoch_block *block, struct pil_compiled *reads) {
    uint32_t hint = (uint32_t)(((uint64_t)(uintptr_t)pthread_self() >> 6) * 0x9e3779b97f4a7c15ull >> 32);
    for (; block != NULL; block = next_block(block)) {
        for (uint32_t i = 0; i < PIL_EPOCH_SLOTS; i++) {
            struct pil_epoch_slot *slot = &block->slots[(hint + i) % PIL_EPOCH_SLOTS];
            struct pil_compiled *nothing = NULL;
            if (atomic_compare_exchange_strong(&slot->reads, &nothing, reads)) {
                return slot;
            }
        }
    }
    return NULL;
}

/* Once the slot points to the compiled plan, the plan is not freed. The compare and swap is a full barrier: either the
 * second load sees the replacement, or the thread that replaced the plan sees the slot. */
static struct pil_compiled *protect(struct pillion_plan *plan, struct pil_epoch_slot **ret_slot) {
    struct pil_compiled *compiled = atomic_load_explicit(&plan->compiled, memory_order_relaxed);
    PIL_ASSERT(compiled != NULL);
    struct pil_epoch_slot *slot = take_slot(plan->client->slots, compiled);
    if (slot == NULL) {
        return NULL;
    }
    for (;;) {
        struct pil_compiled *again = atomic_load(&plan->compiled);
        if (again == compiled) {
            break;
        }
        compiled = again;
        (void)atomic_exchange(&slot->reads, compiled);
    }
    *ret_slot = slot;
    return compiled;
}

void pil_epoch_leave(struct pil_epoch_slot *slot) {
    atomic_store_explicit(&slot->reads, NULL, memory_order_release);
}

/* ---- What a call checks. */

/* A coarse clock, with ticks of some milliseconds, suffices for heartbeats and is five times cheaper. */
static uint64_t coarse_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static bool is_alive(const struct pil_mapped_control *control, uint64_t now_ns) {
    uint64_t heartbeat_ns = atomic_load_explicit(&control->heartbeat_ns, memory_order_relaxed);
    return (now_ns < heartbeat_ns || now_ns - heartbeat_ns <= pil_client_heartbeat_ns_max) &&
           atomic_load_explicit(&control->state, memory_order_relaxed) == PIL_MAPPED_SERVING;
}

/* Acquire pairs with the server's release store: the grants that preceded the new generation are visible. */
static bool is_newest(const struct pil_compiled *compiled) {
    const struct pil_mapped_control *control = compiled->page->control;
    for (uint32_t slot = 0; slot < compiled->view_count; slot++) {
        const struct pil_compiled_view *view = &compiled->views[slot];
        if (atomic_load_explicit(&control->views[view->number].generation, memory_order_acquire) != view->generation) {
            return false;
        }
    }
    return true;
}

static bool is_due(const struct pillion_client *client, struct pil_compiled *compiled) {
    uint64_t now_ns = coarse_ns();
    bool is_ours = atomic_load_explicit(&client->slots->is_ours, memory_order_relaxed) == PIL_EPOCH_IS_OURS;
    bool has_work = atomic_load_explicit(&client->has_pending_work, memory_order_relaxed) != 0;
    bool is_behind = compiled->page != NULL && !is_newest(compiled), is_mapped = compiled->vector != NULL;
    if (is_mapped && !is_behind && is_ours && !has_work && is_alive(compiled->page->control, now_ns)) {
        return false;
    }
    if (is_behind && atomic_load(&compiled->behind_since_ns) == 0) {
        atomic_store(&compiled->behind_since_ns, now_ns);
    }
    /* A refused view is asked for again after a while, or at once when there is another release. */
    bool may_wait =
        now_ns < atomic_load_explicit(&compiled->poll_at_ns, memory_order_relaxed) && (is_mapped || !is_behind);
    return !is_ours || !(may_wait || now_ns < atomic_load_explicit(&client->poll_at_ns, memory_order_relaxed));
}

const struct pil_compiled *pil_epoch_enter(struct pillion_plan *plan, bool *ret_is_due,
                                           struct pil_epoch_slot **ret_slot) {
    struct pil_compiled *compiled = protect(plan, ret_slot);
    if (ret_is_due != NULL) {
        *ret_is_due = compiled != NULL && is_due(plan->client, compiled);
    }
    return compiled;
}

int64_t pil_epoch_staleness_us(const struct pil_compiled *compiled) {
    uint64_t now_ns = coarse_ns(), since_ns = now_ns;
    const struct pil_mapped_control *control = compiled->page->control;
    if (!is_alive(control, now_ns)) {
        since_ns = atomic_load_explicit(&control->heartbeat_ns, memory_order_relaxed);
    }
    if (!is_newest(compiled)) {
        uint64_t behind_ns = atomic_load(&compiled->behind_since_ns);
        since_ns = behind_ns != 0 && behind_ns < since_ns ? behind_ns : since_ns;
        since_ns = since_ns == now_ns ? now_ns - 1000 : since_ns; /* behind for less than a tick */
    }
    return since_ns < now_ns ? (int64_t)((now_ns - since_ns) / 1000) : 0;
}

/* ---- Replacing and freeing. */

void pil_epoch_publish(struct pillion_client *client, struct pillion_plan *plan, struct pil_compiled *new) {
    struct pil_compiled *old = atomic_load(&plan->compiled);
    PIL_ASSERT(pil_client_is_locked(client) && new != NULL &&new != old &&new->next == NULL);
    atomic_store(&plan->compiled, new);
    if (old != NULL) {
        PIL_ASSERT(old->next == NULL);
        old->next = client->retired;
        client->retired = old;
    }
}

/* Call after the plan points elsewhere: a slot that does not hold `compiled` now cannot come to hold it. */
static bool is_read(const struct pillion_client *client, const struct pil_compiled *compiled) {
    for (struct pil_epoch_block *block = client->slots; block != NULL; block = atomic_load(&block->next)) {
        for (uint32_t i = 0; i < PIL_EPOCH_SLOTS; i++) {
            if (atomic_load(&block->slots[i].reads) == compiled) {
                return true;
            }
        }
    }
    return false;
}

bool pil_epoch_reclaim(struct pillion_client *client) {
    PIL_ASSERT(pil_client_is_locked(client));
    for (struct pil_compiled **link = &client->retired; *link != NULL;) {
        struct pil_compiled *compiled = *link;
        if (is_read(client, compiled)) {
            link = &compiled->next;
            continue;
        }
        *link = compiled->next;
        pil_compile_destroy(client, compiled);
    }
    return client->retired != NULL;
}
