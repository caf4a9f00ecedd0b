/* SPDX-License-Identifier: Apache-2.0
 * Typed columns in Arrow's memory layout. Values that do not fit are still counted, so that the caller learns how much
 * room is needed. The reader checks the references of mapped rows; payloads are checked here. */
#include "base/panic.h"
#include "client/columns_check.h"
#include "client/get.h"
#include "client/socket_get.h"
#include "schema/default.h"
#include "snapshot/reader.h"

struct columns_call {
    struct pil_call call;
    const struct pillion_columns *given;
    struct pillion_column *columns;
    bool use_defaults;
    bool is_full;      /* some column lacks room for its values */
    bool is_malformed; /* some payload is not valid for its type */
};

/* ---- Writing. Counters are the ret_ members of the column. */

static void put_bytes(struct columns_call *columns, struct pillion_column *column, struct pil_bytes bytes) {
    size_t at = column->ret_value_bytes;
    column->ret_value_bytes += bytes.len;
    if (column->ret_value_bytes > column->value_bytes) {
        columns->is_full = true;
    } else if (bytes.len > 0) {
        memcpy((uint8_t *)column->values + at, bytes.data, bytes.len);
    }
}

static void put_child(struct columns_call *columns, struct pillion_column *column, struct pil_bytes text) {
    put_bytes(columns, column, text);
    size_t at = column->ret_child_count++;
    if (column->ret_child_count > column->child_capacity || column->ret_value_bytes > INT32_MAX) {
        columns->is_full = true;
    } else {
        column->child_offsets[at] = (int32_t)column->ret_value_bytes;
    }
}

/* A bool that is neither 0 nor 1 would be undefined behaviour in the caller. */
static void mend_bools(struct pillion_column *column, size_t begin, size_t len) {
    uint8_t *values = (uint8_t *)column->values + begin;
    for (size_t i = 0; i < len && begin + len <= column->value_bytes; i++) {
        values[i] = values[i] != 0;
    }
}

static void put_value(struct columns_call *columns, struct pillion_column *column, struct pil_type type,
                      struct pil_bytes value) {
    size_t begin = column->ret_value_bytes;
    uint32_t width = pil_scalar_bytes(type.scalar);
    switch (pil_column_form_of(type)) {
    case PIL_COLUMN_FIXED:
    case PIL_COLUMN_TEXTS: put_bytes(columns, column, value); break;
    case PIL_COLUMN_NUMBERS:
        columns->is_malformed |= value.len % width != 0;
        put_bytes(columns, column, pil_bytes_from(value.data, value.len / width * width));
        break;
    case PIL_COLUMN_LISTS:
        for (uint32_t i = 0, count = pil_list_strings_count(value); i < count; i++) {
            put_child(columns, column, pil_list_strings_at(value, i));
        }
        break;
    }
    if (pil_scalar_is_bool(type.scalar)) {
        mend_bools(column, begin, column->ret_value_bytes - begin);
    }
}

static void put_offset(struct columns_call *columns, struct pillion_column *column, struct pil_type type, size_t row) {
    size_t at = column->ret_value_bytes;
    switch (pil_column_form_of(type)) {
    case PIL_COLUMN_FIXED: return;
    case PIL_COLUMN_TEXTS: break;
    case PIL_COLUMN_NUMBERS: at /= pil_scalar_bytes(type.scalar); break;
    case PIL_COLUMN_LISTS: at = column->ret_child_count - 1; break;
    }
    columns->is_full |= at > INT32_MAX;
    column->offsets[row + 1] = (int32_t)(at & INT32_MAX);
}

/* A missing value is zero in a fixed column and empty in others; the status says that it is missing. */
static void put_nothing(struct columns_call *columns, struct pillion_column *column, struct pil_type type) {
    if (pil_column_form_of(type) != PIL_COLUMN_FIXED) {
        return;
    }
    uint32_t len = pil_type_row_bytes(type);
    if (column->ret_value_bytes + len <= column->value_bytes) {
        memset((uint8_t *)column->values + column->ret_value_bytes, 0, len);
    } else {
        columns->is_full = true;
    }
    column->ret_value_bytes += len;
}

/* ---- The steps of a call. */

