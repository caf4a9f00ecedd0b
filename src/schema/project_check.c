/* SPDX-License-Identifier: Apache-2.0
 * Project, entities and feature services; the helpers that all checks share. Views are in project_check_view.c. */
#include "schema/project_check.h"
#include "schema/name.h"

enum { HINT_PROBLEMS_MAX = 100 }; /* no search for similar names after so many */

/* ---- Helpers */

void pil_check_label(const struct pil_yaml_node *node, const char *noun, char ret_label[PIL_CHECK_LABEL_BYTES]) {
    snprintf(ret_label, PIL_CHECK_LABEL_BYTES, "%s", noun);
    for (uint32_t i = 0; node->kind == PIL_YAML_MAPPING && i + 1 < node->child_count; i += 2) {
        const struct pil_yaml_node *key = &node->children[i], *value = &node->children[i + 1];
        if (key->text != NULL && strcmp(key->text, "name") == 0 && value->text != NULL && value->text[0] != '\0') {
            snprintf(ret_label, PIL_CHECK_LABEL_BYTES, "%s %s", noun, PIL_YAML_QUOTE(value->text));
            return;
        }
    }
}

char *pil_check_name(struct pil_check *check, const struct pil_yaml_node *node, const char *label, const char *key) {
    if (node == NULL) {
        return pil_schema_copy("");
    }
    if (!pil_name_is_valid(pil_bytes_from_text(node->text))) {
        pil_yaml_problem_add(check->problems, node,
                             "%s: %s '%s' is not a valid name; begin with a letter or _, go on with letters, digits, _ "
                             "and -, at most %d in all",
                             label, key, PIL_YAML_QUOTE(node->text), PIL_NAME_BYTES_MAX);
    }
    return pil_schema_copy(node->text);
}

char *pil_check_text(struct pil_check *check, const struct pil_yaml_node *node, const char *label, const char *key,
                     size_t bytes_max) {
    if (node == NULL) {
        return NULL;
    }
    if (node->text[0] == '\0') {
        pil_yaml_problem_add(check->problems, node, "%s: %s is empty; give it a text or remove it", label, key);
    } else if (strlen(node->text) > bytes_max) {
        pil_yaml_problem_add(check->problems, node, "%s: %s has %zu bytes; at most %zu are possible", label, key,
                             strlen(node->text), bytes_max);
    }
    return pil_schema_copy(node->text);
}

const char *pil_check_element(struct pil_check *check, const struct pil_yaml_node *node, const char *label,
                              const char *key) {
    if (node->kind == PIL_YAML_SCALAR && !pil_yaml_is_null(node) && node->text[0] != '\0') {
        return node->text;
    }
    pil_yaml_problem_add(check->problems, node, "%s: each element of %s must be one text; mend this one", label, key);
    return NULL;
}

bool pil_check_is_new(json_t *set, const char *name) {
    if (name[0] == '\0') {
        return true;
    }
    if (json_object_get(set, name) != NULL) {
        return false;
    }
    PIL_ASSERT(json_object_set_new(set, name, json_true()) == 0);
    return true;
}

uint32_t pil_check_count(struct pil_check *check, const struct pil_yaml_node *list, const char *what,
                         uint32_t count_max) {
    if (list == NULL) {
        return 0;
    }
    if (list->child_count > count_max) {
        pil_yaml_problem_add(check->problems, list, "%u %s; at most %u are possible", list->child_count, what,
                             count_max);
        return count_max;
    }
    return list->child_count;
}

const char *pil_check_hint(struct pil_check *check, const char *word, const char *const *names, uint32_t count,
                           char buffer[PIL_CHECK_HINT_BYTES]) {
    const char *nearest = check->problems->count < HINT_PROBLEMS_MAX ? pil_yaml_nearest(word, names, count) : NULL;
    buffer[0] = '\0';
    if (nearest != NULL) {
        snprintf(buffer, PIL_CHECK_HINT_BYTES, ", or did you mean %s?", PIL_YAML_QUOTE(nearest));
    }
    return buffer;
}

/* ---- Entities */

