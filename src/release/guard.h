/* SPDX-License-Identifier: Apache-2.0
 * The guard of what is applied: a channel is not pointed to a release that does not answer the applied project, and a
 * project is not applied that the releases in service do not answer (schema/project_changes.h has the rule). Both
 * documents change by compare-and-swap of their own, so of two changes at the same moment neither may see the other. */
#pragma once

#include "release/layout.h"
#include "schema/project_changes.h"

/* What a guarded change may do, how it asks, and what it found. */
struct pil_guard {
    /* Refuses a release with BUSY; release/channel.h calls it for each that a channel is to serve. */
    pil_status (*ask)(struct pil_store *store, const struct pil_release_ref *ref, struct pil_guard *guard,
                      struct pil_error *ret_error);
    bool force;             /* change, whatever breaks */
    uint32_t breaking;      /* the number of lines */
    struct pil_text *lines; /* borrowed: one line for each thing that breaks, with `force`, too */
};

/* A guard that asks pil_guard_release. */
struct pil_guard pil_guard_of_project(bool force, struct pil_text *lines);
/* Checks one release that a channel is to serve against the applied project, if there is one. BUSY: it does not answer
 * the project, and `force` is not set. Errors of reading either document, unless `force` is set: then a line says it.
 */
pil_status pil_guard_release(struct pil_store *store, const struct pil_release_ref *ref, struct pil_guard *guard,
                             struct pil_error *ret_error) PIL_CHECKED;
