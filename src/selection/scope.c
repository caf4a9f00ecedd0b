/* SPDX-License-Identifier: Apache-2.0 */
#include "selection/scope.h"
#include "base/panic.h"
#include "base/sink.h"

enum { SHOWN_BYTES = 2 * PIL_NAME_BYTES_MAX };

/* "project/name" or "name". */
struct full_name {
    struct pil_bytes project, name;
    bool is_bare;
};

static struct full_name split(struct pil_bytes full) {
    const uint8_t *slash = full.len > 0 ? memchr(full.data, '/', full.len) : NULL;
    if (slash == NULL) {
        return (struct full_name){.name = full, .is_bare = true};
    }
    size_t len = (size_t)(slash - full.data);
    return (struct full_name){.project = pil_bytes_from(full.data, len),
                              .name = pil_bytes_from(slash + 1, full.len - len - 1)};
}

/* What is longer than any name stays longer. */
static struct pil_bytes cut_name(struct pil_bytes name) {
    size_t most = PIL_NAME_BYTES_MAX + 1;
    return pil_bytes_from(name.data, name.len < most ? name.len : most);
}

struct pil_bytes pil_scope_name_in(struct pil_bytes project, struct pil_bytes name, char text[PIL_SCOPE_NAME_BYTES]) {
    if (project.len == 0 || !split(name).is_bare) {
        return name;
    }
    struct pil_sink sink = pil_sink_fixed(text, PIL_SCOPE_NAME_BYTES);
    pil_sink_write_bytes(&sink, cut_name(project));
    pil_sink_put(&sink, '/');
    pil_sink_write_bytes(&sink, cut_name(name));
    PIL_ASSERT(!sink.failed);
    return pil_bytes_from(text, (size_t)(sink.at - (uint8_t *)text));
}

static bool is_of_project(const struct full_name *wanted, const char *project) {
    return wanted->is_bare || pil_bytes_equal_text(wanted->project, project);
}

uint64_t pil_scope_name_rights(const struct pil_scope *scope, struct pil_bytes full) {
    return split(full).is_bare ? scope->readable : 0;
}

/* A node serves a handful of views, so comparing names is faster than hashing. */
pil_status pil_scope_view(struct pil_scope *scope, struct pil_bytes full, const struct pil_cache_view **ret_view) {
    const struct full_name wanted = split(full);
    const struct pil_cache_view *readable = NULL, *denied = NULL;
    for (uint32_t i = 0; i < pil_cache_view_count(scope->cache); i++) {
        const struct pil_cache_view *view = pil_cache_view_at(scope->cache, i);
        bool is_meant = pil_bytes_equal_text(wanted.name, view->name) && is_of_project(&wanted, view->project) &&
                        pil_cache_view_is_served(view);
        if (!is_meant) {
            continue;
        }
        if (!pil_scope_may_read(scope, view)) {
            denied = denied == NULL ? view : denied;
        } else if (readable != NULL) {
            return PIL_STATUS_INVALID;
        } else {
            readable = view;
        }
    }
    if (readable != NULL) {
        *ret_view = readable;
        return PIL_STATUS_OK;
    }
    if (denied != NULL) {
        scope->denied_counts[denied->index]++;
        return PIL_STATUS_DENIED;
    }
    return PIL_STATUS_NOT_FOUND;
}

static int shown(struct pil_bytes name) {
    return name.len < SHOWN_BYTES ? (int)name.len : SHOWN_BYTES;
}

pil_status pil_scope_explain(pil_status status, struct pil_bytes name, struct pil_error *ret_error) {
    int len = shown(name);
    const char *text = (const char *)name.data;
    if (status == PIL_STATUS_INVALID) {
        return pil_fail(ret_error, status, "view %.*s is ambiguous: say project/view", len, text);
    }
    if (status == PIL_STATUS_DENIED) {
        return pil_fail(ret_error, status, "you may not read view %.*s", len, text);
    }
    return pil_fail(ret_error, status, "view %.*s is not served here", len, text);
}

