/* SPDX-License-Identifier: Apache-2.0
 * Keys from the Arrow PyCapsule interface: pyarrow, polars and others. A single array of int64, int32, strings or bytes
 * is read in place; streams (chunked arrays), dictionaries, times and other layouts are copied. */
#include "python/client/client.h"

#include "base/bytes.h"

#include <string.h>

struct layout {
    char kind;      /* i, u: integers; b: offsets into bytes; v: views; t: times */
    int item_bytes; /* of an integer or of an offset */
    struct python_time_unit unit;
};
/* The layout of an array, or of the values of its dictionary. */
struct arrow_type {
    struct layout values;
    struct layout indices; /* kind 0: there is no dictionary */
};

static bool find_layout(const char *format, struct layout *ret_layout) {
    static const struct {
        const char *format;
        struct layout layout;
    } known[] = {
        {"l", {.kind = 'i', .item_bytes = 8}},
        {"i", {.kind = 'i', .item_bytes = 4}},
        {"s", {.kind = 'i', .item_bytes = 2}},
        {"c", {.kind = 'i', .item_bytes = 1}},
        {"L", {.kind = 'u', .item_bytes = 8}},
        {"I", {.kind = 'u', .item_bytes = 4}},
        {"S", {.kind = 'u', .item_bytes = 2}},
        {"C", {.kind = 'u', .item_bytes = 1}},
        {"u", {.kind = 'b', .item_bytes = 4}},
        {"z", {.kind = 'b', .item_bytes = 4}},
        {"U", {.kind = 'b', .item_bytes = 8}},
        {"Z", {.kind = 'b', .item_bytes = 8}},
        {"vu", {.kind = 'v'}},
        {"vz", {.kind = 'v'}},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(format, known[i].format) == 0) {
            *ret_layout = known[i].layout;
            return true;
        }
    }
    /* "tsu:UTC": a timestamp; Arrow counts those with and without a zone from 1970 in UTC. */
    bool is_time = strncmp(format, "ts", 2) == 0 && strchr("smun", format[2]) != NULL && format[3] == ':';
    const char name[] = {is_time ? format[2] : '\0', is_time && format[2] != 's' ? 's' : '\0', '\0'};
    *ret_layout = (struct layout){.kind = 't', .item_bytes = 8};
    return is_time && pil_python_time_unit(name, 1, &ret_layout->unit);
}

static int check_schema(const struct python_key_column *column, const struct ArrowSchema *schema,
                        struct arrow_type *ret_type) {
    const struct ArrowSchema *values = schema->dictionary != NULL ? schema->dictionary : schema;
    *ret_type = (struct arrow_type){.indices.kind = '\0'};
    if (find_layout(values->format, &ret_type->values) &&
        (values == schema || (values->dictionary == NULL && find_layout(schema->format, &ret_type->indices)))) {
        return 0;
    }
    PyErr_Format(PyExc_TypeError, "join key %U: an Arrow array of format '%s' holds no keys: cast it to %s",
                 column->join_key, values->format, pil_scalar_text(column->type));
    return -1;
}

static bool is_null(const struct ArrowArray *array, int64_t i) {
    const uint8_t *valid = array->n_buffers > 0 ? array->buffers[0] : NULL;
    int64_t bit = array->offset + i;
    return valid != NULL && array->null_count != 0 && (valid[bit / 8] >> (bit % 8) & 1) == 0;
}

static int check_nulls(const struct python_key_column *column, const struct ArrowArray *array) {
    for (int64_t i = 0; array->null_count != 0 && i < array->length; i++) {
        if (is_null(array, i)) {
            return pil_python_key_missing(column, column->count + (size_t)i, "null");
        }
    }
    return 0;
}

static int64_t load_offset(const uint8_t *offsets, int64_t i, int item_bytes) {
    return item_bytes == 8 ? pil_load_i64(offsets + 8 * i) : pil_load_i32(offsets + 4 * i);
}

/* An Arrow view holds a length, then either 12 bytes inline or a prefix, the number of a buffer and an offset in it. */
static const uint8_t *view_data(const struct ArrowArray *array, const uint8_t *view) {
    enum { INLINE_MAX = 12, FIRST_BUFFER = 2 };
    if (pil_load_i32(view) <= INLINE_MAX) {
        return view + 4;
    }
    return (const uint8_t *)array->buffers[FIRST_BUFFER + pil_load_i32(view + 8)] + pil_load_i32(view + 12);
}

/* Appends one element that is not null. */
static int append_one(struct python_key_column *column, const struct ArrowArray *array, struct layout layout,
                      int64_t i) {
    const uint8_t *first = array->buffers[1];
    int64_t at = array->offset + i;
    switch (layout.kind) {
    case 't': return pil_python_key_append_ticks(column, pil_load_i64(first + 8 * at), layout.unit);
    case 'v': {
        const uint8_t *view = first + 16 * at;
        return pil_python_key_append_bytes(column, view_data(array, view), pil_load_u32(view));
    }
    case 'b': {
        int64_t begin = load_offset(first, at, layout.item_bytes), end = load_offset(first, at + 1, layout.item_bytes);
        const uint8_t *data = array->buffers[2];
        return pil_python_key_append_bytes(column, data != NULL ? data + begin : NULL, (size_t)(end - begin));
    }
    default:
        return pil_python_key_append_ints(column, first + at * layout.item_bytes, 1, layout.item_bytes,
                                          layout.item_bytes, layout.kind);
    }
}

