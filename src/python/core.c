/* SPDX-License-Identifier: Apache-2.0
 * pillion._core: the build core (ingest/ingest.h) and the project parser for Python. Only what the front end needs:
 * documents are passed as JSON text, rows as an Arrow C stream. Stable ABI of CPython 3.9 and later. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "ingest/ingest.h"
#include "base/text.h"
#include "release/channel.h"
#include "schema/json_text.h"
#include "schema/project_read.h"
#include "store/scheme.h"

#include <stdlib.h>

struct core_state {
    PyObject *error; /* pillion._core.Error(code, text) */
};

static PyObject *fail(PyObject *module, pil_status status, const char *text) {
    static const char *const codes[] = {
#define X(name, text) #name,
        PIL_STATUS_TABLE(X)
#undef X
    };
    struct core_state *state = PyModule_GetState(module);
    PyObject *arguments =
        Py_BuildValue("sN", codes[status], PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "surrogateescape"));
    if (arguments != NULL) {
        PyErr_SetObject(state->error, arguments);
        Py_DECREF(arguments);
    }
    return NULL;
}

/* Takes the reference. */
static PyObject *json_to_str(json_t *json) {
    char *text = pil_json_text(json, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(json);
    PyObject *result = text != NULL ? PyUnicode_FromString(text) : PyErr_NoMemory();
    free(text);
    return result;
}

/* ---- project_json */

static PyObject *project_json(PyObject *module, PyObject *arguments) {
    PyObject *path;
    if (!PyArg_ParseTuple(arguments, "O&:project_json", PyUnicode_FSConverter, &path)) {
        return NULL;
    }
    struct pil_project *project = NULL;
    struct pil_text problems = {0};
    PyObject *result = NULL;
    pil_status status = pil_project_load_yaml(PyBytes_AsString(path), &project, &problems);
    if (status == PIL_STATUS_OK) {
        result = json_to_str(pil_project_to_json(project));
        pil_project_destroy(&project);
    } else {
        fail(module, status, pil_text_chars(&problems));
    }
    pil_text_deinit(&problems);
    Py_DECREF(path);
    return result;
}

/* ---- check_store, check_channel */

static PyObject *result_of(PyObject *module, pil_status status, const struct pil_error *error) {
    return status == PIL_STATUS_OK ? Py_NewRef(Py_None) : fail(module, status, error->text);
}

/* Whether everything that a build of the view writes can be written; `channel` "": no channel. */
static pil_status may_put_all(const char *url, const struct pil_release_ref *ref, const char *channel,
                              struct pil_error *error) {
    char name[PIL_STORE_NAME_BYTES];
    struct pil_release_ref release = *ref;
    memset(release.release, '0', PIL_RELEASE_ID_CHARS);
    pil_layout_lease_name(PIL_LAYOUT_LEASE_WRITE, release.release, name);
    PIL_TRY(pil_store_may_put(url, name, error));
    pil_layout_shard(&(struct pil_sha256){0}, name);
    PIL_TRY(pil_store_may_put(url, name, error));
    pil_layout_manifest(&release, name);
    PIL_TRY(pil_store_may_put(url, name, error));
    if (channel[0] == '\0') {
        return PIL_STATUS_OK;
    }
    pil_layout_channel(ref, channel, name);
    return pil_store_may_put(url, name, error);
}

static PyObject *check_store(PyObject *module, PyObject *arguments) {
    const char *url, *view, *channel;
    struct pil_error error = {0};
    struct pil_release_ref ref;
    if (!PyArg_ParseTuple(arguments, "yss:check_store", &url, &view, &channel)) {
        return NULL;
    }
    pil_status status = pil_release_ref_parse(view, &ref, &error);
    return result_of(module, status == PIL_STATUS_OK ? may_put_all(url, &ref, channel, &error) : status, &error);
}

static PyObject *check_channel(PyObject *module, PyObject *arguments) {
    const char *channel;
    struct pil_error error = {0};
    if (!PyArg_ParseTuple(arguments, "y:check_channel", &channel)) {
        return NULL;
    }
    pil_status status = pil_channel_check_name(channel, &error);
    return result_of(module, status, &error);
}

/* ---- promote */

/* Guarded, as `pillion promote` is. *breaking says what a refused release would break. */
static pil_status promote_one(const char *url, const char *text, const char *channel, struct pil_text *breaking,
                              struct pil_error *error) {
    struct pil_release_ref ref;
    struct pil_store *store = NULL;
    struct pil_channel promoted;
    struct pil_guard guard = pil_guard_of_project(false, breaking);
    PIL_TRY(pil_release_ref_parse(text, &ref, error));
    PIL_TRY(pil_store_open(url, false, &store, error));
    pil_status status = pil_channel_promote(store, &ref, channel, &guard, &promoted, error);
    pil_store_close(&store);
    return status;
}

static PyObject *promote(PyObject *module, PyObject *arguments) {
    const char *url, *ref, *channel;
    struct pil_text message = {0};
    struct pil_error error = {0};
    if (!PyArg_ParseTuple(arguments, "yss:promote", &url, &ref, &channel)) {
        return NULL;
    }
    pil_status status;
    Py_BEGIN_ALLOW_THREADS
    status = promote_one(url, ref, channel, &message, &error);
    Py_END_ALLOW_THREADS
    if (status == PIL_STATUS_OK) {
        pil_text_deinit(&message);
        Py_RETURN_NONE;
    }
    pil_text_format(&message, "%s", error.text);
    fail(module, status, pil_text_chars(&message));
    pil_text_deinit(&message);
    return NULL;
}

/* ---- Ingest */

struct ingest_object {
    PyObject_HEAD
    PyObject *module;
    PyObject *on_flaw, *on_conflict, *on_progress;
    struct pil_ingest *ingest; /* NULL after a failure or after publishing */
};

/* Whether the callback's result says to go on. Takes the reference. An exception stays set and counts as no. */
static bool go_on(PyObject *answer) {
    int truth = answer != NULL ? PyObject_IsTrue(answer) : -1;
    Py_XDECREF(answer);
    return truth == 1;
}

static bool on_flaw(void *context, uint64_t row, const char *column, pil_ingest_flaw flaw, const char *text) {
    struct ingest_object *self = context;
    PyGILState_STATE gil = PyGILState_Ensure();
    bool more = go_on(PyObject_CallFunction(self->on_flaw, "Ksss", (unsigned long long)row, column,
                                            pil_ingest_flaw_text(flaw), text));
    PyGILState_Release(gil);
    return more;
}

static bool on_conflict(void *context, struct pil_bytes key, int64_t event_us, uint32_t lost) {
    struct ingest_object *self = context;
    PyGILState_STATE gil = PyGILState_Ensure();
    bool more = go_on(PyObject_CallFunction(self->on_conflict, "y#LI", (const char *)key.data, (Py_ssize_t)key.len,
                                            (long long)event_us, (unsigned)lost));
    PyGILState_Release(gil);
    return more;
}

static bool on_progress(void *context, pil_ingest_phase phase, uint64_t done, uint64_t total) {
    struct ingest_object *self = context;
    PyGILState_STATE gil = PyGILState_Ensure();
    bool more = PyErr_CheckSignals() == 0;
    if (more) {
        PyObject *answer = PyObject_CallFunction(self->on_progress, "sKK", pil_ingest_phase_text(phase),
                                                 (unsigned long long)done, (unsigned long long)total);
        more = answer != NULL;
        Py_XDECREF(answer);
    }
    PyGILState_Release(gil);
    return more;
}

static PyObject *ingest_fail(struct ingest_object *self, pil_status status, const struct pil_error *error) {
    pil_ingest_destroy(&self->ingest);
    return PyErr_Occurred() != NULL ? NULL : fail(self->module, status, error->text);
}

/* The view of a project in JSON form; NULL with the exception set. */
static pil_status find_view(const char *project_text, const char *name, struct pil_project **ret_project,
                            struct pil_view **ret_view, struct pil_error *error) {
    json_t *json;
    pil_status status = pil_json_load(pil_bytes_from_text(project_text), 0, &json, error);
    if (status != PIL_STATUS_OK) {
        return pil_fail_in(error, status == PIL_STATUS_CORRUPT ? PIL_STATUS_INVALID : status, "the project");
    }
    status = pil_project_from_json(json, ret_project, error);
    json_decref(json);
    if (status != PIL_STATUS_OK) {
        return status;
    }
    const struct pil_project_view *view = pil_project_view_find(*ret_project, name);
    if (view == NULL) {
        pil_project_destroy(ret_project);
        return pil_fail(error, PIL_STATUS_NOT_FOUND, "there is no feature view %s", name);
    }
    *ret_view = view->view;
    return PIL_STATUS_OK;
}

static int ingest_init(PyObject *object, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {
        "project",  "view",     "temporary", "memory_bytes", "outside_bytes", "threads", "event_ts_us_max",
        "as_of_us", "as_of_ns", "on_flaw",   "on_conflict",  "on_progress",   NULL};
    struct ingest_object *self = (struct ingest_object *)object;
    const char *project_text, *view_name, *temporary;
    unsigned long long memory_bytes, outside_bytes;
    unsigned threads;
    unsigned short as_of_ns;
    long long event_ts_us_max, as_of_us;
    PyObject *flaw, *conflict, *progress;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "ssyKKILLHOOO:Ingest", names, &project_text, &view_name,
                                     &temporary, &memory_bytes, &outside_bytes, &threads, &event_ts_us_max, &as_of_us,
                                     &as_of_ns, &flaw, &conflict, &progress)) {
        return -1;
    }
    if (self->ingest != NULL || self->on_flaw != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "Ingest is initialised already");
        return -1;
    }
    Py_INCREF(flaw);
    Py_INCREF(conflict);
    Py_INCREF(progress);
    self->on_flaw = flaw;
    self->on_conflict = conflict;
    self->on_progress = progress;
    struct pil_error error = {0};
    struct pil_project *project = NULL;
    struct pil_view *view = NULL;
    pil_status status = find_view(project_text, view_name, &project, &view, &error);
    if (status == PIL_STATUS_OK) {
        const struct pil_ingest_options options = {
            .view = view,
            .temporary = temporary,
            .memory_bytes = memory_bytes,
            .outside_bytes = outside_bytes,
            .threads = threads,
            .event_ts_us_max = event_ts_us_max,
            .as_of_us = as_of_us,
            .as_of_ns = as_of_ns,
            .on_flaw = on_flaw,
            .on_conflict = on_conflict,
            .on_progress = on_progress,
            .context = self,
        };
        status = pil_ingest_create(&options, &self->ingest, &error);
        pil_project_destroy(&project);
    }
    if (status != PIL_STATUS_OK) {
        fail(self->module, status, error.text);
        return -1;
    }
    return 0;
}

