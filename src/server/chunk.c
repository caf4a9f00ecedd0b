/* SPDX-License-Identifier: Apache-2.0 */
#include "server/chunk.h"

#include "base/panic.h"

#include <stdlib.h>

enum { FREE_MIN = 16 }; /* free chunks that a worker keeps */
PIL_STATIC_ASSERT(sizeof(struct pil_chunk) == PIL_CHUNK_BYTES);

void pil_chunk_pool_init(struct pil_chunk_pool *pool, struct pil_accounts *accounts) {
    *pool = (struct pil_chunk_pool){.accounts = accounts};
}

static struct pil_chunk *pop(struct pil_chunk_pool *pool) {
    PIL_ASSERT(pool->free_count > 0);
    struct pil_chunk *chunk = pool->free;
    pool->free = chunk->next;
    pool->free_count--;
    pool->free_min = pool->free_count < pool->free_min ? pool->free_count : pool->free_min;
    return chunk;
}

static void free_chunks(struct pil_chunk_pool *pool, uint32_t count) {
    for (; count > 0; count--) {
        free(pop(pool));
        pil_accounts_free(pool->accounts, PIL_CHUNK_BYTES);
    }
}

void pil_chunk_pool_deinit(struct pil_chunk_pool *pool) {
    free_chunks(pool, pool->free_count);
}

void pil_chunk_pool_trim(struct pil_chunk_pool *pool) {
    PIL_ASSERT(pool->free_min <= pool->free_count);
    if (pool->free_min > FREE_MIN) {
        free_chunks(pool, (pool->free_min - FREE_MIN + 3) / 4);
    }
    pool->free_min = pool->free_count;
}

static struct pil_chunk *allocate(struct pil_chunk_pool *pool) {
    if (!pil_accounts_allocate(pool->accounts, PIL_CHUNK_BYTES)) {
        return NULL;
    }
    struct pil_chunk *chunk = malloc(sizeof *chunk);
    if (chunk == NULL) {
        pil_accounts_free(pool->accounts, PIL_CHUNK_BYTES);
    }
    return chunk;
}

struct pil_chunk *pil_chunk_take(struct pil_chunk_pool *pool) {
    struct pil_chunk *chunk = pool->free != NULL ? pop(pool) : allocate(pool);
    if (chunk != NULL) {
        chunk->next = NULL;
        chunk->len = chunk->sent = 0;
    }
    return chunk;
}

void pil_chunk_put(struct pil_chunk_pool *pool, struct pil_chunk *chunk) {
    chunk->next = pool->free;
    pool->free = chunk;
    pool->free_count++;
}
