/* SPDX-License-Identifier: Apache-2.0
 * Join keys from Python objects, in memory that libpillion reads. Arrays of int64 and int32 are read in place; lists,
 * texts, times and other integers are copied, without running Python code for each key but for datetimes in a list. */
#include "python/client/client.h"

#include "base/bytes.h"

#include <stdlib.h>
#include <string.h>

/* ---- Lists. */

static int append_text(struct python_key_column *column, PyObject *bytes) {
    char *text = NULL;
    Py_ssize_t len = 0;
    if (bytes == NULL || PyBytes_AsStringAndSize(bytes, &text, &len) != 0) {
        return -1;
    }
    return pil_python_key_append_bytes(column, text, (size_t)len);
}

static int append_index(struct python_key_column *column, PyObject *item) {
    PyObject *integer = PyNumber_Index(item);
    long long value = integer != NULL ? PyLong_AsLongLong(integer) : -1;
    Py_XDECREF(integer);
    if (value != -1 || !PyErr_Occurred()) {
        return pil_python_key_append_int(column, value);
    }
    if (PyErr_ExceptionMatches(PyExc_OverflowError)) {
        PyErr_Clear();
        return pil_python_key_fail(column, PyExc_ValueError, column->count, "%S does not fit into int64", item);
    }
    if (PyErr_ExceptionMatches(PyExc_TypeError)) { /* an array of several elements, or masked */
        PyErr_Clear();
        return pil_python_key_refuse(column, column->count, item);
    }
    return -1;
}

static int append_str(struct python_key_column *column, PyObject *item) {
    PyObject *bytes = PyUnicode_AsUTF8String(item);
    if (bytes == NULL && PyErr_ExceptionMatches(PyExc_UnicodeEncodeError)) {
        PyErr_Clear();
        return pil_python_key_fail(column, PyExc_ValueError, column->count, "%R is not text: it has a lone surrogate",
                                   item);
    }
    int result = append_text(column, bytes);
    Py_XDECREF(bytes);
    return result;
}

static int append_item(struct client_state *state, struct python_key_column *column, PyObject *item) {
    int overflow = 0;
    if (PyLong_Check(item) && !PyBool_Check(item)) {
        long long value = PyLong_AsLongLongAndOverflow(item, &overflow);
        return overflow == 0 ? pil_python_key_append_int(column, value) : append_index(column, item);
    }
    if (PyBytes_Check(item)) {
        return append_text(column, item);
    }
    if (PyUnicode_Check(item)) {
        return append_str(column, item);
    }
    if (item == Py_None) {
        return pil_python_key_missing(column, column->count, "None");
    }
    int moment = pil_python_key_append_moment(state, item, column);
    if (moment != 0) {
        return moment == 1 ? 0 : -1;
    }
    return PyIndex_Check(item) && !PyBool_Check(item) ? append_index(column, item) /* numpy's scalars */
                                                      : pil_python_key_refuse(column, column->count, item);
}

/* Takes a list or a tuple. Converting an item may run its own code, which may change the list. */
static int take_list(struct client_state *state, PyObject *object, struct python_key_column *column) {
    bool is_list = PyList_Check(object);
    for (Py_ssize_t i = 0; i < (is_list ? PyList_Size(object) : PyTuple_Size(object)); i++) {
        PyObject *item = is_list ? PyList_GetItem(object, i) : PyTuple_GetItem(object, i);
        Py_XINCREF(item);
        int result = item != NULL ? append_item(state, column, item) : -1;
        Py_XDECREF(item);
        if (result != 0) {
            return -1;
        }
    }
    return 0;
}

/* ---- numpy's arrays. */

static size_t put_utf8(uint32_t code, uint8_t *to) {
    if (code < 0x80) {
        to[0] = (uint8_t)code;
        return 1;
    }
    size_t len = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const uint8_t first[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = len; i-- > 1; code >>= 6) {
        to[i] = (uint8_t)(0x80 | (code & 0x3f));
    }
    to[0] = (uint8_t)(first[len] | code);
    return len;
}