static void check_entity(struct pil_check *check, const struct pil_yaml_node *node, struct pil_entity *ret_entity) {
    enum { NAME, JOIN_KEY, TYPE, DESCRIPTION, COUNT };
    static const struct pil_yaml_key keys[COUNT] = {
        [NAME] = {"name", PIL_YAML_SCALAR, true},
        [JOIN_KEY] = {"join_key", PIL_YAML_SCALAR, false},
        [TYPE] = {"type", PIL_YAML_SCALAR, true},
        [DESCRIPTION] = {"description", PIL_YAML_SCALAR, false},
    };
    const struct pil_yaml_node *values[COUNT];
    char label[PIL_CHECK_LABEL_BYTES];
    pil_check_label(node, "entity", label);
    pil_yaml_take(check->problems, node, label, keys, COUNT, values);
    struct pil_type type = {.scalar = PIL_SCALAR_INT64};
    if (values[TYPE] != NULL &&
        (pil_type_parse(pil_bytes_from_text(values[TYPE]->text), &type, NULL) != PIL_STATUS_OK ||
         !pil_entity_can_be(type))) {
        char names[PIL_SCALAR_NAMES_BYTES];
        pil_scalar_names(PIL_USE_KEY, " or ", names);
        pil_yaml_problem_add(check->problems, values[TYPE], "%s: type '%s' cannot be a key; use %s", label,
                             PIL_YAML_QUOTE(values[TYPE]->text), names);
        type.scalar = PIL_SCALAR_INT64;
    }
    *ret_entity = (struct pil_entity){
        .name = pil_check_name(check, values[NAME], label, "name"),
        .type = type.scalar,
        .description = pil_check_text(check, values[DESCRIPTION], label, "description", PIL_CHECK_TEXT_BYTES_MAX),
    };
    ret_entity->join_key = values[JOIN_KEY] != NULL ? pil_check_name(check, values[JOIN_KEY], label, "join_key")
                                                    : pil_schema_copy(ret_entity->name);
}

static void check_entities(struct pil_check *check, const struct pil_yaml_node *list) {
    struct pil_project *project = check->project;
    uint32_t count = pil_check_count(check, list, "entities", PIL_VIEWS_MAX * PIL_ENTITIES_MAX);
    json_t *seen = json_object();
    project->entities = pil_schema_alloc(count, sizeof *project->entities);
    for (uint32_t i = 0; i < count; i++) {
        struct pil_entity *entity = &project->entities[project->entity_count++];
        check_entity(check, &list->children[i], entity);
        if (!pil_check_is_new(seen, entity->name)) {
            pil_yaml_problem_add(check->problems, &list->children[i],
                                 "entity %s is defined twice; rename or remove one", PIL_YAML_QUOTE(entity->name));
        }
    }
    json_decref(seen);
}

/* ---- Feature services */

struct service_check {
    struct pil_check *check;
    struct pil_service *service;
    char label[PIL_CHECK_LABEL_BYTES];
    json_t *seen; /* "view:feature" of what the service has */
};

static void add_feature(struct service_check *of, const struct pil_yaml_node *node, uint32_t view_index,
                        uint32_t feature_index) {
    const struct pil_view *view = of->check->project->views[view_index].view;
    struct pil_text full = {0};
    pil_text_format(&full, "%s:%s", view->name, view->features[feature_index].name);
    if (!pil_check_is_new(of->seen, full.data)) {
        pil_yaml_problem_add(of->check->problems, node, "%s: %s stands twice; keep one", of->label,
                             PIL_YAML_QUOTE(full.data));
    } else if (of->service->feature_count == PIL_SERVICE_FEATURES_MAX) {
        pil_yaml_problem_add(of->check->problems, node, "%s: %s is one too many; at most %d features are possible",
                             of->label, PIL_YAML_QUOTE(full.data), PIL_SERVICE_FEATURES_MAX);
    } else {
        of->service->features[of->service->feature_count++] = (struct pil_service_feature){view_index, feature_index};
    }
    pil_text_deinit(&full);
}

static void add_unknown_view(struct service_check *of, const struct pil_yaml_node *node, const char *name) {
    const struct pil_project *project = of->check->project;
    const char *names[PIL_VIEWS_MAX];
    char hint[PIL_CHECK_HINT_BYTES];
    for (uint32_t i = 0; i < project->view_count; i++) {
        names[i] = project->views[i].view->name;
    }
    pil_yaml_problem_add(of->check->problems, node,
                         "%s: there is no feature view '%s'; define it under feature_views%s", of->label,
                         PIL_YAML_QUOTE(name), pil_check_hint(of->check, name, names, project->view_count, hint));
}

static void add_unknown_feature(struct service_check *of, const struct pil_yaml_node *node, const struct pil_view *view,
                                const char *name) {
    const char **names = pil_schema_alloc(view->feature_count, sizeof *names);
    char hint[PIL_CHECK_HINT_BYTES];
    for (uint32_t i = 0; i < view->feature_count; i++) {
        names[i] = view->features[i].name;
    }
    pil_yaml_problem_add(of->check->problems, node, "%s: feature view %s has no feature '%s'; define it there%s",
                         of->label, PIL_YAML_QUOTE(view->name), PIL_YAML_QUOTE(name),
                         pil_check_hint(of->check, name, names, view->feature_count, hint));
    free(names);
}

