/* SPDX-License-Identifier: Apache-2.0
 * Tables as a test thinks of them (canonical key, event timestamp, one run of bytes per value) and their way into
 * writer rows and back out of a shard. Deliberately naive: nothing here shares code with the writer's or the reader's
 * inner parts. */
#pragma once

#include "snapshot/verify.h"
#include "snapshot/writer.h"

#include <stdio.h>
#include <stdlib.h>

#define FIXTURE __attribute__((unused)) static

struct fixture_value {
    bool null;
    uint8_t *bytes; /* the field as it is, or the payload of a reference */
    size_t len;
};

struct fixture_row {
    uint8_t *key;
    size_t key_len;
    int64_t event_ts_us;
    struct fixture_value *values;
    uint8_t *encoded, *heap; /* made by fixture_table_encode */
};

struct fixture_table {
    struct pil_view *view;
    struct fixture_row *rows;
    size_t count, capacity;
    struct pil_writer_row *encoded;
};

/* ---- Numbers: xorshift64*, good enough and the same everywhere. */

FIXTURE uint64_t fixture_random(uint64_t *state) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1dull;
}

FIXTURE size_t fixture_below(uint64_t *state, size_t limit) {
    return (size_t)(fixture_random(state) % limit);
}

/* PIL_SEED or a new one; printed so that a failure can be repeated. */
FIXTURE uint64_t fixture_seed(uint64_t fresh) {
    const char *text = getenv("PIL_SEED");
    uint64_t seed = text != NULL ? strtoull(text, NULL, 0) : fresh;
    printf("PIL_SEED=%llu\n", (unsigned long long)seed);
    return seed | 1;
}

FIXTURE void *fixture_alloc(size_t bytes) {
    void *memory = calloc(bytes > 0 ? bytes : 1, 1);
    PIL_ASSERT(memory != NULL);
    return memory;
}

/* ---- Tables */

/* Types separated by ';': fixture_view("int64;string", "float32;list<bool>"). Features are f0, f1, ...; keys k0, k1,
 * ... */
FIXTURE struct pil_view *fixture_view(const char *entities, const char *features) {
    static struct pil_entity entity_list[PIL_ENTITIES_MAX];
    static struct pil_feature feature_list[PIL_FEATURES_MAX];
    static char names[PIL_ENTITIES_MAX + PIL_FEATURES_MAX][8];
    struct pil_view draft = {
        .project = "test", .name = "table", .ttl_us = 3600000000, .entities = entity_list, .features = feature_list};
    for (int kind = 0; kind < 2; kind++) {
        const char *at = kind == 0 ? entities : features;
        for (uint32_t i = 0; *at != '\0'; i++) {
            size_t len = strcspn(at, ";");
            struct pil_type type;
            struct pil_error error;
            PIL_ASSERT(pil_type_parse(pil_bytes_from(at, len), &type, &error) == PIL_STATUS_OK);
            char *name = names[kind == 0 ? i : PIL_ENTITIES_MAX + i];
            snprintf(name, sizeof names[0], "%c%u", kind == 0 ? 'k' : 'f', i % 100000);
            if (kind == 0) {
                entity_list[draft.entity_count++] =
                    (struct pil_entity){.name = name, .join_key = name, .type = type.scalar};
            } else {
                feature_list[draft.feature_count++] = (struct pil_feature){.name = name, .type = type};
            }
            at += len + (at[len] == ';');
        }
    }
    struct pil_error error;
    PIL_ASSERT(pil_view_layout(&draft, &error) == PIL_STATUS_OK);
    return pil_view_clone(&draft);
}

FIXTURE struct fixture_table fixture_table_make(const char *entities, const char *features) {
    return (struct fixture_table){.view = fixture_view(entities, features)};
}

/* A new row with this key, all values null. */
FIXTURE struct fixture_row *fixture_table_add(struct fixture_table *table, const void *key, size_t key_len,
                                              int64_t event_ts_us) {
    if (table->count == table->capacity) {
        table->capacity = table->capacity * 2 + 8;
        table->rows = realloc(table->rows, table->capacity * sizeof *table->rows);
        PIL_ASSERT(table->rows != NULL);
    }
    struct fixture_row *row = &table->rows[table->count++];
    *row = (struct fixture_row){.key = fixture_alloc(key_len), .key_len = key_len, .event_ts_us = event_ts_us};
    memcpy(row->key, key, key_len);
    row->values = fixture_alloc(table->view->feature_count * sizeof *row->values);
    for (uint32_t i = 0; i < table->view->feature_count; i++) {
        row->values[i].null = true;
    }
    return row;
}

FIXTURE void fixture_row_set(struct fixture_row *row, uint32_t feature, const void *bytes, size_t len) {
    struct fixture_value *value = &row->values[feature];
    free(value->bytes);
    *value = (struct fixture_value){.bytes = fixture_alloc(len), .len = len};
    if (len > 0) {
        memcpy(value->bytes, bytes, len);
    }
}

