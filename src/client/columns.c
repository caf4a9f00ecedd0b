/* SPDX-License-Identifier: Apache-2.0
 * Typed columns in Arrow's memory layout. What does not fit is still counted, so that the caller learns what it needs.
 * References of mapped rows are checked by the reader, payloads here. */
#include "client/internal.h"
#include "snapshot/reader.h"

struct columns_call {
    struct pil_call call;
    struct pillion_column *columns;
    uint32_t column_count;
    bool use_defaults;
    bool is_full;      /* some column has no room for all its values */
    bool is_malformed; /* some payload is not of its type */
};

typedef enum form { FIXED, TEXTS, NUMBERS, LISTS_OF_TEXTS } form;

static bool is_text(pil_scalar scalar) {
    return scalar == PIL_SCALAR_STRING || scalar == PIL_SCALAR_BYTES;
}

static form form_of(struct pil_type type) {
    if (type.shape == PIL_SHAPE_LIST) {
        return is_text(type.scalar) ? LISTS_OF_TEXTS : NUMBERS;
    }
    return type.shape == PIL_SHAPE_SCALAR && is_text(type.scalar) ? TEXTS : FIXED;
}

/* ---- Writing. Counters are the column's ret_ members. */

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

/* A byte that is neither 0 nor 1 would be no bool. */
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
    switch (form_of(type)) {
    case FIXED:
    case TEXTS: put_bytes(columns, column, value); break;
    case NUMBERS:
        columns->is_malformed |= value.len % width != 0;
        put_bytes(columns, column, pil_bytes_from(value.data, value.len / width * width));
        break;
    case LISTS_OF_TEXTS:
        for (uint32_t i = 0, count = pil_list_strings_count(value); i < count; i++) {
            put_child(columns, column, pil_list_strings_at(value, i));
        }
        break;
    }
    if (type.scalar == PIL_SCALAR_BOOL) {
        mend_bools(column, begin, column->ret_value_bytes - begin);
    }
}

static void put_offset(struct columns_call *columns, struct pillion_column *column, struct pil_type type, size_t row) {
    size_t at = column->ret_value_bytes;
    switch (form_of(type)) {
    case FIXED: return;
    case TEXTS: break;
    case NUMBERS: at /= pil_scalar_bytes(type.scalar); break;
    case LISTS_OF_TEXTS: at = column->ret_child_count - 1; break;
    }
    columns->is_full |= at > INT32_MAX;
    column->offsets[row + 1] = (int32_t)(at & INT32_MAX);
}

/* Missing fixed values are zeros, others are empty; the status tells. */
static void put_nothing(struct columns_call *columns, struct pillion_column *column, struct pil_type type) {
    if (form_of(type) != FIXED) {
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

/* ---- As the call goes. */

static pillion_result begin_columns(struct pil_call *call, struct pillion_error *error) {
    struct columns_call *columns = (struct columns_call *)call;
    const struct pil_vector_plan *vector = call->compiled->vector;
    if (columns->column_count != vector->feature_count) {
        return pil_client_fail(error, PILLION_INVALID, "%u columns were given; the plan has %u features",
                               columns->column_count, vector->feature_count);
    }
    for (uint32_t i = 0; i < vector->feature_count; i++) {
        struct pillion_column *column = &columns->columns[i];
        form kind = form_of(vector->columns[i].type);
        bool has_all = (column->values != NULL || column->value_bytes == 0) &&
                       (kind == FIXED || column->offsets != NULL) &&
                       (kind != LISTS_OF_TEXTS || (column->child_offsets != NULL && column->child_capacity > 0));
        if (!has_all) {
            return pil_client_fail(error, PILLION_INVALID, "column %u lacks values, offsets or child_offsets", i);
        }
        column->ret_value_bytes = 0;
        column->ret_child_count = kind == LISTS_OF_TEXTS ? 1 : 0;
        if (kind != FIXED) {
            column->offsets[0] = 0;
        }
        if (kind == LISTS_OF_TEXTS) {
            column->child_offsets[0] = 0;
        }
    }
    return PILLION_OK;
}

static void put_row(struct columns_call *columns, uint32_t number, const struct pil_block *block, uint32_t i) {
    const struct pil_compiled *compiled = columns->call.compiled;
    const struct pil_vector_column *of = &compiled->vector->columns[number];
    const struct pil_view *view = compiled->vector->views[block->slot].view;
    const struct pil_lookup *lookup = &block->lookups[i];
    struct pillion_column *column = &columns->columns[number];
    pil_vector_status status = block->statuses[i];
    if (lookup->row != NULL && pil_row_is_null(view, lookup->row, of->feature)) {
        status = PIL_VECTOR_NULL_VALUE;
    }
    const struct pil_column_default *instead =
        columns->use_defaults && compiled->defaults != NULL ? &compiled->defaults[number] : NULL;
    if (status == PIL_VECTOR_PRESENT || status == PIL_VECTOR_OUTSIDE_MAX_AGE) {
        const uint8_t *field = lookup->row + of->offset;
        bool is_reference = pil_type_is_reference(of->type);
        put_value(columns, column, of->type,
                  is_reference ? pil_shard_reference(pil_lookup_shard(lookup), field)
                               : pil_bytes_from(field, pil_type_row_bytes(of->type)));
    } else if (instead != NULL && instead->is_there) {
        put_value(columns, column, of->type, pil_text_bytes(&instead->payload));
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
        for (uint32_t i = 0; i < block->count; i++) {
            put_row(columns, number, block, i);
        }
    }
    return columns->is_malformed ? pil_client_fail(error, PILLION_CORRUPT, "a list of the release is malformed")
                                 : PILLION_OK;
}

pillion_result pillion_get_columns(struct pillion_plan *plan, const struct pillion_keys *keys,
                                   const struct pillion_columns *options, struct pillion_answer *answer) {
    struct pillion_error *error = answer != NULL && answer->size >= sizeof *answer ? &answer->error : NULL;
    if (options->size < sizeof *options || keys->size < offsetof(struct pillion_keys, columns)) {
        return pil_client_fail(error, PILLION_INVALID, "keys or columns have no size");
    }
    if ((plan->flags & PILLION_COLUMNS) == 0) {
        return pil_client_fail(error, PILLION_INVALID, "the plan is for pillion_get: make it with PILLION_COLUMNS");
    }
    struct columns_call columns = {.call = {.plan = plan,
                                            .keys = keys,
                                            .flags = options->flags,
                                            .event_ts_us = options->event_ts_us,
                                            .answer = answer,
                                            .begin = begin_columns,
                                            .put = put_columns},
                                   .columns = options->columns,
                                   .column_count = options->column_count,
                                   .use_defaults = (plan->flags & PILLION_USE_DEFAULTS) != 0};
    pillion_result result = pil_call_run(&columns.call);
    if (result == PILLION_OK && columns.is_full) {
        return pil_client_fail(error, PILLION_TOO_LARGE,
                               "a column is too small: ret_value_bytes and ret_child_count "
                               "say what is needed");
    }
    return result;
}