/* "view:feature", or "view" for all features of it. */
static void check_reference(struct service_check *of, const struct pil_yaml_node *node) {
    const char *text = pil_check_element(of->check, node, of->label, "features");
    if (text == NULL) {
        return;
    }
    size_t view_len = strcspn(text, ":");
    const char *feature = text[view_len] == ':' ? text + view_len + 1 : NULL;
    char *view_name = strndup(text, view_len);
    PIL_ASSERT(view_name != NULL);
    const struct pil_project *project = of->check->project;
    const struct pil_project_view *found = pil_project_view_find(project, view_name);
    if (found == NULL) {
        add_unknown_view(of, node, view_name);
    } else if (feature == NULL) {
        for (uint32_t i = 0; i < found->view->feature_count; i++) {
            add_feature(of, node, (uint32_t)(found - project->views), i);
        }
    } else {
        int32_t index = pil_view_feature_find(found->view, pil_bytes_from_text(feature));
        if (index < 0) {
            add_unknown_feature(of, node, found->view, feature);
        } else {
            add_feature(of, node, (uint32_t)(found - project->views), (uint32_t)index);
        }
    }
    free(view_name);
}

static void check_service(struct pil_check *check, const struct pil_yaml_node *node, struct pil_service *ret_service) {
    enum { NAME, DESCRIPTION, FEATURES, COUNT };
    static const struct pil_yaml_key keys[COUNT] = {
        [NAME] = {"name", PIL_YAML_SCALAR, true},
        [DESCRIPTION] = {"description", PIL_YAML_SCALAR, false},
        [FEATURES] = {"features", PIL_YAML_SEQUENCE, true},
    };
    const struct pil_yaml_node *values[COUNT];
    struct service_check of = {.check = check, .service = ret_service, .seen = json_object()};
    pil_check_label(node, "feature service", of.label);
    pil_yaml_take(check->problems, node, of.label, keys, COUNT, values);
    ret_service->name = pil_check_name(check, values[NAME], of.label, "name");
    ret_service->description =
        pil_check_text(check, values[DESCRIPTION], of.label, "description", PIL_CHECK_TEXT_BYTES_MAX);
    ret_service->features = pil_schema_alloc(PIL_SERVICE_FEATURES_MAX, sizeof *ret_service->features);
    for (uint32_t i = 0; values[FEATURES] != NULL && i < values[FEATURES]->child_count; i++) {
        check_reference(&of, &values[FEATURES]->children[i]);
    }
    if (values[FEATURES] != NULL && values[FEATURES]->child_count == 0) {
        pil_yaml_problem_add(check->problems, values[FEATURES],
                             "%s: features is empty; name at least one, view:feature", of.label);
    }
    ret_service->features =
        realloc(ret_service->features, (ret_service->feature_count + 1) * sizeof *ret_service->features);
    PIL_ASSERT(ret_service->features != NULL);
    json_decref(of.seen);
}

static void check_services(struct pil_check *check, const struct pil_yaml_node *list) {
    struct pil_project *project = check->project;
    uint32_t count = pil_check_count(check, list, "feature services", PIL_SERVICES_MAX);
    json_t *seen = json_object();
    project->services = pil_schema_alloc(count, sizeof *project->services);
    for (uint32_t i = 0; i < count; i++) {
        struct pil_service *service = &project->services[project->service_count++];
        check_service(check, &list->children[i], service);
        if (!pil_check_is_new(seen, service->name)) {
            pil_yaml_problem_add(check->problems, &list->children[i],
                                 "feature service %s is defined twice; rename or remove one",
                                 PIL_YAML_QUOTE(service->name));
        }
    }
    json_decref(seen);
}

/* ---- Project */

static void check_views(struct pil_check *check, const struct pil_yaml_node *list) {
    struct pil_project *project = check->project;
    uint32_t count = pil_check_count(check, list, "feature views", PIL_VIEWS_MAX);
    json_t *seen = json_object();
    project->views = pil_schema_alloc(count, sizeof *project->views);
    for (uint32_t i = 0; i < count; i++) {
        struct pil_project_view *view = &project->views[project->view_count++];
        pil_check_view(check, &list->children[i], view);
        if (!pil_check_is_new(seen, view->view->name)) {
            pil_yaml_problem_add(check->problems, &list->children[i],
                                 "feature view %s is defined twice; rename or remove one",
                                 PIL_YAML_QUOTE(view->view->name));
        }
    }
    json_decref(seen);
}

void pil_check_project(struct pil_check *check, const struct pil_yaml_node *root) {
    enum { PROJECT, ENTITIES, VIEWS, SERVICES, COUNT };
    static const struct pil_yaml_key keys[COUNT] = {
        [PROJECT] = {"project", PIL_YAML_SCALAR, true},
        [ENTITIES] = {"entities", PIL_YAML_SEQUENCE, true},
        [VIEWS] = {"feature_views", PIL_YAML_SEQUENCE, true},
        [SERVICES] = {"feature_services", PIL_YAML_SEQUENCE, false},
    };
    const struct pil_yaml_node *values[COUNT];
    if (pil_yaml_is_null(root)) {
        pil_yaml_problem_add(check->problems, root, "nothing is here; begin with project: NAME");
        return;
    }
    pil_yaml_take(check->problems, root, "project file", keys, COUNT, values);
    check->project->name = pil_check_name(check, values[PROJECT], "project file", "project");
    check_entities(check, values[ENTITIES]);
    check_views(check, values[VIEWS]);
    check_services(check, values[SERVICES]);
}
