/* SPDX-License-Identifier: Apache-2.0
 * The applied projects of a node, in which workers find feature services. Each project is immutable and published by
 * one pointer store; its predecessor is freed after a grace period. Writer: the control thread. Readers: workers,
 * within a turn. */
#pragma once

#include "cache/qsbr.h"
#include "schema/project.h"

struct pil_projects;

/* At most `capacity` projects. `qsbr` is borrowed and must outlive the result. NULL when memory is short. */
struct pil_projects *pil_projects_create(uint32_t capacity, struct pil_qsbr *qsbr);
/* Workers must have ended. */
void pil_projects_destroy(struct pil_projects **projects);

/* Control thread. Publishes the project in place of the one with the same name. On OK it takes ownership and NULLs the
 * pointer. TOO_LARGE: there are `capacity` projects with other names. NO_MEMORY. */
pil_status pil_projects_set(struct pil_projects *projects, struct pil_project **project) PIL_CHECKED;
/* Control thread, a few times a second: frees retired projects whose grace period has passed. */
void pil_projects_reclaim(struct pil_projects *projects);

/* Worker: the project of that name; NULL: none is applied. Valid until the worker's next quiescent state. */
const struct pil_project *pil_projects_find(const struct pil_projects *projects, const char *name);
/* Control thread: increments the number because something else that names depend on has changed. */
void pil_projects_note_change(struct pil_projects *projects);
/* Incremented after each change. Any thread. */
uint64_t pil_projects_number(const struct pil_projects *projects);