static PyObject *ingest_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords) {
    (void)arguments;
    (void)keywords;
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    struct ingest_object *self = (struct ingest_object *)allocate(type, 0);
    if (self != NULL) {
        self->module = PyType_GetModule(type);
        Py_XINCREF(self->module);
    }
    return (PyObject *)self;
}

/* The callbacks can refer back to this object, for example through the frames of an exception: a reference cycle. */
static int ingest_traverse(PyObject *object, visitproc visit, void *arg) {
    struct ingest_object *self = (struct ingest_object *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->module);
    Py_VISIT(self->on_flaw);
    Py_VISIT(self->on_conflict);
    Py_VISIT(self->on_progress);
    return 0;
}

static int ingest_clear(PyObject *object) {
    struct ingest_object *self = (struct ingest_object *)object;
    Py_CLEAR(self->on_flaw);
    Py_CLEAR(self->on_conflict);
    Py_CLEAR(self->on_progress);
    Py_CLEAR(self->module);
    return 0;
}

static void ingest_dealloc(PyObject *object) {
    struct ingest_object *self = (struct ingest_object *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    pil_ingest_destroy(&self->ingest);
    (void)ingest_clear(object);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
    Py_DECREF(type);
}

static bool is_open(struct ingest_object *self) {
    if (self->ingest == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "this Ingest is over");
    }
    return self->ingest != NULL;
}

