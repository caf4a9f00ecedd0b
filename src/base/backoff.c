/* SPDX-License-Identifier: Apache-2.0 */
#include "base/backoff.h"

#include "base/panic.h"

struct pil_backoff pil_backoff_make(uint64_t first_ms, uint64_t max_ms) {
    PIL_ASSERT(first_ms > 0);
    PIL_ASSERT(first_ms <= max_ms);
    return (struct pil_backoff){.first_ms = first_ms, .max_ms = max_ms};
}

void pil_backoff_fail(struct pil_backoff *backoff, uint64_t now_ns) {
    uint64_t doubled = backoff->wait_ms * 2 < backoff->max_ms ? backoff->wait_ms * 2 : backoff->max_ms;
    backoff->wait_ms = backoff->wait_ms == 0 ? backoff->first_ms : doubled;
    backoff->until_ns = now_ns + backoff->wait_ms * 1000000;
    PIL_ASSERT(backoff->wait_ms >= backoff->first_ms);
    PIL_ASSERT(backoff->wait_ms <= backoff->max_ms);
}

void pil_backoff_reset(struct pil_backoff *backoff) {
    backoff->wait_ms = 0;
    backoff->until_ns = 0;
}

void pil_backoff_skip(struct pil_backoff *backoff) {
    backoff->until_ns = 0;
}

bool pil_backoff_is_waiting(const struct pil_backoff *backoff, uint64_t now_ns) {
    return now_ns < backoff->until_ns;
}
