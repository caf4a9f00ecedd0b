/* SPDX-License-Identifier: Apache-2.0
 * Plans for Python: made when a service and its options are first used, then found in the client's dict. A capsule
 * holds each plan, so that a call keeps its plan even if the client is closed meanwhile. */
#include "python/client/client.h"

#include "schema/type.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char capsule_name[] = "pillion.plan";
enum { PLANS_MAX = 256 };

void pil_python_handle_release(struct python_handle *handle) {
    if (handle == NULL || --handle->references > 0) {
        return;
    }
    Py_BEGIN_ALLOW_THREADS
    pillion_close(&handle->client);
    Py_END_ALLOW_THREADS
    free(handle);
}

/* No call uses the plan any more: calls hold the capsule. */
static void destroy_plan(struct python_plan *plan) {
    Py_BEGIN_ALLOW_THREADS
    pillion_plan_free(&plan->plan);
    Py_END_ALLOW_THREADS
    Py_XDECREF(plan->join_keys);
    Py_XDECREF(plan->views);
    Py_XDECREF(plan->cache_key);
    pil_python_handle_release(plan->handle);
    free(plan);
}

static void destroy_capsule(PyObject *capsule) {
    destroy_plan(PyCapsule_GetPointer(capsule, capsule_name));
}

/* ---- Arguments as libpillion's options. */

struct options {
    struct pillion_plan_options plan;
    PyObject *features; /* NULL, or a tuple of str */
    PyObject *texts;    /* list of bytes objects that the pointers point into */
    const char **names;
};

static void deinit_options(struct options *options) {
    Py_XDECREF(options->features);
    Py_XDECREF(options->texts);
    free(options->names);
}

/* The text as UTF-8 without zero bytes; lives as long as options->texts. */
static const char *text_of(struct options *options, PyObject *object, const char *what) {
    if (!PyUnicode_Check(object)) {
        PyErr_Format(PyExc_TypeError, "%s is a str, not %R", what, Py_TYPE(object));
        return NULL;
    }
    PyObject *bytes = PyUnicode_AsUTF8String(object);
    char *text = NULL;
    if (bytes != NULL && PyBytes_AsStringAndSize(bytes, &text, NULL) == 0 &&
        PyList_Append(options->texts, bytes) != 0) {
        text = NULL;
    }
    Py_XDECREF(bytes);
    return text;
}

static int parse_dtype(PyObject *dtype, uint32_t *ret_dtype) {
    PyObject *name = PyType_Check(dtype) ? PyObject_GetAttrString(dtype, "__name__") : PyObject_Str(dtype);
    int result = name != NULL ? 0 : -1;
    if (result == 0 && PyUnicode_CompareWithASCIIString(name, "float32") == 0) {
        *ret_dtype = PILLION_FLOAT32;
    } else if (result == 0 && PyUnicode_CompareWithASCIIString(name, "float64") == 0) {
        *ret_dtype = PILLION_FLOAT64;
    } else if (result == 0) {
        PyErr_Format(PyExc_ValueError, "dtype is 'float32' or 'float64', not %R", dtype);
        result = -1;
    }
    Py_XDECREF(name);
    return result;
}

static int parse_age(PyObject *age, int64_t *ret_us) {
    double seconds = PyFloat_AsDouble(age);
    if (seconds == -1 && PyErr_Occurred()) {
        return -1;
    }
    if (!(seconds > 0 && seconds < 9e12)) {
        PyErr_Format(PyExc_ValueError, "max_age is seconds, more than 0; not %R", age);
        return -1;
    }
    *ret_us = (int64_t)ceil(seconds * 1e6);
    return 0;
}

static int parse_service(PyObject *service, struct options *options) {
    if (PyUnicode_Check(service)) {
        options->plan.service = text_of(options, service, "service");
        return options->plan.service != NULL ? 0 : -1;
    }
    options->features = PySequence_Tuple(service);
    if (options->features == NULL) {
        if (PyErr_ExceptionMatches(PyExc_TypeError)) {
            PyErr_Clear();
            PyErr_Format(PyExc_TypeError, "service is a name or a list of 'view:feature', not %R", Py_TYPE(service));
        }
        return -1;
    }
    Py_ssize_t count = PyTuple_Size(options->features);
    if (count == 0 || count > UINT32_MAX) {
        PyErr_SetString(PyExc_ValueError, "No features specified for retrieval");
        return -1;
    }
    options->names = calloc((size_t)count, sizeof options->names[0]);
    if (options->names == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        options->names[i] = text_of(options, PyTuple_GetItem(options->features, i), "a feature");
        if (options->names[i] == NULL) {
            return -1;
        }
    }
    options->plan.features = options->names;
    options->plan.feature_count = (uint32_t)count;
    return 0;
}

static bool is_given(PyObject *object) {
    return object != NULL && object != Py_None;
}

