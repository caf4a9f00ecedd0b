/* SPDX-License-Identifier: Apache-2.0
 * Opening a shard and reading its rows. verify.c checks whether the bytes are right; but even in an unverified file no
 * reference makes these functions read outside of the file. */
#include "snapshot/reader.h"
#include "schema/view_read.h"
#include "snapshot/internal.h"

static struct pil_bytes section_bytes(struct pil_bytes file, const struct pil_superblock *superblock,
                                      pil_section section) {
    const struct pil_section_entry *entry = &superblock->sections[section];
    return pil_bytes_from(file.data + entry->offset, entry->bytes);
}

/* *ret_own stays NULL when the known view is used. */
static pil_status open_view(struct pil_bytes file, const struct pil_superblock *superblock,
                            const struct pil_shard_schema *known, const struct pil_view **ret_view,
                            struct pil_view **ret_own, struct pil_error *error) {
    struct pil_bytes text = section_bytes(file, superblock, PIL_SECTION_SCHEMA);
    if (known != NULL && text.len > 0 && pil_bytes_equal(known->text, text)) {
        *ret_view = known->view;
        return PIL_STATUS_OK;
    }
    pil_status status = pil_view_from_json_bytes(text, ret_own, error);
    if (status != PIL_STATUS_OK) {
        status = status == PIL_STATUS_INVALID ? PIL_STATUS_CORRUPT : status;
        return pil_fail_in(error, status, "section SCHEMA at offset %llu",
                           (unsigned long long)superblock->sections[PIL_SECTION_SCHEMA].offset);
    }
    *ret_view = *ret_own;
    return PIL_STATUS_OK;
}

pil_status pil_shard_open_known(struct pil_bytes file, const struct pil_shard_schema *known,
                                struct pil_shard *ret_shard, struct pil_error *ret_error) {
    struct pil_superblock superblock;
    const struct pil_view *view = NULL;
    struct pil_view *own_view = NULL;
    PIL_TRY(pil_superblock_read(file, &superblock, ret_error));
    PIL_TRY(open_view(file, &superblock, known, &view, &own_view, ret_error));
    pil_status status = PIL_STATUS_OK;
    struct pil_bytes heap = section_bytes(file, &superblock, PIL_SECTION_HEAP);
    if (view->layout.stride != superblock.row_stride) {
        status =
            pil_fail(ret_error, PIL_STATUS_CORRUPT, "superblock offset %zu: row_stride is %u, the schema says %u",
                     __builtin_offsetof(struct pil_superblock, row_stride), superblock.row_stride, view->layout.stride);
    } else if (heap.len > 0 && !view->layout.has_references) {
        status = pil_fail(ret_error, PIL_STATUS_CORRUPT, "section HEAP has %zu bytes, the schema has no references",
                          heap.len);
    }
    if (status != PIL_STATUS_OK) {
        pil_view_destroy(&own_view);
        return status;
    }
    *ret_shard = (struct pil_shard){
        .file = file,
        .superblock = (const struct pil_superblock *)(const void *)file.data,
        .pilots = section_bytes(file, &superblock, PIL_SECTION_PILOTS).data,
        .rows = section_bytes(file, &superblock, PIL_SECTION_ROWS).data,
        .heap = heap,
        .bucket_count = superblock.bucket_count,
        .slot_count = superblock.slot_count,
        .hash_seed = superblock.hash_seed,
        .stride = superblock.row_stride,
        .event_ts_offset = view->layout.event_ts_offset,
        .has_word_keys = view->layout.key_is_fixed && view->layout.key_bytes == 8,
        .view = view,
        .own_view = own_view,
    };
    return PIL_STATUS_OK;
}

pil_status pil_shard_open(struct pil_bytes file, struct pil_shard *ret_shard, struct pil_error *ret_error) {
    return pil_shard_open_known(file, NULL, ret_shard, ret_error);
}

struct pil_shard_schema pil_shard_schema_of(const struct pil_shard *shard) {
    return (struct pil_shard_schema){.text = section_bytes(shard->file, shard->superblock, PIL_SECTION_SCHEMA),
                                     .view = shard->view};
}

void pil_shard_close(struct pil_shard *shard) {
    pil_view_destroy(&shard->own_view);
    *shard = (struct pil_shard){0};
}

struct pil_bytes pil_row_reference(const struct pil_bytes *heap, const uint8_t *field) {
    uint32_t len = pil_load_u32(field);
    if (len <= PIL_REF_INLINE_BYTES) {
        return pil_bytes_from(field + 4, len);
    }
    uint64_t offset = pil_load_u64(field + 8);
    if (len > heap->len || offset > heap->len - len) {
        return pil_bytes_from(field, 0); /* never in a verified shard */
    }
    return pil_bytes_from(heap->data + offset, len);
}

bool pil_shard_row_matches_any(const struct pil_shard *shard, const uint8_t *candidate, struct pil_bytes key) {
    const struct pil_row_layout *layout = &shard->view->layout;
    if (pil_load_i64(candidate + layout->event_ts_offset) == INT64_MIN) {
        return false;
    }
    if (layout->key_is_fixed) {
        return key.len == layout->key_bytes && memcmp(candidate, key.data, key.len) == 0;
    }
    /* Length and prefix detect nearly every mismatch without reading the heap. */
    if (pil_load_u32(candidate) != key.len || (key.len >= 4 && memcmp(candidate + 4, key.data, 4) != 0)) {
        return false;
    }
    return pil_bytes_equal(pil_shard_reference(shard, candidate), key);
}

const uint8_t *pil_shard_find(const struct pil_shard *shard, struct pil_bytes key) {
    if (shard->slot_count == 0) {
        return NULL;
    }
    const uint8_t *candidate = pil_shard_candidate(shard, pil_shard_hash(shard, key));
    return pil_shard_row_matches(shard, candidate, key) ? candidate : NULL;
}

const uint8_t *pil_shard_row_at(const struct pil_shard *shard, uint64_t slot) {
    PIL_ASSERT(slot < shard->slot_count);
    const uint8_t *row = shard->rows + slot * shard->stride;
    return pil_row_event_ts_us(shard->view, row) == INT64_MIN ? NULL : row;
}

struct pil_bytes pil_shard_row_key(const struct pil_shard *shard, const uint8_t *row) {
    const struct pil_row_layout *layout = &shard->view->layout;
    return layout->key_is_fixed ? pil_bytes_from(row, layout->key_bytes) : pil_shard_reference(shard, row);
}

uint32_t pil_list_strings_count(struct pil_bytes payload) {
    if (payload.len < 4) {
        return 0;
    }
    uint32_t count = pil_load_u32(payload.data);
    return count <= (payload.len - 4) / 4 ? count : 0;
}

struct pil_bytes pil_list_strings_at(struct pil_bytes payload, uint32_t index) {
    uint32_t count = pil_list_strings_count(payload);
    PIL_ASSERT(index < count);
    const uint8_t *ends = payload.data + 4, *bytes = ends + (size_t)count * 4;
    size_t len = payload.len - 4 - (size_t)count * 4;
    uint32_t start = index == 0 ? 0 : pil_load_u32(ends + ((size_t)index - 1) * 4);
    uint32_t end = pil_load_u32(ends + (size_t)index * 4);
    return start <= end && end <= len ? pil_bytes_from(bytes + start, end - start) : pil_bytes_from(bytes, 0);
}
