/* SPDX-License-Identifier: Apache-2.0
 * Long work of the control thread, split into short steps: filling page tables, reading pages, unmapping, counting huge
 * pages. Steps run between events, for at most one slice of time, so that messages, readiness and sessions never wait
 * for a large release. Thread: control. */
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

/* Embedded in the struct of the work's owner. */
struct pil_chore {
    struct pil_list_link link;
    /* Does one step, which must be much shorter than a slice. */
    pil_chore_progress (*step)(struct pil_chore *chore);
    /* Called after the last step, when the chore is off the list: it may free the chore. May be NULL. */
    void (*done)(struct pil_chore *chore);
};

struct pil_chores {
    struct pil_list list; /* first come, first served */
    const struct pil_clock *clock;
};

/* The clock is borrowed. */
void pil_chores_init(struct pil_chores *chores, const struct pil_clock *clock);
void pil_chores_add(struct pil_chores *chores, struct pil_chore *chore);
/* Takes the chore off its list without calling `done`. It may be on no list. */
void pil_chores_cancel(struct pil_chore *chore);
/* Runs steps until no chore has more to do at once, or until the slice has passed; overruns it by one step at most. A
 * step may add chores and cancel others. Returns whether there is more to do at once. */
bool pil_chores_run(struct pil_chores *chores, uint64_t slice_ns);
