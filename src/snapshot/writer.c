/* SPDX-License-Identifier: Apache-2.0
 * Rows to shard bytes: checks and sizes rows, finds a hash seed and an index, fills the file in slot order, and adds
 * sums. The order of the input does not matter: slots depend on the keys alone, and the heap is filled in slot order.
 */
#include "snapshot/writer.h"
#include "schema/json_text.h"
#include "schema/view_json.h"
#include "snapshot/internal.h"

#include <stdlib.h>
#include <sys/mman.h>

enum { ATTEMPTS_MAX = 64, PREFETCH_ROWS = 12, KEY_TEXT_BYTES = 160, LINE_BYTES = 64, PREFETCH_BYTES = 320 };

struct build {
    const struct pil_view *view;
    const struct pil_writer_options *options;
    const struct pil_writer_row *rows;
    size_t row_count;
    struct pil_row_plan plan;
    uint64_t keys_digest; /* sum of the keys' shard hashes, which does not depend on their order */
    uint64_t hash_seed;
    uint32_t hash_attempts;
    struct pil_index_entry *entries, *scratch;
    struct pil_index index;
    char *schema; /* canonical JSON */
    struct pil_superblock superblock;
    uint8_t *data;
    uint64_t heap_bytes, heap_at;
};

static struct pil_bytes key_of(const struct build *b, size_t row) {
    return pil_row_key(b->view, b->rows[row].row, b->rows[row].heap);
}

/* Formats a key for messages; long keys are cut. */
static const char *key_text(const struct build *b, size_t row, char text[KEY_TEXT_BYTES]) {
    size_t len = pil_view_key_format(b->view, key_of(b, row), text, KEY_TEXT_BYTES - 4);
    if (len >= KEY_TEXT_BYTES - 4) {
        memcpy(text + KEY_TEXT_BYTES - 5, "...", 4);
    } else {
        text[len] = '\0';
    }
    return text;
}

static pil_status row_problem(const struct build *b, size_t row, struct pil_row_problem problem,
                              struct pil_error *error) {
    char text[KEY_TEXT_BYTES];
    if (problem.feature < 0) {
        return pil_fail(error, problem.status, "row %zu: the key %s", row, problem.text);
    }
    return pil_fail(error, problem.status, "row %zu, key %s: the value of %s %s", row, key_text(b, row, text),
                    b->view->features[problem.feature].name, problem.text);
}

static uint64_t heap_bytes_of(const uint8_t *field) {
    uint32_t len = pil_load_u32(field);
    return len > PIL_REF_INLINE_BYTES ? len : 0;
}

/* Checks one row and adds the length of its heap references to heap_bytes. */
static pil_status check_row(struct build *b, size_t row, struct pil_error *error) {
    const struct pil_view *view = b->view;
    const uint8_t *bytes = b->rows[row].row;
    struct pil_row_problem problem = pil_row_plan_check(&b->plan, bytes, b->rows[row].heap);
    if (problem.status != PIL_STATUS_OK) {
        return row_problem(b, row, problem, error);
    }
    char text[KEY_TEXT_BYTES];
    if (pil_row_event_ts_us(view, bytes) == INT64_MIN) {
        return pil_fail(error, PIL_STATUS_INVALID,
                        "row %zu, key %s: the event timestamp is the one that marks empty slots", row,
                        key_text(b, row, text));
    }
    if (view->is_static && pil_row_event_ts_us(view, bytes) != PIL_STATIC_EVENT_US) {
        return pil_fail(error, PIL_STATUS_INVALID, "row %zu, key %s: has an event timestamp, and the view is static",
                        row, key_text(b, row, text));
    }
    uint64_t shard_hash = pil_hash_shard(key_of(b, row));
    if (pil_shard_of(shard_hash, b->options->shard_bits) != b->options->shard_index) {
        return pil_fail(error, PIL_STATUS_INVALID, "row %zu, key %s: belongs to shard %u of %u, not to %u", row,
                        key_text(b, row, text), pil_shard_of(shard_hash, b->options->shard_bits),
                        1u << b->options->shard_bits, b->options->shard_index);
    }
    b->keys_digest += shard_hash;
    b->heap_bytes += view->layout.key_is_fixed ? 0 : heap_bytes_of(bytes);
    for (uint32_t i = 0; i < b->plan.reference_count; i++) {
        uint32_t feature = b->plan.references[i];
        b->heap_bytes +=
            pil_row_is_null(view, bytes, feature) ? 0 : heap_bytes_of(bytes + view->features[feature].offset);
    }
    return PIL_STATUS_OK;
}