static PyObject *ingest_stream(PyObject *object, PyObject *capsule) {
    struct ingest_object *self = (struct ingest_object *)object;
    struct ArrowArrayStream *source = PyCapsule_GetPointer(capsule, "arrow_array_stream");
    if (source == NULL || !is_open(self)) {
        return NULL;
    }
    if (source->release == NULL) {
        PyErr_SetString(PyExc_ValueError, "the stream was consumed already");
        return NULL;
    }
    struct ArrowArrayStream stream = *source; /* moved, as the interface requires */
    source->release = NULL;
    struct pil_error error = {0};
    pil_status status;
    Py_BEGIN_ALLOW_THREADS
    status = pil_ingest_stream(self->ingest, &stream, &error);
    Py_END_ALLOW_THREADS
    if (status != PIL_STATUS_OK) {
        return ingest_fail(self, status, &error);
    }
    Py_RETURN_NONE;
}

static json_t *counts_to_json(const struct pil_ingest_counts *counts) {
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "rows_in", (json_int_t)counts->rows_in, "rows_out",
                     (json_int_t)counts->rows_out, "duplicates", (json_int_t)counts->duplicates, "conflicts",
                     (json_int_t)counts->conflicts, "late", (json_int_t)counts->late, "after_as_of",
                     (json_int_t)counts->after_as_of, "null_keys", (json_int_t)counts->null_keys, "bad_rows",
                     (json_int_t)counts->bad_rows);
}

