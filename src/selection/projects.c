/* SPDX-License-Identifier: Apache-2.0 */
#include "selection/projects.h"

#include "base/panic.h"

#include <stdatomic.h>
#include <stdlib.h>

struct retired {
    struct retired *next;
    struct pil_project *project;
    uint64_t ticket;
};

struct pil_projects {
    struct pil_qsbr *qsbr;
    uint32_t capacity;
    _Atomic uint64_t number;
    struct retired *retired;
    /* Filled front to back and never emptied. Writer: control thread (release); readers: workers (acquire). */
    _Atomic(struct pil_project *) slots[];
};

struct pil_projects *pil_projects_create(uint32_t capacity, struct pil_qsbr *qsbr) {
    struct pil_projects *projects = calloc(1, sizeof *projects + capacity * sizeof projects->slots[0]);
    if (projects != NULL) {
        projects->qsbr = qsbr;
        projects->capacity = capacity;
    }
    return projects;
}

static void free_retired(struct pil_projects *projects, bool only_passed) {
    struct retired **at = &projects->retired;
    while (*at != NULL) {
        struct retired *retired = *at;
        if (only_passed && !pil_qsbr_passed(projects->qsbr, retired->ticket)) {
            at = &retired->next;
            continue;
        }
        *at = retired->next;
        pil_project_destroy(&retired->project);
        free(retired);
    }
}

void pil_projects_reclaim(struct pil_projects *projects) {
    free_retired(projects, true);
}

void pil_projects_destroy(struct pil_projects **projects) {
    if (*projects == NULL) {
        return;
    }
    free_retired(*projects, false);
    for (uint32_t i = 0; i < (*projects)->capacity; i++) {
        struct pil_project *project = atomic_load_explicit(&(*projects)->slots[i], memory_order_relaxed);
        pil_project_destroy(&project);
    }
    free(*projects);
    *projects = NULL;
}

void pil_projects_note_change(struct pil_projects *projects) {
    atomic_fetch_add_explicit(&projects->number, 1, memory_order_release);
}

pil_status pil_projects_set(struct pil_projects *projects, struct pil_project **project) {
    uint32_t slot = 0;
    struct pil_project *old = NULL;
    for (; slot < projects->capacity; slot++) {
        old = atomic_load_explicit(&projects->slots[slot], memory_order_relaxed);
        if (old == NULL || strcmp(old->name, (*project)->name) == 0) {
            break;
        }
    }
    if (slot == projects->capacity) {
        return PIL_STATUS_TOO_LARGE;
    }
    struct retired *retired = old != NULL ? calloc(1, sizeof *retired) : NULL;
    if (old != NULL && retired == NULL) {
        return PIL_STATUS_NO_MEMORY;
    }
    /* Release: pairs with the acquire in pil_projects_find. */
    atomic_store_explicit(&projects->slots[slot], *project, memory_order_release);
    pil_projects_note_change(projects);
    *project = NULL;
    if (retired != NULL) {
        *retired =
            (struct retired){.next = projects->retired, .project = old, .ticket = pil_qsbr_begin(projects->qsbr)};
        projects->retired = retired;
    }
    return PIL_STATUS_OK;
}

const struct pil_project *pil_projects_find(const struct pil_projects *projects, const char *name) {
    for (uint32_t i = 0; i < projects->capacity; i++) {
        const struct pil_project *project = atomic_load_explicit(&projects->slots[i], memory_order_acquire);
        if (project == NULL || strcmp(project->name, name) == 0) {
            return project;
        }
    }
    return NULL;
}

uint64_t pil_projects_number(const struct pil_projects *projects) {
    return atomic_load_explicit(&projects->number, memory_order_acquire);
}
