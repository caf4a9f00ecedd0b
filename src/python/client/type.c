/* SPDX-License-Identifier: Apache-2.0
 * pillion._client.Client, the base class of pillion.Client in Python: vectors() is complete; the other methods return
 * tuples, from which the Python class makes objects. */
#include "python/client/client.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct client_object {
    PyObject_HEAD
    PyObject *module;
    struct client_state *state;
    struct python_handle *handle; /* NULL: closed, or not opened yet */
    PyObject *plans;
};

static bool is_open(const struct client_object *self) {
    if (self->handle == NULL) {
        PyErr_SetString(PyExc_ValueError, "the client is closed");
    }
    return self->handle != NULL;
}

/* ---- Opening and closing. */

static int seconds_to(double seconds, double unit, const char *name, uint32_t *ret_units) {
    double units = ceil(seconds * unit);
    if (!(units >= 1 && units <= UINT32_MAX)) {
        PyErr_Format(PyExc_ValueError, "%s is seconds, more than 0", name);
        return -1;
    }
    *ret_units = (uint32_t)units;
    return 0;
}

static int open_client(struct client_object *self, const struct pillion_options *options) {
    struct python_handle *handle = calloc(1, sizeof *handle);
    struct pillion_error error = {""};
    pillion_result result;
    if (handle == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    Py_BEGIN_ALLOW_THREADS
    result = pillion_open(options, &handle->client, &error);
    Py_END_ALLOW_THREADS
    if (result != PILLION_OK) {
        free(handle);
        (void)pil_python_fail(self->state, result, error.text);
        return -1;
    }
    handle->references = 1;
    self->handle = handle;
    return 0;
}

static int client_init(PyObject *object, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"mapped", "resp", "name", "timeout", "refresh", NULL};
    struct client_object *self = (struct client_object *)object;
    struct pillion_options options = {
        .size = sizeof options, .mapped = "unix:/run/pillion/mapped.sock", .resp = "unix:/run/pillion/resp.sock"};
    double timeout = 1.0, refresh = 0.02;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "|zz$zdd:Client", names, &options.mapped, &options.resp,
                                     &options.name, &timeout, &refresh) ||
        seconds_to(timeout, 1e3, "timeout", &options.timeout_ms) != 0 ||
        seconds_to(refresh, 1e6, "refresh", &options.refresh_us) != 0) {
        return -1;
    }
    if (self->module != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "a Client is opened once");
        return -1;
    }
    self->module = PyImport_ImportModule("pillion._client");
    self->state = self->module != NULL ? PyModule_GetState(self->module) : NULL;
    self->plans = self->state != NULL && pil_python_import_numpy(self->state) == 0 ? PyDict_New() : NULL;
    return self->plans != NULL ? open_client(self, &options) : -1;
}

/* Calls in flight hold their plans, and the plans hold the handle. */
static void close_client(struct client_object *self) {
    struct python_handle *handle = self->handle;
    self->handle = NULL;
    if (self->plans != NULL) {
        PyDict_Clear(self->plans);
    }
    pil_python_handle_release(handle);
}

static PyObject *client_close(PyObject *object, PyObject *unused) {
    (void)unused;
    close_client((struct client_object *)object);
    Py_RETURN_NONE;
}

static void client_dealloc(PyObject *object) {
    struct client_object *self = (struct client_object *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyObject *error_type, *error, *traceback;
    PyErr_Fetch(&error_type, &error, &traceback);
    close_client(self);
    Py_CLEAR(self->plans);
    Py_CLEAR(self->module);
    PyErr_Restore(error_type, error, traceback);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
    Py_DECREF(type);
}

/* ---- Reading. */

struct request {
    struct python_plan_wish wish;
    PyObject *keys, *out; /* out is NULL when it was not given */
    PyObject *capsule;    /* of the plan */
    struct python_plan *plan;
    struct python_keys taken;
};

static int parse_request(PyObject *arguments, PyObject *keywords, struct request *request) {
    static char *names[] = {"service", "keys", "out", "defaults", "max_age", "dtype", "min_release", NULL};
    struct python_plan_wish *wish = &request->wish;
    Py_ssize_t count = PyTuple_Size(arguments);
    if (keywords == NULL && (count == 2 || count == 3)) { /* the general parsing costs a third of a call with one key */
        wish->service = PyTuple_GetItem(arguments, 0);
        request->keys = PyTuple_GetItem(arguments, 1);
        request->out = count == 3 ? PyTuple_GetItem(arguments, 2) : NULL;
    } else if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "OO|O$OOOO", names, &wish->service, &request->keys,
                                            &request->out, &wish->defaults, &wish->max_age, &wish->dtype,
                                            &wish->min_release)) {
        return -1;
    }
    request->out = request->out == Py_None ? NULL : request->out;
    return 0;
}

