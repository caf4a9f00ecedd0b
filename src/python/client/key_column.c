/* SPDX-License-Identifier: Apache-2.0
 * A column of keys that grows while keys of Python or Arrow are copied into it. */
#include "python/client/client.h"

#include "base/bytes.h"

#include <stdlib.h>
#include <string.h>

static int reserve(void **memory, size_t *capacity, size_t needed, size_t item_bytes) {
    if (needed <= *capacity) {
        return 0;
    }
    size_t more = *capacity * 2 > needed ? *capacity * 2 : needed;
    more = more < 128 ? 128 : more;
    void *grown = more <= SIZE_MAX / item_bytes ? realloc(*memory, more * item_bytes) : NULL;
    if (grown == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    *memory = grown;
    *capacity = more;
    return 0;
}

static int check_kind(struct python_key_column *column, bool is_text) {
    if (column->count > 0 && column->is_text != is_text) {
        PyErr_SetString(PyExc_TypeError, "keys are integers here and text there: use one of them");
        return -1;
    }
    column->is_text = is_text;
    return 0;
}

int pil_python_key_append_int(struct python_key_column *column, int64_t value) {
    if (check_kind(column, false) != 0 ||
        reserve(&column->values, &column->capacity, column->count + 1, sizeof value) != 0) {
        return -1;
    }
    ((int64_t *)column->values)[column->count++] = value;
    return 0;
}

int pil_python_key_append_bytes(struct python_key_column *column, const void *bytes, size_t len) {
    void *offsets = column->offsets;
    int result = check_kind(column, true);
    if (result == 0) {
        result = reserve(&offsets, &column->capacity, column->count + 2, sizeof column->offsets[0]);
        column->offsets = offsets;
    }
    if (result != 0 || reserve(&column->values, &column->value_capacity, column->value_bytes + len, 1) != 0) {
        return -1;
    }
    if (len > 0) {
        memcpy((uint8_t *)column->values + column->value_bytes, bytes, len);
    }
    column->value_bytes += len;
    column->offsets[0] = 0;
    column->offsets[++column->count] = (int64_t)column->value_bytes;
    return 0;
}

static int64_t load_int(const uint8_t *at, int item_bytes, char kind) {
    bool is_signed = kind == 'i';
    switch (item_bytes) {
    case 1: return is_signed ? (int8_t)*at : *at;
    case 2: return is_signed ? (int16_t)pil_load_u16(at) : pil_load_u16(at);
    case 4: return is_signed ? (int32_t)pil_load_u32(at) : (int64_t)pil_load_u32(at);
    default: return (int64_t)pil_load_u64(at);
    }
}

int pil_python_key_append_ints(struct python_key_column *column, const uint8_t *data, size_t count, int64_t stride,
                               int item_bytes, char kind) {
    if (check_kind(column, false) != 0 ||
        reserve(&column->values, &column->capacity, column->count + count + 1, sizeof(int64_t)) != 0) {
        return -1;
    }
    int64_t *to = (int64_t *)column->values + column->count;
    for (size_t i = 0; i < count; i++) {
        to[i] = load_int(data + (int64_t)i * stride, item_bytes, kind);
        if (kind == 'u' && to[i] < 0) {
            PyErr_Format(PyExc_ValueError, "row %zu: %llu does not fit into int64", column->count + i,
                         (unsigned long long)to[i]);
            return -1;
        }
    }
    column->count += count;
    return 0;
}
