/* SPDX-License-Identifier: Apache-2.0
 * The only place where names are resolved to readable views: which views exist, from which of their releases the batch
 * answers, and which of them this peer may read. Every protocol resolves names here, so that a name means the same and
 * is denied alike in all protocols. Thread: the worker; no allocation. */
#pragma once

#include "cache/moment.h"
#include "selection/projects.h"

struct pil_scope {
    struct pil_cache *cache;                      /* borrowed */
    const struct pil_projects *projects;          /* borrowed */
    struct pil_moment moment;                     /* the moment of the batch */
    uint64_t batch_number;                        /* identifies the batch: prepared plans that it uses are not changed
                                                   * before the next batch */
    uint64_t readable;                            /* views that the peer of the request may read, one bit each */
    uint32_t denied_counts[PIL_MOMENT_VIEWS_MAX]; /* by view: denials in this batch */
};

/* Whether the view is served and the peer may read it; catalogues and sums show only such views. */
static inline bool pil_scope_may_read(const struct pil_scope *scope, const struct pil_cache_view *view) {
    return (scope->readable >> view->index & 1) != 0 && pil_cache_view_is_served(view);
}

enum { PIL_SCOPE_NAME_BYTES = 2 * PIL_NAME_BYTES_MAX + 4 };
/* The name of a view or service in a request for one project: "project/name", in `text`, if the name is bare and the
 * request names a project; else the name as it is. A name that is too long for any view stays so. */
struct pil_bytes pil_scope_name_in(struct pil_bytes project, struct pil_bytes name, char text[PIL_SCOPE_NAME_BYTES]);
/* The view of that name: "project/view", or "view". A bare name is judged among the served views that the peer may
 * read: views of other projects neither change what it means nor become known by it, and mapped clients, which see no
 * others, find the same. NOT_FOUND: no such view is served here. INVALID: the peer may read several. DENIED: it may
 * read none.
 */
pil_status pil_scope_view(struct pil_scope *scope, struct pil_bytes name,
                          const struct pil_cache_view **ret_view) PIL_CHECKED;
/* The same as a sentence. */
pil_status pil_scope_explain(pil_status status, struct pil_bytes name, struct pil_error *ret_error) PIL_CHECKED;
/* Whether every view that the peer may read has a release; for health checks of the protocols. */
bool pil_scope_is_ready(struct pil_scope *scope);

/* The serving that this batch reads of a view; NULL: the view has no release yet. */
static inline const struct pil_serving *pil_scope_serving(struct pil_scope *scope, const struct pil_cache_view *view) {
    return pil_moment_serving(&scope->moment, scope->cache, view);
}
/* The release of pil_scope_serving; NULL: the view has no release yet. */
static inline const struct pil_release *pil_scope_live(struct pil_scope *scope, const struct pil_cache_view *view) {
    const struct pil_serving *serving = pil_scope_serving(scope, view);
    return serving != NULL ? serving->release : NULL;
}

/* What the meaning of a name depends on beside the projects: the peer's rights, or nothing when the name says its
 * project. Who keeps what a name means keeps it for these rights. */
uint64_t pil_scope_name_rights(const struct pil_scope *scope, struct pil_bytes name);

/* The service of that name: "project/service", or "service", which is judged as bare names of views are. When the peer
 * may read none of that name, the result is one that it may not read. NOT_FOUND: no project has such a service. AGAIN:
 * none that is known yet; see pil_scope_awaits. INVALID: the peer may read several. */
pil_status pil_scope_service(const struct pil_scope *scope, struct pil_bytes name,
                             const struct pil_project **ret_project,
                             const struct pil_service **ret_service) PIL_CHECKED;
/* The same as a sentence. */
pil_status pil_scope_explain_service(pil_status status, struct pil_bytes name, struct pil_error *ret_error) PIL_CHECKED;
/* Whether a served project, or the one of that name, may still become known: it is not, and one of its views has no
 * release yet. Views get their first release after their project, or after the store was seen to have none. */
bool pil_scope_awaits(const struct pil_scope *scope, struct pil_bytes project);
/* The project of the view at view_index if it is the first served view of its project and the project is applied; else
 * NULL. So a loop over all views meets each project once. */
const struct pil_project *pil_scope_project_at(const struct pil_scope *scope, uint32_t view_index);
/* Whether the peer may read all views of a service. A view that was removed keeps its last rules; views that were never
 * served here do not count. */
bool pil_scope_may_read_service(const struct pil_scope *scope, const struct pil_project *project,
                                const struct pil_service *service);