static pil_status check_rows(struct build *b, struct pil_error *error) {
    if (b->options->shard_bits > PIL_SHARD_BITS_MAX || b->options->shard_index >= 1u << b->options->shard_bits) {
        return pil_fail(error, PIL_STATUS_INVALID, "there is no shard %u of 2^%u", b->options->shard_index,
                        b->options->shard_bits);
    }
    if (b->row_count > PIL_SHARD_ROWS_MAX) {
        return pil_fail(error, PIL_STATUS_TOO_LARGE, "%zu rows for one shard, the limit is %d: use more shards",
                        b->row_count, PIL_SHARD_ROWS_MAX);
    }
    for (size_t row = 0; row < b->row_count; row++) {
        PIL_TRY(check_row(b, row, error));
    }
    return PIL_STATUS_OK;
}

/* Seeds depend on all keys: an attacker who prepares colliding keys has to know every other key, and needs new
 * collisions for each attempt. */
static uint64_t seed_of(const struct build *b, uint32_t attempt) {
    if (attempt == 0 && b->options->hash_seed != 0) {
        return b->options->hash_seed;
    }
    uint64_t words[3] = {b->keys_digest, b->row_count, attempt};
    return pil_hash_shard(pil_bytes_from(words, sizeof words));
}

/* Hashes and sorts the keys and compares neighbours. EXISTS: a key occurs twice. AGAIN: different keys have the same
 * hash. */
static pil_status hash_keys(struct build *b, struct pil_index_entry **ret_sorted, struct pil_error *error) {
    for (size_t row = 0; row < b->row_count; row++) {
        b->entries[row] = (struct pil_index_entry){.hash = pil_hash_index(key_of(b, row), b->hash_seed), .row = row};
    }
    struct pil_index_entry *sorted = pil_index_sort(b->entries, b->scratch, b->row_count);
    pil_status status = PIL_STATUS_OK;
    for (size_t i = 1; i < b->row_count; i++) {
        if (sorted[i].hash != sorted[i - 1].hash) {
            continue;
        }
        if (pil_bytes_equal(key_of(b, sorted[i].row), key_of(b, sorted[i - 1].row))) {
            char text[KEY_TEXT_BYTES];
            return pil_fail(error, PIL_STATUS_EXISTS, "rows %llu and %llu have the same key %s",
                            (unsigned long long)sorted[i - 1].row, (unsigned long long)sorted[i].row,
                            key_text(b, sorted[i].row, text));
        }
        status = PIL_STATUS_AGAIN;
    }
    *ret_sorted = sorted;
    return status;
}

static pil_status find_index(struct build *b, struct pil_error *error) {
    pil_status status = PIL_STATUS_AGAIN;
    for (uint32_t attempt = 0; attempt < ATTEMPTS_MAX && status == PIL_STATUS_AGAIN; attempt++) {
        b->hash_seed = seed_of(b, attempt);
        b->hash_attempts = attempt;
        struct pil_index_entry *sorted = NULL;
        status = hash_keys(b, &sorted, error);
        if (status == PIL_STATUS_OK) {
            status = pil_index_build(sorted, b->row_count, &b->index);
        }
    }
    if (status == PIL_STATUS_AGAIN) {
        return pil_fail(error, PIL_STATUS_INVALID, "no perfect hash after %d seeds: the keys are made to collide",
                        ATTEMPTS_MAX);
    }
    return status == PIL_STATUS_NO_MEMORY ? pil_fail(error, status, "no memory for the index of %zu rows", b->row_count)
                                          : status;
}

