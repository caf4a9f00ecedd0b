/* SPDX-License-Identifier: Apache-2.0
 * Everything that libpillion can read of a release, without a server: each feature as tensor and as columns, by the
 * keys of its own rows and by others. Rows come from memory of exactly the file's size, so that a sanitizer sees the
 * first byte read outside. */
#pragma once

#include "base/text.h"
#include "client/client.h"
#include "support/shard_fixture.h"

#include <math.h>

enum { ROWS = 48, COLUMN_BYTES = 4096 };

/* A client as it is once connected, without a server. */
struct harness {
    struct pillion_client client;
    struct pil_epoch_block slots;
    struct pil_mapped_control control;
    struct pil_control_page page;
    struct pil_mapping mapping;
    struct pil_compiled compiled;
    struct pillion_plan plan;
};

/* ---- Keys: canonical ones of rows, and bytes of the file. */

struct keys {
    int64_t integers[PIL_ENTITIES_MAX][ROWS];
    uint8_t *bytes[PIL_ENTITIES_MAX];
    int32_t offsets[PIL_ENTITIES_MAX][ROWS + 1];
};

static bool take(struct pil_bytes *key, size_t len, struct pil_bytes *ret_part) {
    if (key->len < len) {
        return false;
    }
    *ret_part = pil_bytes_from(key->data, len);
    *key = pil_bytes_from(key->data + len, key->len - len);
    return true;
}

static struct pil_bytes take_part(const struct pil_view *view, uint32_t entity, struct pil_bytes *key) {
    pil_scalar type = view->entities[entity].type;
    bool is_text = pil_scalar_is_text(type);
    struct pil_bytes part = {0}, len = {0};
    if (is_text && view->entity_count > 1) {
        (void)(take(key, 4, &len) && take(key, pil_load_u32(len.data), &part));
    } else {
        (void)take(key, is_text ? key->len : pil_scalar_bytes(type), &part);
    }
    return part;
}

static int64_t integer_of(pil_scalar type, struct pil_bytes part) {
    if (part.len == 4) {
        return pil_load_i32(part.data);
    }
    int64_t value = part.len == 8 ? pil_load_i64(part.data) : (int64_t)part.len;
    return type == PIL_SCALAR_UNIX_TIMESTAMP ? value / 1000000 : type == PIL_SCALAR_INT32 ? (int32_t)value : value;
}

static void fill_keys(const struct pil_shard *shard, struct keys *keys) {
    uint64_t random = pil_hash_block(shard->file) | 1;
    for (uint32_t i = 0; i < ROWS; i++) {
        size_t at = fixture_below(&random, shard->file.len - 64);
        struct pil_bytes key = pil_bytes_from(shard->file.data + at, fixture_below(&random, 64));
        const uint8_t *row = i < shard->slot_count ? pil_shard_row_at(shard, i) : NULL;
        key = row != NULL ? pil_shard_row_key(shard, row) : key;
        for (uint32_t e = 0; e < shard->view->entity_count; e++) {
            struct pil_bytes part = take_part(shard->view, e, &key);
            part.len = part.len < 1024 ? part.len : 1024;
            keys->integers[e][i] = integer_of(shard->view->entities[e].type, part);
            keys->offsets[e][i + 1] = keys->offsets[e][i] + (int32_t)part.len;
            keys->bytes[e] = realloc(keys->bytes[e], (size_t)keys->offsets[e][i + 1] + 1);
            if (part.len > 0) {
                memcpy(keys->bytes[e] + keys->offsets[e][i], part.data, part.len);
            }
        }
    }
}

static struct pillion_keys given(const struct pil_view *view, const struct keys *keys) {
    struct pillion_keys given = {.size = sizeof given, .count = ROWS, .column_count = view->entity_count};
    for (uint32_t e = 0; e < view->entity_count; e++) {
        pil_scalar type = view->entities[e].type;
        bool is_text = pil_scalar_is_text(type);
        given.columns[e] = is_text
                               ? (struct pillion_key_column){.kind = PILLION_KEY_BYTES,
                                                             .values = keys->bytes[e],
                                                             .offsets = keys->offsets[e]}
                               : (struct pillion_key_column){.kind = PILLION_KEY_INT64, .values = keys->integers[e]};
    }
    return given;
}

/* ---- Reading. */

static void get_tensor(struct harness *harness, const struct pillion_keys *keys) {
    const struct pil_vector_plan *vector = harness->compiled.vector;
    size_t bytes = (size_t)ROWS * vector->width * 8;
    double *values = fixture_alloc(bytes);
    uint8_t *statuses = fixture_alloc((size_t)ROWS * vector->feature_count);
    struct pillion_output output = {.size = sizeof output,
                                    .values = values,
                                    .value_bytes = bytes,
                                    .statuses = statuses,
                                    .flags = PILLION_NO_REFRESH};
    struct pillion_answer answer = {.size = sizeof answer};
    PIL_ASSERT(pillion_get(&harness->plan, keys, &output, &answer) == PILLION_OK);
    for (size_t i = 0; i < (size_t)ROWS * vector->feature_count; i++) {
        PIL_ASSERT(statuses[i] >= PILLION_PRESENT && statuses[i] <= PILLION_OUTSIDE_MAX_AGE);
    }
    PIL_ASSERT(answer.views[0].not_found <= ROWS && answer.views[0].worst_age_us >= -1);
    free(values);
    free(statuses);
}

