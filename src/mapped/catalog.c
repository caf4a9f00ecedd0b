/* SPDX-License-Identifier: Apache-2.0
 * The catalog for clients of mapped reads: views by their index, and their projects (schemas/mapped.md, "Catalog"). A
 * client sees the names only of views that it may read. Clients that may read the same views share one document, which
 * is made at the first request for it. */
#include "base/panic.h"
#include "base/sys.h"
#include "mapped/internal.h"
#include "schema/json_text.h"

#include <stdlib.h>

void pil_mapped_catalog_init(struct pil_mapped *mapped) {
    for (uint32_t i = 0; i < MAPPED_CATALOGS_MAX; i++) {
        mapped->catalogs[i].fd = -1;
    }
}

void pil_mapped_catalog_deinit(struct pil_mapped *mapped) {
    for (uint32_t i = 0; i < MAPPED_CATALOGS_MAX; i++) {
        pil_sys_close(&mapped->catalogs[i].fd);
    }
    for (uint32_t i = 0; i < mapped->project_count; i++) {
        json_decref(mapped->projects[i]);
    }
    mapped->project_count = 0;
}

void pil_mapped_catalog_changed(struct pil_mapped *mapped) {
    mapped->page->view_count = mapped->settings->view_count;
    atomic_fetch_add_explicit(&mapped->page->catalog_generation, 1, memory_order_release);
}

static const char *text_at(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    PIL_ASSERT(text != NULL); /* pil_project_to_json wrote this member */
    return text;
}

/* Whether a view of the project is or was served: a document may say the name of any project. */
static bool is_known(const struct pil_settings *settings, const char *project) {
    bool is_known = false;
    for (uint32_t i = 0; i < settings->view_count && !is_known; i++) {
        is_known = strcmp(settings->views[i].project, project) == 0;
    }
    return is_known;
}

pil_status pil_mapped_catalog_set_project(struct pil_mapped *mapped, const struct pil_project *project) {
    if (!is_known(mapped->settings, project->name)) {
        return PIL_STATUS_NOT_FOUND;
    }
    json_t *json = pil_project_to_json(project);
    uint32_t at = 0;
    if (json == NULL) {
        return PIL_STATUS_NO_MEMORY;
    }
    while (at < mapped->project_count && strcmp(text_at(mapped->projects[at], "project"), project->name) != 0) {
        at++;
    }
    if (at == mapped->project_count) {
        PIL_ASSERT(at < PIL_SETTINGS_VIEWS_MAX); /* each has a view in the settings */
        mapped->project_count++;
    } else {
        json_decref(mapped->projects[at]);
    }
    mapped->projects[at] = json;
    return PIL_STATUS_OK;
}

/* ---- What one client may see. */

struct sight {
    const struct pil_settings *settings;
    pil_peer_views readable;
};

/* A view that was removed and added with another rule has several slots: the served slot decides; when none is served,
 * any unreadable slot hides the name. A view that was never served here has no rule, so its name is not hidden. */
static bool is_hidden(const struct sight *sight, const char *project, const char *view, size_t view_len) {
    bool is_hidden = false;
    for (uint32_t i = 0; i < sight->settings->view_count; i++) {
        const struct pil_view_settings *slot = &sight->settings->views[i];
        bool is_it = strcmp(slot->project, project) == 0 && strlen(slot->view) == view_len &&
                     memcmp(slot->view, view, view_len) == 0;
        bool is_slot_hidden = !pil_peer_views_has(sight->readable, i);
        if (is_it && !slot->is_removed) {
            return is_slot_hidden;
        }
        is_hidden |= is_it && is_slot_hidden;
    }
    return is_hidden;
}

static bool is_view_hidden(const struct sight *sight, const char *project, const json_t *view) {
    const char *name = text_at(view, "name");
    return is_hidden(sight, project, name, strlen(name));
}

/* A service with a feature of a hidden view is hidden, because it cannot be read completely. */
static bool is_service_hidden(const struct sight *sight, const char *project, const json_t *service) {
    const json_t *features = json_object_get(service, "features");
    for (size_t i = 0; i < json_array_size(features); i++) {
        const char *reference = json_string_value(json_array_get(features, i));
        PIL_ASSERT(reference != NULL);
        if (is_hidden(sight, project, reference, strcspn(reference, ":"))) {
            return true;
        }
    }
    return false;
}

/* Whether the client may read none of the project's views that are or were served. */
static bool is_project_hidden(const struct sight *sight, const char *project) {
    bool has_hidden = false;
    for (uint32_t i = 0; i < sight->settings->view_count; i++) {
        const struct pil_view_settings *slot = &sight->settings->views[i];
        if (strcmp(slot->project, project) != 0) {
            continue;
        }
        if (!is_hidden(sight, project, slot->view, strlen(slot->view))) {
            return false;
        }
        has_hidden = true;
    }
    return has_hidden;
}

/* Replaces the list under `key` by its elements that are not hidden. Returns the number of hidden ones; SIZE_MAX when
 * memory is short. */
static size_t hide(const struct sight *sight, json_t *project, const char *key,
                   bool (*is_element_hidden)(const struct sight *, const char *, const json_t *)) {
    json_t *all = json_object_get(project, key), *shown = json_array();
    size_t hidden = 0;
    for (size_t i = 0; i < json_array_size(all); i++) {
        json_t *element = json_array_get(all, i);
        if (is_element_hidden(sight, text_at(project, "project"), element)) {
            hidden++;
        } else if (json_array_append(shown, element) != 0) {
            json_decref(shown);
            return SIZE_MAX;
        }
    }
    return json_object_set_new(project, key, shown) == 0 ? hidden : SIZE_MAX;
}

