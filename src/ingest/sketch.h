/* SPDX-License-Identifier: Apache-2.0
 * Two bounded summaries of a stream of values: the number of distinct values (HyperLogLog), and the frequent ones
 * (Misra-Gries). */
#pragma once

#include "base/bytes.h"

/* HyperLogLog with 2^12 registers: standard error 1.6 % (Flajolet et al. 2007), linear counting for few values. */
enum { PIL_HLL_BITS = 12, PIL_HLL_REGISTERS = 1 << PIL_HLL_BITS };
struct pil_hll {
    uint8_t registers[PIL_HLL_REGISTERS];
};
static inline void pil_hll_add(struct pil_hll *hll, uint64_t hash) {
    uint64_t rest = hash << PIL_HLL_BITS | 1ull << (PIL_HLL_BITS - 1);
    uint8_t rank = (uint8_t)(__builtin_clzll(rest) + 1);
    uint8_t *at = &hll->registers[hash >> (64 - PIL_HLL_BITS)];
    *at = *at < rank ? rank : *at;
}
uint64_t pil_hll_estimate(const struct pil_hll *hll);

/* Misra-Gries: after the stream, every value that made up more than 1/65 of it has a counter (the counts are too low;
 * count again for exact ones). Values over PIL_FREQUENT_VALUE_BYTES are ignored. */
enum { PIL_FREQUENT_COUNTERS = 64, PIL_FREQUENT_VALUE_BYTES = 64 };
struct pil_frequent_value {
    uint8_t len;
    uint8_t data[PIL_FREQUENT_VALUE_BYTES];
};
struct pil_frequent {
    uint64_t hashes[PIL_FREQUENT_COUNTERS];
    uint64_t counts[PIL_FREQUENT_COUNTERS]; /* 0: the counter is free */
    struct pil_frequent_value values[PIL_FREQUENT_COUNTERS];
    bool overflowed; /* there were more values than counters */
};
void pil_frequent_add(struct pil_frequent *frequent, uint64_t hash, struct pil_bytes value);
/* Index of a value's counter, or -1. */
int pil_frequent_find(const struct pil_frequent *frequent, uint64_t hash, struct pil_bytes value);