/* Rooms that are often too small: then what is needed is said, and nothing written past their ends. */
static void get_columns(struct harness *harness, const struct pillion_keys *keys, bool is_verified) {
    uint32_t count = harness->compiled.vector->feature_count;
    struct pillion_column *columns = fixture_alloc(count * sizeof columns[0]);
    for (uint32_t i = 0; i < count; i++) {
        columns[i].value_bytes = COLUMN_BYTES >> i % 8;
        columns[i].values = fixture_alloc(columns[i].value_bytes);
        columns[i].offsets = fixture_alloc((ROWS + 1) * sizeof(int32_t));
        columns[i].child_capacity = 1 + i % 64;
        columns[i].child_offsets = fixture_alloc(columns[i].child_capacity * sizeof(int32_t));
    }
    struct pillion_columns request = {
        .size = sizeof request, .columns = columns, .column_count = count, .flags = PILLION_NO_REFRESH};
    pillion_result result = pillion_get_columns(&harness->plan, keys, &request, NULL);
    PIL_ASSERT(result == PILLION_OK || result == PILLION_TOO_LARGE || (result == PILLION_CORRUPT && !is_verified));
    for (uint32_t i = 0; i < count; i++) {
        PIL_ASSERT(result != PILLION_OK || columns[i].ret_value_bytes <= columns[i].value_bytes);
        free(columns[i].values);
        free(columns[i].offsets);
        free(columns[i].child_offsets);
    }
    free(columns);
}

static struct pil_vector_spec *every_feature(const struct pil_view *view, bool with_references) {
    struct pil_bytes *references = fixture_alloc(view->feature_count * sizeof references[0]);
    struct pil_vector_spec *spec = NULL;
    struct pil_text text = {0};
    uint32_t count = 0;
    for (uint32_t i = 0; i < view->feature_count; i++) {
        if (with_references || !pil_type_is_reference(view->features[i].type)) {
            size_t begin = text.len;
            pil_text_format(&text, "p/v:%s", view->features[i].name);
            references[count++].len = text.len - begin;
        }
    }
    size_t at = 0;
    for (uint32_t i = 0; i < count; at += references[i++].len) {
        references[i].data = (const uint8_t *)text.data + at;
    }
    if (count > 0) {
        PIL_ASSERT(pil_vector_spec_create(references, count, &spec, NULL) == PIL_STATUS_OK);
    }
    free(references);
    pil_text_deinit(&text);
    return spec;
}

static void read_as(struct harness *harness, const struct pillion_keys *keys, bool as_columns, bool is_verified) {
    const struct pil_view *view = harness->mapping.release->view;
    struct pil_vector_spec *spec = every_feature(view, as_columns);
    struct pil_error error;
    if (spec == NULL || pil_vector_plan_create(spec, &view, PIL_VECTOR_FLOAT64, !as_columns, &harness->compiled.vector,
                                               &error) != PIL_STATUS_OK) {
        pil_vector_spec_destroy(&spec);
        return;
    }
    harness->plan.flags = PILLION_USE_DEFAULTS | (as_columns ? PILLION_COLUMNS : 0u);
    if (as_columns) {
        get_columns(harness, keys, is_verified);
    } else if ((size_t)harness->compiled.vector->width * ROWS < 1 << 20) {
        get_tensor(harness, keys);
    }
    pil_vector_plan_destroy(&harness->compiled.vector);
    pil_vector_spec_destroy(&spec);
}

/* Only a release whose shards the verifier has accepted must give all its columns. */
static void read_release(struct pil_release *release, bool is_verified) {
    struct harness *harness = aligned_alloc(64, pil_align_up(sizeof *harness, 64));
    struct keys *keys = fixture_alloc(sizeof *keys);
    PIL_ASSERT(harness != NULL);
    memset(harness, 0, sizeof *harness);
    harness->client.slots = &harness->slots;
    harness->page = (struct pil_control_page){.control = &harness->control, .references = 1};
    harness->mapping = (struct pil_mapping){.release = release, .references = 1};
    pil_serving_init(&harness->mapping.serving, release);
    harness->compiled.page = &harness->page;
    harness->compiled.view_count = 1;
    harness->compiled.views[0].mapping = &harness->mapping;
    harness->plan.client = &harness->client;
    atomic_store(&harness->plan.compiled, &harness->compiled);
    fill_keys(&release->shards[0], keys);
    struct pillion_keys columns = given(release->view, keys);
    read_as(harness, &columns, false, is_verified);
    read_as(harness, &columns, true, is_verified);
    for (uint32_t e = 0; e < PIL_ENTITIES_MAX; e++) {
        free(keys->bytes[e]);
    }
    free(keys);
    free(harness);
}
