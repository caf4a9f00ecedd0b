/* SPDX-License-Identifier: Apache-2.0
 * Bytes on their way to one connection: a queue of fixed-size chunks from the worker's pool. Encoders append through a
 * sink while the front is being sent; chunks never move, so lengths may be patched in later. Thread: the worker. */
#pragma once

#include "base/sink.h"

#include <sys/uio.h>

enum { PIL_CHUNK_BYTES = 32768 };

struct pil_chunk {
    struct pil_chunk *next;
    uint32_t len;  /* bytes written */
    uint32_t sent; /* bytes handed to the kernel, in flight or sent */
    uint8_t data[PIL_CHUNK_BYTES - 16];
};

/* Slabs of chunks are mapped when first needed; chunks go back to the free list, so nothing is allocated in a steady
 * state. */
struct pil_chunk_pool {
    struct pil_chunk *free;
    uint32_t chunk_count;
    uint32_t chunk_max;
    void *slabs[256];
    uint32_t slab_count;
};
void pil_chunk_pool_init(struct pil_chunk_pool *pool, uint64_t bytes_max);
void pil_chunk_pool_deinit(struct pil_chunk_pool *pool);

struct pil_output {
    struct pil_chunk *first, *last;
    uint64_t bytes;           /* unsent, including those in flight */
    uint64_t bytes_in_flight; /* 0: no send is in flight */
};

/* Opens a sink at the end of an output; pil_output_finish adds what was written to the output. bytes_max bounds the
 * unsent bytes. */
struct pil_output_sink {
    struct pil_sink sink; /* first: encoders see this */
    struct pil_output *output;
    struct pil_chunk_pool *pool;
    uint64_t bytes_max;
};
void pil_output_begin(struct pil_output_sink *sink, struct pil_output *output, struct pil_chunk_pool *pool,
                      uint64_t bytes_max);
/* Unsent bytes so far, including those in the sink: the difference of two calls is what was written in between. */
uint64_t pil_output_position(const struct pil_output_sink *sink);
/* Returns false if something did not fit; the caller must then close the connection. */
bool pil_output_finish(struct pil_output_sink *sink);

/* Fills parts with the bytes that can be sent now and counts them as in flight. Returns the number of parts; 0 when
 * there is nothing to send. */
uint32_t pil_output_take(struct pil_output *output, struct iovec *parts, uint32_t part_capacity);
/* The bytes in flight are sent; frees their chunks. */
void pil_output_sent(struct pil_output *output, struct pil_chunk_pool *pool);
void pil_output_clear(struct pil_output *output, struct pil_chunk_pool *pool);
/* Checks the invariants; for PIL_ASSERT_SLOW and tests. */
bool pil_output_validate(const struct pil_output *output);
