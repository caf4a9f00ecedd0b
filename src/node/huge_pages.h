/* SPDX-License-Identifier: Apache-2.0
 * How much of the process's releases is mapped by huge pages, as the kernel counts it in /proc/self/smaps: a little at
 * a time, because the kernel walks the page tables for it. Thread: control. */
#pragma once

#include "node/chores.h"

struct pil_huge_pages {
    struct pil_chore chore;
    const struct pil_clock *clock;
    int smaps;       /* the open file; -1: not counted */
    uint64_t due_ns; /* when to count next; 0: nothing has changed */
    bool is_counting;
    uint64_t sum;  /* bytes, so far */
    char line[64]; /* a line that a read has cut, its end cut off when it is longer */
    size_t line_len;
    void (*counted)(void *context, uint64_t bytes);
    void *context;
};

/* Borrows the file and the clock. `counted` is called after each whole count. */
void pil_huge_pages_init(struct pil_huge_pages *pages, const struct pil_clock *clock, int smaps,
                         void (*counted)(void *context, uint64_t bytes), void *context);
/* Something was mapped or unmapped: counts again after a while, because clients are asking for the release now. */
void pil_huge_pages_changed(struct pil_huge_pages *pages);