static int parse_wish(const struct python_plan_wish *wish, struct options *options) {
    *options = (struct options){.plan.size = sizeof options->plan, .texts = PyList_New(0)};
    if (options->texts == NULL || parse_service(wish->service, options) != 0) {
        return -1;
    }
    int defaults = is_given(wish->defaults) ? PyObject_IsTrue(wish->defaults) : 0;
    options->plan.flags = (wish->is_columns ? PILLION_COLUMNS : 0) | (defaults == 1 ? PILLION_USE_DEFAULTS : 0);
    if (defaults < 0 || (is_given(wish->max_age) && parse_age(wish->max_age, &options->plan.max_age_us) != 0) ||
        (is_given(wish->dtype) && parse_dtype(wish->dtype, &options->plan.dtype) != 0)) {
        return -1;
    }
    if (is_given(wish->min_release)) {
        options->plan.min_release = text_of(options, wish->min_release, "min_release");
        return options->plan.min_release != NULL ? 0 : -1;
    }
    return 0;
}

/* ---- Making. */

PyObject *pil_python_names(const char *first, size_t stride, uint32_t count) {
    PyObject *names = PyTuple_New(count);
    for (uint32_t i = 0; i < count && names != NULL; i++) {
        PyObject *name = PyUnicode_FromString(first + i * stride);
        if (name == NULL || PyTuple_SetItem(names, i, name) != 0) {
            Py_CLEAR(names);
        }
    }
    return names;
}

