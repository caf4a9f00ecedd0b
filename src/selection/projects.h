/* SPDX-License-Identifier: Apache-2.0
 * The applied projects of a node, where workers find feature services. Each is immutable and published by one pointer
 * store; the one before is freed after a grace period. Writer: the control thread. Readers: workers, within a turn. */
#pragma once

#include "cache/qsbr.h"
#include "schema/project.h"

struct pil_projects;

/* At most `capacity` projects. `qsbr` is borrowed and must outlive it. NULL when there is no memory. */
struct pil_projects *pil_projects_create(uint32_t capacity, struct pil_qsbr *qsbr);
/* Readers must be gone. */
void pil_projects_destroy(struct pil_projects **projects);

/* Control thread. Owns: takes the project, and NULLs the pointer, when it returns OK; it replaces the one of the same
 * name. TOO_LARGE: there are `capacity` projects of other names. NO_MEMORY. */
pil_status pil_projects_set(struct pil_projects *projects, struct pil_project **project) PIL_CHECKED;
/* Control thread, a few times a second: frees what no reader can see any more. */
void pil_projects_reclaim(struct pil_projects *projects);

/* Worker: the project of that name; NULL: none is applied. Valid until the worker's next quiescent state. */
const struct pil_project *pil_projects_find(const struct pil_projects *projects, const char *name);
/* Control thread: something else that names depend on has changed. */
void pil_projects_note_change(struct pil_projects *projects);
/* Raised behind each change. */
uint64_t pil_projects_number(const struct pil_projects *projects);
