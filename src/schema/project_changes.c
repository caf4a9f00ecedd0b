/* SPDX-License-Identifier: Apache-2.0
 * Finds the changes of a project, and the releases, that break readers. */
#include "schema/project_changes.h"

#include "base/number.h"
#include "base/panic.h"

struct changes {
    const struct pil_project *before, *after;
    struct pil_text *lines;
    uint32_t count;
};

/* Whether the same keys have the same bytes in both views: join keys and types are equal, in order. */
static bool keys_equal(const struct pil_view *a, const struct pil_view *b) {
    if (a->entity_count != b->entity_count) {
        return false;
    }
    for (uint32_t i = 0; i < a->entity_count; i++) {
        if (strcmp(a->entities[i].join_key, b->entities[i].join_key) != 0 ||
            a->entities[i].type != b->entities[i].type) {
            return false;
        }
    }
    return true;
}

static void format_keys(const struct pil_view *view, struct pil_text *text) {
    for (uint32_t i = 0; i < view->entity_count; i++) {
        pil_text_format(text, "%s%s %s", i > 0 ? ", " : "", view->entities[i].join_key,
                        pil_scalar_text(view->entities[i].type));
    }
}

static void compare_views(struct changes *changes, const struct pil_view *before, const struct pil_view *after) {
    if (!keys_equal(before, after)) {
        changes->count++;
        pil_text_format(changes->lines, "feature view %s: its keys change from (", before->name);
        format_keys(before, changes->lines);
        pil_text_format(changes->lines, ") to (");
        format_keys(after, changes->lines);
        pil_text_format(changes->lines, ")\n");
    }
    if (before->is_static != after->is_static) {
        changes->count++;
        pil_text_format(changes->lines, "feature view %s: it %s\n", before->name,
                        after->is_static ? "becomes static: its rows lose their event times"
                                         : "is no longer static: its rows get event times");
    }
    for (uint32_t i = 0; i < before->feature_count; i++) {
        const struct pil_feature *old = &before->features[i];
        int32_t index = pil_view_feature_find(after, pil_bytes_from_text(old->name));
        if (index < 0) {
            changes->count++;
            pil_text_format(changes->lines, "feature view %s: feature %s is removed\n", before->name, old->name);
        } else if (!pil_type_equal(old->type, after->features[index].type)) {
            char from[PIL_TYPE_TEXT_BYTES], to[PIL_TYPE_TEXT_BYTES];
            pil_type_format(old->type, from);
            pil_type_format(after->features[index].type, to);
            changes->count++;
            pil_text_format(changes->lines, "feature view %s: feature %s changes its type from %s to %s\n",
                            before->name, old->name, from, to);
        }
    }
}

static bool service_has(const struct pil_project *project, const struct pil_service *service, const char *view,
                        const char *feature) {
    for (uint32_t i = 0; i < service->feature_count; i++) {
        const struct pil_view *of = project->views[service->features[i].view_index].view;
        if (strcmp(of->name, view) == 0 &&
            strcmp(of->features[service->features[i].feature_index].name, feature) == 0) {
            return true;
        }
    }
    return false;
}

static void compare_service(struct changes *changes, const struct pil_service *before, const bool *view_in_use) {
    const struct pil_service *after = pil_project_service_find(changes->after, pil_bytes_from_text(before->name));
    for (uint32_t i = 0; i < before->feature_count; i++) {
        const struct pil_view *view = changes->before->views[before->features[i].view_index].view;
        const char *feature = view->features[before->features[i].feature_index].name;
        if (!view_in_use[before->features[i].view_index]) {
            continue;
        }
        if (after == NULL) {
            changes->count++;
            pil_text_format(changes->lines, "feature service %s is removed\n", before->name);
            return;
        }
        if (!service_has(changes->after, after, view->name, feature)) {
            changes->count++;
            pil_text_format(changes->lines, "feature service %s: %s:%s is removed\n", before->name, view->name,
                            feature);
        }
    }
}

