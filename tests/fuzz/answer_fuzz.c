/* SPDX-License-Identifier: Apache-2.0
 * What a client does with the answers of PIL.VECTOR and PIL.COLUMNS: any bytes are refused with a sentence, or every
 * part that the head and the records name can be read as what they say. The answer lies in memory of exactly its size,
 * so that a sanitizer sees the first byte read outside. */
#include "base/panic.h"
#include "wire/columns.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t sum;

static void read_all(const uint8_t *from, uint64_t bytes) {
    for (uint64_t i = 0; i < bytes; i++) {
        sum += from[i];
    }
}

static void read_tensor(struct pil_bytes answer) {
    struct pil_tensor_head head;
    struct pil_error error = {{0}};
    if (pil_tensor_decode(answer, &head, &error) != PIL_STATUS_OK) {
        PIL_ASSERT(error.text[0] != '\0');
        return;
    }
    read_all(answer.data + head.statuses_at, (uint64_t)head.rows * head.features);
    read_all(answer.data + head.times_at, 8ull * head.rows * head.view_count);
    read_all(answer.data + head.values_at, (uint64_t)head.rows * head.width * head.element_bytes);
}

/* As a reader of an Arrow array does: from each offset to the next. */
static void read_slices(const uint8_t *offsets, uint64_t count, const uint8_t *values, uint32_t width) {
    for (uint64_t i = 0; i < count; i++) {
        int32_t begin = pil_load_i32(offsets + i * 4), end = pil_load_i32(offsets + i * 4 + 4);
        PIL_ASSERT(begin >= 0 && begin <= end);
        read_all(values + (uint64_t)begin * width, (uint64_t)(end - begin) * width);
    }
}

static void read_column(struct pil_bytes answer, uint32_t rows, const struct pil_column_record *record) {
    const uint8_t *offsets = answer.data + record->offsets_at, *children = answer.data + record->children_at;
    const uint8_t *values = answer.data + record->values_at;
    read_all(answer.data + record->statuses_at, rows);
    switch (pil_column_form_of(record->type)) {
    case PIL_COLUMN_FIXED: read_all(values, (uint64_t)rows * pil_type_row_bytes(record->type)); break;
    case PIL_COLUMN_TEXTS: read_slices(offsets, rows, values, 1); break;
    case PIL_COLUMN_NUMBERS: read_slices(offsets, rows, values, pil_scalar_bytes(record->type.scalar)); break;
    case PIL_COLUMN_LISTS:
        read_slices(offsets, rows, children, 4);
        read_slices(children, record->child_count - 1, values, 1);
        break;
    }
}

static void read_columns(struct pil_bytes answer) {
    struct pil_columns_head head;
    struct pil_error error = {{0}};
    if (pil_columns_decode(answer, &head, &error) != PIL_STATUS_OK) {
        PIL_ASSERT(error.text[0] != '\0');
        return;
    }
    read_all(answer.data + head.times_at, 8ull * head.rows * head.view_count);
    for (uint32_t i = 0; i < head.columns; i++) {
        struct pil_column_record record = pil_columns_record(answer, &head, i);
        read_column(answer, head.rows, &record);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t *copy = malloc(size + (size == 0));
    PIL_ASSERT(copy != NULL);
    if (size > 0) {
        memcpy(copy, data, size);
    }
    read_tensor(pil_bytes_from(copy, size));
    read_columns(pil_bytes_from(copy, size));
    free(copy);
    return 0;
}
