/* SPDX-License-Identifier: Apache-2.0 */
#include "selection/selection.h"

#include "base/hash.h"
#include "schema/name.h"

#include <stdio.h>

pil_status pil_selection_begin(struct pil_arena *arena, uint32_t view_max, uint32_t feature_max,
                               struct pil_selection *ret_selection) {
    struct pil_selection selection = {
        .views = PIL_ARENA_NEW(arena, struct pil_selection_view, view_max),
        .features = PIL_ARENA_NEW(arena, struct pil_selection_feature, feature_max),
        .view_max = view_max,
        .feature_max = feature_max,
    };
    if (selection.views == NULL || selection.features == NULL) {
        return PIL_STATUS_NO_MEMORY;
    }
    *ret_selection = selection;
    return PIL_STATUS_OK;
}

void pil_selection_end(struct pil_arena *arena, struct pil_selection *selection) {
    const uint8_t *end = (const uint8_t *)(selection->features + selection->feature_count);
    selection->feature_max = selection->feature_count;
    pil_arena_rewind(arena, (size_t)(end - arena->data));
}

uint32_t pil_selection_add_view(struct pil_scope *scope, struct pil_selection *selection,
                                const struct pil_cache_view *view) {
    const struct pil_serving *serving = pil_scope_serving(scope, view);
    PIL_ASSERT(serving != NULL);
    PIL_ASSERT(selection->view_count < selection->view_max);
    selection->views[selection->view_count] = (struct pil_selection_view){
        .view = view, .serving = serving, .line_mask = pil_chain_line_mask(serving->chain.view, NULL, 0)};
    return selection->view_count++;
}

/* Finds the slot of a view, or adds one. */
static pil_status find_slot(struct pil_scope *scope, struct pil_selection *selection, struct pil_bytes name,
                            uint32_t *ret_slot) {
    const struct pil_cache_view *view = NULL;
    PIL_TRY(pil_scope_view(scope, name, &view));
    for (uint32_t slot = 0; slot < selection->view_count; slot++) {
        if (selection->views[slot].view == view) {
            *ret_slot = slot;
            return PIL_STATUS_OK;
        }
    }
    if (pil_scope_serving(scope, view) == NULL) {
        return PIL_STATUS_AGAIN;
    }
    if (selection->view_count == selection->view_max) {
        return PIL_STATUS_TOO_LARGE;
    }
    *ret_slot = pil_selection_add_view(scope, selection, view);
    return PIL_STATUS_OK;
}

void pil_selection_add_index(struct pil_selection *selection, uint32_t slot, uint32_t feature) {
    struct pil_selection_view *view = &selection->views[slot];
    if (feature != PIL_SELECTION_NO_FEATURE) {
        view->line_mask |= pil_chain_line_mask(view->serving->chain.view, &feature, 1);
    }
    PIL_ASSERT(selection->feature_count < selection->feature_max);
    selection->features[selection->feature_count++] = (struct pil_selection_feature){.slot = slot, .feature = feature};
}

pil_status pil_selection_add(struct pil_scope *scope, struct pil_selection *selection, struct pil_bytes view,
                             struct pil_bytes feature) {
    uint32_t slot = 0;
    PIL_TRY(find_slot(scope, selection, view, &slot));
    int32_t index = pil_view_feature_find(pil_selection_schema(selection, slot), feature);
    if (index < 0) {
        return PIL_STATUS_CONFLICT;
    }
    if (selection->feature_count == selection->feature_max) {
        return PIL_STATUS_TOO_LARGE;
    }
    pil_selection_add_index(selection, slot, (uint32_t)index);
    return PIL_STATUS_OK;
}

void pil_selection_add_fields(struct pil_scope *scope, struct pil_selection *selection,
                              const struct pil_cache_view *view, const struct pil_bytes *names, uint32_t count) {
    uint32_t slot = pil_selection_add_view(scope, selection, view);
    const struct pil_view *schema = pil_selection_schema(selection, slot);
    uint32_t expected = 0; /* names are mostly in the order of the schema */
    for (uint32_t i = 0; i < count; i++) {
        uint32_t feature = (uint32_t)pil_view_feature_find_near(schema, names[i], expected); /* -1 becomes NO_FEATURE */
        pil_selection_add_index(selection, slot, feature);
        expected = feature + 1;
    }
}

uint64_t pil_selection_digest(const struct pil_selection *selection) {
    char name[3 * PIL_NAME_BYTES_MAX + sizeof "/:"];
    uint64_t digest = 0;
    for (uint32_t i = 0; i < selection->feature_count; i++) {
        const struct pil_selection_feature *selected = &selection->features[i];
        const struct pil_cache_view *view = selection->views[selected->slot].view;
        bool is_there = selected->feature != PIL_SELECTION_NO_FEATURE;
        int len =
            snprintf(name, sizeof name, "%s/%s:%s", view->project, view->name,
                     is_there ? pil_selection_schema(selection, selected->slot)->features[selected->feature].name : "");
        PIL_ASSERT(len > 0 && (size_t)len < sizeof name);
        digest = pil_hash_index(pil_bytes_from(name, (size_t)len), digest);
    }
    return digest;
}
