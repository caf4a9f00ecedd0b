/* SPDX-License-Identifier: Apache-2.0
 * What AddressSanitizer and ThreadSanitizer must be told when a thread changes its stack (base/fiber.c). Nothing in
 * other builds. */
#pragma once

#include <stddef.h>

#if defined(__has_feature) /* clang */
#define PIL_HAS_ASAN __has_feature(address_sanitizer)
#define PIL_HAS_TSAN __has_feature(thread_sanitizer)
#else
#ifdef __SANITIZE_ADDRESS__
#define PIL_HAS_ASAN 1
#else
#define PIL_HAS_ASAN 0
#endif
#ifdef __SANITIZE_THREAD__
#define PIL_HAS_TSAN 1
#else
#define PIL_HAS_TSAN 0
#endif
#endif

#if PIL_HAS_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if PIL_HAS_TSAN
#include <sanitizer/tsan_interface.h>
#endif

struct pil_sanitizer_stack {
    const void *bottom;
    size_t bytes;
    void *saved; /* of AddressSanitizer: the fake stack, while another stack is in use */
    void *fiber; /* of ThreadSanitizer */
};

/* The stack of a new fiber; that of the thread itself is zeroed memory. */
static inline void pil_sanitizer_stack_init(struct pil_sanitizer_stack *stack, const void *bottom, size_t bytes) {
    *stack = (struct pil_sanitizer_stack){.bottom = bottom, .bytes = bytes};
#if PIL_HAS_TSAN
    stack->fiber = __tsan_create_fiber(0);
#endif
}

static inline void pil_sanitizer_stack_deinit(struct pil_sanitizer_stack *stack) {
    (void)stack;
#if PIL_HAS_ASAN
    __asan_unpoison_memory_region(stack->bottom, stack->bytes); /* frames that were left */
#endif
#if PIL_HAS_TSAN
    __tsan_destroy_fiber(stack->fiber);
#endif
}

/* Just before the jump from one stack to another. */
static inline void pil_sanitizer_leave(struct pil_sanitizer_stack *from, struct pil_sanitizer_stack *to) {
    (void)from, (void)to;
#if PIL_HAS_ASAN
    __sanitizer_start_switch_fiber(&from->saved, to->bottom, to->bytes);
#endif
#if PIL_HAS_TSAN
    from->fiber = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(to->fiber, 0);
#endif
}

/* Just after it, on the new stack. */
static inline void pil_sanitizer_arrive(struct pil_sanitizer_stack *here, struct pil_sanitizer_stack *there) {
    (void)here, (void)there;
#if PIL_HAS_ASAN
    __sanitizer_finish_switch_fiber(here->saved, &there->bottom, &there->bytes);
#endif
}
