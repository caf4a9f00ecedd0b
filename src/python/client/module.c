/* SPDX-License-Identifier: Apache-2.0
 * pillion._client: the module, and the exceptions of pillion.errors for results of libpillion. */
#include "python/client/client.h"

#include <string.h>

PyObject *pil_python_fail(struct client_state *state, pillion_result result, const char *text) {
    PyObject *error = PyObject_CallFunction(state->error_of, "is", (int)result, text);
    if (error != NULL) {
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
        Py_DECREF(error);
    }
    return NULL;
}

static PyObject *get(const char *module_name, const char *name) {
    PyObject *module = PyImport_ImportModule(module_name);
    PyObject *found = module != NULL ? PyObject_GetAttrString(module, name) : NULL;
    Py_XDECREF(module);
    return found;
}

int pil_python_import_numpy(struct client_state *state) {
    if (state->datetime64 != NULL) {
        return 0;
    }
    PyObject *make = get("numpy", "dtype");
    if (make == NULL) {
        return -1;
    }
    state->empty = get("numpy", "empty");
    state->asarray = get("numpy", "asarray");
    state->float32 = PyObject_CallFunction(make, "s", "float32");
    state->float64 = PyObject_CallFunction(make, "s", "float64");
    state->uint8 = PyObject_CallFunction(make, "s", "uint8");
    state->ndarray = get("numpy", "ndarray");
    state->masked_array = get("numpy.ma", "MaskedArray");
    state->datetime64_type = get("numpy", "datetime64");
    state->datetime_data = get("numpy", "datetime_data");
    state->datetime64 = PyObject_CallFunction(make, "s", "datetime64[us]");
    Py_DECREF(make);
    return PyErr_Occurred() ? -1 : 0;
}

static int fill_state(struct client_state *state) {
    state->error_of = get("pillion.errors", "error_of");
    state->missing_join_key = get("pillion.errors", "MissingJoinKeyError");
    state->from_us = get("pillion.times", "from_us");
    state->to_us = get("pillion.times", "to_us");
    state->columns_of = get("pillion.frames", "columns_of");
    state->datetime_type = get("datetime", "datetime");
    state->array_struct = PyUnicode_InternFromString("__array_struct__");
    state->dlpack = PyUnicode_InternFromString("__dlpack__");
    state->arrow_array = PyUnicode_InternFromString("__arrow_c_array__");
    state->arrow_stream = PyUnicode_InternFromString("__arrow_c_stream__");
    return PyErr_Occurred() ? -1 : 0;
}

static int exec(PyObject *module) {
    PyObject *type = PyType_FromSpec(&pil_python_client_spec);
    if (type == NULL || fill_state(PyModule_GetState(module)) != 0 ||
        PyModule_AddStringConstant(module, "VERSION", pillion_version()) != 0) {
        Py_XDECREF(type);
        return -1;
    }
    return PyModule_AddObject(module, "Client", type);
}

/* Every member of the state is an object. */
static int clear(PyObject *module) {
    PyObject **members = PyModule_GetState(module);
    for (size_t i = 0; members != NULL && i < sizeof(struct client_state) / sizeof members[0]; i++) {
        Py_CLEAR(members[i]);
    }
    return 0;
}

static void release(void *module) {
    (void)clear(module);
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, exec}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "pillion._client",
    .m_doc = "libpillion for Python; use the names of pillion.",
    .m_size = sizeof(struct client_state),
    .m_slots = slots,
    .m_clear = clear,
    .m_free = release,
};

PyMODINIT_FUNC PyInit__client(void) {
    return PyModuleDef_Init(&definition);
}