static pil_status make_index(struct build *b, struct pil_error *error) {
    b->index.slot_count = pil_index_slots_for(b->row_count);
    b->index.bucket_count = pil_index_buckets_for(b->row_count);
    size_t room = b->row_count > 0 ? b->row_count : 1; /* malloc(0) may be NULL */
    b->entries = malloc(room * sizeof *b->entries);
    b->scratch = malloc(room * sizeof *b->scratch);
    b->index.pilots = malloc(b->index.bucket_count + 1);
    b->index.slot_rows = malloc((b->index.slot_count + 1) * sizeof *b->index.slot_rows);
    pil_status status = PIL_STATUS_NO_MEMORY;
    if (b->entries == NULL || b->scratch == NULL || b->index.pilots == NULL || b->index.slot_rows == NULL) {
        status = pil_fail(error, status, "no memory for the index of %zu rows", b->row_count);
    } else {
        status = find_index(b, error);
    }
    free(b->entries);
    free(b->scratch);
    b->entries = b->scratch = NULL;
    return status;
}

/* Fills the superblock's layout part and maps the file. Sections follow each other in the order of their numbers. */
static pil_status lay_out(struct build *b, struct pil_error *error) {
    struct pil_superblock *block = &b->superblock;
    uint64_t rows_bytes = b->index.slot_count * b->view->layout.stride;
    uint64_t bytes[PIL_SECTION_COUNT] = {strlen(b->schema), b->index.bucket_count, rows_bytes, b->heap_bytes, 0, 0};
    uint64_t end = PIL_FORMAT_SUPERBLOCK_BYTES;
    for (int i = 0; i < PIL_SECTION_COUNT; i++) {
        bool large = i == PIL_SECTION_ROWS && rows_bytes >= PIL_FORMAT_LARGE_ROWS_BYTES;
        uint64_t offset = pil_align_up(end, large ? PIL_FORMAT_LARGE_ALIGNMENT : PIL_FORMAT_SMALL_ALIGNMENT);
        if (i == PIL_SECTION_BLOCK_SUMS) {
            block->body_bytes = offset;
            bytes[i] = pil_align_up(offset, PIL_FORMAT_BLOCK_BYTES) / PIL_FORMAT_BLOCK_BYTES * sizeof(uint64_t);
            bytes[i + 1] = pil_align_up(offset, PIL_FORMAT_RANGE_BYTES) / PIL_FORMAT_RANGE_BYTES * PIL_SHA256_BYTES;
        }
        block->sections[i] = (struct pil_section_entry){.offset = offset, .bytes = bytes[i]};
        end = offset + bytes[i];
    }
    block->file_bytes = end;
    void *data = mmap(NULL, end, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) {
        return pil_fail(error, PIL_STATUS_NO_MEMORY, "no memory for a shard of %llu bytes", (unsigned long long)end);
    }
    pil_ignore(madvise(data, end, MADV_HUGEPAGE) == 0 ? PIL_STATUS_OK : PIL_STATUS_UNSUPPORTED, "only faster");
    b->data = data;
    return PIL_STATUS_OK;
}

static uint8_t *section(const struct build *b, pil_section section) {
    return b->data + b->superblock.sections[section].offset;
}

/* Writes a reference into a field that is still zero; a payload over 12 bytes is appended to the heap. */
static void put_reference(struct build *b, uint8_t *to, const uint8_t *from, const uint8_t *heap) {
    struct pil_bytes payload = pil_ref_payload(from, heap);
    pil_store_u32(to, (uint32_t)payload.len);
    if (payload.len <= PIL_REF_INLINE_BYTES) {
        memcpy(to + 4, payload.data, payload.len);
        return;
    }
    memcpy(to + 4, payload.data, 4);
    pil_store_u64(to + 8, b->heap_at);
    memcpy(section(b, PIL_SECTION_HEAP) + b->heap_at, payload.data, payload.len);
    b->heap_at += payload.len;
}

