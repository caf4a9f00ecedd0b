/* SPDX-License-Identifier: Apache-2.0
 * Typed values of any feature as Python objects, read through libpillion's columns. */
#include "python/client/client.h"

#include "base/half.h"
#include "schema/type.h"

#include <stdlib.h>
#include <string.h>

/* Initial room for values of unknown length; the second call knows how much is needed. */
enum { GUESSED_BYTES = 64, TRIES = 8 };

struct typed_column {
    struct pil_type type;
    struct pillion_column *column;
    size_t rows;
};

struct typed_columns {
    size_t rows;
    uint32_t count;
    struct pillion_feature_info *features;
    struct typed_column *typed;
    struct pillion_column *columns;
    int64_t *event_ts_us;
};

static bool is_fixed(struct pil_type type) {
    return type.shape == PIL_SHAPE_VECTOR || (type.shape == PIL_SHAPE_SCALAR && !pil_scalar_is_text(type.scalar));
}

static bool is_list_of_texts(struct pil_type type) {
    return type.shape == PIL_SHAPE_LIST && pil_scalar_is_text(type.scalar);
}

/* ---- Memory. */

static void deinit(struct typed_columns *columns) {
    for (uint32_t i = 0; columns->columns != NULL && i < columns->count; i++) {
        free(columns->columns[i].values);
        free(columns->columns[i].offsets);
        free(columns->columns[i].child_offsets);
        free(columns->columns[i].statuses);
    }
    free(columns->columns);
    free(columns->typed);
    free(columns->features);
    free(columns->event_ts_us);
}

/* Allocates room for `needed` items and some more, uninitialised. The old contents are lost. */
static int renew(void **memory, size_t *capacity, size_t needed, size_t item_bytes) {
    free(*memory);
    *capacity = needed + needed / 8 + 1;
    *memory = malloc(*capacity * item_bytes);
    if (*memory == NULL) {
        PyErr_NoMemory();
    }
    return *memory != NULL ? 0 : -1;
}

static int renew_values(struct pillion_column *column, size_t needed) {
    return renew(&column->values, &column->value_bytes, needed, 1);
}

static int renew_children(struct pillion_column *column, size_t needed) {
    void *memory = column->child_offsets;
    int result = renew(&memory, &column->child_capacity, needed, sizeof column->child_offsets[0]);
    column->child_offsets = memory;
    return result;
}

static int init_column(struct pil_type type, size_t rows, struct pillion_column *column) {
    size_t row_bytes = is_fixed(type) ? pil_type_row_bytes(type) : GUESSED_BYTES;
    column->statuses = malloc(rows + 1);
    column->offsets = is_fixed(type) ? NULL : malloc((rows + 1) * sizeof column->offsets[0]);
    if (column->statuses == NULL || (column->offsets == NULL && !is_fixed(type))) {
        PyErr_NoMemory();
        return -1;
    }
    return renew_values(column, rows * row_bytes) != 0 || (is_list_of_texts(type) && renew_children(column, 4 * rows))
               ? -1
               : 0;
}