/* Texts of fixed width, padded with zeros: 'S' has bytes, 'U' has four bytes a character. */
static int take_texts(const struct python_array *array, struct python_key_column *column) {
    uint8_t stack[1024], *room = stack;
    if (array->item_bytes > (int)sizeof stack && (room = malloc((size_t)array->item_bytes)) == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    int result = 0, unit = array->kind == 'U' ? 4 : 1;
    for (int64_t row = 0; row < array->rows && result == 0; row++) {
        const uint8_t *text = array->data + row * array->stride;
        int end = array->item_bytes / unit;
        while (end > 0 && (unit == 1 ? text[end - 1] : pil_load_u32(text + 4 * (end - 1))) == 0) {
            end--;
        }
        size_t len = 0;
        for (int i = 0; i < end && unit == 4 && result == 0; i++) {
            uint32_t code = pil_load_u32(text + (size_t)4 * (size_t)i);
            bool is_character = code < 0xd800 || (code > 0xdfff && code <= 0x10ffff);
            result = is_character ? 0
                                  : pil_python_key_fail(column, PyExc_ValueError, column->count,
                                                        "U+%x is not a character: text with a lone surrogate", code);
            len += result == 0 ? put_utf8(code, room + len) : 0;
        }
        if (result != 0) {
            break;
        }
        result = unit == 4 ? pil_python_key_append_bytes(column, room, len)
                           : pil_python_key_append_bytes(column, text, (size_t)end);
    }
    if (room != stack) {
        free(room);
    }
    return result;
}

static int take_object(struct client_state *state, PyObject *object, struct python_key_column *column,
                       struct pillion_key_column *ret_column);

/* Takes the result of `object.method(argument)` instead of the object. */
static int take_result(struct client_state *state, PyObject *object, const char *method, const char *argument,
                       struct python_key_column *column, struct pillion_key_column *ret_column) {
    PyObject *instead = argument != NULL ? PyObject_CallMethod(object, method, "s", argument)
                                         : PyObject_CallMethod(object, method, NULL);
    int result = instead != NULL ? take_object(state, instead, column, ret_column) : -1;
    Py_XDECREF(instead);
    return result;
}

/* Refuses an array whose elements are no keys, showing the first one. */
static int refuse_array(PyObject *object, const struct python_key_column *column) {
    if (column->array.rows == 0) {
        return pil_python_key_fail(column, PyExc_TypeError, 0, "an array of kind '%c' holds no keys",
                                   column->array.kind);
    }
    PyObject *first = PySequence_GetItem(object, 0);
    if (first == NULL) {
        return -1;
    }
    int result = pil_python_key_refuse(column, 0, first);
    Py_DECREF(first);
    return result;
}

static int take_array(struct client_state *state, PyObject *object, struct python_key_column *column,
                      struct pillion_key_column *ret_column) {
    const struct python_array *array = &column->array;
    if (array->dimensions != 1) {
        PyErr_Format(PyExc_ValueError, "join key %U: an array of keys has one dimension, not %d", column->join_key,
                     array->dimensions);
        return -1;
    }
    bool is_int = array->kind == 'i' || array->kind == 'u';
    if (!array->is_native && (is_int || array->kind == 'U' || array->kind == 'M')) {
        PyErr_Format(PyExc_TypeError, "join key %U: keys are in foreign byte order: convert them first",
                     column->join_key);
        return -1;
    }
    if (array->kind == 'i' && (array->item_bytes == 8 || array->item_bytes == 4) && array->is_contiguous) {
        column->count = (size_t)array->rows;
        *ret_column = (struct pillion_key_column){
            .kind = array->item_bytes == 8 ? PILLION_KEY_INT64 : PILLION_KEY_INT32, .values = array->data};
        return 0;
    }
    if (is_int && array->item_bytes <= 8) {
        return pil_python_key_append_ints(column, array->data, (size_t)array->rows, array->stride, array->item_bytes,
                                          array->kind);
    }
    switch (array->kind) {
    case 'S':
    case 'U': return take_texts(array, column);
    case 'O':
    case 'T': return take_result(state, object, "tolist", NULL, column, ret_column); /* objects; numpy's own strings */
    case 'M':
        return column->type == PIL_SCALAR_UNIX_TIMESTAMP ? pil_python_key_append_datetime64(state, object, column)
                                                         : refuse_array(object, column);
    default: return refuse_array(object, column);
    }
}

/* ---- Any object. */

/* Returns an array that shares memory with an object with __array__ or the buffer protocol, or else a list of the
 * object's items. */
static PyObject *convert(struct client_state *state, PyObject *object) {
    if (PyObject_HasAttrString(object, "__array__")) {
        return PyObject_CallFunctionObjArgs(state->asarray, object, NULL);
    }
    PyObject *memory = PyMemoryView_FromObject(object);
    if (memory != NULL) {
        PyObject *array = PyObject_CallFunctionObjArgs(state->asarray, memory, NULL);
        Py_DECREF(memory);
        return array;
    }
    PyErr_Clear();
    return PySequence_List(object);
}

/* Whether the elements of a memoryview are bytes. */
static bool is_bytes_view(PyObject *view) {
    PyObject *format = PyObject_GetAttrString(view, "format");
    bool is_bytes = format != NULL && (PyUnicode_CompareWithASCIIString(format, "B") == 0 ||
                                       PyUnicode_CompareWithASCIIString(format, "c") == 0);
    Py_XDECREF(format);
    PyErr_Clear();
    return is_bytes;
}

/* Whether the object is text or bytes: one key, of which iteration would make characters or integers. */
static bool is_one(PyObject *object) {
    return PyUnicode_Check(object) || PyBytes_Check(object) || PyByteArray_Check(object) || PyDict_Check(object) ||
           (PyMemoryView_Check(object) && is_bytes_view(object));
}

static int take_other(struct client_state *state, PyObject *object, struct python_key_column *column,
                      struct pillion_key_column *ret_column) {
    PyObject *instead = is_one(object) ? NULL : convert(state, object);
    if (is_one(object) || (instead == NULL && PyErr_ExceptionMatches(PyExc_TypeError))) {
        PyErr_Clear();
        PyErr_Format(PyExc_TypeError, "join key %U: keys are a list or an array, not %R", column->join_key,
                     Py_TYPE(object));
    }
    int result = instead != NULL ? take_object(state, instead, column, ret_column) : -1;
    Py_XDECREF(instead);
    return result;
}

/* The mask says which keys are missing; without one, the data is an array like any other. */
static int take_masked(struct client_state *state, PyObject *object, struct python_key_column *column,
                       struct pillion_key_column *ret_column) {
    PyObject *mask = PyObject_GetAttrString(object, "mask");
    PyObject *list = mask != NULL ? PyObject_CallMethod(mask, "tolist", NULL) : NULL; /* a list, or False for all */
    int is_masked = list != NULL ? PySequence_Check(list) ? PySequence_Contains(list, Py_True) : list == Py_True : -1;
    Py_ssize_t row = is_masked == 1 && PySequence_Check(list) ? PySequence_Index(list, Py_True) : 0;
    Py_XDECREF(list);
    Py_XDECREF(mask);
    if (is_masked != 0) {
        return is_masked == 1 ? pil_python_key_missing(column, (size_t)row, "masked") : -1;
    }
    PyObject *data = PyObject_GetAttrString(object, "data");
    int result = data != NULL ? take_object(state, data, column, ret_column) : -1;
    Py_XDECREF(data);
    return result;
}

/* ret_column is filled when the memory belongs to another object. */
static int take_object(struct client_state *state, PyObject *object, struct python_key_column *column,
                       struct pillion_key_column *ret_column) {
    if (PyList_Check(object) || PyTuple_Check(object)) {
        return take_list(state, object, column);
    }
    int is_masked =
        (PyObject *)Py_TYPE(object) != state->ndarray ? PyObject_IsInstance(object, state->masked_array) : 0;
    if (is_masked != 0) {
        return is_masked == 1 ? take_masked(state, object, column, ret_column) : -1;
    }
    struct python_array array = {.owner = NULL};
    int found = pil_python_array_borrow_struct(state, object, &array);
    /* Tries Arrow before DLPack, which has no text. Not for pandas: it would need pyarrow for this, and has arrays
     * anyway. */
    if (found == 0 && !PyObject_HasAttrString(object, "iloc")) {
        int is_arrow = pil_python_arrow_keys(state, object, column, ret_column);
        if (is_arrow != 0) {
            return is_arrow == 1 ? 0 : -1;
        }
        found = pil_python_array_borrow_dlpack(state, object, &array);
    }
    if (found == 1) {
        pil_python_array_release(&column->array); /* of the array from which this one was made */
        column->array = array;
        return take_array(state, object, column, ret_column);
    }
    return found == 0 ? take_other(state, object, column, ret_column) : -1;
}

static void release_column(struct python_key_column *column) {
    Py_CLEAR(column->owner);
    pil_python_array_release(&column->array);
    free(column->values);
    free(column->offsets);
}

void pil_python_keys_release(struct python_keys *keys) {
    for (uint32_t i = 0; i < keys->keys.column_count; i++) {
        release_column(&keys->columns[i]);
    }
}

static int take_column(struct client_state *state, const struct python_plan *plan, PyObject *object,
                       struct python_keys *keys) {
    uint32_t i = keys->keys.column_count++;
    struct python_key_column *column = &keys->columns[i];
    struct pillion_key_column *to = &keys->keys.columns[i];
    memset(column, 0, sizeof *column);
    *to = (struct pillion_key_column){.kind = PILLION_KEY_INT64};
    column->join_key = PyTuple_GetItem(plan->join_keys, i);
    column->type = plan->join_key_types[i];
    if (take_object(state, object, column, to) != 0) {
        return -1;
    }
    if (to->values == NULL && to->offsets == NULL) {
        *to = (struct pillion_key_column){.kind = column->kind, .values = column->values, .offsets = column->offsets};
    }
    if (i > 0 && column->count != keys->keys.count) {
        PyErr_Format(PyExc_ValueError, "key columns differ in length: join key %U has %zu keys, %U has %zu",
                     keys->columns[0].join_key, keys->keys.count, column->join_key, column->count);
        return -1;
    }
    keys->keys.count = column->count;
    return 0;
}

/* Raises what the columns are that no join key has. */
static int refuse_others(PyObject *names, PyObject *object) {
    PyObject *others = PyDict_Keys(object);
    for (Py_ssize_t i = others != NULL ? PyList_Size(others) : 0; i-- > 0;) {
        int is_name = PySequence_Contains(names, PyList_GetItem(others, i));
        if (is_name < 0 || (is_name == 1 && PySequence_DelItem(others, i) != 0)) {
            Py_CLEAR(others);
            return -1;
        }
    }
    if (others != NULL) {
        PyErr_Format(PyExc_ValueError, "keys has columns that are not join keys: %R; the join keys are %R", others,
                     names);
    }
    Py_XDECREF(others);
    return -1;
}

/* The rows of a plan without join keys: one, or as many as the first of the columns that it does not need. */
static int count_rows(PyObject *columns, struct python_keys *keys) {
    PyObject *first = NULL, *name = NULL;
    Py_ssize_t at = 0, count = 1;
    if (PyDict_Next(columns, &at, &name, &first)) {
        count = PyObject_Length(first);
    }
    keys->keys.count = count > 0 ? (size_t)count : 0;
    return count < 0 ? -1 : 0;
}

static int take_columns(struct client_state *state, const struct python_plan *plan, PyObject *object, bool is_strict,
                        struct python_keys *keys) {
    PyObject *names = plan->join_keys;
    Py_ssize_t count = PyTuple_Size(names);
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *name = PyTuple_GetItem(names, i), *column = PyDict_GetItemWithError(object, name);
        if (column == NULL) {
            if (!PyErr_Occurred()) {
                PyErr_Format(state->missing_join_key, "keys lack the join key %R; the join keys are %R", name, names);
            }
            return -1;
        }
        if (take_column(state, plan, column, keys) != 0) {
            return -1;
        }
    }
    if (count == 0 && count_rows(object, keys) != 0) {
        return -1;
    }
    return is_strict && PyDict_Size(object) != count ? refuse_others(names, object) : 0;
}

