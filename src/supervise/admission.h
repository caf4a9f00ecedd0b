/* SPDX-License-Identifier: Apache-2.0
 * Whether a release may be loaded: releases that are served, arriving or being unmapped must fit into the memory budget
 * together with the new one. Kept releases are evicted, least recently used first, but only if that makes enough room.
 */
#pragma once

#include "supervise/holder.h"

enum { PIL_ADMISSION_TEXT_BYTES = 768 };

/* Called for each release that was evicted. */
struct pil_eviction_hook {
    void (*evicted)(void *context, const struct pil_evicted *evicted);
    void *context;
};

struct pil_admission {
    bool is_admitted;
    char why[PIL_ADMISSION_TEXT_BYTES]; /* the sum in bytes when it is not admitted; else "" */
};

/* A release that arrives or is offered counts and is never evicted: only one arrives at a time, the fetcher reports
 * when it gives a release up, and the server answers an offer. */
void pil_admission_ask(struct pil_holder *holder, uint64_t budget, uint64_t wanted, const char *release,
                       const struct pil_eviction_hook *hook, struct pil_admission *ret_admission);
/* Evicts kept releases until live, offered and kept ones together have at most `bytes`. Releases that are being
 * unmapped do not count here: they go by themselves. */
void pil_admission_trim(struct pil_holder *holder, uint64_t bytes, const struct pil_eviction_hook *hook);