uint32_t pil_project_breaking_changes(const struct pil_project *before, const struct pil_project *after,
                                      bool (*in_use)(void *context, const char *view_name), void *context,
                                      struct pil_text *lines) {
    struct changes changes = {.before = before, .after = after, .lines = lines};
    bool view_in_use[PIL_VIEWS_MAX] = {false};
    PIL_ASSERT(before->view_count <= PIL_VIEWS_MAX);
    for (uint32_t i = 0; i < before->view_count; i++) {
        const struct pil_view *view = before->views[i].view;
        const struct pil_project_view *next = pil_project_view_find(after, view->name);
        view_in_use[i] = in_use(context, view->name);
        if (!view_in_use[i]) {
            continue;
        }
        if (next == NULL) {
            changes.count++;
            pil_text_format(lines, "feature view %s is removed\n", view->name);
        } else {
            compare_views(&changes, view, next->view);
        }
    }
    for (uint32_t i = 0; i < before->service_count; i++) {
        compare_service(&changes, &before->services[i], view_in_use);
    }
    return changes.count;
}

/* Appends "; feature services a, b need it" when the project has such services. */
static void say_services(const struct pil_project *project, uint32_t view_index, uint32_t feature_index,
                         struct pil_text *lines) {
    struct pil_text names = {0};
    uint32_t count = 0;
    for (uint32_t i = 0; i < project->service_count; i++) {
        const struct pil_service *service = &project->services[i];
        for (uint32_t k = 0; k < service->feature_count; k++) {
            if (service->features[k].view_index == view_index && service->features[k].feature_index == feature_index) {
                pil_text_format(&names, "%s%s", count++ > 0 ? ", " : "", service->name);
                break;
            }
        }
    }
    if (count > 0) {
        pil_text_format(lines, "; feature service%s %s %s it", pil_number_plural(count), pil_text_chars(&names),
                        count == 1 ? "needs" : "need");
    }
    pil_text_deinit(&names);
}

/* Whether the release has the feature with the type that the project says; appends a line if not. */
static bool is_answered(const struct pil_project *project, uint32_t view_index, uint32_t feature_index,
                        const struct pil_view *release, const char *prefix, struct pil_text *lines) {
    const struct pil_feature *feature = &project->views[view_index].view->features[feature_index];
    int32_t at = pil_view_feature_find(release, pil_bytes_from_text(feature->name));
    if (at >= 0 && pil_type_equal(feature->type, release->features[at].type)) {
        return true;
    }
    pil_text_format(lines, "%sfeature %s:%s ", prefix, release->name, feature->name);
    if (at < 0) {
        pil_text_format(lines, "is missing");
    } else {
        char is[PIL_TYPE_TEXT_BYTES], wanted[PIL_TYPE_TEXT_BYTES];
        pil_type_format(release->features[at].type, is);
        pil_type_format(feature->type, wanted);
        pil_text_format(lines, "is %s, and %s in the project", is, wanted);
    }
    say_services(project, view_index, feature_index, lines);
    pil_text_format(lines, "\n");
    return false;
}

uint32_t pil_project_unanswered(const struct pil_project *project, const struct pil_view *release, const char *prefix,
                                struct pil_text *lines) {
    const struct pil_project_view *found = pil_project_view_find(project, release->name);
    uint32_t count = 0;
    if (found == NULL) {
        return 0;
    }
    uint32_t view_index = (uint32_t)(found - project->views);
    if (!keys_equal(found->view, release)) {
        count++;
        pil_text_format(lines, "%skeys of %s are (", prefix, release->name);
        format_keys(release, lines);
        pil_text_format(lines, "), and (");
        format_keys(found->view, lines);
        pil_text_format(lines, ") in the project\n");
    }
    if (found->view->is_static != release->is_static) {
        count++;
        pil_text_format(lines, "%s%s is %s, and %s in the project\n", prefix, release->name,
                        release->is_static ? "static" : "not static", release->is_static ? "not" : "static");
    }
    for (uint32_t i = 0; i < found->view->feature_count; i++) {
        count += !is_answered(project, view_index, i, release, prefix, lines);
    }
    return count;
}
