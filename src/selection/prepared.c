/* SPDX-License-Identifier: Apache-2.0 */
#include "selection/prepared.h"

#include "base/hash.h"
#include "base/panic.h"

#include <stdlib.h>

enum { BUCKETS = 256, NAME_OVERHEAD = 16 /* of an allocation */ };

struct entry {
    struct entry *next;
    struct pil_bytes name; /* stored after the entry */
    uint64_t rights;       /* for which the name means this plan (pil_scope_name_rights) */
    struct pil_prepared_variant variant;
    uint64_t projects_number;
    uint64_t batch; /* the batch that last used the entry; an entry in use by the current batch is not changed */
    struct pil_prepared *prepared;
};

struct pil_prepared_cache {
    struct entry *buckets[BUCKETS];
    uint32_t entry_count;
};

/* ---- Plans. */

/* Finds the views of the plan's slots. The names in a spec are full names or were resolved before, so the rights of the
 * peer do not matter here. */
static pil_status find_views(const struct pil_scope *scope, struct pil_prepared *prepared, struct pil_error *error) {
    struct pil_scope everything = *scope;
    everything.readable = UINT64_MAX;
    for (uint32_t slot = 0; slot < prepared->spec->view_count; slot++) {
        struct pil_bytes name = pil_bytes_from_text(prepared->spec->views[slot]);
        pil_status status = pil_scope_view(&everything, name, &prepared->views[slot].view);
        if (status != PIL_STATUS_OK) {
            return pil_scope_explain(status, name, error);
        }
        prepared->view_bits |= 1ull << prepared->views[slot].view->index;
    }
    return PIL_STATUS_OK;
}

pil_status pil_prepared_create(const struct pil_scope *scope, struct pil_vector_spec **spec,
                               struct pil_prepared_variant variant, struct pil_prepared **ret_prepared,
                               struct pil_error *ret_error) {
    uint32_t feature_max = (*spec)->name_count;
    struct pil_prepared *prepared = calloc(1, sizeof *prepared + feature_max * sizeof prepared->features[0]);
    if (prepared == NULL) {
        return pil_fail(ret_error, PIL_STATUS_NO_MEMORY, "no memory for a plan");
    }
    prepared->spec = *spec;
    prepared->variant = variant;
    prepared->selection = (struct pil_selection){.views = prepared->views,
                                                 .features = prepared->features,
                                                 .view_max = PIL_VECTOR_VIEWS_MAX,
                                                 .feature_max = feature_max};
    pil_status status = find_views(scope, prepared, ret_error);
    if (status != PIL_STATUS_OK) {
        free(prepared);
        return status;
    }
    *ret_prepared = prepared;
    *spec = NULL;
    return PIL_STATUS_OK;
}

static void drop_plan(struct pil_prepared *prepared) {
    struct pil_vector_plan *plan = (struct pil_vector_plan *)prepared->plan; /* the plan is ours; it is const for
                                                                              * callers only */
    pil_vector_plan_destroy(&plan);
    prepared->plan = NULL;
    prepared->selection.view_count = prepared->selection.feature_count = 0;
}

void pil_prepared_destroy(struct pil_prepared **prepared) {
    if (*prepared != NULL) {
        drop_plan(*prepared);
        pil_vector_spec_destroy(&(*prepared)->spec);
        free(*prepared);
        *prepared = NULL;
    }
}

uint64_t pil_prepared_bytes(const struct pil_prepared *prepared) {
    const struct pil_vector_plan *plan = NULL;
    const struct pil_vector_spec *spec = prepared->spec;
    uint64_t feature_bytes = sizeof prepared->features[0] + sizeof spec->names[0] + sizeof plan->columns[0] +
                             sizeof plan->by_view[0] + sizeof plan->runs[0] + sizeof plan->defaults[0];
    uint64_t bytes = sizeof *prepared + sizeof *spec + sizeof *plan + spec->name_count * feature_bytes;
    for (uint32_t i = 0; i < spec->name_count; i++) {
        bytes += strlen(spec->names[i].feature) + NAME_OVERHEAD;
    }
    return bytes;
}

static pil_status compile(struct pil_prepared *prepared, const struct pil_serving *const *servings,
                          struct pil_error *error) {
    const struct pil_view *schemas[PIL_VECTOR_VIEWS_MAX];
    struct pil_vector_plan *plan = NULL;
    for (uint32_t slot = 0; slot < prepared->spec->view_count; slot++) {
        schemas[slot] = servings[slot]->chain.view;
    }
    drop_plan(prepared);
    PIL_TRY(pil_vector_plan_create(prepared->spec, schemas, prepared->variant.dtype, prepared->variant.need_tensor,
                                   &plan, error));
    prepared->plan = plan;
    for (uint32_t slot = 0; slot < plan->view_count; slot++) {
        prepared->views[slot].serving = servings[slot];
        prepared->views[slot].line_mask = plan->views[slot].line_mask;
        prepared->generations[slot] = servings[slot]->release->generation;
    }
    for (uint32_t i = 0; i < plan->feature_count; i++) {
        prepared->features[i] =
            (struct pil_selection_feature){.slot = plan->columns[i].view, .feature = plan->columns[i].feature};
    }
    prepared->selection.view_count = plan->view_count;
    prepared->selection.feature_count = plan->feature_count;
    return PIL_STATUS_OK;
}