/* Finds the plan and takes the keys; release_request releases both. */
static int begin_request(struct client_object *self, struct request *request) {
    if (!is_open(self)) {
        return -1;
    }
    request->capsule = pil_python_plan_find(self->state, self->handle, self->plans, &request->wish, &request->plan);
    if (request->capsule == NULL) {
        return -1;
    }
    if (pil_python_keys_take(self->state, request->plan, request->keys, !request->wish.is_columns, &request->taken) !=
        0) {
        Py_DECREF(request->capsule);
        return -1;
    }
    return 0;
}

static void end_request(struct client_object *self, struct request *request) {
    pil_python_keys_release(&request->taken);
    pil_python_plan_leave(self->plans, request->capsule);
}

static int check_out(const struct request *request, const struct python_array *array) {
    const struct python_plan *plan = request->plan;
    int item_bytes = plan->dtype == PILLION_FLOAT64 ? 8 : 4;
    int64_t rows = (int64_t)request->taken.keys.count, width = plan->info.width;
    if (array->kind != 'f' || array->item_bytes != item_bytes || !array->is_native) {
        PyErr_Format(PyExc_TypeError, "out holds elements of kind '%c%d'%s; the call gives float%d (see dtype=)",
                     array->kind, array->item_bytes, array->is_native ? "" : " in foreign byte order", item_bytes * 8);
    } else if (array->dimensions != 2) {
        PyErr_Format(PyExc_ValueError, "out has %d dimensions; (%lld, %lld) is needed", array->dimensions,
                     (long long)rows, (long long)width);
    } else if (array->rows != rows || array->columns != width) {
        PyErr_Format(PyExc_ValueError, "out has shape (%lld, %lld); (%lld, %lld) is needed", (long long)array->rows,
                     (long long)array->columns, (long long)rows, (long long)width);
    } else if (!array->is_contiguous) {
        PyErr_SetString(PyExc_ValueError, "out is not contiguous in rows (C order)");
    } else if (!array->is_writable) {
        PyErr_SetString(PyExc_ValueError, "out is read-only");
    } else {
        return 0;
    }
    return -1;
}

/* For an object that has only the buffer protocol: numpy makes an array of its memory. */
static int borrow_buffer(struct client_state *state, PyObject *out, struct python_array *ret_array) {
    PyObject *memory = PyMemoryView_FromObject(out);
    PyObject *array = memory != NULL ? PyObject_CallFunctionObjArgs(state->asarray, memory, NULL) : NULL;
    Py_XDECREF(memory);
    int found = array != NULL ? pil_python_array_borrow_struct(state, array, ret_array) : 0;
    Py_XDECREF(array);
    if (found != 1 && (array != NULL || PyErr_ExceptionMatches(PyExc_TypeError))) {
        PyErr_Clear();
        PyErr_Format(PyExc_TypeError, "out is an array, a tensor or a writable buffer, not %R", Py_TYPE(out));
    }
    return found == 1 ? 0 : -1;
}

static int borrow_out(struct client_state *state, const struct request *request, PyObject *out,
                      struct python_array *ret_array) {
    int found = pil_python_array_borrow_struct(state, out, ret_array);
    if (found == 0) {
        found = pil_python_array_borrow_dlpack(state, out, ret_array);
    }
    if (found == -1 || (found == 0 && borrow_buffer(state, out, ret_array) != 0)) {
        return -1;
    }
    if (check_out(request, ret_array) != 0) {
        pil_python_array_release(ret_array);
        return -1;
    }
    return 0;
}

/* A new reference to `out`, or to a new array; *ret_array describes its memory. */
static PyObject *provide_out(struct client_object *self, const struct request *request,
                             struct python_array *ret_array) {
    const struct python_plan *plan = request->plan;
    PyObject *out = request->out;
    if (out != NULL) {
        Py_INCREF(out);
    } else {
        out = pil_python_array_create(self->state, (Py_ssize_t)request->taken.keys.count, plan->info.width,
                                      plan->dtype == PILLION_FLOAT64 ? self->state->float64 : self->state->float32);
    }
    if (out != NULL && borrow_out(self->state, request, out, ret_array) != 0) {
        Py_CLEAR(out);
    }
    return out;
}

static size_t bytes_of(const struct python_array *array) {
    return (size_t)array->rows * (size_t)array->columns * (size_t)array->item_bytes;
}

