/* SPDX-License-Identifier: Apache-2.0
 * PIL.COLUMNS, PIL.COLUMNS64: typed columns in one answer (schemas/wire.md). Columns are measured first, because the
 * answer begins with their lengths; then they are written part by part. */
#include "protocol/resp/handlers.h"
#include "schema/default.h"
#include "snapshot/reader.h"
#include "vector/plan.h"
#include "wire/columns.h"

/* A column of the request being answered. */
struct column {
    const struct pil_tensor_rows *rows;
    const struct pil_vector_column *of;
    const struct pil_view *view;
    const struct pil_lookup *lookups; /* of the column's view */
    struct pil_bytes instead;         /* the column's default; no data: it has none */
    pil_column_form form;
};

static struct column column_of(const struct pil_tensor_rows *rows, uint32_t number) {
    const struct pil_prepared *prepared = rows->prepared;
    const struct pil_vector_column *of = &prepared->plan->columns[number];
    struct column column = {.rows = rows,
                            .of = of,
                            .view = prepared->plan->views[of->view].view,
                            .lookups = pil_tensor_lookups(rows, of->view),
                            .form = pil_column_form_of(of->type)};
    const struct pil_default *instead = column.view->features[of->feature].default_value;
    if (rows->use_defaults && instead != NULL) {
        column.instead = pil_default_payload(instead);
    }
    return column;
}

/* ---- Values. */

static bool is_there(const struct column *column, uint32_t row) {
    const uint8_t *at = column->lookups[row].row.fields;
    return at != NULL && !pil_row_is_null(column->view, at, column->of->feature);
}

/* The bytes of the value in the row, or those of the default. No data when both are missing. */
static struct pil_bytes value_at(const struct column *column, uint32_t row) {
    if (!is_there(column, row)) {
        return column->instead;
    }
    struct pil_bytes value = pil_row_value(&column->lookups[row].row, &column->view->features[column->of->feature]);
    if (column->form == PIL_COLUMN_NUMBERS) { /* whole elements only */
        value.len -= value.len % pil_scalar_bytes(column->of->type.scalar);
    }
    return value;
}

/* Bytes of the elements of a list of texts, without their lengths. */
static uint64_t texts_bytes(struct pil_bytes list, uint32_t count) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        bytes += pil_list_strings_at(list, i).len;
    }
    return bytes;
}

static void measure(const struct column *column, struct pil_column_record *ret_record) {
    struct pil_column_record record = {.type = column->of->type, .child_count = column->form == PIL_COLUMN_LISTS};
    uint32_t rows = column->rows->row_count;
    if (column->form == PIL_COLUMN_FIXED) {
        record.value_bytes = (uint64_t)rows * pil_type_row_bytes(column->of->type);
    }
    for (uint32_t i = 0; i < rows && column->form != PIL_COLUMN_FIXED; i++) {
        struct pil_bytes value = value_at(column, i);
        uint32_t elements = column->form == PIL_COLUMN_LISTS ? pil_list_strings_count(value) : 0;
        record.child_count += elements;
        record.value_bytes += column->form == PIL_COLUMN_LISTS ? texts_bytes(value, elements) : value.len;
    }
    *ret_record = record;
}

/* ---- Writing. */

static void put_statuses(struct pil_turn *turn, const struct column *column, struct pil_sink *sink) {
    const struct pil_tensor_rows *rows = column->rows;
    uint64_t *counts = turn->value_counts[rows->prepared->selection.views[column->of->view].view->index];
    for (uint32_t i = 0; i < rows->row_count; i++) {
        const struct pil_lookup *lookup = &column->lookups[i];
        bool is_null = lookup->row.fields != NULL && !is_there(column, i);
        pil_value_status status = is_null ? PIL_VALUE_NULL_VALUE : lookup->status;
        counts[status]++;
        pil_sink_put(sink, (uint8_t)status);
    }
}

static void put_offset(struct pil_sink *sink, uint64_t offset) {
    pil_store_u32(pil_sink_reserve(sink, 4), (uint32_t)offset);
    pil_sink_advance(sink, 4);
}

static void put_offsets(const struct column *column, struct pil_sink *sink) {
    uint64_t at = 0, unit = column->form == PIL_COLUMN_NUMBERS ? pil_scalar_bytes(column->of->type.scalar) : 1;
    put_offset(sink, 0);
    for (uint32_t i = 0; i < column->rows->row_count; i++) {
        struct pil_bytes value = value_at(column, i);
        at += column->form == PIL_COLUMN_LISTS ? pil_list_strings_count(value) : value.len / unit;
        put_offset(sink, at);
    }
}

static void put_children(const struct column *column, struct pil_sink *sink) {
    uint64_t at = 0;
    put_offset(sink, 0);
    for (uint32_t i = 0; i < column->rows->row_count; i++) {
        struct pil_bytes list = value_at(column, i);
        for (uint32_t k = 0, count = pil_list_strings_count(list); k < count; k++) {
            at += pil_list_strings_at(list, k).len;
            put_offset(sink, at);
        }
    }
}

