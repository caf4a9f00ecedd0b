/* SPDX-License-Identifier: Apache-2.0
 * Work that the control thread has to do beside its events, in steps that are short each: filling page tables, reading
 * pages, unmapping, counting huge pages. Steps run between the events, at most a slice of time at once, so that
 * messages, readiness and sessions never wait for a large release. Thread: control. */
#pragma once

#include "base/clock.h"
#include "base/list.h"

#include <stdint.h>

#define PIL_CHORES_SLICE_NS 1000000ull

typedef enum pil_chore_progress {
    PIL_CHORE_MORE, /* there is more to do at once */
    PIL_CHORE_WAIT, /* nothing to do now; ask again in the next slice */
    PIL_CHORE_DONE,
} pil_chore_progress;

/* Lies in the struct of whoever has the work. */
struct pil_chore {
    struct pil_list_link link;
    /* One step, far shorter than a slice. */
    pil_chore_progress (*step)(struct pil_chore *chore);
    /* After the last step, when the chore is on no list any more: may free it. NULL: nothing to do. */
    void (*done)(struct pil_chore *chore);
};

struct pil_chores {
    struct pil_list list; /* first come, first served */
    const struct pil_clock *clock;
};

/* The clock is borrowed. */
void pil_chores_init(struct pil_chores *chores, const struct pil_clock *clock);
void pil_chores_add(struct pil_chores *chores, struct pil_chore *chore);
/* Takes it off the list; `done` is not called. Fine when it is on none. */
void pil_chores_cancel(struct pil_chore *chore);
/* Takes steps until none has anything to do at once, or the slice has passed: at most one step longer than that. A step
 * may add chores and cancel others. Returns whether there is more to do at once. */
bool pil_chores_run(struct pil_chores *chores, uint64_t slice_ns);
