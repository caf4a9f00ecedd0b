/* SPDX-License-Identifier: Apache-2.0
 * Formats and buffers of Arrow columns. The producer lives in this process and its memory is trusted; its types and
 * lengths are checked, because a faulty front end must get an error message. */
#include "ingest/column.h"
#include "base/panic.h"

#include <stdio.h>

/* ---- Binding: once for each stream */

/* The Arrow formats of scalars. */
static const struct arrow_format {
    const char *text;
    const char *wide;                  /* the format with 64-bit offsets; NULL: a value of fixed width */
    bool is_prefix;                    /* any time zone may follow: the values are UTC */
    uint16_t (*narrowed)(float value); /* elements may also come as float32 and are narrowed; NULL: they may not */
    uint16_t infinity;                 /* bits of the narrowed type's infinity, without the sign */
} formats[] = {
    [PIL_SCALAR_BOOL] = {.text = "b"},
    [PIL_SCALAR_INT32] = {.text = "i"},
    [PIL_SCALAR_INT64] = {.text = "l"},
    [PIL_SCALAR_FLOAT32] = {.text = "f"},
    [PIL_SCALAR_FLOAT64] = {.text = "g"},
    [PIL_SCALAR_STRING] = {.text = "u", .wide = "U"},
    [PIL_SCALAR_BYTES] = {.text = "z", .wide = "Z"},
    [PIL_SCALAR_UNIX_TIMESTAMP] = {.text = "tsu:", .is_prefix = true},
    [PIL_SCALAR_FLOAT16] = {.text = "e", .narrowed = pil_float16_from, .infinity = 0x7c00},
    [PIL_SCALAR_BFLOAT16] = {.text = "f", .narrowed = pil_bfloat16_from, .infinity = 0x7f80},
    [PIL_SCALAR_INT8] = {.text = "c"},
};
PIL_STATIC_ASSERT(sizeof formats / sizeof formats[0] == PIL_SCALAR_COUNT);

/* Whether `format` is one of the scalar's formats; *ret_wide: it has 64-bit offsets. */
static bool scalar_format_ok(pil_scalar scalar, const char *format, bool *ret_wide) {
    const struct arrow_format *known = &formats[scalar];
    *ret_wide = known->wide != NULL && strcmp(format, known->wide) == 0;
    return *ret_wide || (known->is_prefix ? strncmp(format, known->text, strlen(known->text)) == 0
                                          : strcmp(format, known->text) == 0);
}

static pil_status fail_format(const struct pil_column *column, const char *format, struct pil_error *ret_error) {
    char type[PIL_TYPE_TEXT_BYTES];
    pil_type_format(column->type, type);
    return pil_fail(ret_error, PIL_STATUS_INVALID, "column %s has Arrow format '%s', which is not that of %s",
                    column->name, format, type);
}

static pil_status bind_items(struct pil_column *column, const struct ArrowSchema *schema, struct pil_error *ret_error) {
    const char *format = schema->format;
    unsigned fixed = 0;
    char rest;
    column->wide = strcmp(format, "+L") == 0;
    column->fixed_size = column->type.shape == PIL_SHAPE_VECTOR && sscanf(format, "+w:%u%c", &fixed, &rest) == 1 &&
                         fixed == column->type.dimension;
    if (schema->n_children != 1 || schema->children == NULL ||
        !(column->wide || column->fixed_size || strcmp(format, "+l") == 0)) {
        return fail_format(column, format, ret_error);
    }
    const struct ArrowSchema *item = schema->children[0];
    if (item->dictionary != NULL) {
        return pil_fail(ret_error, PIL_STATUS_INVALID, "column %s has dictionary-encoded elements; decode them first",
                        column->name);
    }
    if (formats[column->type.scalar].narrowed != NULL && strcmp(item->format, "f") == 0) {
        column->item_is_float32 = true;
    } else if (!scalar_format_ok(column->type.scalar, item->format, &column->item_wide)) {
        char type[PIL_TYPE_TEXT_BYTES];
        pil_type_format(column->type, type);
        return pil_fail(ret_error, PIL_STATUS_INVALID,
                        "column %s has elements of Arrow format '%s', which is not that of %s", column->name,
                        item->format, type);
    }
    return PIL_STATUS_OK;
}

