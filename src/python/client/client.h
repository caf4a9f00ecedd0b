/* SPDX-License-Identifier: Apache-2.0
 * Shared by the files of pillion._client, the client of libpillion for Python. Arrays are passed through their own
 * interfaces (docs/adr/0013-arrays-by-their-own-interfaces.md); numpy only creates arrays, and gives access to objects
 * without such an interface (numpy.asarray). Stable ABI of CPython 3.9 and later. Everything runs under the GIL unless
 * stated otherwise. */
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "ingest/arrow.h"
#include "pillion/client.h"
#include "schema/scalar.h"

#include <stdbool.h>

struct client_state {
    /* Set when a client is opened, because importing the module must not need numpy. */
    PyObject *empty;                                    /* numpy.empty */
    PyObject *asarray;                                  /* numpy.asarray */
    PyObject *float32, *float64, *uint8, *datetime64;   /* dtypes */
    PyObject *error_of;                                 /* pillion.errors.error_of(result, text): makes an exception */
    PyObject *missing_join_key;                         /* pillion.errors.MissingJoinKeyError */
    PyObject *from_us;                                  /* pillion.times.from_us(microseconds): makes a datetime */
    PyObject *to_us;                                    /* pillion.times.to_us(datetime): its microseconds */
    PyObject *columns_of;                               /* pillion.frames.columns_of(frame): a dict of its columns */
    PyObject *ndarray, *masked_array, *datetime64_type; /* types of numpy */
    PyObject *datetime_data;                            /* numpy.datetime_data */
    PyObject *datetime_type;                            /* datetime.datetime */
    PyObject *array_struct, *dlpack, *arrow_array, *arrow_stream;
};
extern PyType_Spec pil_python_client_spec; /* type.c */

/* Imports numpy once. -1: exception. */
int pil_python_import_numpy(struct client_state *state);
/* Sets the exception of the class that belongs to the result. Returns NULL. */
PyObject *pil_python_fail(struct client_state *state, pillion_result result, const char *text);

/* ---- array.c */

/* An array as numpy or DLPack describes it; valid while `owner` is held. */
struct python_array {
    PyObject *owner;
    uint8_t *data;
    int64_t stride; /* bytes from one row to the next */
    int64_t rows, columns;
    int dimensions;
    int item_bytes;
    char kind; /* as in numpy: i, u, f, b, S, U, M, O … */
    bool is_contiguous, is_writable, is_native;
};
/* 1: borrowed (release it); 0: the object has no such interface; -1: exception. */
int pil_python_array_borrow_struct(struct client_state *state, PyObject *object, struct python_array *ret_array);
int pil_python_array_borrow_dlpack(struct client_state *state, PyObject *object, struct python_array *ret_array);
void pil_python_array_release(struct python_array *array);
/* A new numpy array [rows] or [rows][columns]; columns < 0: one dimension. */
PyObject *pil_python_array_create(struct client_state *state, Py_ssize_t rows, Py_ssize_t columns, PyObject *dtype);

/* ---- key_column.c */

/* One key column in memory that libpillion reads: another library's (owner) or its own. */
struct python_key_column {
    PyObject *join_key; /* borrowed; str, for messages */
    pil_scalar type;    /* of the join key */
    PyObject *owner;
    struct python_array array;
    void *values;
    int64_t *offsets;
    size_t value_bytes, value_capacity; /* while the column grows */
    size_t count, capacity;
    pillion_key_kind kind; /* INT64, BYTES64 or TIME_US; as long as `count` is 0 it may change */
};
/* A column holds integers, byte strings or times: appending another kind fails. -1: exception. */
int pil_python_key_append_int(struct python_key_column *column, int64_t value);
int pil_python_key_append_bytes(struct python_key_column *column, const void *bytes, size_t len);
int pil_python_key_append_time(struct python_key_column *column, int64_t us);
/* Appends `count` integers of kind 'i' or 'u' and `item_bytes` bytes, each `stride` bytes after the previous one. */
int pil_python_key_append_ints(struct python_key_column *column, const uint8_t *data, size_t count, int64_t stride,
                               int item_bytes, char kind);

/* One integer of kind 'i' or 'u'. */
int64_t pil_python_key_load_int(const uint8_t *at, int item_bytes, char kind);
/* Raises: "join key KEY, row ROW: " and what the format says. Returns -1. */
int pil_python_key_fail(const struct python_key_column *column, PyObject *exception, size_t row, const char *format,
                        ...);
/* Raises that a key may not be missing: `item` is None, NaT, null …. Returns -1. */
int pil_python_key_missing(const struct python_key_column *column, size_t row, const char *item);
/* Raises that an item of that type is no key of this column's type. Returns -1. */
int pil_python_key_refuse(const struct python_key_column *column, size_t row, PyObject *item);

/* ---- key_time.c */

