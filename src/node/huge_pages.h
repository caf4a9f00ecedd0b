/* SPDX-License-Identifier: Apache-2.0
 * Counts how much of the process's releases is mapped by huge pages, from /proc/self/smaps. It reads a little at a
 * time, because the kernel walks the page tables for each entry. Thread: control. */
#pragma once

#include "node/chores.h"

struct pil_huge_pages {
    struct pil_chore chore;
    const struct pil_clock *clock;
    int smaps;       /* the open file; -1: not counted */
    uint64_t due_ns; /* when to count next; 0: nothing has changed */
    bool is_counting;
    uint64_t sum;  /* bytes counted so far */
    char line[64]; /* the current line, which may span reads; a longer line is truncated */
    size_t line_len;
    void (*counted)(void *context, uint64_t bytes);
    void *context;
};

/* Borrows the file and the clock. `counted` is called after each whole count. */
void pil_huge_pages_init(struct pil_huge_pages *pages, const struct pil_clock *clock, int smaps,
                         void (*counted)(void *context, uint64_t bytes), void *context);
/* A release was mapped or unmapped: schedules a count 100 ms later, because clients want the new release first. */
void pil_huge_pages_changed(struct pil_huge_pages *pages);
