/* SPDX-License-Identifier: Apache-2.0 */
#define XXH_INLINE_ALL
#include <xxhash.h>

/* EVP allocates for every digest, and what it cannot allocate ends in an error that no caller here could mend. The
 * functions below it are deprecated for being fixed to one implementation, which is what is wanted. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>

#include "base/hash.h"
#include "base/character.h"

#include <stdalign.h>

uint64_t pil_hash_shard(struct pil_bytes key) {
    return XXH64(key.data, key.len, PIL_HASH_SHARD_SEED);
}

uint64_t pil_hash_index(struct pil_bytes key, uint64_t seed) {
    return XXH3_64bits_withSeed(key.data, key.len, seed);
}

uint64_t pil_hash_block(struct pil_bytes block) {
    return XXH3_64bits(block.data, block.len);
}

static uint32_t rotate(uint32_t value, int bits) {
    return value << bits | value >> (32 - bits);
}

static uint32_t mix(uint32_t block) {
    return rotate(block * 0xcc9e2d51u, 15) * 0x1b873593u;
}

uint32_t pil_hash_field(struct pil_bytes name) {
    uint32_t hash = 0, tail = 0;
    size_t at = 0;
    for (; at + 4 <= name.len; at += 4) {
        hash = rotate(hash ^ mix(pil_load_u32(name.data + at)), 13) * 5 + 0xe6546b64u;
    }
    for (size_t i = at; i < name.len; i++) {
        tail |= (uint32_t)name.data[i] << 8 * (i - at);
    }
    hash ^= mix(tail) ^ (uint32_t)name.len;
    hash = (hash ^ hash >> 16) * 0x85ebca6bu;
    hash = (hash ^ hash >> 13) * 0xc2b2ae35u;
    return hash ^ hash >> 16;
}

struct pil_sha256 pil_hash_sha256(struct pil_bytes data) {
    struct pil_sha256_stream stream;
    pil_sha256_stream_init(&stream);
    pil_sha256_stream_update(&stream, data);
    return pil_sha256_stream_finish(&stream);
}

static SHA256_CTX *context_of(struct pil_sha256_stream *stream) {
    _Static_assert(sizeof(SHA256_CTX) <= sizeof stream->state && alignof(SHA256_CTX) <= alignof(uint64_t),
                   "the stream has room for OpenSSL's");
    return (SHA256_CTX *)(void *)stream->state;
}

void pil_sha256_stream_init(struct pil_sha256_stream *stream) {
    (void)SHA256_Init(context_of(stream)); /* none of the three can fail */
}

void pil_sha256_stream_update(struct pil_sha256_stream *stream, struct pil_bytes data) {
    (void)SHA256_Update(context_of(stream), data.data, data.len);
}

struct pil_sha256 pil_sha256_stream_finish(struct pil_sha256_stream *stream) {
    struct pil_sha256 digest;
    (void)SHA256_Final(digest.bytes, context_of(stream));
    return digest;
}

void pil_hex_encode(struct pil_bytes data, char *ret_text) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < data.len; i++) {
        ret_text[2 * i] = digits[data.data[i] >> 4];
        ret_text[2 * i + 1] = digits[data.data[i] & 15];
    }
    ret_text[2 * data.len] = '\0';
}

bool pil_hex_decode(struct pil_bytes text, uint8_t *ret_data, size_t len) {
    if (text.len != 2 * len) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        int high = pil_character_hex_digit(text.data[2 * i]), low = pil_character_hex_digit(text.data[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        ret_data[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}
