/* SPDX-License-Identifier: Apache-2.0
 * A column of keys that grows while keys of Python or Arrow are copied into it. */
#include "python/client/client.h"

#include "base/bytes.h"

#include <stdarg.h>
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

/* ---- Messages. */

int pil_python_key_fail(const struct python_key_column *column, PyObject *exception, size_t row, const char *format,
                        ...) {
    va_list arguments;
    va_start(arguments, format);
    PyObject *what = PyUnicode_FromFormatV(format, arguments);
    va_end(arguments);
    if (what != NULL) {
        PyErr_Format(exception, "join key %U, row %zu: %U", column->join_key, row, what);
    }
    Py_XDECREF(what);
    return -1;
}

int pil_python_key_missing(const struct python_key_column *column, size_t row, const char *item) {
    return pil_python_key_fail(column, PyExc_ValueError, row, "%s; a key may not be missing", item);
}

/* What a caller may give for a join key of that type. */
static const char *wanted(pil_scalar type) {
    return pil_scalar_is_text(type)            ? "str, bytes or int"
           : type == PIL_SCALAR_UNIX_TIMESTAMP ? "a time with a zone, datetime64, or seconds as int or text"
                                               : "int, or its digits as text";
}

int pil_python_key_refuse(const struct python_key_column *column, size_t row, PyObject *item) {
    PyObject *name = PyObject_GetAttrString((PyObject *)Py_TYPE(item), "__name__");
    if (name == NULL) {
        return -1;
    }
    bool is_missing = PyUnicode_CompareWithASCIIString(name, "NAType") == 0 ||
                      PyUnicode_CompareWithASCIIString(name, "NaTType") == 0 ||
                      PyUnicode_CompareWithASCIIString(name, "MaskedConstant") == 0;
    bool is_float = PyFloat_Check(item);
    int result = is_missing
                     ? pil_python_key_fail(column, PyExc_ValueError, row, "%S; a key may not be missing", item)
                     : pil_python_key_fail(column, PyExc_TypeError, row, "%R is %U; a key of type %s is given as %s%s",
                                           item, name, pil_scalar_text(column->type), wanted(column->type),
                                           is_float ? " (pandas makes floats of integers with missing values)" : "");
    Py_DECREF(name);
    return result;
}

/* ---- Appending. */

static int check_kind(struct python_key_column *column, pillion_key_kind kind) {
    if (column->count > 0 && column->kind != kind) {
        return pil_python_key_fail(column, PyExc_TypeError, column->count,
                                   "keys are integers, text or times, all of one kind");
    }
    column->kind = kind;
    return 0;
}

static int append_number(struct python_key_column *column, pillion_key_kind kind, int64_t value) {
    if (check_kind(column, kind) != 0 ||
        reserve(&column->values, &column->capacity, column->count + 1, sizeof value) != 0) {
        return -1;
    }
    ((int64_t *)column->values)[column->count++] = value;
    return 0;
}

int pil_python_key_append_int(struct python_key_column *column, int64_t value) {
    return append_number(column, PILLION_KEY_INT64, value);
}

int pil_python_key_append_time(struct python_key_column *column, int64_t us) {
    return append_number(column, PILLION_KEY_TIME_US, us);
}

int pil_python_key_append_bytes(struct python_key_column *column, const void *bytes, size_t len) {
    void *offsets = column->offsets;
    int result = check_kind(column, PILLION_KEY_BYTES64);
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

int64_t pil_python_key_load_int(const uint8_t *at, int item_bytes, char kind) {
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
    if (check_kind(column, PILLION_KEY_INT64) != 0 ||
        reserve(&column->values, &column->capacity, column->count + count + 1, sizeof(int64_t)) != 0) {
        return -1;
    }
    int64_t *to = (int64_t *)column->values + column->count;
    for (size_t i = 0; i < count; i++) {
        to[i] = pil_python_key_load_int(data + (int64_t)i * stride, item_bytes, kind);
        if (kind == 'u' && to[i] < 0) {
            return pil_python_key_fail(column, PyExc_ValueError, column->count + i, "%llu does not fit into int64",
                                       (unsigned long long)to[i]);
        }
    }
    column->count += count;
    return 0;
}
