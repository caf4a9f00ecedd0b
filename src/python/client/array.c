/* SPDX-License-Identifier: Apache-2.0
 * Access to the elements of an array that another library owns, through __array_struct__ (numpy's array interface, C
 * side) or __dlpack__ (torch and others). Both structs are ABIs: their members are given. */
#include "python/client/client.h"

#include "base/bytes.h"

#include <string.h>

/* numpy.org/doc/stable/reference/arrays.interface.html, PyArrayInterface */
struct array_interface {
    int two, nd;
    char typekind;
    int itemsize, flags;
    Py_intptr_t *shape, *strides;
    void *data;
    PyObject *descr;
};
enum { FLAG_C_CONTIGUOUS = 0x1, FLAG_ALIGNED = 0x100, FLAG_NOT_SWAPPED = 0x200, FLAG_WRITEABLE = 0x400 };

/* dmlc.github.io/dlpack, version 0.8: the struct that __dlpack__() returns when called without arguments. */
struct dl_tensor {
    void *data;
    struct {
        int32_t type, id;
    } device;
    int32_t ndim;
    struct {
        uint8_t code, bits;
        uint16_t lanes;
    } dtype;
    int64_t *shape, *strides; /* strides in elements; NULL: compact and row-major */
    uint64_t byte_offset;
};
enum { DL_CPU = 1, DL_CUDA_HOST = 3 };

static PyObject *attribute(PyObject *object, PyObject *name) {
    PyObject *found = PyObject_GetAttr(object, name);
    if (found == NULL && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear();
    }
    return found;
}

static int from_interface(PyObject *capsule, struct python_array *array) {
    const struct array_interface *interface = PyCapsule_GetPointer(capsule, NULL);
    if (interface == NULL) {
        return -1;
    }
    if (interface->two != 2) {
        PyErr_SetString(PyExc_TypeError, "__array_struct__ is not of a version that is known");
        return -1;
    }
    *array = (struct python_array){
        .data = interface->data,
        .dimensions = interface->nd,
        .item_bytes = interface->itemsize,
        .kind = interface->typekind,
        .is_contiguous = (interface->flags & FLAG_C_CONTIGUOUS) != 0,
        .is_writable = (interface->flags & FLAG_WRITEABLE) != 0,
        .is_native = (interface->flags & FLAG_NOT_SWAPPED) != 0,
    };
    if (interface->nd > 0) {
        array->rows = interface->shape[0];
        array->stride = interface->strides != NULL ? interface->strides[0] : interface->itemsize;
    }
    array->columns = interface->nd > 1 ? interface->shape[1] : 1;
    return 1;
}

static bool is_compact(const struct dl_tensor *tensor) {
    int64_t expected = 1;
    for (int32_t i = tensor->ndim; tensor->strides != NULL && i-- > 0;) {
        if (tensor->shape[i] != 1 && tensor->strides[i] != expected) {
            return false;
        }
        expected *= tensor->shape[i];
    }
    return true;
}

static int from_dlpack(PyObject *capsule, struct python_array *array) {
    const struct dl_tensor *tensor = PyCapsule_GetPointer(capsule, "dltensor");
    if (tensor == NULL) {
        return -1;
    }
    if (tensor->device.type != DL_CPU && tensor->device.type != DL_CUDA_HOST) {
        PyErr_Format(PyExc_ValueError,
                     "the tensor is on a device (DLPack type %d): only memory of the host can be used",
                     (int)tensor->device.type);
        return -1;
    }
    static const char kinds[] = {'i', 'u', 'f'};
    *array = (struct python_array){
        .data = (uint8_t *)tensor->data + tensor->byte_offset,
        .dimensions = tensor->ndim,
        .item_bytes = tensor->dtype.bits / 8,
        .kind = tensor->dtype.code < sizeof kinds && tensor->dtype.lanes == 1 ? kinds[tensor->dtype.code] : 'V',
        .is_contiguous = is_compact(tensor),
        .is_writable = true, /* exporters refuse read-only tensors */
        .is_native = true,
    };
    if (tensor->ndim > 0) {
        array->rows = tensor->shape[0];
        array->stride = (tensor->strides != NULL ? tensor->strides[0] : 1) * array->item_bytes;
    }
    array->columns = tensor->ndim > 1 ? tensor->shape[1] : 1;
    return 1;
}

/* Takes the reference; the capsule's destructor releases the array. */
static int keep(PyObject *capsule, int result, struct python_array *array) {
    if (result == 1) {
        array->owner = capsule;
    } else {
        Py_XDECREF(capsule);
    }
    return result;
}

int pil_python_array_borrow_struct(struct client_state *state, PyObject *object, struct python_array *ret_array) {
    PyObject *capsule = attribute(object, state->array_struct);
    if (capsule == NULL) {
        return PyErr_Occurred() ? -1 : 0;
    }
    return keep(capsule, from_interface(capsule, ret_array), ret_array);
}

int pil_python_array_borrow_dlpack(struct client_state *state, PyObject *object, struct python_array *ret_array) {
    PyObject *export = attribute(object, state->dlpack);
    if (export == NULL) {
        return PyErr_Occurred() ? -1 : 0;
    }
    PyObject *capsule = PyObject_CallObject(export, NULL);
    Py_DECREF(export);
    return capsule != NULL ? keep(capsule, from_dlpack(capsule, ret_array), ret_array) : -1;
}

void pil_python_array_release(struct python_array *array) {
    Py_CLEAR(array->owner);
}

PyObject *pil_python_array_create(struct client_state *state, Py_ssize_t rows, Py_ssize_t columns, PyObject *dtype) {
    PyObject *shape = columns < 0 ? Py_BuildValue("(n)", rows) : Py_BuildValue("(nn)", rows, columns);
    PyObject *array = shape != NULL ? PyObject_CallFunctionObjArgs(state->empty, shape, dtype, NULL) : NULL;
    Py_XDECREF(shape);
    return array;
}
