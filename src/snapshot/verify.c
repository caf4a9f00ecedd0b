/* SPDX-License-Identifier: Apache-2.0
 * The rules of schemas/snapshot.md, "What a verifier checks", in the order in which they can be relied upon:
 * superblock, hashes of all bytes, padding, schema, then every row. Messages name section and offset. */
#include "snapshot/verify.h"
#include "schema/view_json.h"
#include "snapshot/internal.h"

static const uint8_t *section(struct pil_bytes file, const struct pil_superblock *block, pil_section section) {
    return file.data + block->sections[section].offset;
}

static void report(const struct pil_verify_options *options, uint64_t done, uint64_t total) {
    if (options->progress != NULL) {
        options->progress(options->progress_context, done, total);
    }
}

static pil_status check_place(const struct pil_superblock *block, const struct pil_verify_place *place,
                              struct pil_error *error) {
    if (place->shard_count == 1u << block->shard_bits && place->shard_index == block->shard_index &&
        place->row_count == block->row_count) {
        return PIL_STATUS_OK;
    }
    return pil_fail(error, PIL_STATUS_CORRUPT,
                    "it is shard %u of %u with %llu rows, and the manifest means shard %u of %u with %llu rows",
                    block->shard_index, 1u << block->shard_bits, (unsigned long long)block->row_count,
                    place->shard_index, place->shard_count, (unsigned long long)place->row_count);
}

pil_status pil_verify_place(const uint8_t superblock[PIL_FORMAT_SUPERBLOCK_BYTES], uint64_t file_bytes,
                            const struct pil_verify_place *place, struct pil_error *ret_error) {
    struct pil_superblock block;
    PIL_TRY(pil_superblock_read(pil_bytes_from(superblock, file_bytes), &block, ret_error));
    return check_place(&block, place, ret_error);
}

/* Block sums and range hashes in one pass over the body, then the id. */
static pil_status check_sums(struct pil_bytes file, const struct pil_superblock *block,
                             const struct pil_verify_options *options, struct pil_error *error) {
    const uint8_t *sum = section(file, block, PIL_SECTION_BLOCK_SUMS);
    const uint8_t *range_hash = section(file, block, PIL_SECTION_RANGE_HASHES);
    struct pil_sha256_stream range;
    const char *wrong = NULL;
    uint64_t start = 0;
    for (uint64_t end; start < block->body_bytes; start = end, sum += sizeof(uint64_t)) {
        end = start + PIL_FORMAT_BLOCK_BYTES < block->body_bytes ? start + PIL_FORMAT_BLOCK_BYTES : block->body_bytes;
        struct pil_bytes bytes = pil_bytes_from(file.data + start, end - start);
        if (start % PIL_FORMAT_RANGE_BYTES == 0) {
            pil_sha256_stream_init(&range);
        }
        pil_sha256_stream_update(&range, bytes);
        wrong = pil_hash_block(bytes) == pil_load_u64(sum) ? NULL : "BLOCK_SUMS";
        if (wrong != NULL) {
            break;
        }
        if (end % PIL_FORMAT_RANGE_BYTES == 0 || end == block->body_bytes) {
            struct pil_sha256 hash = pil_sha256_stream_finish(&range);
            wrong = memcmp(hash.bytes, range_hash, sizeof hash.bytes) == 0 ? NULL : "RANGE_HASHES";
            if (wrong != NULL) {
                break;
            }
            range_hash += sizeof hash.bytes;
        }
        report(options, end, file.len);
    }
    if (wrong != NULL) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "section %s does not match the bytes at offset %llu", wrong,
                        (unsigned long long)start);
    }
    struct pil_sha256 id = pil_hash_sha256(pil_bytes_from(section(file, block, PIL_SECTION_RANGE_HASHES),
                                                          block->sections[PIL_SECTION_RANGE_HASHES].bytes));
    if (options->id != NULL && memcmp(options->id, &id, sizeof id) != 0) {
        char is[PIL_SHA256_HEX_CHARS + 1], expected[PIL_SHA256_HEX_CHARS + 1];
        pil_hex_encode(pil_bytes_from(id.bytes, sizeof id.bytes), is);
        pil_hex_encode(pil_bytes_from(options->id->bytes, sizeof id.bytes), expected);
        return pil_fail(error, PIL_STATUS_CORRUPT, "the shard is %s, expected %s", is, expected);
    }
    return PIL_STATUS_OK;
}

/* Padding must be zero, so that nothing can be hidden in it. */
static pil_status check_padding(struct pil_bytes file, const struct pil_superblock *block, struct pil_error *error) {
    uint64_t end = PIL_FORMAT_SUPERBLOCK_BYTES;
    for (int i = 0; i < PIL_SECTION_COUNT; i++) {
        uint64_t offset = block->sections[i].offset;
        if (!pil_bytes_are_zero(file.data + end, offset - end)) {
            return pil_fail(error, PIL_STATUS_CORRUPT, "the padding at offset %llu, before section %s, is not zero",
                            (unsigned long long)end, pil_section_text((pil_section)i));
        }
        end = offset + block->sections[i].bytes;
    }
    return PIL_STATUS_OK;
}

