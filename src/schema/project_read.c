/* SPDX-License-Identifier: Apache-2.0
 * Reads projects from YAML and JSON. */
#include "schema/project_read.h"
#include "base/sys.h"
#include "schema/project_check.h"

enum { PROJECT_FILE_BYTES_MAX = 8 << 20 }; /* about 100,000 features */

/* Makes a project from the tree. INVALID: problems were added. NO_MEMORY. */
static pil_status project_from(const struct pil_yaml_node *root, struct pil_yaml_problems *problems,
                               struct pil_project **ret_project) {
    struct pil_project *project = pil_schema_alloc(1, sizeof *project);
    if (project == NULL) {
        return PIL_STATUS_NO_MEMORY;
    }
    struct pil_check check = {.problems = problems, .project = project};
    pil_check_project(&check, root);
    if (problems->no_memory || problems->count > 0) {
        pil_project_destroy(&project);
        return problems->no_memory ? PIL_STATUS_NO_MEMORY : PIL_STATUS_INVALID;
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
    if (status == PIL_STATUS_INVALID) {
        status = pil_yaml_problems_write(&found, file_name, problems);
    }
    pil_yaml_problems_deinit(&found);
    return status;
}

pil_status pil_project_load_yaml(const char *path, struct pil_project **ret_project, struct pil_text *problems) {
    struct pil_text text;
    struct pil_error error;
    pil_status status = pil_sys_read_file(path, PROJECT_FILE_BYTES_MAX, &text, &error);
    if (status != PIL_STATUS_OK) {
        pil_text_format(problems, "%s:1:1: %s; name a project file that can be read\n", path, error.text);
        return problems->failed ? PIL_STATUS_NO_MEMORY : status;
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
    if (status == PIL_STATUS_NO_MEMORY) {
        status = pil_fail(ret_error, status, "no memory for a project");
    } else if (status != PIL_STATUS_OK) {
        PIL_ASSERT(found.count > 0);
        status = pil_fail(ret_error, PIL_STATUS_CORRUPT, "project: %s", found.items[0].text);
    }
    pil_yaml_problems_deinit(&found);
    return status;
}
