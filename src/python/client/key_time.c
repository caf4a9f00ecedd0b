/* SPDX-License-Identifier: Apache-2.0
 * Keys that are times: numpy's datetime64, Arrow's timestamps, datetimes of Python and pandas. Each becomes its exact
 * microseconds, or an error. */
#include "python/client/client.h"

#include "base/bytes.h"

#include <string.h>

bool pil_python_time_unit(const char *name, int64_t count, struct python_time_unit *ret_unit) {
    static const struct python_time_unit units[] = {
        {"W", 604800000000, 1}, {"D", 86400000000, 1},    {"h", 3600000000, 1},
        {"m", 60000000, 1},     {"s", 1000000, 1},        {"ms", 1000, 1},
        {"us", 1, 1},           {"ns", 1, 1000},          {"ps", 1, 1000000},
        {"fs", 1, 1000000000},  {"as", 1, 1000000000000},
    };
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(name, units[i].name) == 0) {
            *ret_unit = units[i];
            return !__builtin_mul_overflow(ret_unit->multiply, count, &ret_unit->multiply);
        }
    }
    return false;
}

int pil_python_key_append_ticks(struct python_key_column *column, int64_t ticks, struct python_time_unit unit) {
    int64_t us = 0;
    if (column->type != PIL_SCALAR_UNIX_TIMESTAMP) {
        return pil_python_key_fail(column, PyExc_TypeError, column->count, "a time (%lld %s) is not %s",
                                   (long long)ticks, unit.name, pil_scalar_text(column->type));
    }
    bool is_large = __builtin_mul_overflow(ticks, unit.multiply, &us);
    if (is_large || us % unit.divide != 0) {
        return pil_python_key_fail(column, PyExc_ValueError, column->count, "%lld %s %s", (long long)ticks, unit.name,
                                   is_large ? "do not fit into int64 microseconds"
                                            : "are not a whole number of microseconds");
    }
    return pil_python_key_append_time(column, us / unit.divide);
}

/* ---- datetime64. */

/* The unit of an array's dtype. */
static int unit_of(struct client_state *state, PyObject *array, const struct python_key_column *column,
                   struct python_time_unit *ret_unit) {
    PyObject *dtype = PyObject_GetAttrString(array, "dtype");
    PyObject *data = dtype != NULL ? PyObject_CallFunctionObjArgs(state->datetime_data, dtype, NULL) : NULL;
    const char *name = NULL;
    long long count = 1;
    int result = data != NULL && PyArg_ParseTuple(data, "sL", &name, &count) ? 0 : -1;
    if (result == 0 && !pil_python_time_unit(name, count, ret_unit)) {
        PyErr_Format(PyExc_TypeError, "join key %U: %S has no fixed length; use datetime64[us]", column->join_key,
                     dtype);
        result = -1;
    }
    Py_XDECREF(data);
    Py_XDECREF(dtype);
    return result;
}

int pil_python_key_append_datetime64(struct client_state *state, PyObject *array, struct python_key_column *column) {
    const struct python_array from = column->array;
    struct python_time_unit unit;
    if (unit_of(state, array, column, &unit) != 0) {
        return -1;
    }
    for (int64_t i = 0; i < from.rows; i++) {
        int64_t ticks = pil_load_i64(from.data + i * from.stride);
        if (ticks == INT64_MIN) {
            return pil_python_key_missing(column, column->count, "NaT");
        }
        if (pil_python_key_append_ticks(column, ticks, unit) != 0) {
            return -1;
        }
    }
    return 0;
}

/* ---- Single moments. */

static int append_scalar64(struct client_state *state, PyObject *item, struct python_key_column *column) {
    PyObject *array = PyObject_CallFunctionObjArgs(state->asarray, item, NULL);
    struct python_array memory = {.owner = NULL};
    struct python_time_unit unit;
    int result = array != NULL && pil_python_array_borrow_struct(state, array, &memory) == 1 ? 0 : -1;
    if (result == 0 && pil_load_i64(memory.data) == INT64_MIN) {
        result = pil_python_key_missing(column, column->count, "NaT");
    } else if (result == 0) {
        result = unit_of(state, array, column, &unit);
        result = result == 0 ? pil_python_key_append_ticks(column, pil_load_i64(memory.data), unit) : -1;
    }
    pil_python_array_release(&memory);
    Py_XDECREF(array);
    return result == 0 ? 1 : -1;
}

static int append_datetime(struct client_state *state, PyObject *item, struct python_key_column *column) {
    PyObject *us = PyObject_CallFunctionObjArgs(state->to_us, item, NULL);
    if (us == Py_None) {
        Py_DECREF(us);
        return pil_python_key_fail(column, PyExc_ValueError, column->count,
                                   "%R has no time zone, so it is not a moment: give it one", item);
    }
    long long value = us != NULL ? PyLong_AsLongLong(us) : -1;
    Py_XDECREF(us);
    if (value == -1 && PyErr_Occurred()) {
        return -1;
    }
    return pil_python_key_append_time(column, value) == 0 ? 1 : -1;
}

/* A pandas Timestamp is a datetime with nanoseconds; its to_datetime64() has all of them, in UTC. */
int pil_python_key_append_moment(struct client_state *state, PyObject *item, struct python_key_column *column) {
    int is_datetime64 = PyObject_IsInstance(item, state->datetime64_type);
    int is_datetime = is_datetime64 == 0 ? PyObject_IsInstance(item, state->datetime_type) : 0;
    if (is_datetime64 < 0 || is_datetime < 0) {
        return -1;
    }
    if (is_datetime64 == 0 && is_datetime == 0) {
        return 0;
    }
    if (column->type != PIL_SCALAR_UNIX_TIMESTAMP) {
        return pil_python_key_refuse(column, column->count, item);
    }
    if (is_datetime64 == 1) {
        return append_scalar64(state, item, column);
    }
    if (!PyObject_HasAttrString(item, "to_datetime64")) {
        return append_datetime(state, item, column);
    }
    PyObject *exact = PyObject_CallMethod(item, "to_datetime64", NULL);
    int result = exact != NULL ? append_scalar64(state, exact, column) : -1;
    Py_XDECREF(exact);
    return result;
}