FIXTURE void fixture_row_set_text(struct fixture_row *row, uint32_t feature, const char *text) {
    fixture_row_set(row, feature, text, strlen(text));
}

FIXTURE void fixture_table_deinit(struct fixture_table *table) {
    for (size_t i = 0; i < table->count; i++) {
        for (uint32_t feature = 0; feature < table->view->feature_count; feature++) {
            free(table->rows[i].values[feature].bytes);
        }
        free(table->rows[i].key);
        free(table->rows[i].values);
        free(table->rows[i].encoded);
        free(table->rows[i].heap);
    }
    free(table->rows);
    free(table->encoded);
    pil_view_destroy(&table->view);
}

/* ---- Into writer rows. What the writer has to clean up (null fields, padding, bytes after short references) is filled
 * with garbage on purpose. */

FIXTURE void fixture_put_reference(uint8_t *field, const uint8_t *bytes, size_t len, uint8_t *heap, size_t *heap_at) {
    pil_store_u32(field, (uint32_t)len);
    if (len <= PIL_REF_INLINE_BYTES) {
        memcpy(field + 4, bytes, len);
        return;
    }
    pil_store_u64(field + 8, *heap_at);
    memcpy(heap + *heap_at, bytes, len);
    *heap_at += len;
}

FIXTURE struct pil_writer_row fixture_row_encode(const struct pil_view *view, struct fixture_row *row,
                                                 uint8_t garbage) {
    const struct pil_row_layout *layout = &view->layout;
    size_t heap_bytes = row->key_len, heap_at = 0;
    for (uint32_t i = 0; i < view->feature_count; i++) {
        heap_bytes += row->values[i].len;
    }
    free(row->encoded);
    free(row->heap);
    row->encoded = fixture_alloc(layout->stride);
    row->heap = fixture_alloc(heap_bytes);
    memset(row->encoded, garbage, layout->stride);
    if (layout->key_is_fixed) {
        PIL_ASSERT(row->key_len == layout->key_bytes);
        memcpy(row->encoded, row->key, row->key_len);
    } else {
        fixture_put_reference(row->encoded, row->key, row->key_len, row->heap, &heap_at);
    }
    pil_store_i64(row->encoded + layout->event_ts_offset, row->event_ts_us);
    for (uint32_t i = 0; i < view->feature_count; i++) {
        uint8_t *nulls = row->encoded + layout->null_offset + i / 8, *field = row->encoded + view->features[i].offset;
        *nulls = (uint8_t)((*nulls & ~(1u << (i % 8))) | (unsigned)row->values[i].null << (i % 8));
        if (row->values[i].null) {
            continue;
        }
        if (pil_type_is_reference(view->features[i].type)) {
            fixture_put_reference(field, row->values[i].bytes, row->values[i].len, row->heap, &heap_at);
        } else {
            PIL_ASSERT(row->values[i].len == pil_type_row_bytes(view->features[i].type));
            memcpy(field, row->values[i].bytes, row->values[i].len);
        }
    }
    return (struct pil_writer_row){.row = row->encoded, .heap = heap_at > 0 ? row->heap : NULL};
}

FIXTURE void fixture_table_encode(struct fixture_table *table, uint8_t garbage) {
    free(table->encoded);
    table->encoded = fixture_alloc(table->count * sizeof *table->encoded);
    for (size_t i = 0; i < table->count; i++) {
        table->encoded[i] = fixture_row_encode(table->view, &table->rows[i], garbage);
    }
}

/* Encodes and writes; the status of the writer. */
FIXTURE pil_status fixture_table_write(struct fixture_table *table, const struct pil_writer_options *options,
                                       struct pil_writer_result *ret_result, struct pil_error *ret_error) {
    fixture_table_encode(table, 0xa5);
    return pil_writer_finish(table->view, options, table->encoded, table->count, ret_result, ret_error);
}

FIXTURE struct pil_bytes fixture_result_bytes(const struct pil_writer_result *result) {
    return pil_bytes_from(result->data, result->bytes);
}

/* ---- Out of a shard. */

/* Whether the row that the shard has for this key is exactly this row. */
FIXTURE bool fixture_row_agrees(const struct pil_shard *shard, const struct fixture_row *row) {
    const struct pil_view *view = shard->view;
    struct pil_bytes key = pil_bytes_from(row->key, row->key_len);
    const uint8_t *found = pil_shard_find(shard, key);
    if (found == NULL || !pil_bytes_equal(pil_shard_row_key(shard, found), key) ||
        pil_row_event_ts_us(view, found) != row->event_ts_us) {
        return false;
    }
    for (uint32_t i = 0; i < view->feature_count; i++) {
        const uint8_t *field = found + view->features[i].offset;
        struct pil_bytes value = pil_type_is_reference(view->features[i].type)
                                     ? pil_shard_reference(shard, field)
                                     : pil_bytes_from(field, pil_type_row_bytes(view->features[i].type));
        if (pil_row_is_null(view, found, i) != row->values[i].null ||
            (!row->values[i].null &&
             !pil_bytes_equal(value, pil_bytes_from(row->values[i].bytes, row->values[i].len)))) {
            return false;
        }
    }
    return true;
}

