/* SPDX-License-Identifier: Apache-2.0
 * The three hashes of the formats, by name: XXH64 places keys in shards (the same as Spark's xxhash64), XXH3 indexes
 * and checks blocks, SHA-256 names content. */
#pragma once

#include "base/bytes.h"

/* XXH64(bytes, seed 42): Spark SQL's xxhash64 of one BINARY or BIGINT column. Its high bits choose the shard. */
enum { PIL_HASH_SHARD_SEED = 42 };
uint64_t pil_hash_shard(struct pil_bytes key);

/* XXH3-64 with a seed: the hash that the index of a shard is built over. */
uint64_t pil_hash_index(struct pil_bytes key, uint64_t seed);

/* XXH3-64, seed 0: block checksums. */
uint64_t pil_hash_block(struct pil_bytes block);

enum { PIL_SHA256_BYTES = 32, PIL_SHA256_HEX_CHARS = 64 };
struct pil_sha256 {
    uint8_t bytes[PIL_SHA256_BYTES];
};

struct pil_sha256 pil_hash_sha256(struct pil_bytes data);

/* Incremental SHA-256. create panics only when out of memory. finish returns the digest and destroys; NULLs the
 * pointer. */
struct pil_sha256_stream;
struct pil_sha256_stream *pil_sha256_stream_create(void);
void pil_sha256_stream_update(struct pil_sha256_stream *stream, struct pil_bytes data);
struct pil_sha256 pil_sha256_stream_finish(struct pil_sha256_stream **stream);

/* Lower-case hex of `data` into ret_text[2 * len + 1], NUL-terminated. */
void pil_hex_encode(struct pil_bytes data, char *ret_text);
/* Reads exactly 2 * len hex digits (either case); false when any is not one. */
bool pil_hex_decode(struct pil_bytes text, uint8_t *ret_data, size_t len);
