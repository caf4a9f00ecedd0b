/* SPDX-License-Identifier: Apache-2.0
 * Memory that is allocated front to back and freed all at once: it holds what the requests of one batch point to. The
 * owner provides a block of fixed size; an allocation costs an addition and a comparison. One thread. */
#pragma once

#include "base/bytes.h"
#include "base/panic.h"

struct pil_arena {
    uint8_t *data;
    size_t capacity;
    size_t used;
};

static inline void pil_arena_init(struct pil_arena *arena, void *data, size_t capacity) {
    *arena = (struct pil_arena){.data = data, .capacity = capacity};
}

static inline size_t pil_arena_left(const struct pil_arena *arena) {
    return arena->capacity - arena->used;
}

/* Allocates uninitialised memory; NULL, without any change, when the arena has no room. `alignment`: a power of two, at
 * most that of `data`. */
static inline void *pil_arena_alloc(struct pil_arena *arena, size_t bytes, size_t alignment) {
    PIL_ASSERT_SLOW(alignment != 0 && (alignment & (alignment - 1)) == 0);
    size_t at = (arena->used + alignment - 1) & ~(alignment - 1);
    if (at > arena->capacity || bytes > arena->capacity - at) {
        return NULL;
    }
    arena->used = at + bytes;
    return arena->data + at;
}

#define PIL_ARENA_NEW(arena, type, count) \
    ((type *)pil_arena_alloc((arena), (size_t)(count) * sizeof(type), _Alignof(type)))

/* A position to return to: pil_arena_rewind frees everything allocated since pil_arena_mark. */
static inline size_t pil_arena_mark(const struct pil_arena *arena) {
    return arena->used;
}

static inline void pil_arena_rewind(struct pil_arena *arena, size_t mark) {
    PIL_ASSERT(mark <= arena->used);
    arena->used = mark;
}