static pil_status check_view(const struct pil_shard *shard, const struct pil_view *expected, struct pil_error *error) {
    json_t *is = pil_view_to_json(shard->view), *wanted = pil_view_to_json(expected);
    bool is_compared = is != NULL && wanted != NULL, equal = json_equal(is, wanted);
    json_decref(is);
    json_decref(wanted);
    if (!is_compared) {
        return pil_fail(error, PIL_STATUS_NO_MEMORY, "no memory to compare the schema of view %s", expected->name);
    }
    return equal ? PIL_STATUS_OK
                 : pil_fail(error, PIL_STATUS_CORRUPT, "section SCHEMA: not the schema that was expected for view %s",
                            expected->name);
}

/* ---- Rows. The *_problem functions return the end of a sentence that says what is wrong, or NULL. */

struct scan {
    const struct pil_shard *shard;
    struct pil_row_plan plan;
    uint64_t row_count;
    uint64_t heap_bytes; /* total length of the heap references of the rows checked so far */
    int64_t event_ts_us_min, event_ts_us_max;
    unsigned __int128 digest;
};

/* All heap references together must be as long as the heap: if rows could share heap bytes, a small file could take
 * arbitrarily long to check. */
static const char *reference_problem(struct scan *scan, const uint8_t *field) {
    const struct pil_shard *shard = scan->shard;
    uint32_t len = pil_load_u32(field);
    if (len <= PIL_REF_INLINE_BYTES) {
        return pil_bytes_are_zero(field + 4 + len, PIL_REF_INLINE_BYTES - len) ? NULL : "has bytes after its end";
    }
    uint64_t offset = pil_load_u64(field + 8);
    if (len > shard->heap.len || offset > shard->heap.len - len) {
        return "refers outside of section HEAP";
    }
    scan->heap_bytes += len;
    if (scan->heap_bytes > shard->heap.len) {
        return "shares bytes of section HEAP with another";
    }
    return memcmp(field + 4, shard->heap.data + offset, 4) == 0 ? NULL : "has a prefix that its bytes do not have";
}

static const char *padding_problem(const struct scan *scan, const uint8_t *row) {
    const struct pil_row_layout *layout = &scan->shard->view->layout;
    uint32_t feature_count = scan->shard->view->feature_count;
    uint32_t nulls_end = layout->null_offset + layout->null_bytes;
    if (!pil_bytes_are_zero(row + layout->key_bytes, layout->event_ts_offset - layout->key_bytes) ||
        !pil_bytes_are_zero(row + nulls_end, scan->plan.fields_begin - nulls_end) ||
        !pil_bytes_are_zero(row + scan->plan.fields_end, layout->stride - scan->plan.fields_end)) {
        return "has padding that is not zero";
    }
    return feature_count % 8 != 0 && row[nulls_end - 1] >> (feature_count % 8) != 0 ? "has a null bit of no feature"
                                                                                    : NULL;
}

/* Checks references, nulls and values of the features. *ret_feature names the feature at fault. */
static const char *fields_problem(struct scan *scan, const uint8_t *row, int32_t *ret_feature) {
    const struct pil_view *view = scan->shard->view;
    const char *text = view->layout.key_is_fixed ? NULL : reference_problem(scan, row);
    for (uint32_t i = 0; i < scan->plan.reference_count && text == NULL; i++) {
        uint32_t feature = scan->plan.references[i];
        text = reference_problem(scan, row + view->features[feature].offset);
        *ret_feature = text != NULL ? (int32_t)feature : -1;
    }
    for (uint32_t byte = 0; byte < view->layout.null_bytes && text == NULL; byte++) {
        for (uint32_t bits = row[view->layout.null_offset + byte]; bits != 0; bits &= bits - 1) {
            uint32_t index = byte * 8 + (uint32_t)__builtin_ctz(bits);
            const struct pil_feature *feature = &view->features[index];
            if (!pil_bytes_are_zero(row + feature->offset, pil_type_row_bytes(feature->type))) {
                *ret_feature = (int32_t)index;
                return "is null but not zero";
            }
        }
    }
    if (text != NULL) {
        return text;
    }
    struct pil_row_problem problem = pil_row_plan_check(&scan->plan, row, scan->shard->heap.data);
    *ret_feature = problem.feature;
    return problem.text;
}

static const char *place_problem(const struct pil_shard *shard, const uint8_t *row) {
    const struct pil_superblock *block = shard->superblock;
    struct pil_bytes key = pil_row_key(shard->view, row, shard->heap.data);
    if (pil_shard_of(pil_hash_shard(key), block->shard_bits) != block->shard_index) {
        return "has a key of another shard";
    }
    return pil_shard_candidate(shard, pil_shard_hash(shard, key)) == row ? NULL : "is not where its key's hash says";
}

