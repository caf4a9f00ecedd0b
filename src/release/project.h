/* SPDX-License-Identifier: Apache-2.0
 * The applied project: what a store says that there is.
 * {"format":1,"sequence":N,"nonce":"hex","changed_us":N,"project":{…}}, where "project" is what pil_project_to_json
 * gives; changed by compare-and-swap only. */
#pragma once

#include "release/layout.h"
#include "schema/project.h"

struct pil_project_published {
    uint64_t sequence; /* of the version that is in the store now */
    bool changed;      /* false: it was there already, nothing was written */
    uint32_t breaking; /* incompatible changes of views in use */
};

/* Makes `project` the applied one. A view is in use when a channel points to a release of it. BUSY when views in use
 * would change incompatibly and `force` is not set: *lines then holds a line for each such change (with `force`, too).
 * CONFLICT when others keep changing it. */
pil_status pil_project_publish(struct pil_store *store, const struct pil_project *project, bool force,
                               struct pil_project_published *ret_published, struct pil_text *lines,
                               struct pil_error *ret_error) PIL_CHECKED;

/* The applied project; NOT_FOUND when there is none. ret_sequence may be NULL. */
pil_status pil_project_read(struct pil_store *store, const char *name, struct pil_project **ret_project,
                            uint64_t *ret_sequence, struct pil_error *ret_error) PIL_CHECKED;

/* The document itself, as the fetcher hands it to the server. Hostile text: CORRUPT, UNSUPPORTED. */
pil_status pil_project_document_parse(struct pil_bytes text, struct pil_project **ret_project,
                                      struct pil_error *ret_error) PIL_CHECKED;
