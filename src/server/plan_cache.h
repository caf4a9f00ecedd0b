/* SPDX-License-Identifier: Apache-2.0
 * Compiled vector plans of one worker: those of feature services, kept here by name, and those that a connection owns.
 * A plan is compiled once for the releases it reads and again when one of them, or the project, has changed; a steady
 * state allocates nothing. Thread: the worker. */
#pragma once

#include "vector/default.h"

struct pil_cache_view;
struct pil_release;
struct pil_worker;

struct pil_plan_form {
    pil_vector_dtype dtype;
    bool need_tensor;   /* strings, bytes and lists are refused; else they are columns without elements */
    bool need_defaults; /* as payloads, for typed columns */
};

/* What is asked for, compiled for the releases of the batch in which it was last refreshed; valid for that batch. */
struct pil_planned {
    const struct pil_vector_plan *plan;  /* NULL before the first refresh that went well */
    struct pil_vector_default *defaults; /* [plan->feature_count]; NULL when the form needs none */
    /* By slot of the plan; the releases are those of pil_batch_live. */
    const struct pil_cache_view *views[PIL_VECTOR_VIEWS_MAX];
    const struct pil_release *releases[PIL_VECTOR_VIEWS_MAX];
    struct pil_planned *forgotten_next; /* the owner's list */
    /* Private. */
    struct pil_vector_spec *spec;
    struct pil_plan_form form;
    uint64_t generations[PIL_VECTOR_VIEWS_MAX]; /* of the releases it was compiled for, which may be gone */
};

/* Takes the spec (and NULLs the pointer) when it returns OK. NOT_FOUND: a view is not served here. */
pil_status pil_planned_create(struct pil_worker *worker, struct pil_vector_spec **spec, struct pil_plan_form form,
                              struct pil_planned **ret_planned, struct pil_error *ret_error) PIL_CHECKED;
void pil_planned_destroy(struct pil_planned **planned);
/* To be called for each request, after pil_batch_add. AGAIN: a view has no release yet. Else as pil_vector_plan_create:
 * NOT_FOUND, UNSUPPORTED, TOO_LARGE; the plan is NULL then. */
pil_status pil_planned_refresh(struct pil_worker *worker, struct pil_planned *planned,
                               struct pil_error *ret_error) PIL_CHECKED;

/* The refreshed plan of a service, "service" or "project/service"; it is the cache's. NOT_FOUND: there is no such
 * service. AGAIN: a view of it has no release yet. INVALID, CONFLICT (a view is not served here, or its release lacks
 * the feature), UNSUPPORTED, TOO_LARGE: it has no such vector. */
pil_status pil_plan_cache_service(struct pil_worker *worker, struct pil_bytes service, struct pil_plan_form form,
                                  struct pil_planned **ret_planned, struct pil_error *ret_error) PIL_CHECKED;

/* The project of that name; NULL: none is applied. Valid within this turn. */
const struct pil_project *pil_project_find(const struct pil_worker *worker, const char *name);
/* The service of that name and its project; without a project in the name the first served one that has it. NULL: there
 * is none. Valid within this turn. */
const struct pil_service *pil_service_find(const struct pil_worker *worker, struct pil_bytes name,
                                           const struct pil_project **ret_project);

struct pil_plan_cache;
struct pil_plan_cache *pil_plan_cache_create(void);
void pil_plan_cache_destroy(struct pil_plan_cache **cache);
