/* SPDX-License-Identifier: Apache-2.0
 * Checks the first 4096 bytes of a shard, which may be hostile: every number is compared with the length of the file
 * and with our own bounds before it is used. */
#include "snapshot/internal.h"

#include <stddef.h>

#define AT(field) offsetof(struct pil_superblock, field)

const char *pil_section_text(pil_section section) {
    static const char *const texts[] = {"SCHEMA", "PILOTS", "ROWS", "HEAP", "BLOCK_SUMS", "RANGE_HASHES"};
    return section < PIL_SECTION_COUNT ? texts[section] : "?";
}

static pil_status wrong(struct pil_error *error, size_t at, const char *field, uint64_t is, uint64_t expected) {
    return pil_fail(error, PIL_STATUS_CORRUPT, "superblock offset %zu: %s is %llu, expected %llu", at, field,
                    (unsigned long long)is, (unsigned long long)expected);
}

static pil_status over(struct pil_error *error, size_t at, const char *field, uint64_t is, uint64_t limit) {
    return pil_fail(error, PIL_STATUS_TOO_LARGE, "superblock offset %zu: %s is %llu, the limit is %llu", at, field,
                    (unsigned long long)is, (unsigned long long)limit);
}

/* Checks that the file is a shard of a version that this program reads, then its checksum and reserved bytes. */
static pil_status check_identity(const struct pil_superblock *block, struct pil_error *error) {
    if (memcmp(block->magic, PIL_FORMAT_MAGIC, sizeof block->magic) != 0) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "superblock offset 0: not a shard file, it does not begin with %s",
                        PIL_FORMAT_MAGIC);
    }
    if (block->endian_tag != PIL_FORMAT_ENDIAN_TAG) {
        return pil_fail(error, PIL_STATUS_UNSUPPORTED, "superblock offset %zu: byte order tag %08x, expected %08x",
                        AT(endian_tag), block->endian_tag, PIL_FORMAT_ENDIAN_TAG);
    }
    if (block->major != PIL_FORMAT_MAJOR) {
        return pil_fail(error, PIL_STATUS_UNSUPPORTED,
                        "superblock offset %zu: format version %u.%u, this program reads %u.x", AT(major), block->major,
                        block->minor, PIL_FORMAT_MAJOR);
    }
    if (pil_hash_block(pil_bytes_from(block, AT(checksum))) != block->checksum) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "superblock offset %zu: the checksum does not match", AT(checksum));
    }
    if (block->incompat != 0) {
        return pil_fail(error, PIL_STATUS_UNSUPPORTED, "superblock offset %zu: unknown incompatible features %08x",
                        AT(incompat), block->incompat);
    }
    /* Newer minor versions may use the reserved bytes; in a file of our version they must be zero. */
    bool ours = block->minor <= PIL_FORMAT_MINOR && block->compat == 0 && block->ro_compat == 0;
    if (ours && !pil_bytes_are_zero(block->zeros, sizeof block->zeros)) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "superblock offset %zu: reserved bytes are not zero", AT(zeros));
    }
    return PIL_STATUS_OK;
}

static pil_status check_counts(const struct pil_superblock *block, size_t file_bytes, struct pil_error *error) {
    if (block->section_count != PIL_SECTION_COUNT) {
        return wrong(error, AT(section_count), "section_count", block->section_count, PIL_SECTION_COUNT);
    }
    if (block->file_bytes != file_bytes) {
        return wrong(error, AT(file_bytes), "file_bytes", block->file_bytes, file_bytes);
    }
    if (block->row_count > PIL_SHARD_ROWS_MAX) {
        return over(error, AT(row_count), "row_count", block->row_count, PIL_SHARD_ROWS_MAX);
    }
    if (block->slot_count < block->row_count || (block->slot_count == 0) != (block->row_count == 0)) {
        return wrong(error, AT(slot_count), "slot_count", block->slot_count, block->row_count);
    }
    if (block->slot_count > 2ull * PIL_SHARD_ROWS_MAX) {
        return over(error, AT(slot_count), "slot_count", block->slot_count, 2ull * PIL_SHARD_ROWS_MAX);
    }
    if ((block->bucket_count == 0) != (block->row_count == 0)) {
        return wrong(error, AT(bucket_count), "bucket_count", block->bucket_count, block->row_count != 0);
    }
    if (block->bucket_count > 2ull * PIL_SHARD_ROWS_MAX) {
        return over(error, AT(bucket_count), "bucket_count", block->bucket_count, 2ull * PIL_SHARD_ROWS_MAX);
    }
    if (block->row_stride == 0 || block->row_stride > PIL_ROW_STRIDE_MAX) {
        return over(error, AT(row_stride), "row_stride", block->row_stride, PIL_ROW_STRIDE_MAX);
    }
    if (block->shard_bits > PIL_SHARD_BITS_MAX) {
        return over(error, AT(shard_bits), "shard_bits", block->shard_bits, PIL_SHARD_BITS_MAX);
    }
    if (block->shard_index >= 1u << block->shard_bits) {
        return over(error, AT(shard_index), "shard_index", block->shard_index, (1u << block->shard_bits) - 1);
    }
    return PIL_STATUS_OK;
}

