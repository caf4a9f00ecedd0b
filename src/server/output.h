/* SPDX-License-Identifier: Apache-2.0
 * Bytes on their way to one connection: a queue of fixed-size chunks from the worker's pool. Encoders append through a
 * sink while the front is being sent; chunks never move, so lengths may be patched in later. Thread: the worker. */
#pragma once

#include "base/sink.h"
#include "server/chunk.h"

#include <sys/uio.h>

struct pil_output {
    struct pil_chunk *first, *last;
    uint64_t bytes;           /* unsent, including those in flight */
    uint64_t bytes_in_flight; /* 0: no send is in flight */
    uint32_t chunk_count;
    uint32_t charged_count; /* chunks that are charged to the peer: all but one, or all (pil_output_charge) */
    /* An answer that is being written is not sent before it is whole, because it may be taken back. */
    bool is_open;
    struct pil_chunk *mark; /* the last chunk when it began, NULL: none, and that chunk's length */
    uint32_t mark_len;
    uint64_t open_bytes; /* of it, in `bytes` */
};

typedef enum pil_output_failure {
    PIL_OUTPUT_OK,
    PIL_OUTPUT_TOO_LARGE, /* the answer is longer than bytes_max */
    PIL_OUTPUT_NO_MEMORY, /* the peer holds its share of the memory, or there is none */
    PIL_OUTPUT_UNWANTED,  /* by `pause` */
} pil_output_failure;

/* Opens a sink at the end of an output; pil_output_finish adds what was written to the output. */
struct pil_output_sink {
    struct pil_sink sink; /* first: encoders see this */
    struct pil_output *output;
    struct pil_chunk_pool *pool;
    struct pil_account_use *use; /* NULL: takes one chunk more than the peer's share, for an error */
    uint64_t bytes_max;          /* of the longest answer */
    pil_output_failure failure;
    /* Called before a further chunk is begun, NULL: not; the worker may do other work, send what is before the answer,
     * and receive. Returns false when the answer is not wanted any more. */
    bool (*pause)(void *context);
    void *context;
};
/* bytes_max bounds what is written. The account is that of the connection, for all functions on one output. */
void pil_output_begin(struct pil_output_sink *sink, struct pil_output *output, struct pil_chunk_pool *pool,
                      struct pil_account_use *use, uint64_t bytes_max);
/* Bytes since the begin. */
uint64_t pil_output_position(const struct pil_output_sink *sink);
/* Anything but OK: something did not fit. The caller must then call pil_output_undo, or close the connection. */
pil_output_failure pil_output_finish(struct pil_output_sink *sink);
/* Removes what was written since the begin. */
void pil_output_undo(struct pil_output_sink *sink);
/* Unsent bytes that can be sent, or are in flight: all but those of an answer that is being written. */
static inline uint64_t pil_output_whole_bytes(const struct pil_output *output) {
    return output->bytes - output->open_bytes;
}
/* Charges the first chunk, too, of an output that waits for its peer. */
void pil_output_charge(struct pil_output *output, struct pil_account_use *use);

/* Fills parts with the bytes that can be sent now and counts them as in flight. Returns the number of parts; 0 when
 * there is nothing to send. */
uint32_t pil_output_take(struct pil_output *output, struct iovec *parts, uint32_t part_capacity);
/* The bytes in flight are sent; frees their chunks. */
void pil_output_sent(struct pil_output *output, struct pil_chunk_pool *pool, struct pil_account_use *use);
void pil_output_clear(struct pil_output *output, struct pil_chunk_pool *pool, struct pil_account_use *use);
/* Checks the invariants; for PIL_ASSERT_SLOW and tests. */
bool pil_output_validate(const struct pil_output *output);
