/* SPDX-License-Identifier: Apache-2.0
 * Glob patterns as in Redis: *, ?, [a-c], [^a], \x. A pattern is compiled once per request; matching a text then takes
 * one pass over it, whatever the pattern is. fnmatch(3) has other rules: it writes [!a] for [^a], and it ends at a zero
 * byte. Pure; the memory is the caller's. */
#pragma once

#include "base/arena.h"
#include "base/status.h"

enum {
    PIL_GLOB_BYTES_MAX = 1024, /* of a pattern */
    PIL_GLOB_WORDS_MAX = PIL_GLOB_BYTES_MAX / 64 + 1,
};

/* The pattern without its stars is a list of elements that match one byte each. Bit i of a set of bits stands for "the
 * first i elements have matched". */
struct pil_glob {
    uint64_t *advances;                 /* [256][words]: the bits that a byte moves on by one */
    uint64_t stays[PIL_GLOB_WORDS_MAX]; /* the bits that any byte leaves where they are: a star stands there */
    uint32_t words;
    uint32_t element_count;
    uint64_t work; /* steps taken so far, to compile and to match: one per byte and word of bits */
};

/* folds: capital letters of the pattern count as small ones, for texts without capital letters. TOO_LARGE: the pattern
 * has more than PIL_GLOB_BYTES_MAX bytes. NO_MEMORY: the arena has no room for at most 34 KiB. */
pil_status pil_glob_compile(struct pil_bytes pattern, bool folds, struct pil_arena *arena,
                            struct pil_glob *ret_glob) PIL_CHECKED;
/* Whether the whole text matches. Cost: len(text) * (elements / 64 + 1) steps, and none when the pattern has more
 * elements than the text has bytes. */
bool pil_glob_match(struct pil_glob *glob, struct pil_bytes text);