static void put_value(const struct column *column, struct pil_bytes value, struct pil_sink *sink) {
    if (column->form == PIL_COLUMN_LISTS) {
        for (uint32_t k = 0, count = pil_list_strings_count(value); k < count; k++) {
            pil_sink_write_bytes(sink, pil_list_strings_at(value, k));
        }
    } else if (pil_scalar_is_bool(column->of->type.scalar)) {
        for (size_t k = 0; k < value.len; k++) {
            pil_sink_put(sink, value.data[k] != 0);
        }
    } else if (value.len > 0) {
        pil_sink_write_bytes(sink, value);
    }
}

static void put_values(const struct column *column, struct pil_sink *sink) {
    for (uint32_t i = 0; i < column->rows->row_count; i++) {
        struct pil_bytes value = value_at(column, i);
        put_value(column, value, sink);
        if (column->form == PIL_COLUMN_FIXED && value.data == NULL) {
            pil_redis_put_zeros(sink, pil_type_row_bytes(column->of->type));
        }
    }
}

/* Writes zeros up to the position `to` of the answer, and moves *at there. */
static void pad(struct pil_sink *sink, uint64_t *at, uint64_t to) {
    pil_redis_put_zeros(sink, to - *at);
    *at = to;
}

static void put_column(struct pil_turn *turn, const struct column *column, const struct pil_column_record *record,
                       uint64_t next, struct pil_sink *sink) {
    uint64_t rows = column->rows->row_count, at = record->statuses_at + rows;
    put_statuses(turn, column, sink);
    if (record->offsets_at != 0) {
        pad(sink, &at, record->offsets_at);
        put_offsets(column, sink);
        at += 4 * (rows + 1);
    }
    if (record->children_at != 0) {
        pad(sink, &at, record->children_at);
        put_children(column, sink);
        at += 4 * record->child_count;
    }
    pad(sink, &at, record->values_at);
    put_values(column, sink);
    at += record->value_bytes;
    pad(sink, &at, next);
}

/* ---- The answer. */

static void put_answer(struct pil_turn *turn, const struct pil_tensor_rows *rows, const struct pil_columns_head *head,
                       const struct pil_column_record *records, struct pil_sink *sink) {
    uint8_t bytes[PIL_TENSOR_HEAD_BYTES_MAX];
    pil_sink_put(sink, '$');
    pil_sink_write_u64(sink, head->bytes);
    pil_sink_write(sink, "\r\n", 2);
    pil_sink_write(sink, bytes, pil_columns_put_head(head, bytes));
    for (uint32_t i = 0; i < head->columns; i++) {
        pil_columns_put_record(&records[i], pil_sink_reserve(sink, PIL_COLUMNS_RECORD_BYTES));
        pil_sink_advance(sink, PIL_COLUMNS_RECORD_BYTES);
    }
    pil_redis_put_times(rows, sink);
    for (uint32_t i = 0; i < head->columns; i++) {
        struct column column = column_of(rows, i);
        put_column(turn, &column, &records[i], i + 1 < head->columns ? records[i + 1].statuses_at : head->bytes, sink);
    }
    pil_sink_write(sink, "\r\n", 2);
}

PIL_REPLY(pil_redis_reply_columns) {
    const struct pil_tensor_rows *rows = &call->rows;
    const struct pil_vector_plan *plan = pil_tensor_plan(rows);
    struct pil_arena *arena = &turn->batch->arena;
    struct pil_columns_head head = {.rows = rows->row_count,
                                    .columns = plan->feature_count,
                                    .view_count = plan->view_count,
                                    .now_us = turn->wall_us};
    for (uint32_t slot = 0; slot < plan->view_count; slot++) {
        pil_tensor_summarise(rows, slot, turn->wall_us, &head.views[slot]);
    }
    pil_columns_layout(&head);
    size_t mark = pil_arena_mark(arena);
    struct pil_column_record *records = PIL_ARENA_NEW(arena, struct pil_column_record, head.columns);
    if (records == NULL) {
        pil_redis_refuse_answer(turn, call, head.data_at + head.columns * sizeof records[0], sink);
        return;
    }
    head.bytes = head.data_at;
    for (uint32_t i = 0; i < head.columns; i++) {
        struct column column = column_of(rows, i);
        measure(&column, &records[i]);
        head.bytes = pil_column_place(head.rows, &records[i], head.bytes);
    }
    if (head.bytes > turn->settings->limits.output_bytes_max) {
        pil_redis_refuse_answer(turn, call, head.bytes, sink);
    } else {
        put_answer(turn, rows, &head, records, sink);
    }
    pil_arena_rewind(arena, mark);
}
