/* SPDX-License-Identifier: Apache-2.0
 * Retired releases: unmapped after their grace period, a little at a time, and reported to the supervisor once no
 * client has them mapped either. Each has its own record, so their number is not bounded. Thread: control. */
#pragma once

#include "node/node.h"

struct pil_retired {
    struct pil_list_link link;
    uint32_t view_index;
    uint64_t generation;
    bool is_unmapped; /* by this process; clients may still have it mapped */
    char release[PIL_RELEASE_ID_CHARS + 1];
};

/* Creates the record of a release. It is made before the release is published, so that neither a swap nor a removal can
 * fail half way. NULL when memory is short. */
struct pil_retired *pil_retired_create(void);
/* Accepts NULL; sets the pointer to NULL. */
void pil_retired_destroy(struct pil_retired **retired);
/* Retires the live release of a view, if there is one. Call it just before the release is replaced or removed. */
void pil_retire_live(struct pil_node *node, uint32_t view_index);
/* Tells the supervisor that this process no longer maps a release, or never did. */
void pil_retire_tell(struct pil_node *node, uint32_t view_index, const char *release);
/* The chore that unmaps. */
pil_chore_progress pil_retired_step(struct pil_chore *chore);
/* Reports the releases that neither this process nor a client maps any more, and frees their records. */
void pil_retired_sweep(struct pil_node *node);
