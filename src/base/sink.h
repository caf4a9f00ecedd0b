/* SPDX-License-Identifier: Apache-2.0
 * The output of encoders: a run of memory that can be continued in another run. Encoders never check for room: when
 * growing fails, the sink sets `failed` and discards all further output; the owner checks `failed` once, at the end.
 * The sink itself allocates nothing. */
#pragma once

#include "base/bytes.h"

enum { PIL_SINK_RESERVE_MAX = 512 };

struct pil_sink {
    uint8_t *at;  /* next byte */
    uint8_t *end; /* end of this run */
    /* Makes at..end a new run of at least PIL_SINK_RESERVE_MAX bytes; on entry `at` is the end of the old run. Returns
     * false if there is no more memory. */
    bool (*grow)(struct pil_sink *sink);
    bool failed;
    uint8_t overflow[PIL_SINK_RESERVE_MAX]; /* receives the discarded output */
};

/* Returns room for at least `bytes` (at most PIL_SINK_RESERVE_MAX) contiguous bytes; after writing, call
 * pil_sink_advance with the number of bytes written. */
static inline uint8_t *pil_sink_reserve(struct pil_sink *sink, size_t bytes) {
    if ((size_t)(sink->end - sink->at) >= bytes) {
        return sink->at;
    }
    if (sink->failed || !sink->grow(sink)) {
        sink->failed = true;
        sink->at = sink->overflow;
        sink->end = sink->overflow + sizeof sink->overflow;
    }
    return sink->at;
}
static inline void pil_sink_advance(struct pil_sink *sink, size_t bytes) {
    sink->at += bytes;
}
static inline void pil_sink_put(struct pil_sink *sink, uint8_t byte) {
    *pil_sink_reserve(sink, 1) = byte;
    sink->at++;
}
/* A sink over memory of fixed size; with NULL it fails at the first byte. */
struct pil_sink pil_sink_fixed(void *data, size_t bytes);
/* A sink that counts what is written to it, and keeps the first PIL_SINK_MEASURE_BYTES. */
enum { PIL_SINK_MEASURE_BYTES = 4096 };
struct pil_sink_measure {
    struct pil_sink sink; /* first: grow gets its address */
    uint64_t counted;     /* bytes that were overwritten; 0: `bytes` holds all that was written */
    uint8_t bytes[PIL_SINK_MEASURE_BYTES];
};
void pil_sink_measure_begin(struct pil_sink_measure *measure);
uint64_t pil_sink_measured(const struct pil_sink_measure *measure);
/* Writes any length; the bytes may be split over runs. */
void pil_sink_write(struct pil_sink *sink, const void *data, size_t len);
static inline void pil_sink_write_bytes(struct pil_sink *sink, struct pil_bytes bytes) {
    pil_sink_write(sink, bytes.data, bytes.len);
}
static inline void pil_sink_write_text(struct pil_sink *sink, const char *text) {
    pil_sink_write(sink, text, strlen(text));
}
/* Decimal digits; no allocation, no locale. */
void pil_sink_write_i64(struct pil_sink *sink, int64_t value);
void pil_sink_write_u64(struct pil_sink *sink, uint64_t value);
