/* SPDX-License-Identifier: Apache-2.0
 * Arrow columns, batches and streams made by hand, cell by cell, as a producer with every liberty of the format makes
 * them: offsets, validity bit maps that start in the middle, 32- and 64-bit ends. Streams check that everything is
 * released. */
#pragma once

#include "unit/schema/sample.h"
#include "ingest/ingest.h"

enum { ARROW_CELLS_MAX = 1 << 16, ARROW_COLUMNS_MAX = 16 };

struct arrow_column {
    struct ArrowSchema schema;
    struct ArrowArray array;
    struct ArrowSchema *child_schema;
    struct ArrowArray *child_array;
    struct arrow_column *items; /* of lists */
    const void *buffers[3];
    uint8_t validity[ARROW_CELLS_MAX / 8];
    int64_t *ends; /* of strings and lists: count + 1 */
    void *offsets; /* the same in the width of the format */
    uint8_t *values;
    size_t values_len, values_capacity;
    int64_t count;
    char name[32], format[16];
};

static inline void *arrow_alloc(size_t bytes) {
    void *memory = calloc(1, bytes);
    assert_non_null(memory);
    return memory;
}

static inline struct arrow_column *arrow_column(const char *name, const char *format, struct arrow_column *items) {
    struct arrow_column *column = arrow_alloc(sizeof *column);
    snprintf(column->name, sizeof column->name, "%s", name);
    snprintf(column->format, sizeof column->format, "%s", format);
    column->items = items;
    column->ends = arrow_alloc((ARROW_CELLS_MAX + 1) * sizeof *column->ends);
    return column;
}

static inline void arrow_column_destroy(struct arrow_column *column) {
    if (column != NULL) {
        arrow_column_destroy(column->items);
        free(column->ends);
        free(column->offsets);
        free(column->values);
        free(column);
    }
}

/* One cell's bytes; NULL data is a null with `len` bytes of rubbish under it. Booleans: one byte each. */
static inline void arrow_add(struct arrow_column *column, const void *data, size_t len) {
    assert_true(column->count < ARROW_CELLS_MAX);
    if (column->values_len + len >= column->values_capacity) {
        column->values_capacity = 2 * (column->values_len + len) + 64;
        column->values = realloc(column->values, column->values_capacity);
        assert_non_null(column->values);
    }
    if (data != NULL) {
        column->validity[column->count / 8] |= (uint8_t)(1u << (column->count % 8));
        memcpy(column->values + column->values_len, data, len);
    } else {
        memset(column->values + column->values_len, 0xa5, len);
    }
    column->values_len += len;
    column->count++;
    column->ends[column->count] = (int64_t)column->values_len;
}
#define ARROW_ADD(column, type, ...) \
    do { \
        const type arrow_cells_[] = {__VA_ARGS__}; \
        for (size_t i_ = 0; i_ < sizeof arrow_cells_ / sizeof(type); i_++) { \
            arrow_add((column), &arrow_cells_[i_], sizeof(type)); \
        } \
    } while (0)
static inline void arrow_add_text(struct arrow_column *column, const char *text) {
    arrow_add(column, text, text != NULL ? strlen(text) : 0);
}
/* Ends a list cell over the items that were added to column->items since the last one. */
static inline void arrow_end_list(struct arrow_column *column, bool is_null) {
    if (!is_null) {
        column->validity[column->count / 8] |= (uint8_t)(1u << (column->count % 8));
    }
    column->count++;
    column->ends[column->count] = column->items->count;
}

static inline void arrow_release_schema(struct ArrowSchema *schema) {
    schema->release = NULL;
}
static inline void arrow_release_array(struct ArrowArray *array) {
    array->release = NULL;
}

