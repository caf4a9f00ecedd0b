/* SPDX-License-Identifier: Apache-2.0
 * Runs a read, decides whether it keeps the GIL, and builds the answer for Python. */
#include "python/client/client.h"

#include <time.h>

/* A mapped call with this many values takes about as long as other threads would wait for the GIL to change hands
 * twice. */
enum { SMALL_VALUES = 1 << 14 };
/* Small calls do upkeep (unmapping old releases, reconnecting) at most this often. */
static const int64_t look_every_ns = 10000000;

static int64_t coarse_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* A call that finds a new release waits for it, and must not make other threads wait, too. So a small call keeps the
 * GIL and reads the mapped releases; if these are not current, the call is repeated without the GIL, where it may wait.
 * While the server is gone, repeating would not help, and is tried only every 10 ms. */
int pil_python_read(struct client_state *state, struct python_plan *plan, const struct python_keys *keys,
                    struct pillion_output *output, struct pillion_answer *answer) {
    pillion_result result = PILLION_NOT_READY;
    int64_t now_ns = coarse_ns();
    bool is_small = keys->keys.count <= SMALL_VALUES && keys->keys.count * plan->info.width <= SMALL_VALUES;
    bool is_done = false;
    answer->size = sizeof *answer;
    output->size = sizeof *output;
    if (plan->is_mapped && is_small && now_ns - plan->looked_ns < look_every_ns) {
        output->flags = PILLION_NO_REFRESH;
        result = pillion_get(plan->plan, &keys->keys, output, answer);
        is_done = result == PILLION_INVALID ||
                  (result == PILLION_OK && answer->is_mapped && (answer->staleness_us == 0 || plan->was_stale));
    }
    if (!is_done) {
        output->flags = 0;
        Py_BEGIN_ALLOW_THREADS
        result = pillion_get(plan->plan, &keys->keys, output, answer);
        Py_END_ALLOW_THREADS
        plan->looked_ns = now_ns;
        plan->is_mapped = result == PILLION_OK && answer->is_mapped;
        plan->was_stale = result == PILLION_OK && answer->staleness_us != 0;
    }
    pil_python_plan_note(plan, result);
    if (result != PILLION_OK) {
        (void)pil_python_fail(state, result, answer->error.text);
        return -1;
    }
    return 0;
}

static PyObject *view_answer(const struct python_plan *plan, const struct pillion_answer *answer, uint32_t i) {
    const struct pillion_view_answer *view = &answer->views[i];
    PyObject *name = PyTuple_GetItem(plan->views, i);
    PyObject *age = Py_None;
    if (view->worst_age_us >= 0) {
        age = PyFloat_FromDouble((double)view->worst_age_us / 1e6);
    } else {
        Py_INCREF(age);
    }
    return name != NULL ? Py_BuildValue("(OsKNKL)", name, view->release, (unsigned long long)view->generation, age,
                                        (unsigned long long)view->not_found, (long long)view->created_us)
                        : NULL;
}

PyObject *pil_python_answer(const struct python_plan *plan, const struct pillion_answer *answer) {
    PyObject *views = PyTuple_New(answer->view_count);
    for (uint32_t i = 0; views != NULL && i < answer->view_count; i++) {
        PyObject *view = view_answer(plan, answer, i);
        if (view == NULL || PyTuple_SetItem(views, i, view) != 0) {
            Py_CLEAR(views);
        }
    }
    if (views == NULL) {
        return NULL;
    }
    PyObject *is_mapped = answer->is_mapped ? Py_True : Py_False;
    return Py_BuildValue("(OdN)", is_mapped, (double)answer->staleness_us / 1e6, views);
}