/* Whether the shard holds exactly the rows of the table. */
FIXTURE bool fixture_table_agrees(const struct pil_shard *shard, const struct fixture_table *table) {
    uint64_t held = 0;
    for (uint64_t slot = 0; slot < shard->slot_count; slot++) {
        held += pil_shard_row_at(shard, slot) != NULL;
    }
    bool agrees = held == table->count && shard->superblock->row_count == table->count;
    for (size_t i = 0; i < table->count && agrees; i++) {
        agrees = fixture_row_agrees(shard, &table->rows[i]);
    }
    return agrees;
}

/* Touches every row, key and value of a shard, so that a sanitizer sees each read; a sum, lest it be optimised away. */
FIXTURE uint64_t fixture_read_everything(const struct pil_shard *shard) {
    uint64_t sum = 0;
    for (uint64_t slot = 0; slot < shard->slot_count; slot++) {
        const uint8_t *row = pil_shard_row_at(shard, slot);
        if (row == NULL) {
            continue;
        }
        struct pil_bytes key = pil_shard_row_key(shard, row);
        sum += pil_hash_block(key) + (pil_shard_find(shard, key) == row);
        for (uint32_t i = 0; i < shard->view->feature_count; i++) {
            const struct pil_feature *feature = &shard->view->features[i];
            if (!pil_type_is_reference(feature->type)) {
                sum += pil_hash_block(pil_bytes_from(row + feature->offset, pil_type_row_bytes(feature->type)));
                continue;
            }
            struct pil_bytes payload = pil_shard_reference(shard, row + feature->offset);
            sum += pil_hash_block(payload);
            bool strings =
                feature->type.shape == PIL_SHAPE_LIST && pil_scalar_bytes(feature->type.scalar) == PIL_REF_BYTES;
            for (uint32_t k = 0; strings && k < pil_list_strings_count(payload); k++) {
                sum += pil_hash_block(pil_list_strings_at(payload, k));
            }
        }
    }
    return sum;
}

/* ---- Damage. Makes every checksum of a changed file right again, as far as its superblock says where they are. */
FIXTURE void fixture_repair(uint8_t *file, size_t bytes) {
    struct pil_superblock block;
    if (bytes < sizeof block) {
        return;
    }
    memcpy(&block, file, sizeof block);
    block.checksum = pil_hash_block(pil_bytes_from(file, sizeof block - sizeof block.checksum));
    memcpy(file, &block, sizeof block);
    const struct pil_section_entry *sums = &block.sections[PIL_SECTION_BLOCK_SUMS];
    const struct pil_section_entry *ranges = &block.sections[PIL_SECTION_RANGE_HASHES];
    if (block.body_bytes > bytes || sums->offset > bytes || ranges->offset > bytes) {
        return;
    }
    for (uint64_t i = 0; i * PIL_FORMAT_BLOCK_BYTES < block.body_bytes && (i + 1) * 8 <= bytes - sums->offset; i++) {
        uint64_t start = i * PIL_FORMAT_BLOCK_BYTES, rest = block.body_bytes - start;
        struct pil_bytes part =
            pil_bytes_from(file + start, rest < PIL_FORMAT_BLOCK_BYTES ? rest : PIL_FORMAT_BLOCK_BYTES);
        pil_store_u64(file + sums->offset + i * 8, pil_hash_block(part));
    }
    for (uint64_t i = 0; i * PIL_FORMAT_RANGE_BYTES < block.body_bytes && (i + 1) * 32 <= bytes - ranges->offset; i++) {
        uint64_t start = i * PIL_FORMAT_RANGE_BYTES, rest = block.body_bytes - start;
        struct pil_sha256 hash = pil_hash_sha256(
            pil_bytes_from(file + start, rest < PIL_FORMAT_RANGE_BYTES ? rest : PIL_FORMAT_RANGE_BYTES));
        memcpy(file + ranges->offset + i * 32, hash.bytes, sizeof hash.bytes);
    }
}

/* A copy in memory of exactly this size, so that a sanitizer sees the first byte read outside. */
FIXTURE uint8_t *fixture_copy(struct pil_bytes file) {
    uint8_t *copy = fixture_alloc(file.len);
    if (file.len > 0) {
        memcpy(copy, file.data, file.len);
    }
    return copy;
}
