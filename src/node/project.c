/* SPDX-License-Identifier: Apache-2.0 */
#include "node/project.h"
#include "base/log.h"
#include "base/sys.h"
#include "release/project.h"
#include "schema/project.h"

#include <sys/mman.h>
#include <sys/stat.h>

static pil_status parse(int fd, struct pil_project **ret_project, struct pil_error *error) {
    struct stat info;
    if (!pil_sys_memfd_is_sealed(fd) || fstat(fd, &info) != 0 || info.st_size == 0) {
        return pil_fail(error, PIL_STATUS_DENIED, "it did not come in a sealed memfd with content");
    }
    void *data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (data == MAP_FAILED) {
        return pil_fail(error, PIL_STATUS_NO_MEMORY, "no memory to map the document");
    }
    pil_status status = pil_project_document_parse(pil_bytes_from(data, (size_t)info.st_size), ret_project, error);
    munmap(data, (size_t)info.st_size);
    return status;
}

void pil_node_take_project(struct pil_node *node, uint32_t view_index, int fd) {
    struct pil_project *project = NULL;
    struct pil_error error;
    if (parse(fd, &project, &error) != PIL_STATUS_OK) {
        pil_log(PIL_LOG_WARN, "project refused, the one before goes on", "why", error.text, NULL);
        if (node->mapped != NULL) {
            pil_mapped_miss_project(node->mapped, view_index);
        }
        return;
    }
    pil_log(PIL_LOG_INFO, "project taken", "project", project->name, "services", PIL_LOG_NUM(project->service_count),
            NULL);
    if (node->mapped != NULL) {
        pil_mapped_set_project(node->mapped, project);
    }
    if (pil_server_set_project(node->server, &project) != PIL_STATUS_OK) {
        pil_log(PIL_LOG_WARN, "project not served: too many projects, or no memory", "project", project->name, NULL);
        pil_project_destroy(&project);
    }
}
