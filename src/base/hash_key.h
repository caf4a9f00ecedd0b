/* SPDX-License-Identifier: Apache-2.0
 * The hashes of 8-byte keys, by far the most frequent, inlined for the hot path: no call, and no branch but the test of
 * the length. Source: XXH64 and XXH3_64bits of https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md. hash.h
 * has the hashes of all lengths. */
#pragma once

#include "base/hash.h"

static inline uint64_t pil_hash_rotated(uint64_t word, uint32_t bits) {
    return word << bits | word >> (64 - bits);
}

/* The same result as pil_hash_shard. */
static inline uint64_t pil_hash_shard_inline(struct pil_bytes key) {
    if (key.len != 8) {
        return pil_hash_shard(key);
    }
    const uint64_t prime1 = 0x9e3779b185ebca87, prime2 = 0xc2b2ae3d27d4eb4f, prime3 = 0x165667b19e3779f9,
                   prime4 = 0x85ebca77c2b2ae63, prime5 = 0x27d4eb2f165667c5;
    uint64_t hash = (PIL_HASH_SHARD_SEED + prime5 + 8) ^ pil_hash_rotated(pil_load_u64(key.data) * prime2, 31) * prime1;
    hash = pil_hash_rotated(hash, 27) * prime1 + prime4;
    hash = (hash ^ hash >> 33) * prime2;
    hash = (hash ^ hash >> 29) * prime3;
    return hash ^ hash >> 32;
}

/* The same result as pil_hash_index. `secret` combines bytes 8 to 23 of XXH3's default secret. */
static inline uint64_t pil_hash_index_inline(struct pil_bytes key, uint64_t seed) {
    if (key.len != 8) {
        return pil_hash_index(key, seed);
    }
    const uint64_t secret = 0x1cad21f72c81017c ^ 0xdb979083e96dd4de, prime = 0x9fb21c651e98df25;
    seed ^= (uint64_t)__builtin_bswap32((uint32_t)seed) << 32;
    uint64_t hash = pil_hash_rotated(pil_load_u64(key.data), 32) ^ (secret - seed);
    hash ^= pil_hash_rotated(hash, 49) ^ pil_hash_rotated(hash, 24);
    hash *= prime;
    hash = (hash ^ ((hash >> 35) + 8)) * prime;
    return hash ^ hash >> 28;
}
