/* SPDX-License-Identifier: Apache-2.0
 * The file that soak.py and its checkers share: what was promoted when, and what each checker has found. Written with
 * aligned words only; soak.py has the same layout. */
#pragma once

#include <stdint.h>

enum { TRUTH_VIEWS = 2, TRUTH_RELEASES = 16, TRUTH_PROMOTIONS = 1 << 16, TRUTH_CHECKERS = 16, TRUTH_RESULTS = 10 };

struct truth_release {
    char id[16];
    uint64_t seed; /* of make_release: every value follows from key, feature and it */
};

/* In the order of the channel. An entry is there before the channel is changed. */
struct truth_promotion {
    uint64_t release;   /* index */
    uint64_t served_us; /* CLOCK_MONOTONIC: the server answered with it; 0: not yet */
    uint64_t bound_us;  /* by how much later every call must */
};

/* Of one checker process; it alone writes it. */
struct truth_score {
    uint64_t calls, mapped_calls;
    uint64_t reads;                 /* vectors */
    uint64_t values;                /* numbers */
    uint64_t wrong;                 /* numbers, times or statuses that are not those of their release */
    uint64_t mixed;                 /* numbers of another release than the answer's */
    uint64_t stale;                 /* calls that answered with a release that was replaced for longer than the bound */
    uint64_t stale_us_max;          /* by how much a call was later than served_us, bound and all */
    uint64_t failed[TRUTH_RESULTS]; /* calls, by pillion_result */
    uint64_t refreshes, reconnects; /* releases mapped; connections after the first */
};

struct truth {
    uint64_t is_over;
    uint64_t rows;
    uint64_t features;
    uint64_t server_ends; /* how often a server process was killed so far: generations begin anew */
    uint64_t release_count[TRUTH_VIEWS];
    struct truth_release releases[TRUTH_VIEWS][TRUTH_RELEASES];
    uint64_t promotion_count[TRUTH_VIEWS];
    struct truth_promotion promotions[TRUTH_VIEWS][TRUTH_PROMOTIONS];
    struct truth_score scores[TRUTH_CHECKERS];
};
