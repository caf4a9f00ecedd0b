/* SPDX-License-Identifier: Apache-2.0
 * How long to leave alone what failed: first_ms after the first failure, twice as long after each further one, max_ms
 * at most. No clock of its own, no randomness. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* A release that could not be taken, by whichever process. */
enum { PIL_BACKOFF_RELEASE_MS_MIN = 1000, PIL_BACKOFF_RELEASE_MS_MAX = 60000 };

struct pil_backoff {
    uint64_t first_ms, max_ms;
    uint64_t wait_ms;  /* after the last failure; 0: none since pil_backoff_reset */
    uint64_t until_ns; /* when to try again; 0: at once */
};

struct pil_backoff pil_backoff_make(uint64_t first_ms, uint64_t max_ms);
/* It failed at now_ns. */
void pil_backoff_fail(struct pil_backoff *backoff, uint64_t now_ns);
/* It worked, or it is about something else from now on. */
void pil_backoff_reset(struct pil_backoff *backoff);
/* The next try may be at once; should that fail, the wait after it grows on. */
void pil_backoff_skip(struct pil_backoff *backoff);
bool pil_backoff_is_waiting(const struct pil_backoff *backoff, uint64_t now_ns);
