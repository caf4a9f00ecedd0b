/* SPDX-License-Identifier: Apache-2.0 */
#include "node/slots.h"
#include "base/panic.h"

#include <string.h>

static bool has_same_name(const struct pil_view_settings *a, const struct pil_view_settings *b) {
    return strcmp(a->project, b->project) == 0 && strcmp(a->view, b->view) == 0;
}

/* The served view of this name, or NULL. */
static const struct pil_view_settings *find_served(const struct pil_settings *settings,
                                                   const struct pil_view_settings *view) {
    for (uint32_t i = 0; i < settings->view_count; i++) {
        if (!settings->views[i].is_removed && has_same_name(&settings->views[i], view)) {
            return &settings->views[i];
        }
    }
    return NULL;
}

static bool remove_views(struct pil_settings *running, const struct pil_settings *wanted) {
    bool has_changed = false;
    for (uint32_t i = 0; i < running->view_count; i++) {
        struct pil_view_settings *view = &running->views[i];
        if (!view->is_removed && find_served(wanted, view) == NULL) {
            view->is_removed = true;
            has_changed = true;
        }
    }
    return has_changed;
}

/* Whether channel and rules are the same. Workers and connections have evaluated those of a slot once, so they never
 * change. */
static bool is_same(const struct pil_view_settings *slot, const struct pil_view_settings *wanted) {
    return strcmp(slot->channel, wanted->channel) == 0 &&
           memcmp(&slot->read, &wanted->read, sizeof wanted->read) == 0 &&
           memcmp(&slot->map, &wanted->map, sizeof wanted->map) == 0;
}

/* The slot that the view had before with the same channel and rules, else a free one; NULL: all slots have been used.
 */
static struct pil_view_settings *find_slot(struct pil_settings *running, const struct pil_view_settings *view) {
    for (uint32_t i = 0; i < running->view_count; i++) {
        struct pil_view_settings *slot = &running->views[i];
        if (slot->is_removed && has_same_name(slot, view) && is_same(slot, view)) {
            return slot;
        }
    }
    return running->view_count < PIL_SETTINGS_VIEWS_MAX ? &running->views[running->view_count++] : NULL;
}

bool pil_slots_reload(struct pil_settings *running, const struct pil_settings *wanted, bool *ret_has_changed) {
    bool has_all = true, has_changed = remove_views(running, wanted);
    for (uint32_t i = 0; i < wanted->view_count; i++) {
        const struct pil_view_settings *view = &wanted->views[i], *served = find_served(running, view);
        struct pil_view_settings *slot = served == NULL && !view->is_removed ? find_slot(running, view) : NULL;
        if (slot != NULL) {
            *slot = *view;
            slot->is_added = true;
            has_changed = true;
        }
        has_all = has_all && (served != NULL ? is_same(served, view) : slot != NULL);
    }
    *ret_has_changed = has_changed;
    return has_all;
}

void pil_slots_follow(struct pil_settings *running, const struct pil_settings *wanted) {
    PIL_ASSERT(wanted->view_count >= running->view_count && wanted->view_count <= PIL_SETTINGS_VIEWS_MAX);
    for (uint32_t i = 0; i < wanted->view_count; i++) {
        struct pil_view_settings *slot = &running->views[i];
        if (i < running->view_count) {
            PIL_ASSERT(has_same_name(slot, &wanted->views[i]) && is_same(slot, &wanted->views[i]));
            slot->is_removed = wanted->views[i].is_removed;
            slot->is_added = wanted->views[i].is_added;
            slot->staleness_bound_us = wanted->views[i].staleness_bound_us;
        } else {
            *slot = wanted->views[i];
            running->view_count = i + 1;
        }
    }
}
