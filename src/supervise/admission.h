/* SPDX-License-Identifier: Apache-2.0
 * Whether a release may be loaded: what is served or arrives, what is still being unmapped and the new one must fit
 * into the memory budget. Kept releases make room, the longest unused first, and only when that lets the new one in. */
#pragma once

#include "supervise/holder.h"

enum { PIL_ADMISSION_TEXT_BYTES = 768 };

/* What gave way. */
struct pil_eviction_hook {
    void (*evicted)(void *context, const struct pil_evicted *evicted);
    void *context;
};

struct pil_admission {
    bool is_admitted;
    char why[PIL_ADMISSION_TEXT_BYTES]; /* the sum in bytes when it is not; else "" */
};

/* One release at a time arrives, and the holder is told when it is given up: what arrives counts, and is nobody's to
 * drop. */
void pil_admission_ask(struct pil_holder *holder, uint64_t budget, uint64_t wanted, const char *release,
                       const struct pil_eviction_hook *hook, struct pil_admission *ret_admission);
/* Drops kept releases until these and the live ones have at most `bytes`. Those that are being unmapped go by
 * themselves. */
void pil_admission_trim(struct pil_holder *holder, uint64_t bytes, const struct pil_eviction_hook *hook);
