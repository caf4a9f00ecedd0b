/* SPDX-License-Identifier: Apache-2.0
 * The hashes of the formats, named by purpose: XXH64 assigns keys to shards (as Spark's xxhash64), XXH3 indexes keys
 * and checks blocks, SHA-256 identifies content, MurmurHash3 names fields as Feast does. */
#pragma once

#include "base/bytes.h"

/* XXH64(bytes, seed 42): Spark SQL's xxhash64 of one BINARY or BIGINT column. Its high bits choose the shard. */
enum { PIL_HASH_SHARD_SEED = 42 };
uint64_t pil_hash_shard(struct pil_bytes key);

/* XXH3-64 with a seed: the hash of keys in the index of a shard. */
uint64_t pil_hash_index(struct pil_bytes key, uint64_t seed);

/* XXH3-64, seed 0: block checksums. */
uint64_t pil_hash_block(struct pil_bytes block);

/* MurmurHash3_x86_32, seed 0: "view:feature" in the layout of Feast's Redis store (wire/feast_redis.h). */
uint32_t pil_hash_field(struct pil_bytes name);

enum { PIL_SHA256_BYTES = 32, PIL_SHA256_HEX_CHARS = 64 };
struct pil_sha256 {
    uint8_t bytes[PIL_SHA256_BYTES];
};

struct pil_sha256 pil_hash_sha256(struct pil_bytes data);

/* Incremental SHA-256; finish returns the digest of everything since init. No allocation. */
struct pil_sha256_stream {
    uint64_t state[14]; /* OpenSSL's */
};
void pil_sha256_stream_init(struct pil_sha256_stream *stream);
void pil_sha256_stream_update(struct pil_sha256_stream *stream, struct pil_bytes data);
struct pil_sha256 pil_sha256_stream_finish(struct pil_sha256_stream *stream);

/* Lower-case hex of `data` into ret_text[2 * len + 1], NUL-terminated. */
void pil_hex_encode(struct pil_bytes data, char *ret_text);
/* Reads exactly 2 * len hex digits (either case); returns false if the length is wrong or a character is not a hex
 * digit. */
bool pil_hex_decode(struct pil_bytes text, uint8_t *ret_data, size_t len);
