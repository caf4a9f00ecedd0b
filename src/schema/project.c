/* SPDX-License-Identifier: Apache-2.0
 * Projects in and out of memory: the ways in (YAML, JSON), find, destroy. The rules are in project_check.c. */
#include "schema/project.h"
#include "base/sys.h"
#include "schema/project_check.h"

enum { PROJECT_FILE_BYTES_MAX = 8 << 20 }; /* about 100,000 features */

/* Checks the tree. On problems: INVALID and no project. */
static pil_status project_from(const struct pil_yaml_node *root, struct pil_yaml_problems *problems,
                               struct pil_project **ret_project) {
    struct pil_project *project = pil_schema_alloc(1, sizeof *project);
    struct pil_check check = {.problems = problems, .project = project};
    pil_check_project(&check, root);
    if (problems->count > 0) {
        pil_project_destroy(&project);
        return PIL_STATUS_INVALID;
    }
    *ret_project = project;
    return PIL_STATUS_OK;
}

pil_status pil_project_parse_yaml(struct pil_bytes text, const char *file_name, struct pil_project **ret_project,
                                  struct pil_text *problems) {
    struct pil_yaml_problems found = {0};
    struct pil_yaml_node root;
    pil_status status = pil_yaml_parse(text, &root, &found);
    if (status == PIL_STATUS_OK) {
        status = project_from(&root, &found, ret_project);
        pil_yaml_node_deinit(&root);
    }
    pil_yaml_problems_write(&found, file_name, problems);
    pil_yaml_problems_deinit(&found);
    return status;
}

pil_status pil_project_load_yaml(const char *path, struct pil_project **ret_project, struct pil_text *problems) {
    struct pil_text text;
    struct pil_error error;
    pil_status status = pil_sys_read_file(path, PROJECT_FILE_BYTES_MAX, &text, &error);
    if (status != PIL_STATUS_OK) {
        pil_text_format(problems, "%s:1:1: %s; name a project file that can be read\n", path, error.text);
        return status;
    }
    status = pil_project_parse_yaml(pil_text_bytes(&text), path, ret_project, problems);
    pil_text_deinit(&text);
    return status;
}

pil_status pil_project_from_json(const json_t *json, struct pil_project **ret_project, struct pil_error *ret_error) {
    struct pil_yaml_problems found = {0};
    struct pil_yaml_node root;
    pil_status status = pil_yaml_from_json(json, &root, &found);
    if (status == PIL_STATUS_OK) {
        status = project_from(&root, &found, ret_project);
        pil_yaml_node_deinit(&root);
    }
    if (status != PIL_STATUS_OK) {
        status = pil_fail(ret_error, PIL_STATUS_CORRUPT, "project: %s", found.items[0].text);
    }
    pil_yaml_problems_deinit(&found);
    return status;
}

static void project_view_deinit(struct pil_project_view *view) {
    pil_view_destroy(&view->view);
    free(view->source.path);
    free(view->source.query);
    free(view->source.setup);
    free(view->source.timestamp_field);
    free(view->source.created_timestamp_column);
    json_decref(view->source.field_mapping);
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
