/* SPDX-License-Identifier: Apache-2.0
 * Pieces of output of one size, in a pool for each worker. Thread: the worker. */
#pragma once

#include "server/account.h"

enum { PIL_CHUNK_BYTES = 32768 };

struct pil_chunk {
    struct pil_chunk *next;
    uint32_t len;  /* bytes written */
    uint32_t sent; /* bytes handed to the kernel, in flight or sent */
    uint8_t data[PIL_CHUNK_BYTES - 16];
};

/* The free chunks of a worker, which its next answers use, so that nothing is allocated in a steady state. Chunks that
 * stay free are given back to the process (pil_chunk_pool_trim). */
struct pil_chunk_pool {
    struct pil_accounts *accounts;
    struct pil_chunk *free;
    uint32_t free_count, free_min; /* free_min: since the last trim */
};
void pil_chunk_pool_init(struct pil_chunk_pool *pool, struct pil_accounts *accounts);
void pil_chunk_pool_deinit(struct pil_chunk_pool *pool);
/* Every few seconds: frees a quarter of the chunks that were not needed since the last call. */
void pil_chunk_pool_trim(struct pil_chunk_pool *pool);
/* An empty chunk; NULL when the budget of all connections is used up, or memory is short. */
struct pil_chunk *pil_chunk_take(struct pil_chunk_pool *pool);
void pil_chunk_put(struct pil_chunk_pool *pool, struct pil_chunk *chunk);
