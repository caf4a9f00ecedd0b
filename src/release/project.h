/* SPDX-License-Identifier: Apache-2.0
 * The applied project of a store: {"format":1,"sequence":N,"nonce":"hex","changed_us":N,"project":{…}}, where "project"
 * is the result of pil_project_to_json. Changed only by compare-and-swap. */
#pragma once

#include "release/layout.h"
#include "schema/project.h"

enum {
    /* Of a project's document. Its JSON takes some thirty times as much memory while it is parsed. */
    PIL_PROJECT_BYTES_MAX = 4 << 20,
};

struct pil_project_published {
    uint64_t sequence; /* of the version that is in the store now */
    bool changed;      /* false: the store had the same project, and its document was not written */
    uint32_t breaking; /* incompatible changes of views in use, and features that releases in service lack */
};

/* Why a project has no document. NOT_FOUND: it was never applied to the store. CORRUPT: it was, and the document is
 * gone: what it said of its views, for instance that they are regulated, is unknown. Errors of looking. Never OK. */
pil_status pil_project_missing(struct pil_store *store, const char *name, struct pil_error *ret_error) PIL_CHECKED;
/* Makes `project` the applied one. A view is in use if it has a channel. BUSY: views in use would change incompatibly,
 * or the release that a channel serves does not answer the project, and `force` is not set; *lines holds one line for
 * each (with `force`, too). CONFLICT: others keep changing the project. TOO_LARGE: nodes would not read it. A channel
 * or release that is absent, CORRUPT or UNSUPPORTED cannot be broken: no node serves it. Other errors of reading one
 * are returned, unless `force` is set: then a line says it. */
pil_status pil_project_publish(struct pil_store *store, const struct pil_project *project, bool force,
                               struct pil_project_published *ret_published, struct pil_text *lines,
                               struct pil_error *ret_error) PIL_CHECKED;

/* Reads the applied project; NOT_FOUND: there is none. ret_sequence may be NULL. Owns: caller. */
pil_status pil_project_read(struct pil_store *store, const char *name, struct pil_project **ret_project,
                            uint64_t *ret_sequence, struct pil_error *ret_error) PIL_CHECKED;

/* From the document of project `name` makes the one that a server gets: what Pillion knows, in canonical form, without
 * members that it does not know. Hostile text: CORRUPT, UNSUPPORTED, TOO_LARGE, NO_MEMORY. Owns: caller. */
pil_status pil_project_document_clean(struct pil_bytes text, const char *name, struct pil_text *ret_text,
                                      struct pil_error *ret_error) PIL_CHECKED;
/* Parses either document. Errors as above. Owns: caller. */
pil_status pil_project_document_parse(struct pil_bytes text, struct pil_project **ret_project,
                                      struct pil_error *ret_error) PIL_CHECKED;