static PyObject *ingest_merge(PyObject *object, PyObject *unused) {
    struct ingest_object *self = (struct ingest_object *)object;
    (void)unused;
    if (!is_open(self)) {
        return NULL;
    }
    struct pil_error error = {0};
    struct pil_ingest_counts counts;
    pil_status status;
    Py_BEGIN_ALLOW_THREADS
    status = pil_ingest_merge(self->ingest, &counts, &error);
    Py_END_ALLOW_THREADS
    return status == PIL_STATUS_OK ? json_to_str(counts_to_json(&counts)) : ingest_fail(self, status, &error);
}

static json_t *result_to_json(const struct pil_ingest_result *result) {
    json_t *phases = json_object();
    for (pil_ingest_phase phase = 0; phase < PIL_INGEST_PHASE_COUNT; phase++) {
        pil_json_set(&phases, pil_ingest_phase_text(phase), json_real((double)result->phase_ns[phase] / 1e9));
    }
    return json_pack("{s:s, s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "release", result->release, "previous",
                     result->previous, "existed", result->existed, "shards", (json_int_t)result->shard_count,
                     "shards_uploaded", (json_int_t)result->shards_uploaded, "bytes", (json_int_t)result->bytes,
                     "bytes_uploaded", (json_int_t)result->bytes_uploaded, "bytes_spilled",
                     (json_int_t)result->bytes_spilled, "memory_bytes_peak", (json_int_t)result->memory_bytes_peak,
                     "seconds", phases);
}

/* Runs without the GIL. */
static pil_status publish(struct pil_ingest *ingest, const char *url, const json_t *extra,
                          struct pil_ingest_result *ret_result, struct pil_error *error) {
    struct pil_store *store = NULL;
    if (url != NULL) {
        PIL_TRY(pil_store_open(url, true, &store, error));
    }
    pil_status status = pil_ingest_publish(ingest, store, extra, ret_result, error);
    if (store != NULL) {
        pil_store_close(&store);
    }
    return status;
}

static PyObject *ingest_publish(PyObject *object, PyObject *arguments) {
    struct ingest_object *self = (struct ingest_object *)object;
    const char *url, *extra_text;
    if (!is_open(self) || !PyArg_ParseTuple(arguments, "ys:publish", &url, &extra_text)) {
        return NULL;
    }
    json_t *extra = NULL;
    struct pil_error error = {0};
    if (pil_json_load(pil_bytes_from_text(extra_text), 0, &extra, &error) == PIL_STATUS_NO_MEMORY) {
        return PyErr_NoMemory();
    }
    if (!json_is_object(extra)) {
        json_decref(extra);
        PyErr_SetString(PyExc_ValueError, "extra is not a JSON object");
        return NULL;
    }
    struct pil_ingest_result result;
    pil_status status;
    Py_BEGIN_ALLOW_THREADS
    status = publish(self->ingest, url[0] != '\0' ? url : NULL, extra, &result, &error);
    Py_END_ALLOW_THREADS
    json_decref(extra);
    if (status != PIL_STATUS_OK) {
        return ingest_fail(self, status, &error);
    }
    pil_ingest_destroy(&self->ingest);
    return json_to_str(result_to_json(&result));
}