pil_status pil_column_bind(struct pil_column *column, const struct ArrowSchema *batch, struct pil_error *ret_error) {
    column->child = -1;
    for (int64_t i = 0; i < batch->n_children; i++) {
        const char *name = batch->children[i]->name;
        if (name == NULL || strcmp(name, column->name) != 0) {
            continue;
        }
        if (column->child >= 0) {
            return pil_fail(ret_error, PIL_STATUS_INVALID, "column %s is there twice", column->name);
        }
        column->child = (int32_t)i;
    }
    if (column->child < 0) {
        return pil_fail(ret_error, PIL_STATUS_NOT_FOUND, "column %s is missing", column->name);
    }
    const struct ArrowSchema *schema = batch->children[column->child];
    if (schema->dictionary != NULL) {
        return pil_fail(ret_error, PIL_STATUS_INVALID, "column %s is dictionary-encoded; decode it first",
                        column->name);
    }
    if (column->type.shape != PIL_SHAPE_SCALAR) {
        return bind_items(column, schema, ret_error);
    }
    if (!scalar_format_ok(column->type.scalar, schema->format, &column->wide)) {
        return fail_format(column, schema->format, ret_error);
    }
    return PIL_STATUS_OK;
}

/* ---- Attaching: once for each batch */

static pil_status fail_shape(const struct pil_column *column, const char *what, struct pil_error *ret_error) {
    return pil_fail(ret_error, PIL_STATUS_CORRUPT, "column %s: the Arrow array %s", column->name, what);
}

static int64_t end_at(const uint8_t *offsets, bool wide, int64_t index) {
    return wide ? pil_load_i64(offsets + 8 * index) : pil_load_i32(offsets + 4 * index);
}

/* Checks that ends never decrease and, if `limit` >= 0, do not exceed it. */
static bool offsets_ok(const struct pil_cells *cells, bool wide, int64_t limit) {
    int64_t last = cells->count > 0 ? end_at(cells->offsets, wide, cells->first) : 0;
    bool ok = last >= 0;
    for (int64_t i = 1; i <= cells->count; i++) {
        int64_t end = end_at(cells->offsets, wide, cells->first + i);
        ok = ok && end >= last;
        last = end;
    }
    return ok && (limit < 0 || last <= limit);
}

static pil_status attach_cells(const struct pil_column *column, struct pil_cells *cells, const struct ArrowArray *array,
                               int64_t buffers, struct pil_error *ret_error) {
    if (array->n_buffers != buffers || array->dictionary != NULL) {
        return fail_shape(column, "has other buffers than its format says", ret_error);
    }
    cells->validity = array->null_count == 0 ? NULL : array->buffers[0];
    cells->offsets = buffers == 3 ? array->buffers[1] : NULL;
    cells->values = buffers > 1 ? array->buffers[buffers - 1] : NULL;
    return PIL_STATUS_OK;
}

static int64_t buffers_of(pil_scalar scalar) {
    return pil_scalar_is_text(scalar) ? 3 : 2;
}

static pil_status attach_items(struct pil_column *column, const struct ArrowArray *array, struct pil_error *ret_error) {
    if (array->n_buffers != (column->fixed_size ? 1 : 2) || array->n_children != 1 || array->dictionary != NULL) {
        return fail_shape(column, "has other buffers than its format says", ret_error);
    }
    const struct ArrowArray *child = array->children[0];
    struct pil_cells *cells = &column->cells;
    cells->validity = array->null_count == 0 ? NULL : array->buffers[0];
    cells->offsets = column->fixed_size ? NULL : array->buffers[1];
    if (column->fixed_size ? child->length / column->type.dimension < cells->first + cells->count
                           : cells->count > 0 && !offsets_ok(cells, column->wide, child->length)) {
        return fail_shape(column, "has offsets outside of its elements", ret_error);
    }
    PIL_TRY(attach_cells(column, &column->items, child, buffers_of(column->type.scalar), ret_error));
    column->items.first = child->offset;
    column->items.count = child->length;
    if (column->items.offsets != NULL && !offsets_ok(&column->items, column->item_wide, -1)) {
        return fail_shape(column, "has falling offsets", ret_error);
    }
    return PIL_STATUS_OK;
}

pil_status pil_column_attach(struct pil_column *column, const struct ArrowArray *batch, struct pil_error *ret_error) {
    if (column->child >= batch->n_children) {
        return fail_shape(column, "has fewer columns than its schema", ret_error);
    }
    const struct ArrowArray *array = batch->children[column->child];
    if (array->length < batch->offset + batch->length) {
        return fail_shape(column, "is shorter than its batch", ret_error);
    }
    column->cells = (struct pil_cells){.first = array->offset + batch->offset, .count = batch->length};
    column->items = (struct pil_cells){0};
    if (column->type.shape != PIL_SHAPE_SCALAR) {
        return attach_items(column, array, ret_error);
    }
    PIL_TRY(attach_cells(column, &column->cells, array, buffers_of(column->type.scalar), ret_error));
    if (column->cells.offsets != NULL && !offsets_ok(&column->cells, column->wide, -1)) {
        return fail_shape(column, "has falling offsets", ret_error);
    }
    return PIL_STATUS_OK;
}