static int init(struct client_state *state, const struct python_plan *plan, size_t rows,
                struct typed_columns *columns) {
    *columns = (struct typed_columns){.rows = rows, .count = plan->info.feature_count};
    columns->features = pil_python_plan_features(state, plan);
    columns->typed = calloc(columns->count, sizeof columns->typed[0]);
    columns->columns = calloc(columns->count, sizeof columns->columns[0]);
    columns->event_ts_us = malloc((rows + 1) * (plan->info.view_count + 1) * sizeof columns->event_ts_us[0]);
    if (columns->features == NULL) {
        return -1;
    }
    if (columns->typed == NULL || columns->columns == NULL || columns->event_ts_us == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (uint32_t i = 0; i < columns->count; i++) {
        struct typed_column *typed = &columns->typed[i];
        struct pil_error error;
        typed->column = &columns->columns[i];
        typed->rows = rows;
        if (pil_type_parse(pil_bytes_from_text(columns->features[i].type), &typed->type, &error) != PIL_STATUS_OK) {
            (void)pil_python_fail(state, PILLION_UNSUPPORTED, error.text);
            return -1;
        }
        if (init_column(typed->type, rows, typed->column) != 0) {
            return -1;
        }
    }
    return 0;
}

/* ---- Reading. */

static int make_room(const struct typed_columns *columns) {
    for (uint32_t i = 0; i < columns->count; i++) {
        struct pillion_column *column = &columns->columns[i];
        if ((column->ret_value_bytes > column->value_bytes && renew_values(column, column->ret_value_bytes) != 0) ||
            (column->ret_child_count > column->child_capacity &&
             renew_children(column, column->ret_child_count) != 0)) {
            return -1;
        }
    }
    return 0;
}

/* 1: the types have changed since before the call, so the values cannot be interpreted; -1: exception. */
static int check_types(struct client_state *state, const struct python_plan *plan,
                       const struct typed_columns *columns) {
    struct pillion_feature_info *now = pil_python_plan_features(state, plan);
    int result = now != NULL ? 0 : -1;
    for (uint32_t i = 0; now != NULL && i < columns->count; i++) {
        result = strcmp(now[i].type, columns->features[i].type) != 0 ? 1 : result;
    }
    free(now);
    return result;
}

static int read_columns(struct client_state *state, struct python_plan *plan, const struct python_keys *keys,
                        struct typed_columns *columns) {
    int outcome = 1;
    for (int try = 0; try < TRIES && outcome == 1; try++) {
        if (try == 0 && init(state, plan, keys->keys.count, columns) != 0) {
            return -1;
        }
        struct pillion_answer answer = {.size = sizeof answer};
        const struct pillion_columns wanted = {.size = sizeof wanted,
                                               .columns = columns->columns,
                                               .column_count = columns->count,
                                               .event_ts_us = columns->event_ts_us};
        pillion_result result;
        Py_BEGIN_ALLOW_THREADS
        result = pillion_get_columns(plan->plan, &keys->keys, &wanted, &answer);
        Py_END_ALLOW_THREADS
        pil_python_plan_note(plan, result);
        outcome = check_types(state, plan, columns);
        if (outcome == 1) {
            deinit(columns);
            outcome = init(state, plan, keys->keys.count, columns) == 0 ? 1 : -1;
        } else if (outcome == 0 && result == PILLION_TOO_LARGE && try + 1 < TRIES) {
            outcome = make_room(columns) == 0 ? 1 : -1;
        } else if (outcome == 0 && result != PILLION_OK) {
            (void)pil_python_fail(state, result, answer.error.text);
            outcome = -1;
        }
    }
    if (outcome == 1) {
        (void)pil_python_fail(state, PILLION_NOT_READY, "releases changed during each of several attempts");
    }
    return outcome == 0 ? 0 : -1;
}

/* ---- To Python. */

static PyObject *number(struct client_state *state, pil_scalar scalar, const uint8_t *at) {
    switch (scalar) {
    case PIL_SCALAR_BOOL: return PyBool_FromLong(*at);
    case PIL_SCALAR_INT8: return PyLong_FromLong((int8_t)*at);
    case PIL_SCALAR_INT32: return PyLong_FromLong(pil_load_i32(at));
    case PIL_SCALAR_INT64: return PyLong_FromLongLong(pil_load_i64(at));
    case PIL_SCALAR_FLOAT16: return PyFloat_FromDouble((double)pil_float_from_f16(pil_load_u16(at)));
    case PIL_SCALAR_BFLOAT16: return PyFloat_FromDouble((double)pil_float_from_bf16(pil_load_u16(at)));
    case PIL_SCALAR_FLOAT32: return PyFloat_FromDouble((double)pil_load_f32(at));
    case PIL_SCALAR_FLOAT64: return PyFloat_FromDouble(pil_load_f64(at));
    case PIL_SCALAR_UNIX_TIMESTAMP: return PyObject_CallFunction(state->from_us, "L", (long long)pil_load_i64(at));
    case PIL_SCALAR_STRING:
    case PIL_SCALAR_BYTES:
    case PIL_SCALAR_COUNT: break;
    }
    PyErr_SetString(PyExc_SystemError, "text is not a number");
    return NULL;
}

static PyObject *text(pil_scalar scalar, const uint8_t *values, const int32_t *offsets, size_t i) {
    const char *begin = (const char *)values + offsets[i];
    Py_ssize_t len = offsets[i + 1] - offsets[i];
    return pil_scalar_is_utf8(scalar) ? PyUnicode_DecodeUTF8(begin, len, "strict")
                                      : PyBytes_FromStringAndSize(begin, len);
}

/* The elements [first, end) of a column as a list. */
static PyObject *list(struct client_state *state, const struct typed_column *of, size_t first, size_t end) {
    const struct pillion_column *column = of->column;
    const uint8_t *values = column->values;
    PyObject *elements = PyList_New((Py_ssize_t)(end - first));
    for (size_t i = first; elements != NULL && i < end; i++) {
        PyObject *element = pil_scalar_is_text(of->type.scalar)
                                ? text(of->type.scalar, values, column->child_offsets, i)
                                : number(state, of->type.scalar, values + i * pil_scalar_bytes(of->type.scalar));
        if (element == NULL || PyList_SetItem(elements, (Py_ssize_t)(i - first), element) != 0) {
            Py_CLEAR(elements);
        }
    }
    return elements;
}

static PyObject *value(struct client_state *state, const struct typed_column *of, size_t row) {
    const struct pillion_column *column = of->column;
    bool is_there = column->statuses[row] == PILLION_PRESENT || column->statuses[row] == PILLION_OUTSIDE_MAX_AGE;
    if (!is_there) {
        Py_RETURN_NONE;
    }
    switch (of->type.shape) {
    case PIL_SHAPE_LIST: return list(state, of, (size_t)column->offsets[row], (size_t)column->offsets[row + 1]);
    case PIL_SHAPE_VECTOR: return list(state, of, row * of->type.dimension, (row + 1) * of->type.dimension);
    case PIL_SHAPE_SCALAR: break;
    }
    const uint8_t *values = column->values;
    return pil_scalar_is_text(of->type.scalar)
               ? text(of->type.scalar, values, column->offsets, row)
               : number(state, of->type.scalar, values + row * pil_type_row_bytes(of->type));
}

static PyObject *all_values(struct client_state *state, const struct typed_column *of) {
    PyObject *values = PyList_New((Py_ssize_t)of->rows);
    for (size_t row = 0; values != NULL && row < of->rows; row++) {
        PyObject *one = value(state, of, row);
        if (one == NULL || PyList_SetItem(values, (Py_ssize_t)row, one) != 0) {
            Py_CLEAR(values);
        }
    }
    return values;
}

/* Whole seconds, as in Feast; 0 where there is no row. */
static PyObject *times_of(const struct typed_columns *columns, uint32_t view, uint32_t view_count) {
    PyObject *times = PyList_New((Py_ssize_t)columns->rows);
    for (size_t row = 0; times != NULL && row < columns->rows; row++) {
        int64_t us = columns->event_ts_us[row * view_count + view];
        int64_t seconds = us == INT64_MIN ? 0 : us / 1000000 - (us % 1000000 < 0);
        PyObject *time = PyLong_FromLongLong(seconds);
        if (time == NULL || PyList_SetItem(times, (Py_ssize_t)row, time) != 0) {
            Py_CLEAR(times);
        }
    }
    return times;
}

static PyObject *present(struct client_state *state, const struct python_plan *plan,
                         const struct typed_columns *columns) {
    uint32_t view_count = plan->info.view_count;
    PyObject *features = PyTuple_New(columns->count), *times = PyTuple_New(view_count);
    for (uint32_t i = 0; times != NULL && i < view_count; i++) {
        PyObject *seconds = times_of(columns, i, view_count);
        if (seconds == NULL || PyTuple_SetItem(times, i, seconds) != 0) {
            Py_CLEAR(times);
        }
    }
    for (uint32_t i = 0; features != NULL && times != NULL && i < columns->count; i++) {
        const struct pillion_feature_info *info = &columns->features[i];
        PyObject *values = all_values(state, &columns->typed[i]);
        PyObject *feature = values != NULL
                                ? Py_BuildValue("(sssNy#O)", info->view, info->feature, info->type, values,
                                                (const char *)columns->columns[i].statuses, (Py_ssize_t)columns->rows,
                                                PyTuple_GetItem(times, info->view_index))
                                : NULL;
        if (feature == NULL || PyTuple_SetItem(features, i, feature) != 0) {
            Py_CLEAR(features);
        }
    }
    if (times == NULL) {
        Py_CLEAR(features);
    }
    Py_XDECREF(times);
    return features;
}

PyObject *pil_python_columns(struct client_state *state, struct python_plan *plan, const struct python_keys *keys) {
    struct typed_columns columns = {.count = 0};
    PyObject *features = read_columns(state, plan, keys, &columns) == 0 ? present(state, plan, &columns) : NULL;
    deinit(&columns);
    return features;
}