static const char *row_problem(struct scan *scan, const uint8_t *row, int32_t *ret_feature) {
    const struct pil_shard *shard = scan->shard;
    const struct pil_row_layout *layout = &shard->view->layout;
    int64_t event_ts_us = pil_row_event_ts_us(shard->view, row);
    *ret_feature = -1;
    if (event_ts_us == INT64_MIN) {
        uint32_t after = layout->event_ts_offset + 8;
        return pil_bytes_are_zero(row, layout->event_ts_offset) &&
                       pil_bytes_are_zero(row + after, layout->stride - after)
                   ? NULL
                   : "is empty but not zero";
    }
    const char *text = shard->view->is_static && event_ts_us != PIL_STATIC_EVENT_US
                           ? "has an event timestamp, and the view is static"
                           : padding_problem(scan, row);
    text = text != NULL ? text : fields_problem(scan, row, ret_feature);
    text = text != NULL ? text : place_problem(shard, row);
    if (text == NULL) {
        scan->row_count++;
        scan->event_ts_us_min = event_ts_us < scan->event_ts_us_min ? event_ts_us : scan->event_ts_us_min;
        scan->event_ts_us_max = event_ts_us > scan->event_ts_us_max ? event_ts_us : scan->event_ts_us_max;
        scan->digest += pil_row_plan_digest(&scan->plan, row, shard->heap.data);
    }
    return text;
}

static pil_status check_totals(const struct scan *scan, struct pil_error *error) {
    const struct pil_superblock *block = scan->shard->superblock;
    if (scan->row_count != block->row_count) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "section ROWS holds %llu rows, the superblock says %llu",
                        (unsigned long long)scan->row_count, (unsigned long long)block->row_count);
    }
    if (scan->heap_bytes != scan->shard->heap.len) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "section HEAP has %llu bytes, its rows refer to %llu",
                        (unsigned long long)scan->shard->heap.len, (unsigned long long)scan->heap_bytes);
    }
    if (scan->event_ts_us_min != block->event_ts_us_min || scan->event_ts_us_max != block->event_ts_us_max) {
        return pil_fail(error, PIL_STATUS_CORRUPT,
                        "event timestamps in section ROWS are %lld to %lld, the superblock says %lld to %lld",
                        (long long)scan->event_ts_us_min, (long long)scan->event_ts_us_max,
                        (long long)block->event_ts_us_min, (long long)block->event_ts_us_max);
    }
    if (memcmp(&scan->digest, block->content_digest, sizeof block->content_digest) != 0) {
        return pil_fail(error, PIL_STATUS_CORRUPT,
                        "the content digest of section ROWS is not the one in the superblock");
    }
    return PIL_STATUS_OK;
}

static pil_status check_rows(const struct pil_shard *shard, struct pil_error *error) {
    struct scan scan = {.shard = shard, .event_ts_us_min = INT64_MAX, .event_ts_us_max = INT64_MIN};
    pil_row_plan_init(shard->view, &scan.plan);
    for (uint64_t slot = 0; slot < shard->slot_count; slot++) {
        const uint8_t *row = shard->rows + slot * shard->stride;
        int32_t feature;
        const char *text = row_problem(&scan, row, &feature);
        if (text != NULL) {
            return pil_fail(error, PIL_STATUS_CORRUPT, "section ROWS, slot %llu at offset %llu: %s%s %s",
                            (unsigned long long)slot, (unsigned long long)(row - shard->file.data),
                            feature >= 0 ? "the value of " : "the row or its key",
                            feature >= 0 ? shard->view->features[feature].name : "", text);
        }
    }
    return check_totals(&scan, error);
}

pil_status pil_verify(struct pil_bytes file, const struct pil_verify_options *options, struct pil_error *ret_error) {
    struct pil_superblock block;
    PIL_TRY(pil_superblock_read(file, &block, ret_error));
    if (options->place != NULL) {
        PIL_TRY(check_place(&block, options->place, ret_error));
    }
    PIL_TRY(check_sums(file, &block, options, ret_error));
    PIL_TRY(check_padding(file, &block, ret_error));
    const struct pil_shard_schema known = {.text = options->schema, .view = options->view};
    struct pil_shard shard;
    PIL_TRY(pil_shard_open_known(file, options->view != NULL ? &known : NULL, &shard, ret_error));
    pil_status status = PIL_STATUS_OK;
    if (options->view != NULL && shard.view != options->view) {
        status = check_view(&shard, options->view, ret_error);
    }
    if (status == PIL_STATUS_OK) {
        status = check_rows(&shard, ret_error);
    }
    pil_shard_close(&shard);
    if (status == PIL_STATUS_OK) {
        report(options, file.len, file.len);
    }
    return status;
}
