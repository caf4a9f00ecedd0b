/* SPDX-License-Identifier: Apache-2.0
 * Releases that are served no more: unmapped after their grace period, a little at a time, and reported to the
 * supervisor once no client has them mapped either. As many as there are: each has its own record. Thread: control. */
#pragma once

#include "node/node.h"

struct pil_retired {
    struct pil_list_link link;
    uint32_t view_index;
    uint64_t generation;
    bool is_unmapped; /* by this process; clients may still have it */
    char release[PIL_RELEASE_ID_CHARS + 1];
};

/* Made with the release that it is of, so that neither a swap nor a removal can fail half way. NULL: no memory. */
struct pil_retired *pil_retired_create(void);
/* NULL is fine; NULLs the pointer. */
void pil_retired_destroy(struct pil_retired **retired);
/* The live release of a view, if there is one, is about to be replaced or removed. */
void pil_retire_live(struct pil_node *node, uint32_t view_index);
/* Tells the supervisor: this process has a release mapped no more, or never had. */
void pil_retire_tell(struct pil_node *node, uint32_t view_index, const char *release);
/* The chore that unmaps. */
pil_chore_progress pil_retired_step(struct pil_chore *chore);
/* Reports those that nobody has mapped any more. */
void pil_retired_sweep(struct pil_node *node);
