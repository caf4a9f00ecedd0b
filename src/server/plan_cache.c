/* SPDX-License-Identifier: Apache-2.0 */
#include "server/plan_cache.h"
#include "server/internal.h"

#include <stdlib.h>

/* A batch has no more requests than the cache has entries: there is always one that this batch does not use. */
enum { BUCKETS = 256, ENTRIES_MAX = PIL_BATCH_REQUESTS_MAX };

struct entry {
    struct entry *next;
    struct pil_bytes name; /* behind the entry */
    struct pil_plan_form form;
    uint64_t project_number;
    uint64_t batch; /* in which it was last used: what is in use stays as it is */
    struct pil_planned *planned;
};

struct pil_plan_cache {
    struct entry *buckets[BUCKETS];
    uint32_t entry_count;
};

static void *allocate(size_t bytes) {
    void *memory = calloc(1, bytes);
    PIL_ASSERT(memory != NULL);
    return memory;
}

/* ---- Plans. */

pil_status pil_planned_create(struct pil_worker *worker, struct pil_vector_spec **spec, struct pil_plan_form form,
                              struct pil_planned **ret_planned, struct pil_error *ret_error) {
    struct pil_planned planned = {.spec = *spec, .form = form};
    for (uint32_t slot = 0; slot < planned.spec->view_count; slot++) {
        const char *name = planned.spec->views[slot];
        planned.views[slot] = pil_cache_view_find(worker->server->cache, pil_bytes_from_text(name));
        if (planned.views[slot] == NULL) {
            return pil_fail(ret_error, PIL_STATUS_NOT_FOUND, "view %s is not served here", name);
        }
    }
    *ret_planned = allocate(sizeof planned);
    **ret_planned = planned;
    *spec = NULL;
    return PIL_STATUS_OK;
}

static void drop_plan(struct pil_planned *planned) {
    struct pil_vector_plan *plan = (struct pil_vector_plan *)planned->plan; /* ours: others get it const */
    pil_vector_defaults_destroy(&planned->defaults, plan != NULL ? plan->feature_count : 0);
    pil_vector_plan_destroy(&plan);
    planned->plan = NULL;
}

void pil_planned_destroy(struct pil_planned **planned) {
    if (*planned != NULL) {
        drop_plan(*planned);
        pil_vector_spec_destroy(&(*planned)->spec);
        free(*planned);
        *planned = NULL;
    }
}

pil_status pil_planned_refresh(struct pil_worker *worker, struct pil_planned *planned, struct pil_error *ret_error) {
    const struct pil_view *schemas[PIL_VECTOR_VIEWS_MAX];
    const struct pil_release *releases[PIL_VECTOR_VIEWS_MAX];
    bool is_same = planned->plan != NULL;
    for (uint32_t slot = 0; slot < planned->spec->view_count; slot++) {
        releases[slot] = pil_batch_live(worker->batch, planned->views[slot]);
        if (releases[slot] == NULL) {
            return pil_fail(ret_error, PIL_STATUS_AGAIN, "view %s has no release loaded yet",
                            planned->spec->views[slot]);
        }
        schemas[slot] = releases[slot]->view;
        is_same = is_same && planned->generations[slot] == releases[slot]->generation;
    }
    if (is_same) {
        return PIL_STATUS_OK;
    }
    struct pil_vector_plan *plan = NULL;
    drop_plan(planned);
    PIL_TRY(pil_vector_plan_create(planned->spec, schemas, planned->form.dtype, planned->form.need_tensor, &plan,
                                   ret_error));
    planned->plan = plan;
    planned->defaults = planned->form.need_defaults ? pil_vector_defaults_create(plan) : NULL;
    for (uint32_t slot = 0; slot < plan->view_count; slot++) {
        planned->releases[slot] = releases[slot];
        planned->generations[slot] = releases[slot]->generation;
    }
    return PIL_STATUS_OK;
}

/* ---- Services. */

const struct pil_project *pil_project_find(const struct pil_worker *worker, const char *name) {
    for (uint32_t i = 0; i < PIL_SETTINGS_VIEWS_MAX; i++) {
        const struct pil_project *project = atomic_load_explicit(&worker->server->projects[i], memory_order_acquire);
        if (project == NULL || strcmp(project->name, name) == 0) {
            return project;
        }
    }
    return NULL;
}

const struct pil_service *pil_service_find(const struct pil_worker *worker, struct pil_bytes name,
                                           const struct pil_project **ret_project) {
    const struct pil_server *server = worker->server;
    const uint8_t *slash = name.len > 0 ? memchr(name.data, '/', name.len) : NULL;
    struct pil_bytes wanted = slash != NULL ? pil_bytes_from(name.data, (size_t)(slash - name.data)) : name;
    if (slash != NULL) {
        name = pil_bytes_from(slash + 1, name.len - wanted.len - 1);
    }
    for (uint32_t i = 0; i < server->settings->view_count; i++) {
        const char *project_name = server->settings->views[i].project;
        if (slash != NULL && !pil_bytes_equal_text(wanted, project_name)) {
            continue;
        }
        const struct pil_project *project = pil_project_find(worker, project_name);
        const struct pil_service *service = project != NULL ? pil_project_service_find(project, name) : NULL;
        if (service != NULL) {
            *ret_project = project;
            return service;
        }
    }
    return NULL;
}