static PyObject *client_vectors(PyObject *object, PyObject *arguments, PyObject *keywords) {
    struct client_object *self = (struct client_object *)object;
    struct request request;
    memset(&request, 0, offsetof(struct request, taken));
    if (parse_request(arguments, keywords, &request) != 0 || begin_request(self, &request) != 0) {
        return NULL;
    }
    struct python_array array;
    struct pillion_answer answer;
    PyObject *out = provide_out(self, &request, &array);
    if (out != NULL) {
        struct pillion_output output = {.values = array.data, .value_bytes = bytes_of(&array)};
        if (pil_python_read(self->state, request.plan, &request.taken, &output, &answer) != 0) {
            Py_CLEAR(out);
        }
        pil_python_array_release(&array);
    }
    end_request(self, &request);
    return out;
}

/* A new array that read() fills in addition to the values. */
static PyObject *create(struct client_object *self, const struct request *request, uint32_t columns, PyObject *dtype,
                        struct python_array *ret_array) {
    Py_ssize_t rows = (Py_ssize_t)request->taken.keys.count;
    PyObject *made = pil_python_array_create(self->state, rows, columns, dtype);
    if (made != NULL && pil_python_array_borrow_struct(self->state, made, ret_array) != 1) {
        Py_CLEAR(made);
    }
    return made;
}

static PyObject *client_read(PyObject *object, PyObject *arguments, PyObject *keywords) {
    struct client_object *self = (struct client_object *)object;
    struct request request;
    memset(&request, 0, offsetof(struct request, taken));
    if (parse_request(arguments, keywords, &request) != 0 || begin_request(self, &request) != 0) {
        return NULL;
    }
    const struct pillion_plan_info *info = &request.plan->info;
    struct python_array values = {.owner = NULL}, marks = {.owner = NULL}, times = {.owner = NULL};
    struct pillion_answer answer;
    PyObject *out = provide_out(self, &request, &values), *result = NULL;
    PyObject *statuses = out != NULL ? create(self, &request, info->feature_count, self->state->uint8, &marks) : NULL;
    PyObject *event =
        statuses != NULL ? create(self, &request, info->view_count, self->state->datetime64, &times) : NULL;
    if (event != NULL) {
        struct pillion_output output = {.values = values.data,
                                        .value_bytes = bytes_of(&values),
                                        .statuses = marks.data,
                                        .event_ts_us = (int64_t *)(void *)times.data};
        int failed = pil_python_read(self->state, request.plan, &request.taken, &output, &answer);
        PyObject *said = failed == 0 ? pil_python_answer(request.plan, &answer) : NULL;
        result = said != NULL ? Py_BuildValue("(OOON)", out, statuses, event, said) : NULL;
    }
    pil_python_array_release(&values);
    pil_python_array_release(&marks);
    pil_python_array_release(&times);
    end_request(self, &request);
    Py_XDECREF(out);
    Py_XDECREF(statuses);
    Py_XDECREF(event);
    return result;
}

static PyObject *client_columns(PyObject *object, PyObject *arguments) {
    struct client_object *self = (struct client_object *)object;
    struct request request;
    memset(&request, 0, offsetof(struct request, taken));
    request.wish.is_columns = true;
    if (!PyArg_ParseTuple(arguments, "OO", &request.wish.service, &request.keys) ||
        begin_request(self, &request) != 0) {
        return NULL;
    }
    PyObject *features = pil_python_columns(self->state, request.plan, &request.taken);
    PyObject *types = features != NULL ? pil_python_plan_key_types(request.plan) : NULL;
    PyObject *result = NULL;
    if (types != NULL) {
        result = Py_BuildValue("(ONN)", request.plan->join_keys, types, features); /* takes both, also when it fails */
    } else {
        Py_XDECREF(features);
    }
    end_request(self, &request);
    return result;
}

/* ---- Describing. */

/* Called with (service, whether features of any type will do). */
static PyObject *client_describe(PyObject *object, PyObject *arguments) {
    struct client_object *self = (struct client_object *)object;
    struct python_plan_wish wish = {.service = NULL};
    int is_columns = 0;
    if (!is_open(self) || !PyArg_ParseTuple(arguments, "Op", &wish.service, &is_columns)) {
        return NULL;
    }
    wish.is_columns = is_columns != 0;
    struct python_plan *plan = NULL;
    PyObject *capsule = pil_python_plan_find(self->state, self->handle, self->plans, &wish, &plan);
    PyObject *result = capsule != NULL ? pil_python_plan_describe(self->state, plan) : NULL;
    Py_XDECREF(capsule);
    return result;
}

