/* SPDX-License-Identifier: Apache-2.0
 * Layout and constants of the shard file, as schemas/snapshot.md specifies them. All integers are little-endian.
 *
 *   0        superblock, 4096 bytes
 *   4096     SCHEMA      canonical JSON of the view
 *   ..       PILOTS      u8[bucket_count]                       64-byte aligned
 *   ..       ROWS        slot_count x row_stride                 2 MiB-aligned when they are 64 MiB or more, else 64
 *   ..       HEAP        bytes of values and keys > 12 bytes     64-byte aligned
 *   ..       BLOCK_SUMS  XXH3-64 of each 1 MiB block of [0, body_bytes)
 *   ..       RANGE_HASHES SHA-256 of each 8 MiB range of [0, body_bytes)
 * body_bytes is where BLOCK_SUMS start. shard id = SHA-256(RANGE_HASHES section). */
#pragma once

#include "base/bytes.h"
#include "base/hash.h"
#include "base/panic.h"

enum {
    PIL_FORMAT_MAJOR = 1,
    PIL_FORMAT_MINOR = 0,
    PIL_FORMAT_SUPERBLOCK_BYTES = 4096,
    PIL_FORMAT_BLOCK_BYTES = 1 << 20,
    PIL_FORMAT_RANGE_BYTES = 8 << 20,
    PIL_FORMAT_LARGE_ALIGNMENT = 2 << 20,
    PIL_FORMAT_SMALL_ALIGNMENT = 64,
    PIL_FORMAT_LARGE_ROWS_BYTES = 64 << 20, /* from this size on, ROWS is aligned to 2 MiB */
    PIL_FORMAT_SCHEMA_BYTES_MAX = 8 << 20,  /* 4,096 features with long names and descriptions take 2 MiB */
};
#define PIL_FORMAT_MAGIC "PILSHARD" /* 8 bytes, no NUL */
#define PIL_FORMAT_ENDIAN_TAG 0x01020304u

typedef enum pil_section {
    PIL_SECTION_SCHEMA,
    PIL_SECTION_PILOTS,
    PIL_SECTION_ROWS,
    PIL_SECTION_HEAP,
    PIL_SECTION_BLOCK_SUMS,
    PIL_SECTION_RANGE_HASHES,
    PIL_SECTION_COUNT
} pil_section;

struct pil_section_entry {
    uint64_t offset;
    uint64_t bytes;
};

/* clang-format off */
struct pil_superblock {
    uint8_t magic[8];             /*    0 */
    uint16_t major;               /*    8 */
    uint16_t minor;               /*   10 */
    uint32_t endian_tag;          /*   12 */
    uint32_t compat;              /*   16 unknown bits may be ignored */
    uint32_t ro_compat;           /*   20 unknown bits: readers may read, writers must not change */
    uint32_t incompat;            /*   24 unknown bits: refuse */
    uint32_t section_count;       /*   28 PIL_SECTION_COUNT */
    uint64_t file_bytes;          /*   32 */
    uint64_t body_bytes;          /*   40 */
    uint64_t row_count;           /*   48 */
    uint64_t slot_count;          /*   56 >= row_count; 0 when there are no rows */
    uint64_t bucket_count;        /*   64 */
    uint32_t row_stride;          /*   72 */
    uint32_t shard_index;         /*   76 */
    uint32_t shard_bits;          /*   80 shard_count = 2^shard_bits */
    uint32_t hash_attempts;       /* 84 seeds tried before hash_seed; for information only */
    uint64_t hash_seed;           /*   88 */
    int64_t event_ts_us_min;      /*   96 INT64_MAX / INT64_MIN when there are no rows */
    int64_t event_ts_us_max;      /*  104 */
    struct pil_section_entry sections[PIL_SECTION_COUNT]; /* 112 */
    uint8_t content_digest[16];   /*  208 sum over rows of XXH3-128(canonical key, event ts, values), mod 2^128 */
    uint8_t zeros[3864];          /*  224 */
    uint64_t checksum;            /* 4088 XXH3-64 of the bytes before it */
};
/* clang-format on */
PIL_STATIC_ASSERT(sizeof(struct pil_superblock) == PIL_FORMAT_SUPERBLOCK_BYTES);
PIL_STATIC_ASSERT(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);

/* A 16-byte reference (string, bytes, list, or variable key) in a row:
 *   u32 len | 12 bytes inline                when len <= 12, rest zero
 *   u32 len | first 4 bytes | u64 offset     offset from the start of HEAP
 * Payload of a list: elements of fixed width little-endian, packed (bool one byte); list<string> and list<bytes>:
 * u32 count, u32 end[count] (running ends of the bytes that follow), bytes. */
struct pil_ref {
    uint32_t len;
    uint8_t prefix[4];
    uint64_t offset;
};
PIL_STATIC_ASSERT(sizeof(struct pil_ref) == 16);

/* Shard of a key. */
static inline uint32_t pil_shard_of(uint64_t shard_hash, uint32_t shard_bits) {
    return shard_bits == 0 ? 0 : (uint32_t)(shard_hash >> (64 - shard_bits));
}

/* ---- The perfect hash (after PtrHash, arXiv 2502.15539): a skewed map of the high bits gives the bucket, each bucket
 * has one 8-bit pilot, and hash and pilot give the slot. Reader, writer and the prefetching lookup share both maps. */
static inline uint64_t pil_mul_high(uint64_t a, uint64_t b) {
    return (uint64_t)(((unsigned __int128)a * b) >> 64);
}

static inline uint64_t pil_index_bucket(uint64_t hash, uint64_t bucket_count) {
    /* x = hash / 2^64; y = x^2 (1 + x) / 2 * 255/256 + x / 256: small hashes share the large buckets. */
    uint64_t square = pil_mul_high(hash, hash);
    uint64_t cubic = pil_mul_high(square, (hash >> 1) | (1ull << 63));
    return pil_mul_high(cubic - (cubic >> 8) + (hash >> 8), bucket_count);
}

static inline uint64_t pil_index_slot(uint64_t hash, uint8_t pilot, uint64_t slot_count) {
    uint64_t mixed = (hash ^ (0x9e3779b97f4a7c15ull * (pilot + 1ull))) * 0xc6a4a7935bd1e995ull;
    return pil_mul_high(mixed ^ (mixed >> 32), slot_count);
}