static pil_status plan_service(struct pil_worker *worker, struct pil_bytes name, struct pil_plan_form form,
                               struct pil_planned **ret_planned, struct pil_error *error) {
    const struct pil_project *project = NULL;
    const struct pil_service *service = pil_service_find(worker, name, &project);
    if (service == NULL) {
        return pil_fail(error, PIL_STATUS_NOT_FOUND, "there is no feature service %.*s",
                        (int)(name.len < 2 * PIL_NAME_BYTES_MAX ? name.len : 2 * PIL_NAME_BYTES_MAX),
                        (const char *)name.data);
    }
    struct pil_vector_spec *spec = NULL;
    PIL_TRY(pil_vector_spec_of_service(project, service, &spec, error));
    pil_status status = pil_planned_create(worker, &spec, form, ret_planned, error);
    pil_vector_spec_destroy(&spec);
    return status == PIL_STATUS_OK ? status : pil_fail_in(error, PIL_STATUS_CONFLICT, "service %s", service->name);
}

/* ---- The cache. */

struct pil_plan_cache *pil_plan_cache_create(void) {
    return allocate(sizeof(struct pil_plan_cache));
}

/* Takes the entry out of the list it is in. */
static void drop_entry(struct pil_plan_cache *cache, struct entry **at) {
    struct entry *entry = *at;
    *at = entry->next;
    pil_planned_destroy(&entry->planned);
    free(entry);
    cache->entry_count--;
}

void pil_plan_cache_destroy(struct pil_plan_cache **cache) {
    for (uint32_t i = 0; *cache != NULL && i < BUCKETS; i++) {
        while ((*cache)->buckets[i] != NULL) {
            drop_entry(*cache, &(*cache)->buckets[i]);
        }
    }
    free(*cache);
    *cache = NULL;
}

static struct entry **bucket_of(struct pil_plan_cache *cache, struct pil_bytes name) {
    return &cache->buckets[pil_hash_block(name) % BUCKETS];
}

static struct entry **find_entry(struct pil_plan_cache *cache, struct pil_bytes name, struct pil_plan_form form) {
    struct entry **at = bucket_of(cache, name);
    while (*at != NULL &&
           !(pil_bytes_equal((*at)->name, name) && (*at)->form.dtype == form.dtype &&
             (*at)->form.need_tensor == form.need_tensor && (*at)->form.need_defaults == form.need_defaults)) {
        at = &(*at)->next;
    }
    return at;
}

static void drop_oldest(struct pil_plan_cache *cache) {
    struct entry **oldest = NULL;
    for (uint32_t i = 0; i < BUCKETS; i++) {
        for (struct entry **at = &cache->buckets[i]; *at != NULL; at = &(*at)->next) {
            oldest = oldest == NULL || (*at)->batch < (*oldest)->batch ? at : oldest;
        }
    }
    drop_entry(cache, oldest);
}

static pil_status add_entry(struct pil_worker *worker, struct pil_bytes name, struct pil_plan_form form,
                            uint64_t project_number, struct entry **ret_entry, struct pil_error *error) {
    struct pil_plan_cache *cache = worker->plans;
    struct pil_planned *planned = NULL;
    PIL_TRY(plan_service(worker, name, form, &planned, error));
    if (cache->entry_count == ENTRIES_MAX) {
        drop_oldest(cache);
    }
    struct entry *entry = allocate(sizeof *entry + name.len), **bucket = bucket_of(cache, name);
    memcpy(entry + 1, name.data, name.len);
    *entry = (struct entry){.next = *bucket,
                            .name = pil_bytes_from(entry + 1, name.len),
                            .form = form,
                            .project_number = project_number,
                            .planned = planned};
    *bucket = *ret_entry = entry;
    cache->entry_count++;
    return PIL_STATUS_OK;
}

/* A feature that is in the project but not in the live release: to the client that is no missing service. */
static pil_status service_status(pil_status status) {
    return status == PIL_STATUS_NOT_FOUND ? PIL_STATUS_CONFLICT : status;
}

pil_status pil_plan_cache_service(struct pil_worker *worker, struct pil_bytes service, struct pil_plan_form form,
                                  struct pil_planned **ret_planned, struct pil_error *ret_error) {
    uint64_t project_number = atomic_load_explicit(&worker->server->project_number, memory_order_acquire);
    struct entry **at = find_entry(worker->plans, service, form), *entry = *at;
    bool is_in_use = entry != NULL && entry->batch == worker->batch->number;
    if (entry != NULL && !is_in_use && entry->project_number != project_number) {
        drop_entry(worker->plans, at);
        entry = NULL;
    }
    if (entry == NULL) {
        PIL_TRY(add_entry(worker, service, form, project_number, &entry, ret_error));
    }
    pil_status status = is_in_use ? PIL_STATUS_OK : pil_planned_refresh(worker, entry->planned, ret_error);
    if (status != PIL_STATUS_OK) {
        return pil_fail_in(ret_error, service_status(status), "service %.*s", (int)service.len,
                           (const char *)service.data);
    }
    entry->batch = worker->batch->number;
    *ret_planned = entry->planned;
    return PIL_STATUS_OK;
}
