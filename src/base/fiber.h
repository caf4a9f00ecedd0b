/* SPDX-License-Identifier: Apache-2.0
 * A second stack for a thread: work that runs on it can be left in the middle and gone on with later. It starts by
 * makecontext and setcontext; from then on _setjmp and _longjmp switch, which make no system call (the method of QEMU's
 * coroutines).
 * Thread: one; a fiber never moves to another. */
#pragma once

#include <stdbool.h>

struct pil_fiber;

/* `run` is called anew by each pil_fiber_go that comes after it has returned. NULL: no memory. */
struct pil_fiber *pil_fiber_create(void (*run)(void *context), void *context);
/* A fiber that was left in the middle is dropped as it is; what lies on its stack is not cleaned up. */
void pil_fiber_destroy(struct pil_fiber **fiber);

/* Runs `run` on the fiber's stack, or goes on with it. Returns true when it has returned, false when it was left in the
 * middle. Not to be called on a fiber. */
bool pil_fiber_go(struct pil_fiber *fiber);
/* Leaves the fiber, on which this is called, until the next pil_fiber_go. */
void pil_fiber_leave(struct pil_fiber *fiber);
