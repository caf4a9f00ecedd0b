/* SPDX-License-Identifier: Apache-2.0
 * Checks the project, its entities and its feature services. Views are in project_check_view.c, shared helpers in
 * check.c. */
#include "schema/project_check.h"

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
        char names[PIL_SCALAR_NAMES_BYTES], advice[PIL_TYPE_ADVICE_BYTES];
        pil_scalar_names(PIL_USE_KEY, " or ", names);
        pil_type_advise(pil_bytes_from_text(values[TYPE]->text), PIL_USE_KEY, advice);
        pil_yaml_problem_add(check->problems, values[TYPE], "%s: type '%s' cannot be a key; %s%s", label,
                             PIL_YAML_QUOTE(values[TYPE]->text), advice[0] != '\0' ? advice : "use ",
                             advice[0] != '\0' ? "" : names);
        type.scalar = PIL_SCALAR_INT64;
    }
    *ret_entity = (struct pil_entity){
        .name = pil_check_name(check, values[NAME], label, "name"),
        .type = type.scalar,
        .description = pil_check_text(check, values[DESCRIPTION], label, "description", PIL_CHECK_TEXT_BYTES_MAX),
    };
    ret_entity->join_key = values[JOIN_KEY] != NULL ? pil_check_name(check, values[JOIN_KEY], label, "join_key")
                                                    : pil_yaml_problems_copy(check->problems, ret_entity->name);
}

static void check_entities(struct pil_check *check, const struct pil_yaml_node *list) {
    struct pil_project *project = check->project;
    static const struct pil_check_room room = {"entities", PIL_VIEWS_MAX * PIL_ENTITIES_MAX, sizeof(struct pil_entity)};
    uint32_t count;
    json_t *seen = json_object();
    project->entities = pil_check_list(check, list, &room, &count);
    for (uint32_t i = 0; i < count && !check->problems->no_memory; i++) {
        struct pil_entity *entity = &project->entities[project->entity_count++];
        check_entity(check, &list->children[i], entity);
        if (!pil_check_is_new(check, &seen, entity->name)) {
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
    json_t *seen; /* "view:feature" for each feature of the service */
};

static void add_feature(struct service_check *of, const struct pil_yaml_node *node, uint32_t view_index,
                        uint32_t feature_index) {
    PIL_ASSERT(view_index < of->check->project->view_count);
    const struct pil_view *view = of->check->project->views[view_index].view;
    PIL_ASSERT(feature_index < view->feature_count);
    struct pil_text text = {0};
    pil_text_format(&text, "%s:%s", view->name, view->features[feature_index].name);
    const char *full = pil_text_chars(&text);
    if (text.failed) {
        of->check->problems->no_memory = true;
    } else if (!pil_check_is_new(of->check, &of->seen, full)) {
        pil_yaml_problem_add(of->check->problems, node, "%s: %s stands twice; keep one", of->label,
                             PIL_YAML_QUOTE(full));
    } else if (of->service->feature_count == PIL_SERVICE_FEATURES_MAX) {
        pil_yaml_problem_add(of->check->problems, node, "%s: %s is one too many; at most %d features are possible",
                             of->label, PIL_YAML_QUOTE(full), PIL_SERVICE_FEATURES_MAX);
    } else {
        of->service->features[of->service->feature_count++] = (struct pil_service_feature){view_index, feature_index};
    }
    pil_text_deinit(&text);
}

static void add_unknown_view(struct service_check *of, const struct pil_yaml_node *node, const char *name) {
    const struct pil_project *project = of->check->project;
    const char *names[PIL_VIEWS_MAX];
    char hint[PIL_CHECK_HINT_BYTES];
    PIL_ASSERT(project->view_count <= PIL_VIEWS_MAX);
    for (uint32_t i = 0; i < project->view_count; i++) {
        names[i] = project->views[i].view->name;
    }
    pil_yaml_problem_add(of->check->problems, node,
                         "%s: there is no feature view '%s'; define it under feature_views%s", of->label,
                         PIL_YAML_QUOTE(name), pil_check_hint(of->check, name, names, project->view_count, hint));
}

static void add_unknown_feature(struct service_check *of, const struct pil_yaml_node *node, const struct pil_view *view,
                                const char *name) {
    const char **names = pil_yaml_problems_alloc(of->check->problems, view->feature_count, sizeof *names);
    char hint[PIL_CHECK_HINT_BYTES];
    if (names == NULL) {
        return;
    }
    for (uint32_t i = 0; i < view->feature_count; i++) {
        names[i] = view->features[i].name;
    }
    pil_yaml_problem_add(of->check->problems, node, "%s: feature view %s has no feature '%s'; define it there%s",
                         of->label, PIL_YAML_QUOTE(view->name), PIL_YAML_QUOTE(name),
                         pil_check_hint(of->check, name, names, view->feature_count, hint));
    free(names);
}

/* Checks "view:feature", or "view" for all features of the view. */
static void check_reference(struct service_check *of, const struct pil_yaml_node *node) {
    const char *text = pil_check_element(of->check, node, of->label, "features");
    if (text == NULL) {
        return;
    }
    size_t view_len = strcspn(text, ":");
    const char *feature = text[view_len] == ':' ? text + view_len + 1 : NULL;
    char *view_name = pil_yaml_problems_alloc(of->check->problems, view_len + 1, 1);
    if (view_name == NULL) {
        return;
    }
    memcpy(view_name, text, view_len);
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
    ret_service->features =
        pil_yaml_problems_alloc(check->problems, PIL_SERVICE_FEATURES_MAX, sizeof *ret_service->features);
    uint32_t count = values[FEATURES] != NULL ? values[FEATURES]->child_count : 0;
    for (uint32_t i = 0; i < count && !check->problems->no_memory; i++) {
        check_reference(&of, &values[FEATURES]->children[i]);
    }
    if (values[FEATURES] != NULL && values[FEATURES]->child_count == 0) {
        pil_yaml_problem_add(check->problems, values[FEATURES],
                             "%s: features is empty; name at least one, view:feature", of.label);
    }
    struct pil_service_feature *fitting =
        realloc(ret_service->features, (ret_service->feature_count + 1) * sizeof *fitting);
    ret_service->features = fitting != NULL ? fitting : ret_service->features;
    json_decref(of.seen);
}

static void check_services(struct pil_check *check, const struct pil_yaml_node *list) {
    struct pil_project *project = check->project;
    static const struct pil_check_room room = {"feature services", PIL_SERVICES_MAX, sizeof(struct pil_service)};
    uint32_t count;
    json_t *seen = json_object();
    project->services = pil_check_list(check, list, &room, &count);
    for (uint32_t i = 0; i < count && !check->problems->no_memory; i++) {
        struct pil_service *service = &project->services[project->service_count++];
        check_service(check, &list->children[i], service);
        if (!pil_check_is_new(check, &seen, service->name)) {
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
    static const struct pil_check_room room = {"feature views", PIL_VIEWS_MAX, sizeof(struct pil_project_view)};
    uint32_t count;
    json_t *seen = json_object();
    project->views = pil_check_list(check, list, &room, &count);
    for (uint32_t i = 0; i < count && !check->problems->no_memory; i++) {
        struct pil_project_view *view = &project->views[project->view_count++];
        pil_check_view(check, &list->children[i], view);
        if (view->view != NULL && !pil_check_is_new(check, &seen, view->view->name)) {
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
