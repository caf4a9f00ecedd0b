/* SPDX-License-Identifier: Apache-2.0
 * Assertions on our own invariants. Input from outside is never asserted: it is checked and answered with a status. */
#pragma once

/* Prints the condition and its place in the source, then aborts. */
_Noreturn void pil_panic(const char *file, int line, const char *text) __attribute__((cold));

/* Always enabled; for one cheap condition. */
#define PIL_ASSERT(condition) (__builtin_expect(!!(condition), 1) ? (void)0 : pil_panic(__FILE__, __LINE__, #condition))

/* Enabled in debug builds only; may walk a structure. */
#ifdef NDEBUG
#define PIL_ASSERT_SLOW(condition) ((void)0)
#else
#define PIL_ASSERT_SLOW(condition) PIL_ASSERT(condition)
#endif

#define PIL_UNREACHABLE(why) pil_panic(__FILE__, __LINE__, "unreachable: " why)
#define PIL_STATIC_ASSERT(condition) _Static_assert(condition, #condition)