pil_status pil_prepared_refresh(struct pil_scope *scope, struct pil_prepared *prepared, struct pil_error *ret_error) {
    const struct pil_serving *servings[PIL_VECTOR_VIEWS_MAX];
    bool is_same = prepared->plan != NULL;
    for (uint32_t slot = 0; slot < prepared->spec->view_count; slot++) {
        const struct pil_cache_view *view = prepared->views[slot].view;
        servings[slot] = pil_scope_serving(scope, view);
        if (servings[slot] == NULL && !pil_cache_view_is_served(view)) {
            return pil_fail(ret_error, PIL_STATUS_NOT_FOUND, "view %s is not served here", prepared->spec->views[slot]);
        }
        if (servings[slot] == NULL) {
            return pil_fail(ret_error, PIL_STATUS_AGAIN, "view %s has no release loaded yet",
                            prepared->spec->views[slot]);
        }
        is_same = is_same && prepared->generations[slot] == servings[slot]->release->generation;
    }
    return is_same ? PIL_STATUS_OK : compile(prepared, servings, ret_error);
}

pil_status pil_prepared_may_read(struct pil_scope *scope, const struct pil_prepared *prepared,
                                 struct pil_error *ret_error) {
    uint64_t denied = prepared->view_bits & ~scope->readable;
    if (denied == 0) {
        return PIL_STATUS_OK;
    }
    const struct pil_cache_view *view = pil_cache_view_at(scope->cache, (uint32_t)__builtin_ctzll(denied));
    scope->denied_counts[view->index] += prepared->plan != NULL ? prepared->plan->feature_count : 1;
    return pil_fail(ret_error, PIL_STATUS_DENIED, "you may not read view %s/%s", view->project, view->name);
}

/* ---- Services. */

/* All features of a view, as a service. */
static pil_status spec_of_view(const struct pil_scope *scope, const struct pil_cache_view *view,
                               struct pil_vector_spec **ret_spec, struct pil_error *error) {
    const struct pil_project *project = pil_projects_find(scope->projects, view->project);
    const struct pil_project_view *found = project != NULL ? pil_project_view_find(project, view->name) : NULL;
    if (found == NULL) {
        return pil_fail(error, PIL_STATUS_AGAIN, "project %s with view %s is not applied yet", view->project,
                        view->name);
    }
    struct pil_service all = {.name = found->view->name, .feature_count = found->view->feature_count};
    all.features = calloc(all.feature_count, sizeof all.features[0]);
    if (all.features == NULL) {
        return pil_fail(error, PIL_STATUS_NO_MEMORY, "no memory for a plan");
    }
    for (uint32_t i = 0; i < all.feature_count; i++) {
        all.features[i] =
            (struct pil_service_feature){.view_index = (uint32_t)(found - project->views), .feature_index = i};
    }
    pil_status status = pil_vector_spec_of_service(project, &all, ret_spec, error);
    free(all.features);
    return status;
}

pil_status pil_prepared_spec(struct pil_scope *scope, struct pil_bytes name, struct pil_vector_spec **ret_spec,
                             struct pil_error *ret_error) {
    const struct pil_project *project = NULL;
    const struct pil_service *service = NULL;
    const struct pil_cache_view *view = NULL;
    pil_status status = pil_scope_service(scope, name, &project, &service);
    bool is_service = status == PIL_STATUS_OK,
         may_read = is_service && pil_scope_may_read_service(scope, project, service);
    if (!is_service && status != PIL_STATUS_NOT_FOUND) {
        return pil_scope_explain_service(status, name, ret_error);
    }
    if (!may_read) { /* a view that the peer may read comes before a service that it may not */
        status = pil_scope_view(scope, name, &view);
    }
    if (is_service && view == NULL) {
        return pil_vector_spec_of_service(project, service, ret_spec, ret_error);
    }
    return status == PIL_STATUS_OK          ? spec_of_view(scope, view, ret_spec, ret_error)
           : status == PIL_STATUS_NOT_FOUND ? pil_scope_explain_service(status, name, ret_error)
                                            : pil_scope_explain(status, name, ret_error);
}

static pil_status prepare_service(const struct pil_scope *scope, struct pil_bytes name,
                                  struct pil_prepared_variant variant, struct pil_prepared **ret_prepared,
                                  struct pil_error *error) {
    const struct pil_project *project = NULL;
    const struct pil_service *service = NULL;
    struct pil_vector_spec *spec = NULL;
    pil_status status = pil_scope_service(scope, name, &project, &service);
    if (status != PIL_STATUS_OK) {
        return pil_scope_explain_service(status, name, error);
    }
    PIL_TRY(pil_vector_spec_of_service(project, service, &spec, error));
    status = pil_prepared_create(scope, &spec, variant, ret_prepared, error);
    pil_vector_spec_destroy(&spec);
    if (status == PIL_STATUS_NOT_FOUND) {
        return pil_fail_in(error, PIL_STATUS_CONFLICT, "service %s", service->name);
    }
    return status;
}

