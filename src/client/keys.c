/* SPDX-License-Identifier: Apache-2.0
 * Keys that are already in canonical form are not copied. */
#include "client/keys.h"
#include "base/panic.h"

static bool is_slices(uint32_t kind) {
    return kind == PILLION_KEY_BYTES || kind == PILLION_KEY_BYTES64;
}

pillion_result pil_keys_check_columns(const struct pillion_keys *keys, struct pillion_error *error) {
    if (keys->column_count > PILLION_KEYS_MAX ||
        keys->size < offsetof(struct pillion_keys, columns) + keys->column_count * sizeof keys->columns[0]) {
        return pil_result_fail(error, PILLION_INVALID, "keys of %zu bytes cannot have %u columns", keys->size,
                               keys->column_count);
    }
    for (uint32_t i = 0; i < keys->column_count && keys->count > 0; i++) {
        const struct pillion_key_column *column = &keys->columns[i];
        bool has_slices = is_slices(column->kind);
        if (column->kind > PILLION_KEY_TIME_US || (has_slices ? column->offsets == NULL : column->values == NULL)) {
            return pil_result_fail(error, PILLION_INVALID, "key column %u has kind %u and no %s", i, column->kind,
                                   has_slices ? "offsets" : "values");
        }
    }
    return PILLION_OK;
}

static int64_t offset_at(const struct pillion_key_column *column, size_t i) {
    return column->kind == PILLION_KEY_BYTES ? pil_load_i32((const uint8_t *)column->offsets + i * 4)
                                             : pil_load_i64((const uint8_t *)column->offsets + i * 8);
}

static bool slice_at(const struct pillion_key_column *column, size_t row, struct pil_bytes *ret_slice) {
    int64_t begin = offset_at(column, row), end = offset_at(column, row + 1);
    if (begin < 0 || end < begin || (column->values == NULL && end > begin)) {
        return false;
    }
    *ret_slice = end > begin ? pil_bytes_from((const uint8_t *)column->values + begin, (size_t)(end - begin))
                             : pil_bytes_from("", 0);
    return true;
}

bool pil_keys_part(const struct pillion_key_column *column, size_t row, struct pil_key_part *ret_part) {
    if (is_slices(column->kind)) {
        ret_part->kind = PIL_KEY_PART_TEXT;
        return slice_at(column, row, &ret_part->text);
    }
    const uint8_t *values = column->values;
    ret_part->kind = column->kind == PILLION_KEY_TIME_US ? PIL_KEY_PART_TIME : PIL_KEY_PART_INT;
    ret_part->integer =
        column->kind == PILLION_KEY_INT32 ? pil_load_i32(values + row * 4) : pil_load_i64(values + row * 8);
    return true;
}

static pillion_result wrong_key(const struct pil_keys *keys, uint32_t join_key, size_t row) {
    const struct pil_entity *entity = keys->compiled->vector->join_keys[join_key];
    const struct pillion_key_column *column = &keys->given->columns[join_key];
    const struct pil_key_place place = {.join_key = entity->join_key, .type = entity->type, .row = row};
    char problem[PIL_KEY_PROBLEM_BYTES];
    struct pil_key_part part = {.text = {0}};
    if (!pil_keys_part(column, row, &part)) {
        return pil_result_fail(keys->error, PILLION_INVALID, "join key %s, row %zu: its offsets fall", entity->join_key,
                               row);
    }
    return pil_result_fail(keys->error, PILLION_INVALID, "%s", pil_key_part_explain(&part, place, problem));
}

