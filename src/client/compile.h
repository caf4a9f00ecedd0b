/* SPDX-License-Identifier: Apache-2.0
 * A compiled plan: offsets in the rows of specific releases, or the reason why the plan cannot be read in this process.
 * Immutable once a plan points to it. For this module only. */
#pragma once

#include "client/control_page.h"
#include "client/mapping.h"
#include "client/result.h"
#include "vector/plan.h"

#include <stdatomic.h>

struct pillion_plan;

struct pil_compiled_view {
    uint32_t number; /* in the control page */
    uint64_t generation;
    struct pil_mapping *mapping;
};
struct pil_compiled {
    struct pil_vector_plan *vector; /* NULL: not readable in this process, as result and error explain */
    struct pil_control_page *page;  /* NULL: there was no control page */
    uint32_t view_count;
    struct pil_compiled_view views[PIL_VECTOR_VIEWS_MAX];
    bool is_final;            /* vector is NULL, and the socket would not help either */
    uint32_t fork_generation; /* value of client->fork_generation at creation */
    pil_status refusal;       /* vector is NULL because of this refusal of … */
    uint32_t refused_slot;    /* … this view, at that generation */
    /* When a call first saw that the server has a newer release; 0: not yet. Of these members, calls write this one
     * only. */
    _Atomic uint64_t behind_since_ns;
    _Atomic uint64_t poll_at_ns; /* after a refusal: calls of this plan do not poll before */
    pillion_result result;
    struct pillion_error error;
    struct pil_compiled *next; /* in the list of retired ones */
};

/* Under the lock: compares the plan with its views. *ret_new is the state that the plan should change to; NULL: its
 * current one is the best known. NO_MEMORY: a change was due, and the plan keeps its current state. */
pil_status pil_compile_renew(struct pillion_client *client, struct pillion_plan *plan,
                             struct pil_compiled **ret_new) PIL_CHECKED;
/* Under the lock, when no call reads it any more: releases its references and frees it. */
void pil_compile_destroy(struct pillion_client *client, struct pil_compiled *compiled);
