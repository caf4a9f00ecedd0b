/* SPDX-License-Identifier: Apache-2.0
 * Plain data copied through atomic words, so that a copy that is written meanwhile is torn but no race. A mark beside
 * the words tells torn copies: it is stored before the words are (release: they do not show before it), and loaded once
 * more behind them (acquire: it is not loaded before they are). Source: Boehm, "Can seqlocks get along with programming
 * language memory models?", MSPC 2012. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#define PIL_WORDS_OF(type) ((sizeof(type) + 7) / 8)

static inline void pil_words_store(_Atomic uint64_t *words, const void *from, size_t bytes) {
    for (size_t at = 0; at < bytes; at += 8) {
        uint64_t word = 0;
        memcpy(&word, (const char *)from + at, bytes - at < 8 ? bytes - at : 8);
        atomic_store_explicit(&words[at / 8], word, memory_order_release);
    }
}

static inline void pil_words_load(const _Atomic uint64_t *words, void *to, size_t bytes) {
    for (size_t at = 0; at < bytes; at += 8) {
        uint64_t word = atomic_load_explicit(&words[at / 8], memory_order_acquire);
        memcpy((char *)to + at, &word, bytes - at < 8 ? bytes - at : 8);
    }
}
