/* SPDX-License-Identifier: Apache-2.0 */
#include "node/project.h"
#include "base/log.h"
#include "base/sys.h"
#include "node/internal.h"
#include "release/project.h"
#include "schema/project.h"

#include <sys/mman.h>

static pil_status parse(int fd, struct pil_project **ret_project, struct pil_error *error) {
    size_t bytes = 0;
    PIL_TRY(pil_sys_memfd_size(fd, &bytes, error));
    void *data = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (data == MAP_FAILED) {
        return pil_fail(error, PIL_STATUS_NO_MEMORY, "no memory to map the document");
    }
    pil_status status = pil_project_document_parse(pil_bytes_from(data, bytes), ret_project, error);
    munmap(data, bytes);
    return status;
}

/* Without an earlier document the project's views count as regulated for mapped reads until a document is taken. */
static void refuse(struct pil_node *node, uint32_t view_index, pil_status status, const char *why) {
    bool may_pass = pil_status_may_pass(status);
    pil_log(PIL_LOG_WARN,
            may_pass ? "project waits, the one before goes on" : "project refused, the one before goes on", "project",
            node->options.settings->views[view_index].project, "why", why, NULL);
    if (node->mapped != NULL) {
        pil_mapped_miss_project(node->mapped, view_index);
    }
    pil_node_tell_applied(node, view_index, may_pass ? PIL_OUTCOME_SHORTAGE : PIL_OUTCOME_ERROR);
}

void pil_node_take_project(struct pil_node *node, uint32_t view_index, int fd) {
    struct pil_project *project = NULL;
    struct pil_error error;
    pil_status status = parse(fd, &project, &error);
    if (status != PIL_STATUS_OK) {
        refuse(node, view_index, status, error.text);
        return;
    }
    pil_log(PIL_LOG_INFO, "project taken", "project", project->name, "services", PIL_LOG_NUM(project->service_count),
            NULL);
    if (node->mapped != NULL) {
        pil_mapped_set_project(node->mapped, project);
    }
    status = pil_server_set_project(node->server, &project);
    if (status != PIL_STATUS_OK) {
        pil_project_destroy(&project);
        refuse(node, view_index, status, status == PIL_STATUS_TOO_LARGE ? "too many projects" : "no memory");
        return;
    }
    node->services_changed = true;
    pil_node_tell_applied(node, view_index, PIL_OUTCOME_OK);
}
