/* SPDX-License-Identifier: Apache-2.0
 * Projects in memory: find, destroy. Reading is in project_read.c, the rules are in project_check.c. */
#include "schema/internal.h"
#include "schema/project.h"

static void project_view_deinit(struct pil_project_view *view) {
    pil_view_destroy(&view->view);
    free(view->source.path);
    free(view->source.query);
    free(view->source.setup);
    free(view->source.timestamp_field);
    free(view->source.created_timestamp_column);
    json_decref(view->source.field_mapping);
    json_decref(view->source.csv);
    free(view->description);
    free(view->owner);
    json_decref(view->tags);
}

void pil_project_destroy(struct pil_project **project) {
    struct pil_project *old = *project;
    *project = NULL;
    if (old == NULL) {
        return;
    }
    for (uint32_t i = 0; i < old->entity_count; i++) {
        pil_entity_deinit(&old->entities[i]);
    }
    for (uint32_t i = 0; i < old->view_count; i++) {
        project_view_deinit(&old->views[i]);
    }
    for (uint32_t i = 0; i < old->service_count; i++) {
        free(old->services[i].name);
        free(old->services[i].description);
        free(old->services[i].features);
    }
    free(old->name);
    free(old->entities);
    free(old->views);
    free(old->services);
    free(old);
}

const struct pil_project_view *pil_project_view_find(const struct pil_project *project, const char *name) {
    for (uint32_t i = 0; i < project->view_count; i++) {
        if (strcmp(project->views[i].view->name, name) == 0) {
            return &project->views[i];
        }
    }
    return NULL;
}

const struct pil_service *pil_project_service_find(const struct pil_project *project, struct pil_bytes name) {
    for (uint32_t i = 0; i < project->service_count; i++) {
        if (pil_bytes_equal_text(name, project->services[i].name)) {
            return &project->services[i];
        }
    }
    return NULL;
}