/* Copies all fields at once, then rewrites references and zeroes nulls: most fields are numbers. */
static void put_row(struct build *b, const struct pil_writer_row *from, uint8_t *to) {
    const struct pil_view *view = b->view;
    const struct pil_row_layout *layout = &view->layout;
    if (layout->key_is_fixed) {
        memcpy(to, from->row, layout->key_bytes);
    } else {
        put_reference(b, to, from->row, from->heap);
    }
    memcpy(to + layout->event_ts_offset, from->row + layout->event_ts_offset, sizeof(int64_t) + layout->null_bytes);
    if (view->feature_count % 8 != 0) {
        to[layout->null_offset + layout->null_bytes - 1] &= (uint8_t)((1u << (view->feature_count % 8)) - 1);
    }
    memcpy(to + b->plan.fields_begin, from->row + b->plan.fields_begin, b->plan.fields_end - b->plan.fields_begin);
    for (uint32_t byte = 0; byte < layout->null_bytes; byte++) {
        for (uint32_t bits = to[layout->null_offset + byte]; bits != 0; bits &= bits - 1) {
            const struct pil_feature *feature = &view->features[byte * 8 + (uint32_t)__builtin_ctz(bits)];
            memset(to + feature->offset, 0, pil_type_row_bytes(feature->type));
        }
    }
    for (uint32_t i = 0; i < b->plan.reference_count; i++) {
        uint32_t feature = b->plan.references[i], offset = view->features[feature].offset;
        if (!pil_row_is_null(view, to, feature)) {
            memset(to + offset, 0, PIL_REF_BYTES);
            put_reference(b, to + offset, from->row + offset, from->heap);
        }
    }
}

/* Rows are read in the order of their slots, which is random access to the caller's memory. */
static void prefetch(const struct build *b, uint64_t slot) {
    uint64_t far = slot + 2 * PREFETCH_ROWS, near = slot + PREFETCH_ROWS;
    if (far < b->index.slot_count && b->index.slot_rows[far] != 0) {
        __builtin_prefetch(&b->rows[b->index.slot_rows[far] - 1]);
    }
    if (near < b->index.slot_count && b->index.slot_rows[near] != 0) {
        const uint8_t *row = b->rows[b->index.slot_rows[near] - 1].row;
        uint32_t stride = b->view->layout.stride;
        for (uint32_t at = 0; at < stride && at < PREFETCH_BYTES; at += LINE_BYTES) {
            __builtin_prefetch(row + at);
        }
        __builtin_prefetch(row + stride - 1);
    }
}

static void fill_rows(struct build *b) {
    const struct pil_row_layout *layout = &b->view->layout;
    struct pil_superblock *block = &b->superblock;
    unsigned __int128 digest = 0;
    uint8_t *row = section(b, PIL_SECTION_ROWS);
    block->event_ts_us_min = INT64_MAX;
    block->event_ts_us_max = INT64_MIN;
    for (uint64_t slot = 0; slot < b->index.slot_count; slot++, row += layout->stride) {
        prefetch(b, slot);
        if (b->index.slot_rows[slot] == 0) {
            pil_store_i64(row + layout->event_ts_offset, INT64_MIN);
            continue;
        }
        put_row(b, &b->rows[b->index.slot_rows[slot] - 1], row);
        digest += pil_row_plan_digest(&b->plan, row, section(b, PIL_SECTION_HEAP));
        int64_t event_ts_us = pil_row_event_ts_us(b->view, row);
        block->event_ts_us_min = event_ts_us < block->event_ts_us_min ? event_ts_us : block->event_ts_us_min;
        block->event_ts_us_max = event_ts_us > block->event_ts_us_max ? event_ts_us : block->event_ts_us_max;
    }
    PIL_ASSERT(b->heap_at == b->heap_bytes);
    memcpy(block->content_digest, &digest, sizeof block->content_digest);
}

static void fill_superblock(struct build *b) {
    struct pil_superblock *block = &b->superblock;
    memcpy(block->magic, PIL_FORMAT_MAGIC, sizeof block->magic);
    block->major = PIL_FORMAT_MAJOR;
    block->minor = PIL_FORMAT_MINOR;
    block->endian_tag = PIL_FORMAT_ENDIAN_TAG;
    block->section_count = PIL_SECTION_COUNT;
    block->row_count = b->row_count;
    block->slot_count = b->index.slot_count;
    block->bucket_count = b->index.bucket_count;
    block->row_stride = b->view->layout.stride;
    block->shard_index = b->options->shard_index;
    block->shard_bits = b->options->shard_bits;
    block->hash_attempts = b->hash_attempts;
    block->hash_seed = b->hash_seed;
    block->checksum = pil_hash_block(pil_bytes_from(block, __builtin_offsetof(struct pil_superblock, checksum)));
    memcpy(b->data, block, sizeof *block);
}

