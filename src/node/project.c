/* SPDX-License-Identifier: Apache-2.0 */
#include "node/project.h"
#include "base/log.h"
#include "base/panic.h"
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

/* Calls for each served view of the same project. */
static void each_view(struct pil_node *node, uint32_t view_index, void (*set)(struct pil_node_view *, const char *),
                      const char *text) {
    const struct pil_settings *settings = node->options.settings;
    PIL_ASSERT(view_index < settings->view_count);
    for (uint32_t i = 0; i < settings->view_count; i++) {
        if (strcmp(settings->views[i].project, settings->views[view_index].project) == 0) {
            set(&node->views[i], text);
        }
    }
}

static void set_refused(struct pil_node_view *view, const char *why) {
    snprintf(view->project_refused, sizeof view->project_refused, "%s", why);
}

static void set_services_gone(struct pil_node_view *view, const char *names) {
    snprintf(view->services_gone, sizeof view->services_gone, "%s", names);
}

/* Without an earlier document the project's views count as regulated for mapped reads until a document is taken. */
static void refuse(struct pil_node *node, const struct pil_message_project *message, pil_status status,
                   const char *why) {
    bool may_pass = pil_status_may_pass(status);
    pil_log(PIL_LOG_WARN,
            may_pass ? "project waits, the one before stays in service"
                     : "project refused, the one before stays in service",
            "project", node->options.settings->views[message->view_index].project, "why", why, NULL);
    each_view(node, message->view_index, set_refused, why);
    pil_node_tell_applied(node, message, may_pass ? PIL_OUTCOME_SHORTAGE : PIL_OUTCOME_ERROR);
}

/* Clients that ask for a service which is not there any more get errors: whoever applied the project may not have meant
 * that. */
static void tell_services_gone(struct pil_node *node, uint32_t view_index, const struct pil_project *project) {
    const struct pil_project *before = pil_server_project(node->server, project->name);
    char names[PIL_NODE_SERVICES_GONE_BYTES] = "";
    size_t len = 0;
    for (uint32_t i = 0; before != NULL && i < before->service_count; i++) {
        const char *name = before->services[i].name;
        if (pil_project_service_find(project, pil_bytes_from_text(name)) == NULL && len < sizeof names) {
            len += (size_t)snprintf(names + len, sizeof names - len, "%s%s", len > 0 ? ", " : "", name);
        }
    }
    if (len > 0) {
        pil_log(PIL_LOG_WARN, "services gone, requests for them fail from now on", "project", project->name, "services",
                names, NULL);
    }
    each_view(node, view_index, set_services_gone, names);
}

void pil_node_take_project(struct pil_node *node, const struct pil_message_project *message, int fd) {
    struct pil_project *project = NULL;
    struct pil_error error;
    pil_status status = parse(fd, &project, &error);
    if (status != PIL_STATUS_OK) {
        refuse(node, message, status, error.text);
        return;
    }
    PIL_ASSERT(fd >= 0);
    pil_log(PIL_LOG_INFO, "project taken", "project", project->name, "services", PIL_LOG_NUM(project->service_count),
            NULL);
    tell_services_gone(node, message->view_index, project);
    if (node->mapped != NULL) {
        pil_mapped_set_project(node->mapped, project);
    }
    status = pil_server_set_project(node->server, &project);
    if (status != PIL_STATUS_OK) {
        pil_project_destroy(&project);
        refuse(node, message, status, status == PIL_STATUS_TOO_LARGE ? "too many projects" : "no memory");
        return;
    }
    node->services_changed = true;
    each_view(node, message->view_index, set_refused, "");
    pil_node_tell_applied(node, message, PIL_OUTCOME_OK);
}

void pil_node_take_no_project(struct pil_node *node, const struct pil_message_no_project *message) {
    if (message->outcome != PIL_OUTCOME_NOT_FOUND) {
        each_view(node, message->view_index, set_refused, message->why);
    } else if (node->mapped != NULL) {
        pil_mapped_no_project(node->mapped, message->view_index);
    }
}