/* Sets the C structs up; the first `offset` cells are not part of the array. */
static inline void arrow_finish(struct arrow_column *column, int64_t offset) {
    char last = column->format[strlen(column->format) - 1];
    bool is_list = column->format[0] == '+', fixed_size = column->format[1] == 'w';
    bool is_text = strlen(column->format) == 1 && strchr("uUzZ", last) != NULL;
    bool wide = last == 'U' || last == 'Z' || last == 'L';
    int64_t buffers = is_text ? 3 : fixed_size ? 1 : 2;
    column->offsets = arrow_alloc((size_t)(column->count + 1) * 8);
    for (int64_t i = 0; i <= column->count; i++) {
        if (wide) {
            ((int64_t *)column->offsets)[i] = column->ends[i];
        } else {
            ((int32_t *)column->offsets)[i] = (int32_t)column->ends[i];
        }
    }
    if (strcmp(column->format, "b") == 0) {
        uint8_t *bits = arrow_alloc((size_t)column->count / 8 + 1);
        for (int64_t i = 0; i < column->count; i++) {
            bits[i / 8] |= (uint8_t)((column->values[i] & 1) << (i % 8));
        }
        free(column->values);
        column->values = bits;
    }
    column->buffers[0] = column->validity;
    column->buffers[1] = is_text || is_list ? column->offsets : column->values;
    column->buffers[2] = column->values;
    column->schema =
        (struct ArrowSchema){.format = column->format, .name = column->name, .release = arrow_release_schema};
    column->array = (struct ArrowArray){.length = column->count - offset,
                                        .null_count = -1,
                                        .offset = offset,
                                        .n_buffers = buffers,
                                        .buffers = column->buffers,
                                        .release = arrow_release_array};
    if (is_list) {
        arrow_finish(column->items, 0);
        column->child_schema = &column->items->schema;
        column->child_array = &column->items->array;
        column->schema.n_children = column->array.n_children = 1;
        column->schema.children = &column->child_schema;
        column->array.children = &column->child_array;
    }
}

/* A batch of finished columns: rows [offset, offset + length). */
struct arrow_batch {
    struct ArrowSchema *schemas[ARROW_COLUMNS_MAX];
    struct ArrowArray *arrays[ARROW_COLUMNS_MAX];
    struct arrow_column *columns[ARROW_COLUMNS_MAX];
    int64_t column_count, offset, length;
    const void *no_buffers[1];
};
static inline void arrow_batch_add(struct arrow_batch *batch, struct arrow_column *column) {
    assert_true(batch->column_count < ARROW_COLUMNS_MAX);
    batch->schemas[batch->column_count] = &column->schema;
    batch->arrays[batch->column_count] = &column->array;
    batch->columns[batch->column_count++] = column;
}
static inline void arrow_batch_deinit(struct arrow_batch *batch) {
    for (int64_t i = 0; i < batch->column_count; i++) {
        arrow_column_destroy(batch->columns[i]);
    }
    batch->column_count = 0;
}
static inline struct ArrowSchema arrow_batch_schema(struct arrow_batch *batch) {
    return (struct ArrowSchema){.format = "+s",
                                .name = "",
                                .n_children = batch->column_count,
                                .children = batch->schemas,
                                .release = arrow_release_schema};
}
static inline struct ArrowArray arrow_batch_array(struct arrow_batch *batch) {
    return (struct ArrowArray){.length = batch->length,
                               .offset = batch->offset,
                               .n_buffers = 1,
                               .buffers = batch->no_buffers,
                               .n_children = batch->column_count,
                               .children = batch->arrays,
                               .release = arrow_release_array};
}

/* A stream of the same batch, `times` times; then its end, or an error. */
struct arrow_stream {
    struct arrow_batch *batch;
    uint32_t times;
    bool fails, released;
};
static inline int arrow_stream_schema(struct ArrowArrayStream *stream, struct ArrowSchema *out) {
    *out = arrow_batch_schema(((struct arrow_stream *)stream->private_data)->batch);
    return 0;
}
static inline int arrow_stream_next(struct ArrowArrayStream *stream, struct ArrowArray *out) {
    struct arrow_stream *self = stream->private_data;
    if (self->times == 0) {
        *out = (struct ArrowArray){0};
        return self->fails ? 5 : 0;
    }
    self->times--;
    *out = arrow_batch_array(self->batch);
    return 0;
}
static inline const char *arrow_stream_error(struct ArrowArrayStream *stream) {
    (void)stream;
    return "the producer gave up";
}
static inline void arrow_stream_release(struct ArrowArrayStream *stream) {
    ((struct arrow_stream *)stream->private_data)->released = true;
    stream->release = NULL;
}
static inline struct ArrowArrayStream arrow_stream(struct arrow_stream *self) {
    return (struct ArrowArrayStream){.get_schema = arrow_stream_schema,
                                     .get_next = arrow_stream_next,
                                     .get_last_error = arrow_stream_error,
                                     .release = arrow_stream_release,
                                     .private_data = self};
}
