/* SPDX-License-Identifier: Apache-2.0
 * Plain data copied through atomic words, for sequence locks: a copy taken during a write may be torn, but it is not a
 * data race. A sequence number next to the words reveals torn copies. The writer stores it before the words (release:
 * the words do not become visible before it); the reader loads it again after the words (acquire: it is not loaded
 * before them). Source: Boehm, "Can seqlocks get along with programming language memory models?", MSPC 2012. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#define PIL_SEQLOCK_WORDS(type) ((sizeof(type) + 7) / 8)

static inline void pil_seqlock_store(_Atomic uint64_t *words, const void *from, size_t bytes) {
    for (size_t at = 0; at < bytes; at += 8) {
        uint64_t word = 0;
        memcpy(&word, (const char *)from + at, bytes - at < 8 ? bytes - at : 8);
        atomic_store_explicit(&words[at / 8], word, memory_order_release);
    }
}

static inline void pil_seqlock_load(const _Atomic uint64_t *words, void *to, size_t bytes) {
    for (size_t at = 0; at < bytes; at += 8) {
        uint64_t word = atomic_load_explicit(&words[at / 8], memory_order_acquire);
        memcpy((char *)to + at, &word, bytes - at < 8 ? bytes - at : 8);
    }
}