static int append_of_dictionary(struct python_key_column *column, const struct ArrowArray *array,
                                const struct arrow_type *type, int64_t i) {
    const uint8_t *indices = array->buffers[1];
    int width = type->indices.item_bytes;
    int64_t at = pil_python_key_load_int(indices + (array->offset + i) * width, width, type->indices.kind);
    if (at < 0 || at >= array->dictionary->length) {
        return pil_python_key_fail(column, PyExc_ValueError, column->count, "its index is outside the dictionary");
    }
    return is_null(array->dictionary, at) ? pil_python_key_missing(column, column->count, "null")
                                          : append_one(column, array->dictionary, type->values, at);
}

static int append(struct python_key_column *column, const struct ArrowArray *array, const struct arrow_type *type) {
    struct layout layout = type->values;
    if (check_nulls(column, array) != 0) {
        return -1;
    }
    if (type->indices.kind == '\0' && (layout.kind == 'i' || layout.kind == 'u') && array->length > 0) {
        const uint8_t *first = array->buffers[1];
        return pil_python_key_append_ints(column, first + array->offset * layout.item_bytes, (size_t)array->length,
                                          layout.item_bytes, layout.item_bytes, layout.kind);
    }
    int result = 0;
    for (int64_t i = 0; i < array->length && result == 0; i++) {
        result = type->indices.kind != '\0' ? append_of_dictionary(column, array, type, i)
                                            : append_one(column, array, layout, i);
    }
    return result;
}

/* Points into the array if libpillion can read its layout. Returns false if it cannot. */
static bool point(const struct ArrowArray *array, struct layout layout, struct pillion_key_column *ret_column) {
    const uint8_t *first = array->n_buffers > 1 ? array->buffers[1] : NULL;
    if (array->length == 0 || first == NULL || layout.kind == 'v' || layout.kind == 'u' || layout.kind == 't' ||
        (layout.kind == 'i' && layout.item_bytes < 4)) {
        return false;
    }
    const uint8_t *at = first + array->offset * layout.item_bytes;
    bool is_wide = layout.item_bytes == 8;
    *ret_column =
        layout.kind == 'i'
            ? (struct pillion_key_column){.kind = is_wide ? PILLION_KEY_INT64 : PILLION_KEY_INT32, .values = at}
            : (struct pillion_key_column){.kind = is_wide ? PILLION_KEY_BYTES64 : PILLION_KEY_BYTES,
                                          .values = array->buffers[2],
                                          .offsets = at};
    return true;
}

/* Takes the reference to the result of __arrow_c_array__: its capsules release the array. */
static int from_array(PyObject *pair, struct python_key_column *column, struct pillion_key_column *ret_column) {
    PyObject *schema_capsule = NULL, *array_capsule = NULL;
    column->owner = pair;
    if (!PyArg_ParseTuple(pair, "OO", &schema_capsule, &array_capsule)) {
        return -1;
    }
    const struct ArrowSchema *schema = PyCapsule_GetPointer(schema_capsule, "arrow_schema");
    const struct ArrowArray *array = schema != NULL ? PyCapsule_GetPointer(array_capsule, "arrow_array") : NULL;
    struct arrow_type type;
    if (array == NULL || check_schema(column, schema, &type) != 0 || check_nulls(column, array) != 0) {
        return -1;
    }
    if (type.indices.kind == '\0' && point(array, type.values, ret_column)) {
        column->count = (size_t)array->length;
        return 1;
    }
    int result = append(column, array, &type);
    Py_CLEAR(column->owner);
    return result == 0 ? 1 : -1;
}

static int fail_stream(struct ArrowArrayStream *stream) {
    const char *text = stream->get_last_error(stream);
    PyErr_Format(PyExc_ValueError, "the Arrow stream of keys failed: %s", text != NULL ? text : "it does not say why");
    return -1;
}

static int from_stream(PyObject *capsule, struct python_key_column *column) {
    struct ArrowArrayStream *stream = PyCapsule_GetPointer(capsule, "arrow_array_stream");
    struct ArrowSchema schema = {.release = NULL};
    struct arrow_type type;
    if (stream == NULL || stream->get_schema(stream, &schema) != 0) {
        return stream != NULL ? fail_stream(stream) : -1;
    }
    int result = check_schema(column, &schema, &type);
    schema.release(&schema);
    while (result == 0) {
        struct ArrowArray array = {.release = NULL};
        if (stream->get_next(stream, &array) != 0) {
            return fail_stream(stream);
        }
        if (array.release == NULL) {
            return 1;
        }
        result = append(column, &array, &type);
        array.release(&array);
    }
    return -1;
}

/* Calls a method without arguments; NULL without an exception when the object has no such method. */
static PyObject *export_by(PyObject *object, PyObject *method_name) {
    PyObject *method = PyObject_GetAttr(object, method_name);
    if (method == NULL) {
        if (PyErr_ExceptionMatches(PyExc_AttributeError)) {
            PyErr_Clear();
        }
        return NULL;
    }
    PyObject *exported = PyObject_CallObject(method, NULL);
    Py_DECREF(method);
    return exported;
}

int pil_python_arrow_keys(struct client_state *state, PyObject *object, struct python_key_column *column,
                          struct pillion_key_column *ret_column) {
    PyObject *exported = export_by(object, state->arrow_array);
    if (exported != NULL) {
        return from_array(exported, column, ret_column);
    }
    exported = PyErr_Occurred() ? NULL : export_by(object, state->arrow_stream);
    if (exported == NULL) {
        return PyErr_Occurred() ? -1 : 0;
    }
    int result = from_stream(exported, column);
    Py_DECREF(exported);
    return result;
}
