/* SPDX-License-Identifier: Apache-2.0
 * Two clocks: monotonic nanoseconds for durations and deadlines, wall microseconds for event times and TTLs. */
#pragma once

#include "base/bytes.h"

#include <time.h>

static inline uint64_t pil_clock_monotonic_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline int64_t pil_clock_wall_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Both clocks, for code that must also run in simulated time. The functions get `context`; the code that uses the clock
 * documents which threads call them. */
struct pil_clock {
    uint64_t (*monotonic_ns)(void *context);
    int64_t (*wall_us)(void *context);
    void *context;
};
/* The machine's clocks; any thread. */
extern const struct pil_clock pil_clock_system;

/* Text form "2026-11-21T03:45:10Z", with 3 or 6 fraction digits when the time is not a whole second (RFC 3339).
 * Returns the length, at most PIL_CLOCK_TEXT_BYTES - 1; years outside 0..9999 are clamped. */
enum { PIL_CLOCK_TEXT_BYTES = 32 };
int pil_clock_format_us(int64_t wall_us, char ret_text[PIL_CLOCK_TEXT_BYTES]);

/* Reads RFC 3339: "2026-11-21T03:45:10.5+01:00", also with a blank for the T; up to 6 fraction digits, and zeros after
 * them. The zone is required, because without it the text names no instant. Returns false for any other text. */
bool pil_clock_parse_us(struct pil_bytes text, int64_t *ret_wall_us);