/* Whether the object is a table, of pandas, polars or Arrow: it has columns with names. */
static bool is_table(const struct client_state *state, PyObject *object) {
    return !PyList_Check(object) && !PyTuple_Check(object) && (PyObject *)Py_TYPE(object) != state->ndarray &&
           (PyObject_HasAttrString(object, "column_names") || PyObject_HasAttrString(object, "columns"));
}

static int take_any(struct client_state *state, const struct python_plan *plan, PyObject *object, bool is_strict,
                    struct python_keys *keys) {
    if (PyDict_Check(object)) {
        return take_columns(state, plan, object, is_strict, keys);
    }
    if (is_table(state, object)) {
        PyObject *columns = PyObject_CallFunctionObjArgs(state->columns_of, object, NULL);
        int result = columns != NULL ? take_columns(state, plan, columns, is_strict, keys) : -1;
        Py_XDECREF(columns);
        return result;
    }
    if (PyTuple_Size(plan->join_keys) == 1) {
        return take_column(state, plan, object, keys);
    }
    if (PyTuple_Size(plan->join_keys) == 0) {
        PyErr_SetString(PyExc_TypeError, "there are no join keys: keys is an empty dict");
        return -1;
    }
    PyErr_Format(PyExc_TypeError, "there are several join keys: keys is a dict or a frame with columns %R",
                 plan->join_keys);
    return -1;
}

int pil_python_keys_take(struct client_state *state, const struct python_plan *plan, PyObject *object, bool is_strict,
                         struct python_keys *ret_keys) {
    ret_keys->keys.size = sizeof ret_keys->keys;
    ret_keys->keys.count = 0;
    ret_keys->keys.column_count = 0;
    int result = take_any(state, plan, object, is_strict, ret_keys);
    if (result != 0) {
        pil_python_keys_release(ret_keys);
    }
    return result;
}