bool pil_scope_is_ready(struct pil_scope *scope) {
    for (uint32_t i = 0; i < pil_cache_view_count(scope->cache); i++) {
        const struct pil_cache_view *view = pil_cache_view_at(scope->cache, i);
        if (pil_scope_may_read(scope, view) && pil_scope_live(scope, view) == NULL) {
            return false;
        }
    }
    return true;
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

bool pil_scope_awaits(const struct pil_scope *scope, struct pil_bytes project) {
    for (uint32_t i = 0; i < pil_cache_view_count(scope->cache); i++) {
        const struct pil_cache_view *view = pil_cache_view_at(scope->cache, i);
        bool is_meant = project.len == 0 || pil_bytes_equal_text(project, view->project);
        if (is_meant && pil_cache_view_is_served(view) && pil_cache_live(view) == NULL &&
            pil_projects_find(scope->projects, view->project) == NULL) {
            return true;
        }
    }
    return false;
}

/* A view that was removed and added with another rule has several slots: the served slot decides; when none is served,
 * any unreadable slot hides the name. A view that was never served here has no rule. The mapped catalog has the same
 * rule (mapped/catalog.c). */
static bool may_read_name(const struct pil_scope *scope, const char *project, const char *name) {
    bool may_read = true;
    for (uint32_t i = 0; i < pil_cache_view_count(scope->cache); i++) {
        const struct pil_cache_view *view = pil_cache_view_at(scope->cache, i);
        bool is_it = strcmp(view->name, name) == 0 && strcmp(view->project, project) == 0;
        bool is_readable = (scope->readable >> i & 1) != 0;
        if (is_it && pil_cache_view_is_served(view)) {
            return is_readable;
        }
        may_read &= !is_it || is_readable;
    }
    return may_read;
}

bool pil_scope_may_read_service(const struct pil_scope *scope, const struct pil_project *project,
                                const struct pil_service *service) {
    for (uint32_t f = 0; f < service->feature_count; f++) {
        const struct pil_view *schema = project->views[service->features[f].view_index].view;
        if (!may_read_name(scope, schema->project, schema->name)) {
            return false;
        }
    }
    return true;
}

pil_status pil_scope_service(const struct pil_scope *scope, struct pil_bytes full,
                             const struct pil_project **ret_project, const struct pil_service **ret_service) {
    const struct full_name wanted = split(full);
    bool is_found = false, is_readable = false;
    for (uint32_t i = 0; i < pil_cache_view_count(scope->cache); i++) {
        const struct pil_project *project = pil_scope_project_at(scope, i);
        bool is_meant = project != NULL && is_of_project(&wanted, project->name);
        const struct pil_service *service = is_meant ? pil_project_service_find(project, wanted.name) : NULL;
        bool may_read = service != NULL && pil_scope_may_read_service(scope, project, service);
        if (may_read && is_readable) {
            return PIL_STATUS_INVALID;
        }
        if (may_read || (service != NULL && !is_found)) {
            *ret_project = project;
            *ret_service = service;
        }
        is_readable |= may_read;
        is_found |= service != NULL;
    }
    return is_found ? PIL_STATUS_OK : pil_scope_awaits(scope, wanted.project) ? PIL_STATUS_AGAIN : PIL_STATUS_NOT_FOUND;
}

pil_status pil_scope_explain_service(pil_status status, struct pil_bytes name, struct pil_error *ret_error) {
    int len = shown(name);
    const char *text = (const char *)name.data;
    if (status == PIL_STATUS_AGAIN) {
        return pil_fail(ret_error, status, "feature service %.*s is not known: its project was not read yet", len,
                        text);
    }
    return status == PIL_STATUS_INVALID
               ? pil_fail(ret_error, status, "service %.*s is ambiguous: say project/service", len, text)
               : pil_fail(ret_error, status, "there is no feature service %.*s", len, text);
}
