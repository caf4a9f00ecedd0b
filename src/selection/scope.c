/* SPDX-License-Identifier: Apache-2.0 */
#include "selection/scope.h"

enum { SHOWN_BYTES = 2 * PIL_NAME_BYTES_MAX };

/* "project/name" into its parts; without a project that part is empty. */
static void split(struct pil_bytes full, struct pil_bytes *ret_project, struct pil_bytes *ret_name) {
    const uint8_t *slash = full.len > 0 ? memchr(full.data, '/', full.len) : NULL;
    size_t len = slash != NULL ? (size_t)(slash - full.data) : 0;
    *ret_project = pil_bytes_from(full.data, len);
    *ret_name = slash != NULL ? pil_bytes_from(slash + 1, full.len - len - 1) : full;
}

static bool has_project(struct pil_bytes full) {
    return full.len > 0 && memchr(full.data, '/', full.len) != NULL;
}

/* A node serves a handful of views: comparing lengths and bytes beats hashing. */
pil_status pil_scope_view(struct pil_scope *scope, struct pil_bytes full, const struct pil_cache_view **ret_view) {
    struct pil_bytes project, name;
    const struct pil_cache_view *found = NULL;
    bool is_bare = !has_project(full);
    split(full, &project, &name);
    for (uint32_t i = 0; i < pil_cache_view_count(scope->cache); i++) {
        const struct pil_cache_view *view = pil_cache_view_at(scope->cache, i);
        bool is_meant = pil_bytes_equal_text(name, view->name) &&
                        (is_bare || pil_bytes_equal_text(project, view->project)) && pil_cache_view_is_served(view);
        if (!is_meant) {
            continue;
        }
        if (found != NULL) {
            return PIL_STATUS_INVALID;
        }
        found = view;
    }
    if (found == NULL) {
        return PIL_STATUS_NOT_FOUND;
    }
    if (!pil_scope_may_read(scope, found)) {
        scope->denied_counts[found->index]++;
        return PIL_STATUS_DENIED;
    }
    *ret_view = found;
    return PIL_STATUS_OK;
}

pil_status pil_scope_explain(pil_status status, struct pil_bytes name, struct pil_error *ret_error) {
    int len = name.len < SHOWN_BYTES ? (int)name.len : SHOWN_BYTES;
    const char *text = (const char *)name.data;
    if (status == PIL_STATUS_INVALID) {
        return pil_fail(ret_error, status, "view %.*s is ambiguous: say project/view", len, text);
    }
    if (status == PIL_STATUS_DENIED) {
        return pil_fail(ret_error, status, "you may not read view %.*s", len, text);
    }
    return pil_fail(ret_error, status, "view %.*s is not served here", len, text);
}

const struct pil_project *pil_scope_project_at(const struct pil_scope *scope, uint32_t view_index) {
    const struct pil_cache_view *view = pil_cache_view_at(scope->cache, view_index);
    bool is_first = pil_cache_view_is_served(view);
    for (uint32_t i = 0; i < view_index && is_first; i++) {
        const struct pil_cache_view *before = pil_cache_view_at(scope->cache, i);
        is_first = !pil_cache_view_is_served(before) || strcmp(before->project, view->project) != 0;
    }
    return is_first ? pil_projects_find(scope->projects, view->project) : NULL;
}

const struct pil_service *pil_scope_service(const struct pil_scope *scope, struct pil_bytes full,
                                            const struct pil_project **ret_project) {
    struct pil_bytes wanted, name;
    bool is_bare = !has_project(full);
    split(full, &wanted, &name);
    for (uint32_t i = 0; i < pil_cache_view_count(scope->cache); i++) {
        const struct pil_cache_view *view = pil_cache_view_at(scope->cache, i);
        if (!pil_cache_view_is_served(view) || !(is_bare || pil_bytes_equal_text(wanted, view->project))) {
            continue;
        }
        const struct pil_project *project = pil_projects_find(scope->projects, view->project);
        const struct pil_service *service = project != NULL ? pil_project_service_find(project, name) : NULL;
        if (service != NULL) {
            *ret_project = project;
            return service;
        }
    }
    return NULL;
}

bool pil_scope_service_is_ambiguous(const struct pil_scope *scope, struct pil_bytes name,
                                    const struct pil_project *project) {
    for (uint32_t i = 0; i < pil_cache_view_count(scope->cache) && !has_project(name); i++) {
        const struct pil_project *other = pil_scope_project_at(scope, i);
        if (other != NULL && other != project && pil_project_service_find(other, name) != NULL) {
            return true;
        }
    }
    return false;
}

bool pil_scope_may_read_service(const struct pil_scope *scope, const struct pil_project *project,
                                const struct pil_service *service) {
    for (uint32_t f = 0; f < service->feature_count; f++) {
        const struct pil_view *schema = project->views[service->features[f].view_index].view;
        for (uint32_t i = 0; i < pil_cache_view_count(scope->cache); i++) {
            const struct pil_cache_view *view = pil_cache_view_at(scope->cache, i);
            if (strcmp(view->name, schema->name) == 0 && strcmp(view->project, schema->project) == 0 &&
                !pil_scope_may_read(scope, view)) {
                return false;
            }
        }
    }
    return true;
}
