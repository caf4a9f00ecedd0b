/* SPDX-License-Identifier: Apache-2.0 */
#include "release/guard.h"

#include "release/manifest.h"
#include "release/project.h"

static pil_status compare(struct pil_store *store, const struct pil_release_ref *ref, struct pil_guard *guard,
                          struct pil_error *error) {
    struct pil_project *project = NULL;
    struct pil_manifest *manifest = NULL;
    pil_status status = pil_project_read(store, ref->project, &project, NULL, error);
    if (status == PIL_STATUS_NOT_FOUND) {
        return PIL_STATUS_OK; /* without a project there is nothing to answer */
    }
    PIL_TRY(status);
    status = pil_manifest_read(store, ref, &manifest, error);
    if (status == PIL_STATUS_OK) {
        guard->breaking = pil_project_unanswered(project, manifest->view, "", guard->lines);
    }
    pil_manifest_destroy(&manifest);
    pil_project_destroy(&project);
    return status;
}

pil_status pil_guard_release(struct pil_store *store, const struct pil_release_ref *ref, struct pil_guard *guard,
                             struct pil_error *ret_error) {
    struct pil_error error = {0};
    pil_text_clear(guard->lines);
    guard->breaking = 0;
    pil_status status = compare(store, ref, guard, &error);
    if (status != PIL_STATUS_OK && status != PIL_STATUS_NO_MEMORY && guard->force) {
        guard->breaking = 1;
        pil_text_format(guard->lines, "not compared with the applied project: %s\n", error.text);
    } else if (status != PIL_STATUS_OK) {
        return pil_fail(ret_error, status, "%s", error.text);
    }
    if (guard->lines->failed) {
        return pil_fail(ret_error, PIL_STATUS_NO_MEMORY, "no memory to say what would break");
    }
    return guard->breaking == 0 || guard->force
               ? PIL_STATUS_OK
               : pil_fail(ret_error, PIL_STATUS_BUSY,
                          "release %s of %s/%s does not answer the applied project; build it from that project, or "
                          "pass --force",
                          ref->release, ref->project, ref->view);
}

struct pil_guard pil_guard_of_project(bool force, struct pil_text *lines) {
    return (struct pil_guard){.ask = pil_guard_release, .force = force, .lines = lines};
}
