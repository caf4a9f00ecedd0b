/* SPDX-License-Identifier: Apache-2.0 */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/hash.h"
#include "base/character.h"
#include "base/panic.h"

#include <openssl/evp.h>

uint64_t pil_hash_shard(struct pil_bytes key) {
    return XXH64(key.data, key.len, PIL_HASH_SHARD_SEED);
}

uint64_t pil_hash_index(struct pil_bytes key, uint64_t seed) {
    return XXH3_64bits_withSeed(key.data, key.len, seed);
}

uint64_t pil_hash_block(struct pil_bytes block) {
    return XXH3_64bits(block.data, block.len);
}

struct pil_sha256 pil_hash_sha256(struct pil_bytes data) {
    struct pil_sha256_stream *stream = pil_sha256_stream_create();
    pil_sha256_stream_update(stream, data);
    return pil_sha256_stream_finish(&stream);
}

struct pil_sha256_stream *pil_sha256_stream_create(void) {
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    PIL_ASSERT(context != NULL);
    PIL_ASSERT(EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1);
    return (struct pil_sha256_stream *)context;
}

void pil_sha256_stream_update(struct pil_sha256_stream *stream, struct pil_bytes data) {
    PIL_ASSERT(EVP_DigestUpdate((EVP_MD_CTX *)stream, data.data, data.len) == 1);
}

struct pil_sha256 pil_sha256_stream_finish(struct pil_sha256_stream **stream) {
    struct pil_sha256 digest;
    PIL_ASSERT(EVP_DigestFinal_ex((EVP_MD_CTX *)*stream, digest.bytes, NULL) == 1);
    EVP_MD_CTX_free((EVP_MD_CTX *)*stream);
    *stream = NULL;
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