static pillion_result encode(const struct pil_keys *keys, size_t first, uint32_t count, struct pil_key_room room,
                             struct pil_lookup *lookups, uint32_t *ret_count) {
    const struct pil_vector_plan *vector = keys->compiled->vector;
    const struct pil_vector_view *view = &vector->views[keys->slot];
    struct pil_key_part parts[PIL_VECTOR_KEYS_MAX];
    uint32_t done = 0;
    for (; done < count; done++) {
        uint32_t bad = 0;
        size_t len = 0;
        for (uint32_t e = 0; e < view->view->entity_count; e++) {
            uint32_t key = view->key_parts[e];
            if (!pil_keys_part(&keys->given->columns[key], first + done, &parts[key])) {
                return wrong_key(keys, key, first + done);
            }
        }
        pil_status status = pil_vector_key_encode(vector, keys->slot, parts, room.data, room.bytes, &len, &bad);
        if (status == PIL_STATUS_TOO_LARGE) {
            break;
        }
        if (status != PIL_STATUS_OK) {
            return wrong_key(keys, bad, first + done);
        }
        lookups[done].key = room.data;
        lookups[done].key_len = (uint32_t)len;
        room.data += len;
        room.bytes -= len;
    }
    *ret_count = done;
    return PILLION_OK;
}

static pillion_result point_at_slices(const struct pil_keys *keys, uint32_t join_key, size_t first, uint32_t count,
                                      struct pil_lookup *lookups) {
    const struct pillion_key_column *column = &keys->given->columns[join_key];
    for (uint32_t i = 0; i < count; i++) {
        struct pil_bytes slice;
        if (!slice_at(column, first + i, &slice)) {
            return wrong_key(keys, join_key, first + i);
        }
        if (slice.len > PIL_KEY_BYTES_MAX) {
            return pil_result_fail(keys->error, PILLION_TOO_LARGE, "join key %s, row %zu: %zu bytes; the limit is %d",
                                   keys->compiled->vector->join_keys[join_key]->join_key, first + i, slice.len,
                                   PIL_KEY_BYTES_MAX);
        }
        lookups[i].key = slice.data;
        lookups[i].key_len = (uint32_t)slice.len;
    }
    return PILLION_OK;
}

static void point_at_integers(const uint8_t *values, size_t first, uint32_t count, uint32_t width,
                              struct pil_lookup *lookups) {
    for (uint32_t i = 0; i < count; i++) {
        lookups[i].key = values + (first + i) * width;
        lookups[i].key_len = width;
    }
}

/* The keys of a view without entities are empty. */
static void point_at_nothing(uint32_t count, struct pil_lookup *lookups) {
    static const uint8_t nothing[1];
    for (uint32_t i = 0; i < count; i++) {
        lookups[i].key = nothing;
        lookups[i].key_len = 0;
    }
}

pillion_result pil_keys_fill(const struct pil_keys *keys, size_t first, uint32_t count, struct pil_key_room room,
                             struct pil_lookup *lookups, uint32_t *ret_count) {
    const struct pil_vector_view *view = &keys->compiled->vector->views[keys->slot];
    PIL_ASSERT(first <= keys->given->count && count <= keys->given->count - first);
    if (view->view->entity_count == 0) {
        *ret_count = count;
        point_at_nothing(count, lookups);
        return PILLION_OK;
    }
    const struct pillion_key_column *column = &keys->given->columns[view->key_parts[0]];
    pil_scalar type = view->view->entities[0].type;
    if (view->view->entity_count == 1) {
        *ret_count = count;
        if (type == PIL_SCALAR_INT64 && column->kind == PILLION_KEY_INT64) {
            point_at_integers(column->values, first, count, 8, lookups);
            return PILLION_OK;
        }
        if (type == PIL_SCALAR_UNIX_TIMESTAMP && column->kind == PILLION_KEY_TIME_US) {
            point_at_integers(column->values, first, count, 8, lookups);
            return PILLION_OK;
        }
        if (type == PIL_SCALAR_INT32 && column->kind == PILLION_KEY_INT32) {
            point_at_integers(column->values, first, count, 4, lookups);
            return PILLION_OK;
        }
        if (pil_scalar_is_text(type) && is_slices(column->kind)) {
            return point_at_slices(keys, view->key_parts[0], first, count, lookups);
        }
    }
    return encode(keys, first, count, room, lookups, ret_count);
}
