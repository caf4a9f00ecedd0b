/* SPDX-License-Identifier: Apache-2.0
 * The functions that a kind of store implements; for src/store and for test stores. Each has the contract of the
 * function of the same name in store/store.h, which checks names, prefixes and cancellation before it calls. */
#pragma once

#include "store/store.h"

#include <stdatomic.h>

struct pil_store_get {
    const char *name;
    size_t bytes_max;
    const struct pil_store_tag *if_not; /* NULL: read unconditionally */
};

struct pil_store_ops {
    pil_status (*get)(struct pil_store *store, const struct pil_store_get *get, struct pil_store_content *ret_content,
                      struct pil_error *ret_error);
    pil_status (*get_range)(struct pil_store *store, const struct pil_store_range *range, size_t *ret_len,
                            struct pil_error *ret_error);
    pil_status (*stat)(struct pil_store *store, const char *name, uint64_t *ret_bytes, struct pil_store_tag *ret_tag,
                       struct pil_error *ret_error);
    pil_status (*put)(struct pil_store *store, const char *name, struct pil_bytes content,
                      const struct pil_store_condition *condition, struct pil_store_tag *ret_tag,
                      struct pil_error *ret_error);
    pil_status (*remove)(struct pil_store *store, const char *name, const struct pil_store_condition *condition,
                         struct pil_error *ret_error);
    pil_status (*list)(struct pil_store *store, const char *prefix, pil_store_visit_fn visit, void *context,
                       struct pil_error *ret_error);
    pil_status (*open_again)(struct pil_store *store, struct pil_store **ret_store, struct pil_error *ret_error);
    pil_status (*renew)(struct pil_store *store, struct pil_error *ret_error); /* NULL: nothing to renew */
    int (*watch)(struct pil_store *store, const char *prefix);                 /* NULL: callers must poll */
    void (*changed)(struct pil_store *store);                                  /* NULL if watch is NULL */
    void (*close)(struct pil_store *store);
};

/* The base of every implementation: first member of its struct. */
struct pil_store {
    const struct pil_store_ops *ops;
    char *url; /* owned: close frees it */
    /* Written by pil_store_cancel (any thread), read by the store's thread between blocks. Relaxed: no other data
     * depends on it. */
    atomic_bool is_cancelled;
};

static inline bool pil_store_is_cancelled(const struct pil_store *store) {
    return atomic_load_explicit(&store->is_cancelled, memory_order_relaxed);
}
pil_status pil_store_fail_cancelled(struct pil_error *error) PIL_CHECKED;
