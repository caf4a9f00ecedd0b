/* SPDX-License-Identifier: Apache-2.0
 * The features that a request reads: an ordered list of features of one or several views, resolved against the releases
 * of the batch. Every protocol makes a selection, so that "which features were read" has one form and one digest.
 * Selections of HMGET and Feast lie in the batch's arena and live as long as the batch; those of tensors belong to a
 * prepared plan. Thread: the worker; no allocation. */
#pragma once

#include "base/arena.h"
#include "selection/scope.h"

enum { PIL_SELECTION_NO_FEATURE = UINT32_MAX };

struct pil_selection_view {
    const struct pil_cache_view *view;
    const struct pil_serving *serving;
    uint64_t line_mask; /* for pil_lookup: lines of a row that the selected features need */
};

struct pil_selection_feature {
    uint32_t slot;    /* in `views` */
    uint32_t feature; /* in the slot's schema; PIL_SELECTION_NO_FEATURE: the release has no such feature */
};

struct pil_selection {
    struct pil_selection_view *views; /* distinct, in order of first use */
    struct pil_selection_feature *features;
    uint32_t view_count, feature_count;
    uint32_t view_max, feature_max;
};

static inline const struct pil_view *pil_selection_schema(const struct pil_selection *selection, uint32_t slot) {
    return selection->views[slot].serving->chain.view;
}

/* The digest of the list of names, independent of protocol and release: d = 0; for each feature
 * d = XXH3-64 of "project/view:feature" with seed d (schemas/wire.md). A name that the release does not have counts as
 * the empty name. Cost: a hash per feature, too much for every request. */
uint64_t pil_selection_digest(const struct pil_selection *selection);

/* Makes an empty selection with room for view_max views and feature_max features in the arena. NO_MEMORY: the arena has
 * no room. */
pil_status pil_selection_begin(struct pil_arena *arena, uint32_t view_max, uint32_t feature_max,
                               struct pil_selection *ret_selection) PIL_CHECKED;
/* Returns the unused room for features to the arena, from which nothing else may have been allocated since begin. */
void pil_selection_end(struct pil_arena *arena, struct pil_selection *selection);

/* Adds a feature of a view. Errors of pil_scope_view. AGAIN: the view has no release yet. CONFLICT: the release has no
 * feature of that name. TOO_LARGE: the selection is full. */
pil_status pil_selection_add(struct pil_scope *scope, struct pil_selection *selection, struct pil_bytes view,
                             struct pil_bytes feature) PIL_CHECKED;
/* Adds a view that has a release, without features; returns its slot. The view must be new, and there must be room. */
uint32_t pil_selection_add_view(struct pil_scope *scope, struct pil_selection *selection,
                                const struct pil_cache_view *view);
/* Adds a feature of a slot by its index, or NO_FEATURE; there must be room. */
void pil_selection_add_index(struct pil_selection *selection, uint32_t slot, uint32_t feature);
/* Adds a view that has a release, and features of it by name, in order; names that the release does not have are kept
 * as NO_FEATURE. Fast if the names are in the order of the schema. The view must be new, and there must be room. */
void pil_selection_add_fields(struct pil_scope *scope, struct pil_selection *selection,
                              const struct pil_cache_view *view, const struct pil_bytes *names, uint32_t count);