/* Called with a pillion_list_kind; a tuple of names. */
static PyObject *client_list(PyObject *object, PyObject *kind) {
    struct client_object *self = (struct client_object *)object;
    unsigned long number = PyLong_AsUnsignedLong(kind);
    if (PyErr_Occurred() || !is_open(self)) {
        return NULL;
    }
    struct python_handle *handle = self->handle;
    handle->references++;
    uint32_t capacity = 0, count = 64;
    pillion_name *names = NULL;
    pillion_result result = PILLION_TOO_LARGE;
    struct pillion_error error = {""};
    while (result == PILLION_TOO_LARGE && count > capacity) { /* services may come while they are listed */
        free(names);
        capacity = count;
        names = malloc(capacity * sizeof names[0]);
        if (names == NULL) {
            result = PILLION_NO_MEMORY;
            break;
        }
        Py_BEGIN_ALLOW_THREADS
        result = pillion_list(handle->client, (uint32_t)number, names, capacity, &count, &error);
        Py_END_ALLOW_THREADS
    }
    pil_python_handle_release(handle);
    PyObject *found = result == PILLION_OK ? pil_python_names(names[0], sizeof names[0], count)
                                           : pil_python_fail(self->state, result, error.text);
    free(names);
    return found;
}

static PyObject *info_views(const struct pillion_info *info) {
    PyObject *views = PyTuple_New(info->view_count);
    for (uint32_t i = 0; views != NULL && i < info->view_count; i++) {
        const struct pillion_view_info *from = &info->views[i];
        PyObject *view = Py_BuildValue("(ssKKKOs)", from->name, from->release, (unsigned long long)from->generation,
                                       (unsigned long long)from->mapped_bytes, (unsigned long long)from->row_count,
                                       from->is_mapped ? Py_True : Py_False, from->why_not);
        if (view == NULL || PyTuple_SetItem(views, i, view) != 0) {
            Py_CLEAR(views);
        }
    }
    return views;
}

static PyObject *client_info(PyObject *object, PyObject *unused) {
    struct client_object *self = (struct client_object *)object;
    (void)unused;
    if (!is_open(self)) {
        return NULL;
    }
    struct pillion_info *info = calloc(1, sizeof *info);
    if (info == NULL) {
        return PyErr_NoMemory();
    }
    info->size = sizeof *info;
    struct python_handle *handle = self->handle;
    handle->references++;
    pillion_result result;
    Py_BEGIN_ALLOW_THREADS
    result = pillion_info(handle->client, info);
    Py_END_ALLOW_THREADS
    pil_python_handle_release(handle);
    PyObject *said = NULL;
    if (result != PILLION_OK) {
        (void)pil_python_fail(self->state, result, pillion_result_text(result));
    } else {
        PyObject *views = info_views(info);
        said = views != NULL ? Py_BuildValue("(OdKKKsN)", info->is_connected ? Py_True : Py_False,
                                             (double)info->staleness_us / 1e6, (unsigned long long)info->refreshes,
                                             (unsigned long long)info->reconnects,
                                             (unsigned long long)info->socket_calls, info->why_not_mapped, views)
                             : NULL;
    }
    free(info);
    return said;
}

/* ---- The type. */

#define WITH_KEYWORDS(function) ((PyCFunction)(void (*)(void))(function))

static PyMethodDef methods[] = {
    {"vectors", WITH_KEYWORDS(client_vectors), METH_VARARGS | METH_KEYWORDS,
     "vectors(service, keys, out=None, *, defaults=False, max_age=None, dtype='float32', min_release=None)\n"
     "--\n\n"
     "The feature vectors of `keys`: a numpy array [len(keys), width], or `out` filled.\n\n"
     "service      name of a feature service, or a list of 'view:feature'\n"
     "keys         one join key: list, numpy or Arrow array, pandas column; several: {join key: any of these}\n"
     "out          C-contiguous array, CPU tensor or buffer to fill, of the dtype and shape of the result\n"
     "defaults     missing values become the feature's default where it has one; otherwise they are NaN\n"
     "max_age      seconds; read() marks older values (the values stay)\n"
     "min_release  fail with NotReadyError until this release, or a later one, is here\n\n"
     "read() is the same with statuses and times."},
    {"_read", WITH_KEYWORDS(client_read), METH_VARARGS | METH_KEYWORDS, NULL},
    {"_columns", client_columns, METH_VARARGS, NULL},
    {"_describe", client_describe, METH_VARARGS, NULL},
    {"_list", client_list, METH_O, NULL},
    {"_info", client_info, METH_NOARGS, NULL},
    {"close", client_close, METH_NOARGS,
     "close()\n--\n\nUnmaps and disconnects when the last call that runs ends. Later calls fail with ValueError."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "Reads of feature vectors; see pillion.Client."},
    {Py_tp_init, client_init},
    {Py_tp_dealloc, client_dealloc},
    {Py_tp_methods, methods},
    {0, NULL},
};

PyType_Spec pil_python_client_spec = {
    .name = "pillion._client.Client",
    .basicsize = sizeof(struct client_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = slots,
};
