/* SPDX-License-Identifier: Apache-2.0
 * Keys from the Arrow PyCapsule interface: pyarrow, polars and others. A single array of int64, int32, strings or bytes
 * is read in place; streams (chunked arrays) and other layouts are copied. */
#include "python/client/client.h"

#include "base/bytes.h"

#include <string.h>

struct layout {
    char kind;      /* i, u: integers; b: offsets into bytes; v: views */
    int item_bytes; /* of an integer or of an offset */
};

static bool find_layout(const char *format, struct layout *ret_layout) {
    static const struct {
        const char *format;
        struct layout layout;
    } known[] = {
        {"l", {'i', 8}}, {"i", {'i', 4}}, {"s", {'i', 2}},  {"c", {'i', 1}},  {"L", {'u', 8}},
        {"I", {'u', 4}}, {"S", {'u', 2}}, {"C", {'u', 1}},  {"u", {'b', 4}},  {"z", {'b', 4}},
        {"U", {'b', 8}}, {"Z", {'b', 8}}, {"vu", {'v', 0}}, {"vz", {'v', 0}},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(format, known[i].format) == 0) {
            *ret_layout = known[i].layout;
            return true;
        }
    }
    *ret_layout = (struct layout){'i', 8};
    return strncmp(format, "tss:", 4) == 0; /* seconds */
}

static int check_schema(const struct ArrowSchema *schema, struct layout *ret_layout) {
    if (schema->dictionary == NULL && find_layout(schema->format, ret_layout)) {
        return 0;
    }
    PyErr_Format(PyExc_TypeError, "an Arrow array of format '%s'%s holds no keys: cast it to integers or strings",
                 schema->format, schema->dictionary != NULL ? " (of a dictionary)" : "");
    return -1;
}

static int check_nulls(const struct ArrowArray *array, size_t first) {
    const uint8_t *valid = array->n_buffers > 0 ? array->buffers[0] : NULL;
    for (int64_t i = 0; valid != NULL && array->null_count != 0 && i < array->length; i++) {
        int64_t bit = array->offset + i;
        if ((valid[bit / 8] >> (bit % 8) & 1) == 0) {
            PyErr_Format(PyExc_ValueError, "row %zu is null: a key may not be missing", first + (size_t)i);
            return -1;
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

static int append(struct python_key_column *column, const struct ArrowArray *array, struct layout layout) {
    if (check_nulls(array, column->count) != 0) {
        return -1;
    }
    const uint8_t *first = array->n_buffers > 1 ? array->buffers[1] : NULL;
    if (array->length == 0) {
        return 0;
    }
    if (layout.kind == 'i' || layout.kind == 'u') {
        return pil_python_key_append_ints(column, first + array->offset * layout.item_bytes, (size_t)array->length,
                                          layout.item_bytes, layout.item_bytes, layout.kind);
    }
    int result = 0;
    for (int64_t i = array->offset; i < array->offset + array->length && result == 0; i++) {
        if (layout.kind == 'v') {
            const uint8_t *view = first + 16 * i;
            result = pil_python_key_append_bytes(column, view_data(array, view), pil_load_u32(view));
        } else {
            int64_t begin = load_offset(first, i, layout.item_bytes),
                    end = load_offset(first, i + 1, layout.item_bytes);
            const uint8_t *data = array->buffers[2];
            result = pil_python_key_append_bytes(column, data != NULL ? data + begin : NULL, (size_t)(end - begin));
        }
    }
    return result;
}

/* Points into the array if libpillion can read its layout. Returns false if it cannot. */
static bool point(const struct ArrowArray *array, struct layout layout, struct pillion_key_column *ret_column) {
    const uint8_t *first = array->n_buffers > 1 ? array->buffers[1] : NULL;
    if (array->length == 0 || first == NULL || layout.kind == 'v' || layout.kind == 'u' ||
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
    struct layout layout;
    if (array == NULL || check_schema(schema, &layout) != 0 || check_nulls(array, 0) != 0) {
        return -1;
    }
    if (point(array, layout, ret_column)) {
        column->count = (size_t)array->length;
        return 1;
    }
    int result = append(column, array, layout);
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
    struct layout layout;
    if (stream == NULL || stream->get_schema(stream, &schema) != 0) {
        return stream != NULL ? fail_stream(stream) : -1;
    }
    int result = check_schema(&schema, &layout);
    schema.release(&schema);
    while (result == 0) {
        struct ArrowArray array = {.release = NULL};
        if (stream->get_next(stream, &array) != 0) {
            return fail_stream(stream);
        }
        if (array.release == NULL) {
            return 1;
        }
        result = append(column, &array, layout);
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