/* ---- The cache. */

struct pil_prepared_cache *pil_prepared_cache_create(void) {
    return calloc(1, sizeof(struct pil_prepared_cache));
}

/* Removes the entry from its list and destroys it. */
static void drop_entry(struct pil_prepared_cache *cache, struct entry **at) {
    struct entry *entry = *at;
    PIL_ASSERT(cache->entry_count > 0);
    *at = entry->next;
    pil_prepared_destroy(&entry->prepared);
    free(entry);
    cache->entry_count--;
}

void pil_prepared_cache_destroy(struct pil_prepared_cache **cache) {
    for (uint32_t i = 0; *cache != NULL && i < BUCKETS; i++) {
        while ((*cache)->buckets[i] != NULL) {
            drop_entry(*cache, &(*cache)->buckets[i]);
        }
    }
    free(*cache);
    *cache = NULL;
}

static struct entry **bucket_of(struct pil_prepared_cache *cache, struct pil_bytes name) {
    return &cache->buckets[pil_hash_block(name) % BUCKETS];
}

static bool is_same_variant(struct pil_prepared_variant a, struct pil_prepared_variant b) {
    return a.dtype == b.dtype && a.need_tensor == b.need_tensor;
}

static struct entry **find_entry(struct pil_prepared_cache *cache, const struct pil_scope *scope, struct pil_bytes name,
                                 struct pil_prepared_variant variant) {
    uint64_t rights = pil_scope_name_rights(scope, name);
    struct entry **at = bucket_of(cache, name);
    while (*at != NULL && !(pil_bytes_equal((*at)->name, name) && (*at)->rights == rights &&
                            is_same_variant((*at)->variant, variant))) {
        at = &(*at)->next;
    }
    return at;
}

static void drop_oldest(struct pil_prepared_cache *cache) {
    struct entry **oldest = NULL;
    for (uint32_t i = 0; i < BUCKETS; i++) {
        for (struct entry **at = &cache->buckets[i]; *at != NULL; at = &(*at)->next) {
            oldest = oldest == NULL || (*at)->batch < (*oldest)->batch ? at : oldest;
        }
    }
    drop_entry(cache, oldest);
}

static pil_status add_entry(struct pil_prepared_cache *cache, const struct pil_scope *scope, struct pil_bytes name,
                            struct pil_prepared_variant variant, struct entry **ret_entry, struct pil_error *error) {
    struct pil_prepared *prepared = NULL;
    uint64_t projects_number = pil_projects_number(scope->projects); /* before the project is read */
    PIL_TRY(prepare_service(scope, name, variant, &prepared, error));
    struct entry *entry = malloc(sizeof *entry + name.len), **bucket = bucket_of(cache, name);
    if (entry == NULL) {
        pil_prepared_destroy(&prepared);
        return pil_fail(error, PIL_STATUS_NO_MEMORY, "no memory for a plan");
    }
    if (cache->entry_count == PIL_PREPARED_CACHE_ENTRIES) {
        drop_oldest(cache);
    }
    memcpy(entry + 1, name.data, name.len);
    *entry = (struct entry){.next = *bucket,
                            .name = pil_bytes_from(entry + 1, name.len),
                            .rights = pil_scope_name_rights(scope, name),
                            .variant = variant,
                            .projects_number = projects_number,
                            .prepared = prepared};
    *bucket = *ret_entry = entry;
    cache->entry_count++;
    return PIL_STATUS_OK;
}

/* NOT_FOUND here means that a feature of the project is not in the live release; for the client the service exists. */
static pil_status service_status(pil_status status) {
    return status == PIL_STATUS_NOT_FOUND ? PIL_STATUS_CONFLICT : status;
}

pil_status pil_prepared_service(struct pil_prepared_cache *cache, struct pil_scope *scope, struct pil_bytes service,
                                struct pil_prepared_variant variant, struct pil_prepared **ret_prepared,
                                struct pil_error *ret_error) {
    struct entry **at = find_entry(cache, scope, service, variant), *entry = *at;
    bool is_in_use = entry != NULL && entry->batch == scope->batch_number;
    if (entry != NULL && !is_in_use && entry->projects_number != pil_projects_number(scope->projects)) {
        drop_entry(cache, at);
        entry = NULL;
    }
    if (entry == NULL) {
        PIL_TRY(add_entry(cache, scope, service, variant, &entry, ret_error));
    }
    pil_status status = is_in_use ? PIL_STATUS_OK : pil_prepared_refresh(scope, entry->prepared, ret_error);
    if (status == PIL_STATUS_OK) {
        entry->batch = scope->batch_number; /* in use even if this peer is denied: other requests of the batch may be
                                             * allowed */
        status = pil_prepared_may_read(scope, entry->prepared, ret_error);
    }
    if (status != PIL_STATUS_OK) {
        return pil_fail_in(ret_error, service_status(status), "service %.*s", (int)service.len,
                           (const char *)service.data);
    }
    *ret_prepared = entry->prepared;
    return PIL_STATUS_OK;
}
