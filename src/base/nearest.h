/* SPDX-License-Identifier: Apache-2.0
 * The word that somebody meant to write: all hints of the programs ask here. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* The candidate that `word` was probably meant to be: at most a third of its letters, and at most 3, are missing, too
 * many, wrong, or swapped with the next one. NULL if none is near, or the word has more than 64 bytes. Thread: any. */
const char *pil_nearest(const char *word, const char *const *candidates, uint32_t count);