static bool names_entity(const json_t *views, const json_t *entity) {
    for (size_t i = 0; i < json_array_size(views); i++) {
        const json_t *names = json_object_get(json_array_get(views, i), "entities");
        for (size_t k = 0; k < json_array_size(names); k++) {
            if (json_equal(json_array_get(names, k), json_object_get(entity, "name"))) {
                return true;
            }
        }
    }
    return false;
}

/* Removes the entities that no shown view names. */
static bool hide_entities(json_t *project) {
    const json_t *views = json_object_get(project, "feature_views");
    json_t *all = json_object_get(project, "entities"), *shown = json_array();
    for (size_t i = 0; i < json_array_size(all); i++) {
        json_t *entity = json_array_get(all, i);
        if (names_entity(views, entity) && json_array_append(shown, entity) != 0) {
            json_decref(shown);
            return false;
        }
    }
    return json_object_set_new(project, "entities", shown) == 0;
}

/* Appends the project as the client may see it. Returns false if memory is short. */
static bool add_project(const struct sight *sight, json_t *projects, const json_t *project) {
    if (is_project_hidden(sight, text_at(project, "project"))) {
        return true;
    }
    json_t *shown = pil_json_copy(project); /* a shallow copy: its lists are replaced, not changed */
    size_t hidden = shown != NULL ? hide(sight, shown, "feature_views", is_view_hidden) : SIZE_MAX;
    bool is_done = hidden != SIZE_MAX && hide(sight, shown, "feature_services", is_service_hidden) != SIZE_MAX &&
                   (hidden == 0 || hide_entities(shown));
    if (!is_done) {
        json_decref(shown);
        return false;
    }
    return json_array_append_new(projects, shown) == 0;
}

/* A view that was removed or is hidden keeps its place in the list, but has no names; a hidden view has no channel
 * either. */
static bool add_view(const struct sight *sight, json_t *views, uint32_t index) {
    const struct pil_view_settings *view = &sight->settings->views[index];
    bool is_readable = pil_peer_views_has(sight->readable, index), is_shown = !view->is_removed && is_readable;
    json_t *json = json_pack("{s:i, s:s, s:s, s:s}", "index", (int)index, "project", is_shown ? view->project : "",
                             "name", is_shown ? view->view : "", "channel", is_readable ? view->channel : "");
    return json_array_append_new(views, json) == 0;
}

/* NULL when memory is short. The caller frees the text. */
static char *write_catalog(const struct pil_mapped *mapped, const struct sight *sight) {
    json_t *views = json_array(), *projects = json_array();
    bool is_whole = views != NULL && projects != NULL;
    for (uint32_t i = 0; i < mapped->settings->view_count && is_whole; i++) {
        is_whole = add_view(sight, views, i);
    }
    for (uint32_t i = 0; i < mapped->project_count && is_whole; i++) {
        is_whole = add_project(sight, projects, mapped->projects[i]);
    }
    json_t *catalog = json_pack("{s:o, s:o}", "views", views, "projects", projects); /* takes both references, also on
                                                                                      * failure */
    char *text = catalog != NULL && is_whole ? pil_json_text(catalog, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    json_decref(catalog);
    return text;
}

/* ---- Documents. */

/* Makes a document; -1 when memory or descriptors are short. */
static int make(const struct pil_mapped *mapped, pil_peer_views readable) {
    const struct sight sight = {.settings = mapped->settings, .readable = readable};
    char *text = write_catalog(mapped, &sight);
    int fd = -1;
    if (text == NULL || pil_sys_memfd_create("pillion-catalog", &fd, NULL) != PIL_STATUS_OK ||
        pil_sys_write_all(fd, pil_bytes_from_text(text), NULL) != PIL_STATUS_OK ||
        pil_sys_memfd_seal(fd, NULL) != PIL_STATUS_OK) {
        pil_sys_close(&fd);
    }
    free(text);
    return fd;
}

/* The entry of the document for these views, or an entry to put it in: a free one, else the least recently used. */
static struct pil_mapped_catalog *place_for(struct pil_mapped *mapped, pil_peer_views readable) {
    struct pil_mapped_catalog *oldest = &mapped->catalogs[0];
    for (uint32_t i = 0; i < MAPPED_CATALOGS_MAX; i++) {
        struct pil_mapped_catalog *at = &mapped->catalogs[i];
        if (at->fd >= 0 && at->readable == readable) {
            return at;
        }
        oldest = at->used < oldest->used ? at : oldest;
    }
    return oldest;
}

int pil_mapped_catalog_get(struct pil_mapped *mapped, pil_peer_views readable, uint64_t *ret_generation) {
    uint64_t generation = atomic_load_explicit(&mapped->page->catalog_generation, memory_order_relaxed);
    struct pil_mapped_catalog *catalog = place_for(mapped, readable);
    bool is_for_them = catalog->fd >= 0 && catalog->readable == readable;
    PIL_ASSERT(!is_for_them || catalog->generation <= generation);
    if (!is_for_them || catalog->generation != generation) {
        int fd = make(mapped, readable);
        if (fd < 0 && !is_for_them) {
            return -1;
        }
        if (fd >= 0) { /* else the old document is sent, with its generation, so that clients ask again */
            pil_sys_close(&catalog->fd);
            *catalog = (struct pil_mapped_catalog){.fd = fd, .readable = readable, .generation = generation};
        }
    }
    catalog->used = ++mapped->catalog_uses;
    *ret_generation = catalog->generation;
    return catalog->fd;
}