/* ---- Cells */

static struct pil_bytes text_at(const struct pil_cells *cells, bool wide, int64_t index) {
    int64_t start = end_at(cells->offsets, wide, index);
    return pil_bytes_from(cells->values + start, (size_t)(end_at(cells->offsets, wide, index + 1) - start));
}

struct pil_bytes pil_column_text(const struct pil_column *column, int64_t row) {
    return text_at(&column->cells, column->wide, column->cells.first + row);
}

/* Index of the row's first element among the items, and the number of its elements. */
static int64_t items_of(const struct pil_column *column, int64_t row, int64_t *ret_count) {
    int64_t index = column->cells.first + row, start;
    if (column->fixed_size) {
        *ret_count = column->type.dimension;
        start = index * column->type.dimension;
    } else {
        start = end_at(column->cells.offsets, column->wide, index);
        *ret_count = end_at(column->cells.offsets, column->wide, index + 1) - start;
    }
    return column->items.first + start;
}

/* ---- Checking */

static pil_ingest_flaw check_text(pil_scalar scalar, struct pil_bytes text, int64_t *ret_found) {
    *ret_found = (int64_t)text.len;
    if (text.len > PIL_VALUE_BYTES_MAX) {
        return PIL_INGEST_FLAW_TOO_LARGE;
    }
    return pil_scalar_is_utf8(scalar) && !pil_utf8_ok(text) ? PIL_INGEST_FLAW_INVALID_UTF8 : PIL_INGEST_FLAW_NONE;
}

static bool is_finite(float value) {
    return value - value == 0;
}

static pil_ingest_flaw check_narrow(const struct pil_column *column, int64_t start, int64_t count, int64_t *ret_found) {
    const struct arrow_format *format = &formats[column->type.scalar];
    for (int64_t i = 0; i < count; i++) {
        float value = pil_load_f32(column->items.values + 4 * (start + i));
        if (is_finite(value) && (format->narrowed(value) & 0x7fff) == format->infinity) {
            *ret_found = i;
            return PIL_INGEST_FLAW_OUT_OF_RANGE;
        }
    }
    return PIL_INGEST_FLAW_NONE;
}

static pil_ingest_flaw check_items(const struct pil_column *column, int64_t row, int64_t *ret_found) {
    int64_t count, start = items_of(column, row, &count);
    *ret_found = count;
    if (column->type.shape == PIL_SHAPE_VECTOR && count != column->type.dimension) {
        return PIL_INGEST_FLAW_VECTOR_LENGTH;
    }
    if (count > PIL_VALUE_BYTES_MAX / 4 && column->type.shape == PIL_SHAPE_LIST) {
        return PIL_INGEST_FLAW_TOO_LARGE;
    }
    for (int64_t i = 0; column->items.validity != NULL && i < count; i++) {
        if (!pil_bit_at(column->items.validity, start + i)) {
            *ret_found = i;
            return PIL_INGEST_FLAW_NULL_ELEMENT;
        }
    }
    if (column->item_is_float32) {
        return check_narrow(column, start, count, ret_found);
    }
    pil_ingest_flaw flaw = PIL_INGEST_FLAW_NONE;
    for (int64_t i = 0; column->items.offsets != NULL && i < count && flaw == PIL_INGEST_FLAW_NONE; i++) {
        flaw = check_text(column->type.scalar, text_at(&column->items, column->item_wide, start + i), ret_found);
    }
    if (flaw == PIL_INGEST_FLAW_NONE && column->type.shape == PIL_SHAPE_LIST) {
        uint64_t bytes = pil_column_payload_bytes(column, row);
        *ret_found = (int64_t)bytes;
        flaw = bytes > PIL_VALUE_BYTES_MAX ? PIL_INGEST_FLAW_TOO_LARGE : PIL_INGEST_FLAW_NONE;
    }
    return flaw;
}

void pil_column_check(const struct pil_column *column, int64_t row, uint32_t count, struct pil_row_flaw *flaws) {
    bool has_items = column->type.shape != PIL_SHAPE_SCALAR;
    if (!has_items && column->cells.offsets == NULL) {
        return; /* every bit pattern is a value */
    }
    for (uint32_t i = 0; i < count; i++) {
        if (flaws[i].flaw != PIL_INGEST_FLAW_NONE || pil_column_is_null(column, row + i)) {
            continue;
        }
        int64_t found = 0;
        pil_ingest_flaw flaw = has_items ? check_items(column, row + i, &found)
                                         : check_text(column->type.scalar, pil_column_text(column, row + i), &found);
        if (flaw != PIL_INGEST_FLAW_NONE) {
            flaws[i] = (struct pil_row_flaw){.flaw = flaw, .column = column, .found = found};
        }
    }
}

