/* SPDX-License-Identifier: Apache-2.0
 * A store around another one that fails when it is told to: the nth call, or the calls that a function chooses, before
 * or after they took effect. All handles made from one share its plan; calls are counted over all of them. */
#pragma once

#include "base/panic.h"
#include "store/ops.h"

#include <stdlib.h>

#define FAULT_STORE __attribute__((unused)) static

typedef enum fault_op {
    FAULT_GET,
    FAULT_GET_RANGE,
    FAULT_STAT,
    FAULT_PUT,
    FAULT_REMOVE,
    FAULT_LIST,
    FAULT_RENEW,
    FAULT_OPEN_AGAIN
} fault_op;

struct fault_call {
    uint64_t index; /* the first one is 0 */
    fault_op op;
    const char *name;              /* of the object, or the prefix; "" */
    const struct pil_store *store; /* the handle */
};

/* OK: the call is made. */
struct fault {
    pil_status status;
    bool after; /* it fails although it took effect: the answer was lost */
};

struct fault_plan {
    atomic_uint_fast64_t calls;
    uint64_t fail_at; /* index of the call that fails; UINT64_MAX: none */
    struct fault fault;
    /* When it is not NULL it decides instead, and may do other things first: let time pass, change the store. */
    struct fault (*choose)(void *context, const struct fault_call *call);
    void *context;
};

struct fault_store {
    struct pil_store base;
    struct pil_store *inner; /* owned */
    struct fault_plan *plan; /* borrowed */
};

static struct pil_store *fault_inner(struct pil_store *store) {
    return ((struct fault_store *)store)->inner;
}

static struct fault fault_next(struct pil_store *store, fault_op op, const char *name) {
    struct fault_plan *plan = ((struct fault_store *)store)->plan;
    struct fault_call call = {.index = atomic_fetch_add(&plan->calls, 1), .op = op, .name = name, .store = store};
    if (plan->choose != NULL) {
        return plan->choose(plan->context, &call);
    }
    return call.index == plan->fail_at ? plan->fault : (struct fault){.status = PIL_STATUS_OK};
}

static pil_status fault_fail(pil_status status, const char *name, struct pil_error *error) {
    return pil_fail(error, status, "%s: injected fault: %s", name, pil_status_text(status));
}

/* Makes the call unless it is to fail before; its result unless it is to fail after. */
#define FAULT_CALL(store, op, name, error, call) \
    do { \
        struct fault fault_ = fault_next(store, op, name); \
        if (fault_.status != PIL_STATUS_OK && !fault_.after) { \
            return fault_fail(fault_.status, name, error); \
        } \
        pil_status status_ = (call); \
        return fault_.status == PIL_STATUS_OK || status_ != PIL_STATUS_OK ? status_ \
                                                                          : fault_fail(fault_.status, name, error); \
    } while (0)

/* Reads have no effect: they fail before, so that their outputs stay untouched. */
static pil_status fault_get(struct pil_store *store, const struct pil_store_get *get,
                            struct pil_store_content *ret_content, struct pil_error *error) {
    struct fault fault = fault_next(store, FAULT_GET, get->name);
    return fault.status != PIL_STATUS_OK ? fault_fail(fault.status, get->name, error)
                                         : pil_store_get_if_changed(fault_inner(store), get->name, get->bytes_max,
                                                                    get->if_not, ret_content, error);
}

static pil_status fault_get_range(struct pil_store *store, const struct pil_store_range *range, size_t *ret_len,
                                  struct pil_error *error) {
    FAULT_CALL(store, FAULT_GET_RANGE, range->name, error,
               pil_store_get_range(fault_inner(store), range, ret_len, error));
}

static pil_status fault_stat(struct pil_store *store, const char *name, uint64_t *ret_bytes,
                             struct pil_store_tag *ret_tag, struct pil_error *error) {
    FAULT_CALL(store, FAULT_STAT, name, error, pil_store_stat(fault_inner(store), name, ret_bytes, ret_tag, error));
}

static pil_status fault_put(struct pil_store *store, const char *name, struct pil_bytes content,
                            const struct pil_store_condition *condition, struct pil_store_tag *ret_tag,
                            struct pil_error *error) {
    FAULT_CALL(store, FAULT_PUT, name, error,
               pil_store_put(fault_inner(store), name, content, *condition, ret_tag, error));
}

static pil_status fault_remove(struct pil_store *store, const char *name, const struct pil_store_condition *condition,
                               struct pil_error *error) {
    FAULT_CALL(store, FAULT_REMOVE, name, error, pil_store_remove(fault_inner(store), name, *condition, error));
}

static pil_status fault_list(struct pil_store *store, const char *prefix, pil_store_visit_fn visit, void *context,
                             struct pil_error *error) {
    FAULT_CALL(store, FAULT_LIST, prefix, error, pil_store_list(fault_inner(store), prefix, visit, context, error));
}

static pil_status fault_renew(struct pil_store *store, struct pil_error *error) {
    FAULT_CALL(store, FAULT_RENEW, "", error, pil_store_renew(fault_inner(store), error));
}

static int fault_watch(struct pil_store *store, const char *prefix) {
    return pil_store_watch(fault_inner(store), prefix);
}

static void fault_changed(struct pil_store *store) {
    pil_store_changed(fault_inner(store));
}

static void fault_close(struct pil_store *store) {
    struct fault_store *fault = (struct fault_store *)store;
    pil_store_close(&fault->inner);
    free(store->url);
    free(store);
}

FAULT_STORE struct pil_store *fault_store_open(struct pil_store *inner, struct fault_plan *plan);

static pil_status fault_open_again(struct pil_store *store, struct pil_store **ret_store, struct pil_error *error) {
    struct fault fault = fault_next(store, FAULT_OPEN_AGAIN, "");
    struct pil_store *inner;
    if (fault.status != PIL_STATUS_OK) {
        return fault_fail(fault.status, "", error);
    }
    PIL_TRY(pil_store_open_again(fault_inner(store), &inner, error));
    *ret_store = fault_store_open(inner, ((struct fault_store *)store)->plan);
    return PIL_STATUS_OK;
}

/* Takes `inner`, which it closes with itself. */
FAULT_STORE struct pil_store *fault_store_open(struct pil_store *inner, struct fault_plan *plan) {
    static const struct pil_store_ops ops = {.get = fault_get,
                                             .get_range = fault_get_range,
                                             .stat = fault_stat,
                                             .put = fault_put,
                                             .remove = fault_remove,
                                             .list = fault_list,
                                             .open_again = fault_open_again,
                                             .renew = fault_renew,
                                             .watch = fault_watch,
                                             .changed = fault_changed,
                                             .close = fault_close};
    struct fault_store *store = calloc(1, sizeof *store);
    PIL_ASSERT(store != NULL);
    store->base = (struct pil_store){.ops = &ops, .url = strdup(pil_store_url(inner))};
    store->inner = inner;
    store->plan = plan;
    return &store->base;
}

/* A plan that fails nothing. */
#define FAULT_PLAN_NONE ((struct fault_plan){.fail_at = UINT64_MAX})
