/* SPDX-License-Identifier: Apache-2.0
 * Vector plans that a worker keeps prepared: those of feature services, in a cache by name, and those that a connection
 * owns. A plan is compiled once for the releases it reads and again when one of them, or the project, has changed; a
 * steady state allocates nothing. What a peer may read is not in here: whoever answers with a plan asks
 * pil_prepared_may_read. Thread: the worker. */
#pragma once

#include "selection/selection.h"
#include "vector/plan.h"

/* Variants of one selection of features. */
struct pil_prepared_variant {
    pil_vector_dtype dtype;
    bool need_tensor; /* strings, bytes and lists are refused; else they are columns without elements */
};

/* What is asked for, compiled for the releases of the batch in which it was last refreshed; valid for that batch. */
struct pil_prepared {
    const struct pil_vector_plan *plan; /* NULL before the first refresh that went well */
    struct pil_selection selection;     /* the same: its slots and features are the plan's, in order */
    /* Private. */
    struct pil_vector_spec *spec;
    struct pil_prepared_variant variant;
    uint64_t view_bits;                         /* one for each view */
    uint64_t generations[PIL_VECTOR_VIEWS_MAX]; /* of the releases it was compiled for, which may be gone */
    struct pil_selection_view views[PIL_VECTOR_VIEWS_MAX];
    struct pil_selection_feature features[]; /* [spec->name_count] */
};

/* Takes the spec (and NULLs the pointer) when it returns OK. NOT_FOUND: a view is not served here. NO_MEMORY. The views
 * that the peer may not read are no obstacle. */
pil_status pil_prepared_create(const struct pil_scope *scope, struct pil_vector_spec **spec,
                               struct pil_prepared_variant variant, struct pil_prepared **ret_prepared,
                               struct pil_error *ret_error) PIL_CHECKED;
void pil_prepared_destroy(struct pil_prepared **prepared);
/* To be called for each request. AGAIN: a view has no release yet. Else as pil_vector_plan_create: NOT_FOUND,
 * UNSUPPORTED, TOO_LARGE; the plan is NULL then. */
pil_status pil_prepared_refresh(struct pil_scope *scope, struct pil_prepared *prepared,
                                struct pil_error *ret_error) PIL_CHECKED;
/* DENIED: the peer of the request may not read one of the views. One AND. */
pil_status pil_prepared_may_read(struct pil_scope *scope, const struct pil_prepared *prepared,
                                 struct pil_error *ret_error) PIL_CHECKED;

/* ---- Of services, by name. */

/* So many plans are kept: at least as many as one batch has requests. */
enum { PIL_PREPARED_CACHE_ENTRIES = 1024 };

struct pil_prepared_cache;
/* NULL when there is no memory. */
struct pil_prepared_cache *pil_prepared_cache_create(void);
void pil_prepared_cache_destroy(struct pil_prepared_cache **cache);

/* The refreshed plan of a service, "service" or "project/service"; it is the cache's. NOT_FOUND: there is no such
 * service. INVALID: several projects have one. AGAIN: a view of it has no release yet. DENIED: the peer may not read
 * one of its views. CONFLICT (a view is not served here, or its release lacks the feature), UNSUPPORTED, TOO_LARGE: it
 * has no such vector. NO_MEMORY. */
pil_status pil_prepared_service(struct pil_prepared_cache *cache, struct pil_scope *scope, struct pil_bytes service,
                                struct pil_prepared_variant variant, struct pil_prepared **ret_prepared,
                                struct pil_error *ret_error) PIL_CHECKED;
