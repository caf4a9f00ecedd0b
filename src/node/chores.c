/* SPDX-License-Identifier: Apache-2.0 */
#include "node/chores.h"
#include "base/panic.h"

void pil_chores_init(struct pil_chores *chores, const struct pil_clock *clock) {
    pil_list_init(&chores->list);
    chores->clock = clock;
}

void pil_chores_add(struct pil_chores *chores, struct pil_chore *chore) {
    PIL_ASSERT(chore->step != NULL);
    pil_list_append(&chores->list, &chore->link);
}

void pil_chores_cancel(struct pil_chore *chore) {
    if (pil_list_is_linked(&chore->link)) {
        pil_list_remove(&chore->link);
    }
}

static void finish(struct pil_chore *chore) {
    pil_list_remove(&chore->link);
    if (chore->done != NULL) {
        chore->done(chore);
    }
}

bool pil_chores_run(struct pil_chores *chores, uint64_t slice_ns) {
    const struct pil_clock *clock = chores->clock;
    uint64_t start_ns = clock->monotonic_ns(clock->context);
    /* Chores that have nothing to do now are set aside, so that each is asked once in a slice. */
    struct pil_list waiting;
    pil_list_init(&waiting);
    bool is_over = false;
    while (!is_over && !pil_list_is_empty(&chores->list)) {
        struct pil_chore *chore = PIL_LIST_ENTRY(struct pil_chore, link, pil_list_first(&chores->list));
        switch (chore->step(chore)) {
        case PIL_CHORE_MORE: break;
        case PIL_CHORE_DONE: finish(chore); break;
        case PIL_CHORE_WAIT:
            pil_list_remove(&chore->link);
            pil_list_append(&waiting, &chore->link);
            break;
        }
        is_over = clock->monotonic_ns(clock->context) - start_ns >= slice_ns;
    }
    bool has_more = !pil_list_is_empty(&chores->list);
    /* Put them back in front, in the same order. */
    while (!pil_list_is_empty(&waiting)) {
        struct pil_list_link *last = waiting.head.previous;
        pil_list_remove(last);
        pil_list_prepend(&chores->list, last);
    }
    return has_more;
}