/* Checks that sections are in order, aligned, without overlap and inside the file, and that their lengths agree with
 * the counts. */
static pil_status check_sections(const struct pil_superblock *block, struct pil_error *error) {
    uint64_t blocks = (block->body_bytes + PIL_FORMAT_BLOCK_BYTES - 1) / PIL_FORMAT_BLOCK_BYTES;
    uint64_t ranges = (block->body_bytes + PIL_FORMAT_RANGE_BYTES - 1) / PIL_FORMAT_RANGE_BYTES;
    const uint64_t expected[PIL_SECTION_COUNT] = {
        block->sections[PIL_SECTION_SCHEMA].bytes,
        block->bucket_count,
        block->slot_count * block->row_stride, /* 2^22 * 2^20: no overflow */
        block->sections[PIL_SECTION_HEAP].bytes,
        blocks * sizeof(uint64_t),
        ranges * PIL_SHA256_BYTES,
    };
    if (block->sections[PIL_SECTION_SCHEMA].bytes > PIL_FORMAT_SCHEMA_BYTES_MAX) {
        return over(error, AT(sections), "SCHEMA bytes", block->sections[PIL_SECTION_SCHEMA].bytes,
                    PIL_FORMAT_SCHEMA_BYTES_MAX);
    }
    uint64_t end = PIL_FORMAT_SUPERBLOCK_BYTES;
    for (int i = 0; i < PIL_SECTION_COUNT; i++) {
        const struct pil_section_entry *section = &block->sections[i];
        size_t at = AT(sections) + (size_t)i * sizeof *section;
        const char *name = pil_section_text((pil_section)i);
        if (section->bytes != expected[i]) {
            return pil_fail(error, PIL_STATUS_CORRUPT,
                            "superblock offset %zu: section %s has %llu bytes, expected %llu", at + 8, name,
                            (unsigned long long)section->bytes, (unsigned long long)expected[i]);
        }
        bool large = i == PIL_SECTION_ROWS && section->bytes >= PIL_FORMAT_LARGE_ROWS_BYTES;
        uint64_t section_end;
        if (section->offset < end ||
            section->offset % (large ? PIL_FORMAT_LARGE_ALIGNMENT : PIL_FORMAT_SMALL_ALIGNMENT) != 0 ||
            __builtin_add_overflow(section->offset, section->bytes, &section_end) || section_end > block->file_bytes) {
            return pil_fail(error, PIL_STATUS_CORRUPT,
                            "superblock offset %zu: section %s at %llu with %llu bytes overlaps, is not aligned or "
                            "leaves the file",
                            at, name, (unsigned long long)section->offset, (unsigned long long)section->bytes);
        }
        end = section_end;
    }
    if (block->sections[PIL_SECTION_BLOCK_SUMS].offset != block->body_bytes) {
        return wrong(error, AT(body_bytes), "body_bytes", block->body_bytes,
                     block->sections[PIL_SECTION_BLOCK_SUMS].offset);
    }
    if (end != block->file_bytes) {
        return wrong(error, AT(file_bytes), "file_bytes", block->file_bytes, end);
    }
    return PIL_STATUS_OK;
}

pil_status pil_superblock_read(struct pil_bytes file, struct pil_superblock *ret_superblock,
                               struct pil_error *ret_error) {
    if (file.len < PIL_FORMAT_SUPERBLOCK_BYTES) {
        return pil_fail(ret_error, PIL_STATUS_CORRUPT, "superblock: the file has %zu bytes, at least %d are needed",
                        file.len, PIL_FORMAT_SUPERBLOCK_BYTES);
    }
    struct pil_superblock block;
    memcpy(&block, file.data, sizeof block);
    PIL_TRY(check_identity(&block, ret_error));
    PIL_TRY(check_counts(&block, file.len, ret_error));
    if (block.body_bytes > block.file_bytes) {
        return wrong(ret_error, AT(body_bytes), "body_bytes", block.body_bytes, block.file_bytes);
    }
    PIL_TRY(check_sections(&block, ret_error));
    *ret_superblock = block;
    return PIL_STATUS_OK;
}