struct pillion_feature_info *pil_python_plan_features(struct client_state *state, const struct python_plan *plan) {
    uint32_t count = plan->info.feature_count;
    struct pillion_feature_info *features = calloc(count > 0 ? count : 1, sizeof *features);
    if (features == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    pillion_result result = pillion_plan_features(plan->plan, features, count);
    if (result != PILLION_OK) {
        free(features);
        return (struct pillion_feature_info *)pil_python_fail(state, result, "the plan is not known yet");
    }
    return features;
}

static int describe(struct client_state *state, struct python_plan *plan) {
    plan->info.size = sizeof plan->info;
    pillion_result result = pillion_plan_describe(plan->plan, &plan->info);
    if (result != PILLION_OK) {
        (void)pil_python_fail(state, result, "the release that is asked for is not here yet");
        return -1;
    }
    struct pillion_feature_info *features = pil_python_plan_features(state, plan);
    const char *views[PILLION_VIEWS_MAX] = {NULL};
    for (uint32_t i = 0; features != NULL && i < plan->info.feature_count; i++) {
        views[features[i].view_index] = features[i].view;
    }
    PyObject *names = features != NULL ? PyTuple_New(plan->info.view_count) : NULL;
    for (uint32_t i = 0; names != NULL && i < plan->info.view_count; i++) {
        PyObject *name = PyUnicode_FromString(views[i] != NULL ? views[i] : "");
        if (name == NULL || PyTuple_SetItem(names, i, name) != 0) {
            Py_CLEAR(names);
        }
    }
    free(features);
    plan->views = names;
    for (uint32_t i = 0; i < plan->info.join_key_count; i++) {
        struct pil_type type;
        struct pil_error error;
        if (pil_type_parse(pil_bytes_from_text(plan->info.join_key_types[i]), &type, &error) != PIL_STATUS_OK) {
            (void)pil_python_fail(state, PILLION_UNSUPPORTED, error.text);
            return -1;
        }
        plan->join_key_types[i] = type.scalar;
    }
    plan->join_keys =
        pil_python_names(plan->info.join_keys[0], sizeof plan->info.join_keys[0], plan->info.join_key_count);
    return plan->views != NULL && plan->join_keys != NULL ? 0 : -1;
}

static PyObject *make(struct client_state *state, struct python_handle *handle, const struct options *options,
                      PyObject *cache_key, struct python_plan **ret_plan) {
    struct python_plan *plan = calloc(1, sizeof *plan);
    if (plan == NULL) {
        return PyErr_NoMemory();
    }
    plan->handle = handle;
    handle->references++;
    Py_INCREF(cache_key);
    plan->cache_key = cache_key;
    plan->dtype = options->plan.dtype;
    struct pillion_error error = {""};
    pillion_result result;
    Py_BEGIN_ALLOW_THREADS
    result = pillion_plan(handle->client, &options->plan, &plan->plan, &error);
    Py_END_ALLOW_THREADS
    PyObject *capsule = NULL;
    if (result != PILLION_OK) {
        (void)pil_python_fail(state, result, error.text);
    } else if (describe(state, plan) == 0) {
        capsule = PyCapsule_New(plan, capsule_name, destroy_capsule);
    }
    if (capsule == NULL) {
        PyObject *type, *value, *traceback;
        PyErr_Fetch(&type, &value, &traceback);
        destroy_plan(plan);
        PyErr_Restore(type, value, traceback);
        return NULL;
    }
    *ret_plan = plan;
    return capsule;
}

/* ---- The cache. */

static PyObject *find(PyObject *cache, PyObject *key, struct python_plan **ret_plan) {
    PyObject *capsule = PyDict_GetItemWithError(cache, key);
    if (capsule != NULL) {
        *ret_plan = PyCapsule_GetPointer(capsule, capsule_name);
        Py_INCREF(capsule);
    }
    return capsule;
}

/* When the cache is full, a new plan replaces the oldest one. */
static int put(PyObject *cache, PyObject *key, PyObject *capsule) {
    PyObject *eldest;
    Py_ssize_t at = 0;
    if (PyDict_Size(cache) >= PLANS_MAX && PyDict_Next(cache, &at, &eldest, NULL)) {
        Py_INCREF(eldest);
        int result = PyDict_DelItem(cache, eldest);
        Py_DECREF(eldest);
        if (result != 0) {
            return -1;
        }
    }
    return PyDict_SetItem(cache, key, capsule);
}

static PyObject *cache_key_of(const struct python_plan_wish *wish, const struct options *options) {
    const struct pillion_plan_options *plan = &options->plan;
    PyObject *service = options->features != NULL ? options->features : wish->service;
    if (plan->service != NULL && plan->flags == 0 && plan->dtype == 0 && plan->max_age_us == 0 &&
        plan->min_release == NULL) {
        Py_INCREF(service);
        return service;
    }
    return Py_BuildValue("(OIILz)", service, (unsigned)plan->flags, (unsigned)plan->dtype, (long long)plan->max_age_us,
                         plan->min_release);
}

PyObject *pil_python_plan_find(struct client_state *state, struct python_handle *handle, PyObject *cache,
                               const struct python_plan_wish *wish, struct python_plan **ret_plan) {
    bool is_plain = !is_given(wish->defaults) && !is_given(wish->max_age) && !is_given(wish->dtype) &&
                    !is_given(wish->min_release) && !wish->is_columns;
    if (is_plain && PyUnicode_Check(wish->service)) {
        PyObject *capsule = find(cache, wish->service, ret_plan);
        if (capsule != NULL || PyErr_Occurred()) {
            return capsule;
        }
    }
    struct options options;
    PyObject *key = parse_wish(wish, &options) == 0 ? cache_key_of(wish, &options) : NULL;
    PyObject *capsule = key != NULL ? find(cache, key, ret_plan) : NULL;
    if (key != NULL && capsule == NULL && !PyErr_Occurred()) {
        capsule = make(state, handle, &options, key, ret_plan);
        if (capsule != NULL && put(cache, key, capsule) != 0) {
            Py_CLEAR(capsule);
        }
    }
    Py_XDECREF(key);
    deinit_options(&options);
    return capsule;
}

void pil_python_plan_leave(PyObject *cache, PyObject *capsule) {
    struct python_plan *plan = PyCapsule_GetPointer(capsule, capsule_name);
    if (plan->is_over) {
        PyObject *type, *value, *traceback;
        PyErr_Fetch(&type, &value, &traceback);
        if (PyDict_GetItemWithError(cache, plan->cache_key) == capsule) {
            (void)PyDict_DelItem(cache, plan->cache_key);
        }
        PyErr_Restore(type, value, traceback);
    }
    Py_DECREF(capsule);
}

void pil_python_plan_note(struct python_plan *plan, pillion_result result) {
    plan->is_over = result == PILLION_INVALID || result == PILLION_NOT_FOUND || result == PILLION_UNSUPPORTED;
}

/* ---- Describing. */

PyObject *pil_python_plan_key_types(const struct python_plan *plan) {
    return pil_python_names(plan->info.join_key_types[0], sizeof plan->info.join_key_types[0],
                            plan->info.join_key_count);
}

PyObject *pil_python_plan_describe(struct client_state *state, const struct python_plan *plan) {
    struct pillion_feature_info *features = pil_python_plan_features(state, plan);
    PyObject *described = features != NULL ? PyTuple_New(plan->info.feature_count) : NULL;
    for (uint32_t i = 0; described != NULL && i < plan->info.feature_count; i++) {
        const struct pillion_feature_info *from = &features[i];
        PyObject *feature = Py_BuildValue("(sssII)", from->view, from->feature, from->type, (unsigned)from->first,
                                          (unsigned)from->count);
        if (feature == NULL || PyTuple_SetItem(described, i, feature) != 0) {
            Py_CLEAR(described);
        }
    }
    free(features);
    PyObject *types = pil_python_plan_key_types(plan);
    if (described == NULL || types == NULL) {
        Py_XDECREF(described);
        Py_XDECREF(types);
        return NULL;
    }
    return Py_BuildValue("(NION)", described, (unsigned)plan->info.width, plan->join_keys, types);
}
