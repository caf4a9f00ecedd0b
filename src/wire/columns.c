/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/columns.h"
#include "base/panic.h"

/* Head: u32 magic, u16 head bytes, u8 record bytes, u8 0, u32 rows, columns, 0, views, i64 now, u64 records, times,
 * data, total. */
enum {
    AT_HEAD = 4,
    AT_RECORD = 6,
    AT_ROWS = 8,
    AT_COLUMNS = 12,
    AT_ZERO = 16,
    AT_VIEWS = 20,
    AT_NOW = 24,
    AT_RECORDS = 32,
    AT_TIMES = 40,
    AT_DATA = 48,
    AT_BYTES = 56,
};
/* Record: u8 scalar, u8 shape, u16 0, u32 dimension, u64 statuses, offsets, children, child count, values, value bytes.
 */
enum {
    AT_SHAPE = 1,
    AT_DIMENSION = 4,
    AT_STATUSES = 8,
    AT_OFFSETS = 16,
    AT_CHILDREN = 24,
    AT_CHILD_COUNT = 32,
    AT_VALUES = 40,
    AT_VALUE_BYTES = 48,
};
/* schemas/wire.md specifies these numbers. */
PIL_STATIC_ASSERT(PIL_SCALAR_BOOL == 0 && PIL_SCALAR_STRING == 5 && PIL_SCALAR_INT8 == 10 && PIL_SCALAR_COUNT == 11);
PIL_STATIC_ASSERT(PIL_SHAPE_SCALAR == 0 && PIL_SHAPE_LIST == 1 && PIL_SHAPE_VECTOR == 2);

pil_column_form pil_column_form_of(struct pil_type type) {
    bool is_text = pil_scalar_is_text(type.scalar);
    if (type.shape == PIL_SHAPE_LIST) {
        return is_text ? PIL_COLUMN_LISTS : PIL_COLUMN_NUMBERS;
    }
    return is_text ? PIL_COLUMN_TEXTS : PIL_COLUMN_FIXED;
}

/* ---- Writing. */

void pil_columns_layout(struct pil_columns_head *head) {
    head->records_at = PIL_TENSOR_FIXED_BYTES + (uint64_t)head->view_count * PIL_TENSOR_VIEW_BYTES;
    head->times_at = head->records_at + (uint64_t)head->columns * PIL_COLUMNS_RECORD_BYTES;
    head->data_at = head->times_at + 8 * (uint64_t)head->rows * head->view_count;
}

uint64_t pil_column_place(uint32_t rows, struct pil_column_record *record, uint64_t at) {
    bool is_fixed = pil_column_form_of(record->type) == PIL_COLUMN_FIXED;
    record->statuses_at = at;
    at = pil_align_up(at + rows, 8);
    record->offsets_at = is_fixed ? 0 : at;
    at = is_fixed ? at : pil_align_up(at + 4 * ((uint64_t)rows + 1), 8);
    record->children_at = record->child_count == 0 ? 0 : at;
    at = pil_align_up(at + 4 * record->child_count, 8);
    record->values_at = at;
    return pil_align_up(at + record->value_bytes, 8);
}

size_t pil_columns_put_head(const struct pil_columns_head *head, uint8_t to[PIL_TENSOR_HEAD_BYTES_MAX]) {
    pil_store_u32(to, PIL_COLUMNS_MAGIC);
    pil_store_u16(to + AT_HEAD, (uint16_t)head->records_at);
    to[AT_RECORD] = PIL_COLUMNS_RECORD_BYTES;
    to[AT_RECORD + 1] = 0;
    pil_store_u32(to + AT_ROWS, head->rows);
    pil_store_u32(to + AT_COLUMNS, head->columns);
    pil_store_u32(to + AT_ZERO, 0);
    pil_store_u32(to + AT_VIEWS, head->view_count);
    pil_store_i64(to + AT_NOW, head->now_us);
    pil_store_u64(to + AT_RECORDS, head->records_at);
    pil_store_u64(to + AT_TIMES, head->times_at);
    pil_store_u64(to + AT_DATA, head->data_at);
    pil_store_u64(to + AT_BYTES, head->bytes);
    for (uint32_t i = 0; i < head->view_count; i++) {
        pil_tensor_put_view(&head->views[i], to + PIL_TENSOR_FIXED_BYTES + (size_t)i * PIL_TENSOR_VIEW_BYTES);
    }
    return (size_t)head->records_at;
}

