/* SPDX-License-Identifier: Apache-2.0 */
#undef _FORTIFY_SOURCE /* its longjmp refuses to jump to another stack */
#include "base/fiber.h"

#include "base/panic.h"
#include "base/sanitizer.h"

#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

enum { GUARD_BYTES = 65536, STACK_BYTES = PIL_HAS_ASAN ? 1 << 20 : 1 << 18 };

/* One of the two sides between which control goes back and forth. */
struct side {
    jmp_buf place;
    struct pil_sanitizer_stack sanitizer;
};

struct pil_fiber {
    void (*run)(void *context);
    void *context;
    uint8_t *memory; /* a guard, then the stack */
    bool is_started, is_done;
    struct side inside, outside;
    ucontext_t first;
};

static void jump(struct pil_fiber *fiber, struct side *from, struct side *to) {
    if (_setjmp(from->place) == 0) {
        pil_sanitizer_leave(&from->sanitizer, &to->sanitizer);
        if (fiber->is_started) {
            _longjmp(to->place, 1);
        }
        fiber->is_started = true;
        setcontext(&fiber->first);
        PIL_UNREACHABLE("the context was made by makecontext");
    }
    pil_sanitizer_arrive(&from->sanitizer, &to->sanitizer);
}

/* makecontext passes only ints. */
static void begin(unsigned high, unsigned low) {
    struct pil_fiber *fiber =
        (struct pil_fiber *)(uintptr_t)((uint64_t)high << 32 | low); // NOLINT(performance-no-int-to-ptr)
    pil_sanitizer_arrive(&fiber->inside.sanitizer, &fiber->outside.sanitizer);
    for (;;) {
        fiber->is_done = false;
        fiber->run(fiber->context);
        fiber->is_done = true;
        jump(fiber, &fiber->inside, &fiber->outside);
    }
}

struct pil_fiber *pil_fiber_create(void (*run)(void *context), void *context) {
    struct pil_fiber *fiber = calloc(1, sizeof *fiber);
    if (fiber == NULL) {
        return NULL;
    }
    fiber->memory = mmap(NULL, GUARD_BYTES + STACK_BYTES, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
    if (fiber->memory == MAP_FAILED) {
        free(fiber);
        return NULL;
    }
    fiber->run = run;
    fiber->context = context;
    if (mprotect(fiber->memory, GUARD_BYTES, PROT_NONE) != 0 || getcontext(&fiber->first) != 0) {
        pil_fiber_destroy(&fiber);
        return NULL;
    }
    uint8_t *stack = fiber->memory + GUARD_BYTES;
    fiber->first.uc_stack.ss_sp = stack;
    fiber->first.uc_stack.ss_size = STACK_BYTES;
    pil_sanitizer_stack_init(&fiber->inside.sanitizer, stack, STACK_BYTES);
    makecontext(&fiber->first, (void (*)(void))begin, 2, (unsigned)((uint64_t)(uintptr_t)fiber >> 32),
                (unsigned)(uintptr_t)fiber);
    return fiber;
}

void pil_fiber_destroy(struct pil_fiber **fiber) {
    if (*fiber != NULL) {
        pil_sanitizer_stack_deinit(&(*fiber)->inside.sanitizer);
        munmap((*fiber)->memory, GUARD_BYTES + STACK_BYTES);
        free(*fiber);
        *fiber = NULL;
    }
}

bool pil_fiber_go(struct pil_fiber *fiber) {
    jump(fiber, &fiber->outside, &fiber->inside);
    return fiber->is_done;
}

void pil_fiber_leave(struct pil_fiber *fiber) {
    fiber->is_done = false;
    jump(fiber, &fiber->inside, &fiber->outside);
}