/* ---- The module */

static PyMethodDef ingest_methods[] = {
    {"stream", ingest_stream, METH_O, "Takes all rows of an Arrow C stream (a capsule)."},
    {"merge", ingest_merge, METH_NOARGS, "Ends the input; the counts as JSON."},
    {"publish", ingest_publish, METH_VARARGS,
     "publish(store or b\"\", extra): writes the release; the result as JSON."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot ingest_slots[] = {
    {Py_tp_doc, "One build of one feature view."},
    {Py_tp_new, ingest_new},
    {Py_tp_init, ingest_init},
    {Py_tp_traverse, ingest_traverse},
    {Py_tp_clear, ingest_clear},
    {Py_tp_dealloc, ingest_dealloc},
    {Py_tp_methods, ingest_methods},
    {0, NULL},
};

static PyType_Spec ingest_spec = {
    .name = "pillion._core.Ingest",
    .basicsize = sizeof(struct ingest_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = ingest_slots,
};

static int core_exec(PyObject *module) {
    struct core_state *state = PyModule_GetState(module);
    state->error =
        PyErr_NewExceptionWithDoc("pillion._core.Error", "(code, text): a status of the C core.", NULL, NULL);
    PyObject *type = PyType_FromModuleAndSpec(module, &ingest_spec, NULL);
    if (state->error == NULL || type == NULL) {
        Py_XDECREF(type);
        return -1;
    }
    Py_INCREF(state->error);
    if (PyModule_AddObject(module, "Error", state->error) != 0 || PyModule_AddObject(module, "Ingest", type) != 0 ||
        PyModule_AddStringConstant(module, "VERSION", PIL_VERSION) != 0 ||
        PyModule_AddStringConstant(module, "STORE_FORMS", PIL_STORE_FORMS) != 0 ||
        PyModule_AddStringConstant(module, "EVENT_COLUMN", PIL_INGEST_EVENT_COLUMN) != 0 ||
        PyModule_AddStringConstant(module, "CREATED_COLUMN", PIL_INGEST_CREATED_COLUMN) != 0 ||
        PyModule_AddStringConstant(module, "EVENT_NS_COLUMN", PIL_INGEST_EVENT_NS_COLUMN) != 0 ||
        PyModule_AddStringConstant(module, "CREATED_NS_COLUMN", PIL_INGEST_CREATED_NS_COLUMN) != 0 ||
        PyModule_AddIntConstant(module, "MEMORY_MIN", (long)PIL_INGEST_MEMORY_MIN) != 0) {
        return -1;
    }
    return 0;
}

static int core_clear(PyObject *module) {
    struct core_state *state = PyModule_GetState(module);
    Py_CLEAR(state->error);
    return 0;
}

static PyMethodDef core_methods[] = {
    {"project_json", project_json, METH_VARARGS,
     "project_json(path): the project file as JSON; Error lists all its mistakes."},
    {"check_store", check_store, METH_VARARGS,
     "check_store(url, view, channel): whether a release of PROJECT/VIEW can be put into the store, and the channel "
     "unless it is \"\"; makes nothing."},
    {"check_channel", check_channel, METH_VARARGS, "check_channel(name): whether a channel can have that name."},
    {"promote", promote, METH_VARARGS, "promote(url, release, channel): points the channel to a release of the store."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot core_slots[] = {{Py_mod_exec, core_exec}, {0, NULL}};

static struct PyModuleDef core_module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "pillion._core",
    .m_doc = "The C core of Pillion's builder.",
    .m_size = sizeof(struct core_state),
    .m_methods = core_methods,
    .m_slots = core_slots,
    .m_clear = core_clear,
};

PyMODINIT_FUNC PyInit__core(void) {
    return PyModuleDef_Init(&core_module);
}