/* A unit of time: microseconds are ticks * multiply / divide. */
struct python_time_unit {
    const char *name; /* "ns" */
    int64_t multiply, divide;
};
/* "s", "ms", "us", "ns" … as numpy and Arrow abbreviate them. Returns false for units that are no fixed time, such as
 * months, and for unknown ones. */
bool pil_python_time_unit(const char *name, int64_t count, struct python_time_unit *ret_unit);
/* Appends one time of that unit. An error when it is not a whole number of microseconds. */
int pil_python_key_append_ticks(struct python_key_column *column, int64_t ticks, struct python_time_unit unit);
/* Appends the elements of a datetime64 array, of which column->array is the memory. */
int pil_python_key_append_datetime64(struct client_state *state, PyObject *array, struct python_key_column *column);
/* Appends a datetime, pandas Timestamp or datetime64. 1: appended; 0: it is none of these; -1: exception. */
int pil_python_key_append_moment(struct client_state *state, PyObject *item, struct python_key_column *column);

/* ---- keys.c */

struct python_plan;
struct python_keys {
    struct pillion_keys keys;
    struct python_key_column columns[PILLION_KEYS_MAX];
};
/* Points at the keys, or copies them. is_strict: a dict must not have other columns. -1: exception, and nothing is
 * held. */
int pil_python_keys_take(struct client_state *state, const struct python_plan *plan, PyObject *object, bool is_strict,
                         struct python_keys *ret_keys);
void pil_python_keys_release(struct python_keys *keys);

/* ---- arrow.c */

/* Takes keys from __arrow_c_array__ or __arrow_c_stream__. 1: taken; 0: the object has neither; -1: exception. */
int pil_python_arrow_keys(struct client_state *state, PyObject *object, struct python_key_column *column,
                          struct pillion_key_column *ret_column);

/* ---- plan.c */

/* A connection, shared by its Client and the plans. */
struct python_handle {
    struct pillion_client *client;
    size_t references;
};
void pil_python_handle_release(struct python_handle *handle);

struct python_plan {
    struct python_handle *handle;
    struct pillion_plan *plan;
    struct pillion_plan_info info;
    PyObject *join_keys; /* tuple of str */
    pil_scalar join_key_types[PILLION_KEYS_MAX];
    PyObject *views; /* tuple of "project/view" */
    PyObject *cache_key;
    uint32_t dtype;
    bool is_over;      /* the next call makes a new plan */
    bool is_mapped;    /* the last call was */
    bool was_stale;    /* the last call's answer was stale, although the call could refresh */
    int64_t looked_ns; /* when a call could last refresh */
};
/* The arguments for a plan, as the caller gave them. NULL: not given. */
struct python_plan_wish {
    PyObject *service, *defaults, *max_age, *dtype, *min_release;
    bool is_columns;
};
/* Finds the plan in `cache` (a dict), or makes it and puts it there. A new reference to its capsule; NULL:
 * exception. */
PyObject *pil_python_plan_find(struct client_state *state, struct python_handle *handle, PyObject *cache,
                               const struct python_plan_wish *wish, struct python_plan **ret_plan);
/* Call after a read: notes whether the plan is outdated, as when a release has changed its width. */
void pil_python_plan_note(struct python_plan *plan, pillion_result result);
/* Releases the capsule, and removes it from the cache if the plan is outdated. */
void pil_python_plan_leave(PyObject *cache, PyObject *capsule);
/* (((view, feature, type, first, count) …), width, {join key: type}) */
PyObject *pil_python_plan_describe(struct client_state *state, const struct python_plan *plan);
/* A tuple of `count` names, each `stride` bytes after the previous one. */
PyObject *pil_python_names(const char *first, size_t stride, uint32_t count);
/* A tuple of the types of the join keys, as str. */
PyObject *pil_python_plan_key_types(const struct python_plan *plan);
/* pillion_plan_features, allocated; NULL: exception. */
struct pillion_feature_info *pil_python_plan_features(struct client_state *state, const struct python_plan *plan);

/* ---- read.c */

/* Fills `output` and `answer`. Keeps the GIL for small calls, when that is faster for all threads. -1: exception. */
int pil_python_read(struct client_state *state, struct python_plan *plan, const struct python_keys *keys,
                    struct pillion_output *output, struct pillion_answer *answer);
/* (is_mapped, staleness in seconds, ((view, release, generation, worst age or None, not found, created in µs) …)) */
PyObject *pil_python_answer(const struct python_plan *plan, const struct pillion_answer *answer);

/* ---- columns.c */

/* Features: ((view, feature, type, [value …], statuses as bytes, [event time in whole seconds, 0: none …]) …) NULL:
 * exception. */
PyObject *pil_python_columns(struct client_state *state, struct python_plan *plan, const struct python_keys *keys);