/* Fills in block sums and range hashes; returns the id of the shard, which they determine. */
static struct pil_sha256 fill_sums(struct build *b) {
    uint8_t *sum = section(b, PIL_SECTION_BLOCK_SUMS), *range_hash = section(b, PIL_SECTION_RANGE_HASHES);
    uint64_t body_bytes = b->superblock.body_bytes;
    struct pil_sha256_stream range;
    for (uint64_t start = 0, end; start < body_bytes; start = end, sum += sizeof(uint64_t)) {
        end = start + PIL_FORMAT_BLOCK_BYTES < body_bytes ? start + PIL_FORMAT_BLOCK_BYTES : body_bytes;
        struct pil_bytes block = pil_bytes_from(b->data + start, end - start);
        pil_store_u64(sum, pil_hash_block(block));
        if (start % PIL_FORMAT_RANGE_BYTES == 0) {
            pil_sha256_stream_init(&range);
        }
        pil_sha256_stream_update(&range, block);
        if (end % PIL_FORMAT_RANGE_BYTES == 0 || end == body_bytes) {
            struct pil_sha256 hash = pil_sha256_stream_finish(&range);
            memcpy(range_hash, hash.bytes, sizeof hash.bytes);
            range_hash += sizeof hash.bytes;
        }
    }
    return pil_hash_sha256(
        pil_bytes_from(section(b, PIL_SECTION_RANGE_HASHES), b->superblock.sections[PIL_SECTION_RANGE_HASHES].bytes));
}

static pil_status dump_schema(struct build *b, struct pil_error *error) {
    json_t *json = pil_view_to_json(b->view);
    b->schema = pil_json_text(json, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(json);
    if (b->schema == NULL) {
        return pil_fail(error, PIL_STATUS_NO_MEMORY, "no memory for the schema of view %s", b->view->name);
    }
    if (strlen(b->schema) > PIL_FORMAT_SCHEMA_BYTES_MAX) {
        return pil_fail(error, PIL_STATUS_TOO_LARGE, "the schema of view %s takes %zu bytes, the limit is %d",
                        b->view->name, strlen(b->schema), PIL_FORMAT_SCHEMA_BYTES_MAX);
    }
    return PIL_STATUS_OK;
}

static pil_status run(struct build *b, struct pil_error *error) {
    PIL_TRY(dump_schema(b, error));
    PIL_TRY(check_rows(b, error));
    PIL_TRY(make_index(b, error));
    PIL_TRY(lay_out(b, error));
    memcpy(section(b, PIL_SECTION_SCHEMA), b->schema, b->superblock.sections[PIL_SECTION_SCHEMA].bytes);
    memcpy(section(b, PIL_SECTION_PILOTS), b->index.pilots, b->index.bucket_count);
    fill_rows(b);
    fill_superblock(b);
    return PIL_STATUS_OK;
}

pil_status pil_writer_finish(const struct pil_view *view, const struct pil_writer_options *options,
                             const struct pil_writer_row *rows, size_t row_count, struct pil_writer_result *ret_result,
                             struct pil_error *ret_error) {
    struct build b = {.view = view, .options = options, .rows = rows, .row_count = row_count};
    pil_row_plan_init(view, &b.plan);
    pil_status status = run(&b, ret_error);
    if (status == PIL_STATUS_OK) {
        const struct pil_superblock *block = &b.superblock;
        *ret_result = (struct pil_writer_result){
            .data = b.data,
            .bytes = block->file_bytes,
            .id = fill_sums(&b),
            .row_count = row_count,
            .hash_attempts = b.hash_attempts,
            .event_ts_us_min = block->event_ts_us_min,
            .event_ts_us_max = block->event_ts_us_max,
        };
        for (int i = 0; i < PIL_SECTION_COUNT; i++) {
            ret_result->section_bytes[i] = block->sections[i].bytes;
        }
    }
    free(b.schema);
    free(b.index.pilots);
    free(b.index.slot_rows);
    return status;
}

void pil_writer_result_deinit(struct pil_writer_result *result) {
    if (result->data != NULL) {
        pil_ignore(munmap(result->data, result->bytes) == 0 ? PIL_STATUS_OK : PIL_STATUS_SYSTEM, "our own mapping");
    }
    *result = (struct pil_writer_result){0};
}
