/* SPDX-License-Identifier: Apache-2.0
 * Fails the nth allocation of the thread that asks for it. tests/CMakeLists.txt links a test that includes this header
 * with --wrap, so that the calls of its own objects and of our static libraries come here; shared libraries keep their
 * allocator. Works with sanitizers, whose allocator is what the wrappers call. Included once per program. */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local struct {
    uint64_t nth, count;
    bool is_armed, has_fired;
} pil_fail_alloc;

/* From now on the nth allocation of this thread fails; 1: the next; 0: none, they are only counted. */
static inline void pil_fail_alloc_arm(uint64_t nth) {
    pil_fail_alloc.nth = nth;
    pil_fail_alloc.count = 0;
    pil_fail_alloc.has_fired = false;
    pil_fail_alloc.is_armed = true;
}
/* Allocations since it was armed. */
static inline uint64_t pil_fail_alloc_count(void) {
    return pil_fail_alloc.count;
}
/* Returns whether one has failed since it was armed. */
static inline bool pil_fail_alloc_disarm(void) {
    pil_fail_alloc.is_armed = false;
    return pil_fail_alloc.has_fired;
}

static inline bool pil_fail_alloc_now(void) {
    if (!pil_fail_alloc.is_armed || ++pil_fail_alloc.count != pil_fail_alloc.nth) {
        return false;
    }
    pil_fail_alloc.has_fired = true;
    errno = ENOMEM;
    return true;
}

#define PIL_FAIL_ALLOC(type, name, parameters, arguments) \
    type __real_##name parameters; \
    type __wrap_##name parameters; \
    type __wrap_##name parameters { \
        return pil_fail_alloc_now() ? NULL : __real_##name arguments; \
    }
PIL_FAIL_ALLOC(void *, malloc, (size_t bytes), (bytes))
PIL_FAIL_ALLOC(void *, calloc, (size_t count, size_t bytes), (count, bytes))
PIL_FAIL_ALLOC(void *, realloc, (void *data, size_t bytes), (data, bytes))
PIL_FAIL_ALLOC(char *, strdup, (const char *text), (text))
PIL_FAIL_ALLOC(void *, aligned_alloc, (size_t alignment, size_t bytes), (alignment, bytes))
#undef PIL_FAIL_ALLOC