void pil_columns_put_record(const struct pil_column_record *record, uint8_t to[PIL_COLUMNS_RECORD_BYTES]) {
    to[0] = (uint8_t)record->type.scalar;
    to[AT_SHAPE] = (uint8_t)record->type.shape;
    pil_store_u16(to + 2, 0);
    pil_store_u32(to + AT_DIMENSION, record->type.dimension);
    pil_store_u64(to + AT_STATUSES, record->statuses_at);
    pil_store_u64(to + AT_OFFSETS, record->offsets_at);
    pil_store_u64(to + AT_CHILDREN, record->children_at);
    pil_store_u64(to + AT_CHILD_COUNT, record->child_count);
    pil_store_u64(to + AT_VALUES, record->values_at);
    pil_store_u64(to + AT_VALUE_BYTES, record->value_bytes);
}

/* ---- Reading. */

static struct pil_column_record load_record(const uint8_t *from) {
    return (struct pil_column_record){.type = {.scalar = (pil_scalar)from[0],
                                               .shape = (pil_shape)from[AT_SHAPE],
                                               .dimension = pil_load_u32(from + AT_DIMENSION)},
                                      .value_bytes = pil_load_u64(from + AT_VALUE_BYTES),
                                      .child_count = pil_load_u64(from + AT_CHILD_COUNT),
                                      .statuses_at = pil_load_u64(from + AT_STATUSES),
                                      .offsets_at = pil_load_u64(from + AT_OFFSETS),
                                      .children_at = pil_load_u64(from + AT_CHILDREN),
                                      .values_at = pil_load_u64(from + AT_VALUES)};
}

struct pil_column_record pil_columns_record(struct pil_bytes answer, const struct pil_columns_head *head,
                                            uint32_t index) {
    return load_record(answer.data + head->records_at + (size_t)index * PIL_COLUMNS_RECORD_BYTES);
}

static bool is_type(struct pil_type type) {
    char text[PIL_TYPE_TEXT_BYTES];
    struct pil_type again;
    if ((unsigned)type.scalar >= PIL_SCALAR_COUNT || (unsigned)type.shape > PIL_SHAPE_VECTOR) {
        return false;
    }
    int len = pil_type_format(type, text);
    return pil_type_parse(pil_bytes_from(text, (size_t)len), &again, NULL) == PIL_STATUS_OK &&
           pil_type_equal(type, again);
}

/* Whether `count` offsets begin at 0, never fall and end at `end`. */
static bool are_offsets(const uint8_t *from, uint64_t count, uint64_t end) {
    uint32_t before = pil_load_u32(from), falls = before;
    for (uint64_t i = 1; i < count; i++) {
        uint32_t offset = pil_load_u32(from + i * 4);
        falls |= offset < before;
        before = offset;
    }
    return falls == 0 && before == end && end <= INT32_MAX;
}

static bool are_bools(const uint8_t *from, uint64_t count) {
    uint32_t outside = 0;
    for (uint64_t i = 0; i < count; i++) {
        outside |= from[i] > 1;
    }
    return outside == 0;
}

/* Whether the offsets and values of a column, whose parts lie inside the answer, are valid. */
static bool is_whole(struct pil_bytes answer, uint32_t rows, const struct pil_column_record *record) {
    const uint8_t *offsets = answer.data + record->offsets_at, *children = answer.data + record->children_at;
    uint64_t width = pil_scalar_bytes(record->type.scalar), bytes = record->value_bytes;
    bool is_good = pil_tensor_are_statuses(answer.data + record->statuses_at, rows);
    if (pil_scalar_is_bool(record->type.scalar)) {
        is_good = is_good && are_bools(answer.data + record->values_at, bytes);
    }
    switch (pil_column_form_of(record->type)) {
    case PIL_COLUMN_FIXED: return is_good && bytes == (uint64_t)rows * pil_type_row_bytes(record->type);
    case PIL_COLUMN_TEXTS: return is_good && are_offsets(offsets, rows + 1ull, bytes);
    case PIL_COLUMN_NUMBERS: return is_good && bytes % width == 0 && are_offsets(offsets, rows + 1ull, bytes / width);
    case PIL_COLUMN_LISTS: break;
    }
    return is_good && are_offsets(offsets, rows + 1ull, record->child_count - 1) &&
           are_offsets(children, record->child_count, bytes);
}

