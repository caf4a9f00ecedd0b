/* SPDX-License-Identifier: Apache-2.0 */
#include "server/output.h"
#include "base/panic.h"

#include <sys/mman.h>

enum { SLAB_CHUNKS = 64, SLAB_BYTES = SLAB_CHUNKS * PIL_CHUNK_BYTES, SLABS_MAX = 256 };
PIL_STATIC_ASSERT(sizeof(struct pil_chunk) == PIL_CHUNK_BYTES);

void pil_chunk_pool_init(struct pil_chunk_pool *pool, uint64_t bytes_max) {
    uint64_t chunks = bytes_max / PIL_CHUNK_BYTES;
    *pool = (struct pil_chunk_pool){.chunk_max =
                                        chunks < SLABS_MAX * SLAB_CHUNKS ? (uint32_t)chunks : SLABS_MAX * SLAB_CHUNKS};
}

void pil_chunk_pool_deinit(struct pil_chunk_pool *pool) {
    for (uint32_t i = 0; i < pool->slab_count; i++) {
        munmap(pool->slabs[i], SLAB_BYTES);
    }
    *pool = (struct pil_chunk_pool){0};
}

static bool add_slab(struct pil_chunk_pool *pool) {
    if (pool->slab_count == SLABS_MAX || pool->chunk_count + SLAB_CHUNKS > pool->chunk_max) {
        return false;
    }
    uint8_t *slab = mmap(NULL, SLAB_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (slab == MAP_FAILED) {
        return false;
    }
    pool->slabs[pool->slab_count++] = slab;
    pool->chunk_count += SLAB_CHUNKS;
    for (uint32_t i = 0; i < SLAB_CHUNKS; i++) {
        struct pil_chunk *chunk = (struct pil_chunk *)(void *)(slab + (size_t)i * PIL_CHUNK_BYTES);
        chunk->next = pool->free;
        pool->free = chunk;
    }
    return true;
}

static struct pil_chunk *chunk_take(struct pil_chunk_pool *pool) {
    if (pool->free == NULL && !add_slab(pool)) {
        return NULL;
    }
    struct pil_chunk *chunk = pool->free;
    pool->free = chunk->next;
    chunk->next = NULL;
    chunk->len = 0;
    chunk->sent = 0;
    return chunk;
}

static void chunk_put(struct pil_chunk_pool *pool, struct pil_chunk *chunk) {
    chunk->next = pool->free;
    pool->free = chunk;
}

/* Adds the bytes before `at` to the last chunk. */
static void commit(struct pil_output_sink *sink) {
    struct pil_chunk *last = sink->output->last;
    if (last != NULL && !sink->sink.failed) {
        uint32_t len = (uint32_t)(sink->sink.at - last->data);
        PIL_ASSERT(len >= last->len && len <= sizeof last->data);
        sink->output->bytes += len - last->len;
        last->len = len;
    }
}

static bool grow(struct pil_sink *base) {
    struct pil_output_sink *sink = (struct pil_output_sink *)(void *)base;
    commit(sink);
    struct pil_chunk *chunk = sink->output->bytes < sink->bytes_max ? chunk_take(sink->pool) : NULL;
    if (chunk == NULL) {
        return false;
    }
    if (sink->output->last != NULL) {
        sink->output->last->next = chunk;
    } else {
        sink->output->first = chunk;
    }
    sink->output->last = chunk;
    base->at = chunk->data;
    base->end = chunk->data + sizeof chunk->data;
    return true;
}

void pil_output_begin(struct pil_output_sink *sink, struct pil_output *output, struct pil_chunk_pool *pool,
                      uint64_t bytes_max) {
    sink->sink.grow = grow;
    sink->sink.failed = false;
    sink->output = output;
    sink->pool = pool;
    sink->bytes_max = bytes_max;
    struct pil_chunk *last = output->last;
    sink->sink.at = last != NULL ? last->data + last->len : NULL;
    sink->sink.end = last != NULL ? last->data + sizeof last->data : NULL;
}

uint64_t pil_output_position(const struct pil_output_sink *sink) {
    const struct pil_chunk *last = sink->output->last;
    return last == NULL || sink->sink.failed ? sink->output->bytes
                                             : sink->output->bytes + (uint64_t)(sink->sink.at - last->data) - last->len;
}

bool pil_output_finish(struct pil_output_sink *sink) {
    commit(sink);
    return !sink->sink.failed;
}

uint32_t pil_output_take(struct pil_output *output, struct iovec *parts, uint32_t part_capacity) {
    PIL_ASSERT(output->bytes_in_flight == 0);
    uint32_t count = 0;
    for (struct pil_chunk *chunk = output->first; chunk != NULL && count < part_capacity; chunk = chunk->next) {
        if (chunk->len > chunk->sent) {
            parts[count++] = (struct iovec){.iov_base = chunk->data + chunk->sent, .iov_len = chunk->len - chunk->sent};
            output->bytes_in_flight += chunk->len - chunk->sent;
            chunk->sent = chunk->len;
        }
    }
    return count;
}

void pil_output_sent(struct pil_output *output, struct pil_chunk_pool *pool) {
    PIL_ASSERT(output->bytes_in_flight <= output->bytes);
    output->bytes -= output->bytes_in_flight;
    output->bytes_in_flight = 0;
    while (output->first != NULL && output->first->sent == output->first->len) {
        struct pil_chunk *chunk = output->first;
        output->first = chunk->next;
        chunk_put(pool, chunk);
    }
    if (output->first == NULL) {
        output->last = NULL;
    }
}

void pil_output_clear(struct pil_output *output, struct pil_chunk_pool *pool) {
    while (output->first != NULL) {
        struct pil_chunk *chunk = output->first;
        output->first = chunk->next;
        chunk_put(pool, chunk);
    }
    *output = (struct pil_output){0};
}

bool pil_output_validate(const struct pil_output *output) {
    uint64_t unsent = output->bytes_in_flight;
    const struct pil_chunk *last = NULL;
    for (const struct pil_chunk *chunk = output->first; chunk != NULL; chunk = chunk->next) {
        if (chunk->sent > chunk->len || chunk->len > sizeof chunk->data) {
            return false;
        }
        unsent += chunk->len - chunk->sent;
        last = chunk;
    }
    return last == output->last && unsent == output->bytes;
}