/* ---- Encoding */

/* One loop for each width, so that each copy is one load and one store. */
#define COPY_LOOP(bytes) \
    for (uint32_t i = 0; i < count; i++) { \
        memcpy(to + (size_t)i * stride, from + (size_t)i * (bytes), (bytes)); \
    }

static void put_scalars(const struct pil_column *column, int64_t row, uint32_t count, uint8_t *to, uint32_t stride) {
    uint32_t width = pil_scalar_bytes(column->type.scalar);
    int64_t first = column->cells.first + row;
    if (pil_scalar_is_bool(column->type.scalar)) { /* one bit each in Arrow */
        for (uint32_t i = 0; i < count; i++) {
            to[(size_t)i * stride] = pil_bit_at(column->cells.values, first + i);
        }
        return;
    }
    const uint8_t *from = column->cells.values + first * width;
    switch (width) {
    case 1: COPY_LOOP(1) return;
    case 2: COPY_LOOP(2) return;
    case 4: COPY_LOOP(4) return;
    case 8: COPY_LOOP(8) return;
    default: PIL_UNREACHABLE("a fixed width");
    }
}
#undef COPY_LOOP

static void put_vector(const struct pil_column *column, int64_t row, uint8_t *to) {
    int64_t count, start = items_of(column, row, &count);
    uint32_t width = pil_scalar_bytes(column->type.scalar);
    if (!column->item_is_float32) {
        memcpy(to, column->items.values + start * width, (size_t)count * width);
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        float value = pil_load_f32(column->items.values + 4 * (start + i));
        pil_store_u16(to + 2 * i, formats[column->type.scalar].narrowed(value));
    }
}

void pil_column_put_fixed(const struct pil_column *column, int64_t row, uint32_t count, uint8_t *to, uint32_t stride,
                          const struct pil_row_flaw *flaws) {
    if (column->type.shape == PIL_SHAPE_SCALAR) {
        put_scalars(column, row, count, to, stride); /* values under a null are cleared with the other nulls */
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (flaws[i].flaw == PIL_INGEST_FLAW_NONE && !pil_column_is_null(column, row + i)) {
            put_vector(column, row + i, to + (size_t)i * stride);
        }
    }
}

uint64_t pil_column_payload_bytes(const struct pil_column *column, int64_t row) {
    if (column->type.shape == PIL_SHAPE_SCALAR) {
        return pil_column_text(column, row).len;
    }
    int64_t count, start = items_of(column, row, &count);
    if (column->items.offsets == NULL) {
        return (uint64_t)count * pil_scalar_bytes(column->type.scalar);
    }
    int64_t bytes = 0;
    if (count > 0) {
        bytes = end_at(column->items.offsets, column->item_wide, start + count) -
                end_at(column->items.offsets, column->item_wide, start);
    }
    return 4 + 4 * (uint64_t)count + (uint64_t)bytes;
}

/* list<string>, list<bytes>: u32 count, u32 end[count], bytes (snapshot/format.h). */
static void write_strings(const struct pil_column *column, int64_t start, int64_t count, uint8_t *to) {
    pil_store_u32(to, (uint32_t)count);
    uint8_t *ends = to + 4, *at = ends + 4 * count;
    uint32_t end = 0;
    for (int64_t i = 0; i < count; i++) {
        struct pil_bytes text = text_at(&column->items, column->item_wide, start + i);
        end += (uint32_t)text.len;
        pil_store_u32(ends + 4 * i, end);
        if (text.len > 0) {
            memcpy(at, text.data, text.len);
        }
        at += text.len;
    }
}

void pil_column_payload_write(const struct pil_column *column, int64_t row, uint8_t *to) {
    if (column->type.shape == PIL_SHAPE_SCALAR) {
        struct pil_bytes text = pil_column_text(column, row);
        if (text.len > 0) {
            memcpy(to, text.data, text.len);
        }
        return;
    }
    int64_t count, start = items_of(column, row, &count);
    uint32_t width = pil_scalar_bytes(column->type.scalar);
    if (column->items.offsets != NULL) {
        write_strings(column, start, count, to);
    } else if (pil_scalar_is_bool(column->type.scalar)) {
        for (int64_t i = 0; i < count; i++) {
            to[i] = pil_bit_at(column->items.values, start + i);
        }
    } else if (count > 0) {
        memcpy(to, column->items.values + start * width, (size_t)count * width);
    }
}