static pil_status check_column(struct pil_bytes answer, const struct pil_columns_head *head, uint32_t index,
                               uint64_t *at, struct pil_error *error) {
    const uint8_t *from = answer.data + head->records_at + (size_t)index * PIL_COLUMNS_RECORD_BYTES;
    struct pil_column_record record = load_record(from), placed = record;
    uint8_t again[PIL_COLUMNS_RECORD_BYTES];
    if (!is_type(record.type)) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "column %u of an answer has no type that is known", index);
    }
    bool has_children = pil_column_form_of(record.type) == PIL_COLUMN_LISTS;
    if (record.value_bytes > answer.len || record.child_count > answer.len ||
        has_children != (record.child_count > 0)) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "column %u of an answer of %zu bytes says %llu bytes, %llu children",
                        index, answer.len, (unsigned long long)record.value_bytes,
                        (unsigned long long)record.child_count);
    }
    *at = pil_column_place(head->rows, &placed, *at);
    pil_columns_put_record(&placed, again);
    if (*at > answer.len || memcmp(again, from, sizeof again) != 0) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "column %u of an answer of %zu bytes is not where it must be", index,
                        answer.len);
    }
    return is_whole(answer, head->rows, &placed)
               ? PIL_STATUS_OK
               : pil_fail(error, PIL_STATUS_CORRUPT, "column %u of an answer has offsets or values that cannot be",
                          index);
}

/* Loads the head; checks its counts, and that head, records and times lie inside the answer. */
static pil_status load_head(struct pil_bytes answer, struct pil_columns_head *ret_head, struct pil_error *error) {
    const uint8_t *from = answer.data;
    if (answer.len < PIL_TENSOR_FIXED_BYTES || pil_load_u32(from) != PIL_COLUMNS_MAGIC) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "the answer of %zu bytes does not start with PLC1", answer.len);
    }
    struct pil_columns_head head = {.rows = pil_load_u32(from + AT_ROWS),
                                    .columns = pil_load_u32(from + AT_COLUMNS),
                                    .view_count = pil_load_u32(from + AT_VIEWS),
                                    .now_us = pil_load_i64(from + AT_NOW),
                                    .bytes = answer.len};
    if (head.view_count == 0 || head.view_count > PIL_TENSOR_VIEWS_MAX || from[AT_RECORD] != PIL_COLUMNS_RECORD_BYTES ||
        head.rows > answer.len || head.columns == 0 || head.columns > answer.len) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "an answer of %zu bytes says %u rows, %u columns, %u views",
                        answer.len, head.rows, head.columns, head.view_count);
    }
    pil_columns_layout(&head);
    if (pil_load_u16(from + AT_HEAD) != head.records_at || pil_load_u64(from + AT_RECORDS) != head.records_at ||
        pil_load_u64(from + AT_TIMES) != head.times_at || pil_load_u64(from + AT_DATA) != head.data_at ||
        pil_load_u64(from + AT_BYTES) != answer.len || head.data_at > answer.len) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "the offsets of an answer of %zu bytes do not fit its counts",
                        answer.len);
    }
    PIL_TRY(pil_tensor_load_views(from + PIL_TENSOR_FIXED_BYTES, head.view_count, head.views, error));
    *ret_head = head;
    return PIL_STATUS_OK;
}

pil_status pil_columns_decode(struct pil_bytes answer, struct pil_columns_head *ret_head, struct pil_error *ret_error) {
    struct pil_columns_head head;
    PIL_TRY(load_head(answer, &head, ret_error));
    uint64_t at = head.data_at;
    for (uint32_t i = 0; i < head.columns; i++) {
        PIL_TRY(check_column(answer, &head, i, &at, ret_error));
    }
    if (at != answer.len) {
        return pil_fail(ret_error, PIL_STATUS_CORRUPT, "the columns of an answer of %zu bytes end at %llu", answer.len,
                        (unsigned long long)at);
    }
    *ret_head = head;
    return PIL_STATUS_OK;
}
