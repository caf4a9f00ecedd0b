/* SPDX-License-Identifier: Apache-2.0
 * How long to wait before an operation that failed is tried again: first_ms after the first failure, twice as long
 * after each further one, at most max_ms. The caller passes the time; there is no randomness. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* The back-off, in every process, of a release that could not be taken. */
enum { PIL_BACKOFF_RELEASE_MS_MIN = 1000, PIL_BACKOFF_RELEASE_MS_MAX = 60000 };

struct pil_backoff {
    uint64_t first_ms, max_ms;
    uint64_t wait_ms;  /* after the last failure; 0: no failure since pil_backoff_reset */
    uint64_t until_ns; /* when to try again; 0: at once */
};

struct pil_backoff pil_backoff_make(uint64_t first_ms, uint64_t max_ms);
/* Records a failure at now_ns. */
void pil_backoff_fail(struct pil_backoff *backoff, uint64_t now_ns);
/* Call it after a success, or when the back-off is reused for something else. */
void pil_backoff_reset(struct pil_backoff *backoff);
/* Allows the next try at once; if that fails too, the wait keeps growing. */
void pil_backoff_skip(struct pil_backoff *backoff);
bool pil_backoff_is_waiting(const struct pil_backoff *backoff, uint64_t now_ns);
