/* SPDX-License-Identifier: Apache-2.0
 * Prepared plans of a worker: plans of feature services, in a cache by name, and plans that a connection owns. A plan
 * is compiled once for the releases that it reads, and again when one of them or the project has changed; a steady
 * state allocates nothing. Peers share plans, so code that answers with one must call pil_prepared_may_read; those
 * under a bare name are shared by peers with the same rights, for whom it means the same. Thread: the worker. */
#pragma once

#include "selection/selection.h"
#include "vector/plan.h"

/* Variants of one selection of features. */
struct pil_prepared_variant {
    pil_vector_dtype dtype;
    bool need_tensor; /* true: strings, bytes and lists are refused; false: they are columns without elements */
};

/* The requested features, compiled for the releases of the batch that last refreshed the plan; valid for that batch. */
struct pil_prepared {
    const struct pil_vector_plan *plan; /* NULL before the first successful refresh */
    struct pil_selection selection;     /* empty before it; its slots and features are those of the plan, in order */
    /* Private. */
    struct pil_vector_spec *spec;
    struct pil_prepared_variant variant;
    uint64_t view_bits;                         /* one bit for each view */
    uint64_t generations[PIL_VECTOR_VIEWS_MAX]; /* of the releases that the plan was compiled for, which may be gone */
    struct pil_selection_view views[PIL_VECTOR_VIEWS_MAX];
    struct pil_selection_feature features[]; /* [spec->name_count] */
};

/* Takes the spec (and NULLs the pointer) when it returns OK. NOT_FOUND: a view is not served here. NO_MEMORY. Views
 * that the peer may not read do not matter. */
pil_status pil_prepared_create(const struct pil_scope *scope, struct pil_vector_spec **spec,
                               struct pil_prepared_variant variant, struct pil_prepared **ret_prepared,
                               struct pil_error *ret_error) PIL_CHECKED;
void pil_prepared_destroy(struct pil_prepared **prepared);
/* Bytes that it holds once it is compiled, about. */
uint64_t pil_prepared_bytes(const struct pil_prepared *prepared);
/* To be called for each request. AGAIN: a view has no release yet. NOT_FOUND: a view is no longer served. If it must
 * compile, also the errors of pil_vector_plan_create (NOT_FOUND, UNSUPPORTED, TOO_LARGE, NO_MEMORY), after which the
 * plan is NULL. */
pil_status pil_prepared_refresh(struct pil_scope *scope, struct pil_prepared *prepared,
                                struct pil_error *ret_error) PIL_CHECKED;
/* DENIED: the peer of the request may not read one of the views. Cost: one AND. */
pil_status pil_prepared_may_read(struct pil_scope *scope, const struct pil_prepared *prepared,
                                 struct pil_error *ret_error) PIL_CHECKED;

/* The features of the service of that name, or all features of the view: a service comes first, unless the peer may
 * read the view only. NOT_FOUND: there is neither. INVALID: the peer may read several of that name. DENIED: it may not
 * read the view. AGAIN: the view's project is not applied yet. NO_MEMORY. */
pil_status pil_prepared_spec(struct pil_scope *scope, struct pil_bytes name, struct pil_vector_spec **ret_spec,
                             struct pil_error *ret_error) PIL_CHECKED;

/* ---- Plans of services, by name. */

/* Number of plans kept: at least as many as a batch has requests. */
enum { PIL_PREPARED_CACHE_ENTRIES = 1024 };

struct pil_prepared_cache;
/* NULL when memory is short. */
struct pil_prepared_cache *pil_prepared_cache_create(void);
void pil_prepared_cache_destroy(struct pil_prepared_cache **cache);

/* The refreshed plan of a service, "service" or "project/service"; the cache owns the plan. NOT_FOUND: no project has
 * such a service. INVALID: the peer may read several of that name. AGAIN: one of its views has no release yet.
 * DENIED: the peer may not read one of its views. CONFLICT: a view is not served here, or its release lacks a feature.
 * UNSUPPORTED, TOO_LARGE: as pil_vector_plan_create. NO_MEMORY. */
pil_status pil_prepared_service(struct pil_prepared_cache *cache, struct pil_scope *scope, struct pil_bytes service,
                                struct pil_prepared_variant variant, struct pil_prepared **ret_prepared,
                                struct pil_error *ret_error) PIL_CHECKED;