static pillion_result begin_columns(struct pil_call *call, struct pillion_error *error) {
    struct columns_call *columns = (struct columns_call *)call;
    const struct pil_vector_plan *vector = call->compiled->vector;
    PIL_ASSERT(vector != NULL && (call->plan->flags & PILLION_COLUMNS) != 0);
    pillion_result result = pil_columns_check_count(columns->given->column_count, vector->feature_count, error);
    for (uint32_t i = 0; i < vector->feature_count && result == PILLION_OK; i++) {
        result = pil_columns_begin(&columns->columns[i], i, pil_column_form_of(vector->columns[i].type), error);
    }
    return result;
}

static pillion_result ask_columns(struct pil_call *call) {
    return pil_socket_get_columns(call->plan, call->keys, ((struct columns_call *)call)->given, call->answer);
}

static void put_row(struct columns_call *columns, uint32_t number, const struct pil_block *block, uint32_t i) {
    const struct pil_vector_plan *vector = columns->call.compiled->vector;
    const struct pil_vector_column *of = &vector->columns[number];
    const struct pil_view *view = vector->views[block->slot].view;
    const struct pil_lookup *lookup = &block->lookups[i];
    struct pillion_column *column = &columns->columns[number];
    pil_value_status status = lookup->status;
    if (lookup->row.fields != NULL && pil_row_is_null(view, lookup->row.fields, of->feature)) {
        status = PIL_VALUE_NULL_VALUE;
    }
    const struct pil_default *instead = columns->use_defaults ? view->features[of->feature].default_value : NULL;
    if (status == PIL_VALUE_PRESENT || status == PIL_VALUE_OUTSIDE_MAX_AGE) {
        put_value(columns, column, of->type, pil_row_value(&lookup->row, &view->features[of->feature]));
    } else if (instead != NULL) {
        put_value(columns, column, of->type, pil_default_payload(instead));
    } else {
        put_nothing(columns, column, of->type);
    }
    put_offset(columns, column, of->type, block->first + i);
    if (column->statuses != NULL) {
        column->statuses[block->first + i] = (uint8_t)status;
    }
}

static pillion_result put_columns(struct pil_call *call, const struct pil_block *block, struct pillion_error *error) {
    struct columns_call *columns = (struct columns_call *)call;
    const struct pil_vector_view *view = &call->compiled->vector->views[block->slot];
    for (uint32_t k = 0; k < view->column_count; k++) {
        uint32_t number = call->compiled->vector->by_view[view->column_first + k];
        PIL_ASSERT(number < columns->given->column_count);
        for (uint32_t i = 0; i < block->count; i++) {
            put_row(columns, number, block, i);
        }
    }
    return columns->is_malformed ? pil_result_fail(error, PILLION_CORRUPT, "a list of the release is malformed")
                                 : PILLION_OK;
}

pillion_result pillion_get_columns(struct pillion_plan *plan, const struct pillion_keys *keys,
                                   const struct pillion_columns *options, struct pillion_answer *answer) {
    struct pillion_error *error = answer != NULL && answer->size >= PIL_ANSWER_BYTES_MIN ? &answer->error : NULL;
    if (options->size < PIL_COLUMNS_BYTES_MIN || keys->size < offsetof(struct pillion_keys, columns)) {
        return pil_result_fail(error, PILLION_INVALID, "keys or columns have no size");
    }
    if ((plan->flags & PILLION_COLUMNS) == 0) {
        return pil_result_fail(error, PILLION_INVALID, "the plan is for pillion_get: make it with PILLION_COLUMNS");
    }
    struct columns_call columns = {.call = {.plan = plan,
                                            .keys = keys,
                                            .flags = options->flags,
                                            .event_ts_us = options->event_ts_us,
                                            .answer = answer,
                                            .ask = ask_columns,
                                            .begin = begin_columns,
                                            .put = put_columns},
                                   .given = options,
                                   .columns = options->columns,
                                   .use_defaults = (plan->flags & PILLION_USE_DEFAULTS) != 0};
    pillion_result result = pil_get_run(&columns.call);
    return result == PILLION_OK && columns.is_full ? pil_columns_too_small(error) : result;
}
