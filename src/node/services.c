/* SPDX-License-Identifier: Apache-2.0 */
#include "node/services.h"
#include "base/log.h"
#include "base/panic.h"
#include "node/internal.h"
#include "schema/project.h"

/* The served view of that name, or NULL. */
static struct pil_cache_view *find_view(const struct pil_node *node, const char *project, const char *name) {
    for (uint32_t i = 0; i < node->options.settings->view_count; i++) {
        struct pil_cache_view *view = pil_node_view_of(node, i);
        if (pil_cache_view_is_served(view) && strcmp(view->project, project) == 0 && strcmp(view->name, name) == 0) {
            return view;
        }
    }
    return NULL;
}

/* The live release of each view of the project; NULL where this node has none. */
static void find_releases(const struct pil_node *node, const struct pil_project *project,
                          const struct pil_release *releases[PIL_VIEWS_MAX]) {
    PIL_ASSERT(project->view_count <= PIL_VIEWS_MAX);
    for (uint32_t i = 0; i < project->view_count; i++) {
        const struct pil_cache_view *view = find_view(node, project->name, project->views[i].view->name);
        releases[i] = view != NULL ? pil_cache_live(view) : NULL;
    }
}

static void check_service(struct pil_node_services *services, const struct pil_project *project,
                          const struct pil_service *service, const struct pil_release *const *releases) {
    for (uint32_t i = 0; i < service->feature_count; i++) {
        if (releases[service->features[i].view_index] == NULL) {
            return;
        }
    }
    for (uint32_t i = 0; i < service->feature_count; i++) {
        PIL_ASSERT(service->features[i].view_index < project->view_count);
        const struct pil_view *view = project->views[service->features[i].view_index].view;
        const char *feature = view->features[service->features[i].feature_index].name;
        const struct pil_release *release = releases[service->features[i].view_index];
        if (pil_view_feature_find(release->view, pil_bytes_from_text(feature)) < 0) {
            if (services->broken_count++ == 0) {
                snprintf(services->broken, sizeof services->broken, "%s/%s needs %s:%s, which release %s lacks",
                         project->name, service->name, view->name, feature, release->id);
            }
            return;
        }
    }
    services->whole_count++;
}

/* Whether the view is the first served one of its project, so that a loop over views meets each project once. */
static bool is_first_of_project(const struct pil_node *node, uint32_t index) {
    const struct pil_cache_view *view = pil_node_view_of(node, index);
    for (uint32_t i = 0; i < index; i++) {
        const struct pil_cache_view *before = pil_node_view_of(node, i);
        if (pil_cache_view_is_served(before) && strcmp(before->project, view->project) == 0) {
            return false;
        }
    }
    return pil_cache_view_is_served(view);
}

void pil_services_check(struct pil_node *node) {
    const struct pil_release *releases[PIL_VIEWS_MAX];
    uint64_t publish_count = pil_cache_publish_count(pil_server_cache(node->server));
    struct pil_node_services checked = {.publish_count = publish_count};
    PIL_ASSERT(publish_count >= node->services.publish_count);
    if (!node->services_changed && node->services.publish_count == publish_count) {
        return;
    }
    for (uint32_t i = 0; i < node->options.settings->view_count; i++) {
        const struct pil_project *project =
            is_first_of_project(node, i) ? pil_server_project(node->server, pil_node_view_of(node, i)->project) : NULL;
        if (project == NULL) {
            continue;
        }
        find_releases(node, project, releases);
        for (uint32_t k = 0; k < project->service_count; k++) {
            check_service(&checked, project, &project->services[k], releases);
        }
    }
    if (checked.broken_count > 0 && strcmp(checked.broken, node->services.broken) != 0) {
        pil_log(PIL_LOG_WARN, "service cannot be answered", "why", checked.broken, "broken",
                PIL_LOG_NUM(checked.broken_count), NULL);
    }
    PIL_ASSERT((checked.broken_count > 0) == (checked.broken[0] != '\0'));
    node->services = checked;
    node->services_changed = false;
}
