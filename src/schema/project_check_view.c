/* SPDX-License-Identifier: Apache-2.0
 * Checks one feature view of a project: its keys, ttl, features and source. */
#include "schema/default.h"
#include "schema/json_text.h"
#include "schema/project_check.h"

/* Shared by the checks of the parts of one view. */
struct view_check {
    struct pil_check *check;
    struct pil_project_view *into;
    char label[PIL_CHECK_LABEL_BYTES];
};

/* ---- Values of several shapes */

/* "45s", "30m", "12h", "7d"; a number without a unit is in seconds. */
static void check_ttl(struct view_check *of, const struct pil_yaml_node *node) {
    int64_t value = 0, unit = 1;
    size_t digits = strspn(node->text, "0123456789");
    const char *suffix = node->text + digits;
    bool good = digits > 0 && strlen(suffix) <= 1;
    switch (suffix[0]) {
    case '\0':
    case 's': break;
    case 'm': unit = 60; break;
    case 'h': unit = 3600; break;
    case 'd': unit = 86400; break;
    default: good = false;
    }
    for (size_t i = 0; good && i < digits; i++) {
        good =
            !__builtin_mul_overflow(value, 10, &value) && !__builtin_add_overflow(value, node->text[i] - '0', &value);
    }
    if (!good || __builtin_mul_overflow(value, unit * 1000000, &of->into->view->ttl_us)) {
        pil_yaml_problem_add(
            of->check->problems, node,
            "%s: ttl '%s' is not a duration; write a number and a unit as 45s, 30m, 12h or 7d (0 = for ever)",
            of->label, PIL_YAML_QUOTE(node->text));
    }
}

/* Rows of a static view have no age, so that none can be too old. */
static void check_static(struct view_check *of, const struct pil_yaml_node *node, const struct pil_yaml_node *ttl) {
    struct pil_view *view = of->into->view;
    if (pil_check_bool(of->check, node, of->label, "static", &view->is_static) && view->is_static &&
        view->ttl_us != 0) {
        pil_yaml_problem_add(of->check->problems, ttl,
                             "%s: ttl needs event times, and static: true says that rows have none; remove one of them",
                             of->label);
    }
}

/* Checks a mapping of texts to texts; a missing node gives an empty object. NULL when memory is short. */
static json_t *check_text_map(struct view_check *of, const struct pil_yaml_node *node, const char *key,
                              uint32_t count_max) {
    json_t *map = json_object();
    struct pil_yaml_problems *problems = of->check->problems;
    if (node != NULL && node->child_count / 2 > count_max) {
        pil_yaml_problem_add(problems, node, "%s: %u %s; at most %u are possible", of->label, node->child_count / 2,
                             key, count_max);
        return map;
    }
    for (uint32_t i = 0; node != NULL && i + 1 < node->child_count; i += 2) {
        const char *name = pil_check_element(of->check, &node->children[i], of->label, key);
        const char *value = name != NULL ? pil_check_element(of->check, &node->children[i + 1], of->label, key) : NULL;
        if (value == NULL) {
            continue;
        }
        if (strlen(name) > PIL_CHECK_TEXT_BYTES_MAX || strlen(value) > PIL_CHECK_TEXT_BYTES_MAX) {
            pil_yaml_problem_add(problems, &node->children[i], "%s: %s has a text of more than %d bytes; shorten it",
                                 of->label, key, PIL_CHECK_TEXT_BYTES_MAX);
        } else if (json_object_get(map, name) != NULL) {
            pil_yaml_problem_add(problems, &node->children[i], "%s: %s stands twice in %s; keep one", of->label,
                                 PIL_YAML_QUOTE(name), key);
        } else {
            pil_json_set(&map, name, json_string(value));
        }
    }
    problems->no_memory |= map == NULL;
    return map;
}

/* ---- Keys */

static const struct pil_entity *find_entity(const struct pil_project *project, const char *name) {
    for (uint32_t i = 0; i < project->entity_count; i++) {
        if (strcmp(project->entities[i].name, name) == 0) {
            return &project->entities[i];
        }
    }
    return NULL;
}

static void add_unknown_entity(struct view_check *of, const struct pil_yaml_node *node) {
    const struct pil_project *project = of->check->project;
    const char **names = pil_yaml_problems_alloc(of->check->problems, project->entity_count, sizeof *names);
    char hint[PIL_CHECK_HINT_BYTES];
    if (names == NULL) {
        return;
    }
    for (uint32_t i = 0; i < project->entity_count; i++) {
        names[i] = project->entities[i].name;
    }
    pil_yaml_problem_add(of->check->problems, node, "%s: there is no entity '%s'; define it under entities%s",
                         of->label, PIL_YAML_QUOTE(node->text),
                         pil_check_hint(of->check, node->text, names, project->entity_count, hint));
    free(names);
}

static void check_view_entity(struct view_check *of, const struct pil_yaml_node *node) {
    struct pil_view *view = of->into->view;
    const char *name = pil_check_element(of->check, node, of->label, "entities");
    const struct pil_entity *entity = name != NULL ? find_entity(of->check->project, name) : NULL;
    if (name == NULL) {
        return;
    }
    if (entity == NULL) {
        add_unknown_entity(of, node);
        return;
    }
    for (uint32_t i = 0; i < view->entity_count; i++) {
        if (strcmp(view->entities[i].join_key, entity->join_key) == 0) {
            pil_yaml_problem_add(of->check->problems, node, "%s: join key %s stands twice; keep one of its entities",
                                 of->label, PIL_YAML_QUOTE(entity->join_key));
            return;
        }
    }
    if (!pil_entity_clone(entity, &view->entities[view->entity_count++])) {
        of->check->problems->no_memory = true;
    }
}

/* A view whose list of entities is empty has one row. That must be said: whoever forgets entities has another view in
 * mind. */
static void check_view_entities(struct view_check *of, const struct pil_yaml_node *view,
                                const struct pil_yaml_node *list) {
    static const struct pil_check_room room = {"entities of one view", PIL_ENTITIES_MAX, sizeof(struct pil_entity)};
    uint32_t count;
    of->into->view->entities = pil_check_list(of->check, list, &room, &count);
    for (uint32_t i = 0; i < count && !of->check->problems->no_memory; i++) {
        check_view_entity(of, &list->children[i]);
    }
    if (list == NULL) {
        pil_yaml_problem_add(of->check->problems, view,
                             "%s: entities is missing; add it, as entities: [] if the view has one row, without a key",
                             of->label);
    }
}

/* ---- Features */

static bool check_type(struct pil_check *check, const struct pil_yaml_node *node, const char *label,
                       struct pil_feature *feature) {
    struct pil_error error;
    if (pil_type_parse(pil_bytes_from_text(node->text), &feature->type, &error) == PIL_STATUS_OK) {
        return true;
    }
    if (strchr(node->text, '<') != NULL &&
        strchr(node->text, '>') == NULL) { /* in {type: vector<float32,4>} YAML ends the value at the comma */
        pil_yaml_problem_add(check->problems, node, "%s: type '%s' has no end; put the whole type in quotes", label,
                             PIL_YAML_QUOTE(node->text));
    } else {
        pil_yaml_problem_add(check->problems, node, "%s: type '%s': %s", label, PIL_YAML_QUOTE(node->text), error.text);
    }
    return false;
}

static void check_default(struct pil_check *check, const struct pil_yaml_node *node, const char *label,
                          struct pil_feature *feature) {
    bool as_text = pil_scalar_is_text(feature->type.scalar);
    json_t *value = pil_yaml_to_json(node, as_text);
    char *json = pil_json_text(value, JSON_COMPACT | JSON_ENCODE_ANY);
    struct pil_error error;
    pil_status status =
        json != NULL ? pil_default_parse(feature->type, pil_bytes_from_text(json), &feature->default_value, &error)
                     : PIL_STATUS_NO_MEMORY;
    if (status == PIL_STATUS_NO_MEMORY) {
        check->problems->no_memory = true;
    } else if (status != PIL_STATUS_OK) {
        char type[PIL_TYPE_TEXT_BYTES];
        pil_type_format(feature->type, type);
        pil_yaml_problem_add(check->problems, node, "%s: default does not fit %s; %s", label, type, error.text);
    }
    free(json);
    json_decref(value);
}

static void check_feature_tags(struct pil_check *check, const struct pil_yaml_node *list, const char *label,
                               struct pil_feature *feature) {
    static const struct pil_check_room room = {"tags of one feature", PIL_SCHEMA_TAGS_MAX, sizeof(char *)};
    uint32_t count;
    feature->tags = pil_check_list(check, list, &room, &count);
    for (uint32_t i = 0; i < count; i++) {
        const char *tag = pil_check_element(check, &list->children[i], label, "tags");
        if (tag != NULL) {
            feature->tags[feature->tag_count++] =
                pil_check_text(check, &list->children[i], label, "tags", PIL_NAME_BYTES_MAX);
        }
    }
}

static void check_feature(struct pil_check *check, const struct pil_yaml_node *node, struct pil_feature *ret_feature) {
    enum { NAME, TYPE, DEFAULT, DESCRIPTION, TAGS, COUNT };
    static const struct pil_yaml_key keys[COUNT] = {
        [NAME] = {"name", PIL_YAML_SCALAR, true},
        [TYPE] = {"type", PIL_YAML_SCALAR, true},
        [DEFAULT] = {"default", PIL_YAML_SCALAR | PIL_YAML_SEQUENCE, false},
        [DESCRIPTION] = {"description", PIL_YAML_SCALAR, false},
        [TAGS] = {"tags", PIL_YAML_SEQUENCE, false},
    };
    const struct pil_yaml_node *values[COUNT];
    char label[PIL_CHECK_LABEL_BYTES];
    pil_check_label(node, "feature", label);
    pil_yaml_take(check->problems, node, label, keys, COUNT, values);
    ret_feature->name = pil_check_name(check, values[NAME], label, "name");
    ret_feature->description =
        pil_check_text(check, values[DESCRIPTION], label, "description", PIL_CHECK_TEXT_BYTES_MAX);
    if (ret_feature->description == NULL) {
        ret_feature->description = pil_yaml_problems_copy(check->problems, "");
    }
    check_feature_tags(check, values[TAGS], label, ret_feature);
    if (values[TYPE] != NULL && check_type(check, values[TYPE], label, ret_feature) && values[DEFAULT] != NULL) {
        check_default(check, values[DEFAULT], label, ret_feature);
    }
}

/* What else in the view has this name already; NULL if the name is free. */
static const char *name_taken(const struct pil_project_view *of, const char *name) {
    if (name == NULL || name[0] == '\0') {
        return NULL;
    }
    for (uint32_t i = 0; i < of->view->entity_count; i++) {
        if (strcmp(of->view->entities[i].join_key, name) == 0) {
            return "a join key";
        }
    }
    if (of->source.timestamp_field != NULL && strcmp(of->source.timestamp_field, name) == 0) {
        return "the timestamp_field";
    }
    if (of->source.created_timestamp_column != NULL && strcmp(of->source.created_timestamp_column, name) == 0) {
        return "the created_timestamp_column";
    }
    return NULL;
}

static void check_features(struct view_check *of, const struct pil_yaml_node *list) {
    struct pil_view *view = of->into->view;
    static const struct pil_check_room room = {"features of one view", PIL_FEATURES_MAX, sizeof(struct pil_feature)};
    uint32_t count;
    json_t *seen = json_object();
    view->features = pil_check_list(of->check, list, &room, &count);
    for (uint32_t i = 0; i < count && !of->check->problems->no_memory; i++) {
        struct pil_feature *feature = &view->features[view->feature_count++];
        check_feature(of->check, &list->children[i], feature);
        const char *other = name_taken(of->into, feature->name);
        if (other != NULL) {
            pil_yaml_problem_add(of->check->problems, &list->children[i],
                                 "feature %s has the name of %s of %s; rename it", PIL_YAML_QUOTE(feature->name), other,
                                 of->label);
        } else if (!pil_check_is_new(of->check, &seen, feature->name)) {
            pil_yaml_problem_add(of->check->problems, &list->children[i],
                                 "feature %s is defined twice in %s; rename or remove one",
                                 PIL_YAML_QUOTE(feature->name), of->label);
        }
    }
    json_decref(seen);
    of->check->problems->no_memory = of->check->problems->no_memory || !pil_view_index_build(view);
}

/* ---- Source */

/* Returns whether the type is known. */
static bool check_source_type(struct view_check *of, const struct pil_yaml_node *node) {
    static const char *const names[] = {
        [PIL_SOURCE_PARQUET] = "parquet", [PIL_SOURCE_CSV] = "csv", [PIL_SOURCE_SQL] = "sql"};
    for (int i = PIL_SOURCE_PARQUET; node != NULL && i <= PIL_SOURCE_SQL; i++) {
        if (strcmp(node->text, names[i]) == 0) {
            of->into->source.type = (pil_source_type)i;
            return true;
        }
    }
    if (node != NULL) {
        pil_yaml_problem_add(of->check->problems, node, "source of %s: type '%s' is unknown; use parquet, csv or sql",
                             of->label, PIL_YAML_QUOTE(node->text));
    }
    return false;
}

/* Files need a path and SQL needs a query; neither may have the keys of the other. */
static void check_source_place(struct view_check *of, const struct pil_yaml_node *source,
                               const struct pil_yaml_node *path, const struct pil_yaml_node *query,
                               const struct pil_yaml_node *setup) {
    struct pil_yaml_problems *problems = of->check->problems;
    bool is_sql = of->into->source.type == PIL_SOURCE_SQL;
    if ((is_sql ? query : path) == NULL) {
        pil_yaml_problem_add(problems, source, "source of %s: %s is missing; add it", of->label,
                             is_sql ? "query" : "path");
    }
    if (is_sql && path != NULL) {
        pil_yaml_problem_add(problems, path, "source of %s: sql has no path; name the files in the query", of->label);
    }
    if (!is_sql && query != NULL) {
        pil_yaml_problem_add(problems, query, "source of %s: query needs type sql; change the type or remove the query",
                             of->label);
    }
    if (!is_sql && setup != NULL) {
        pil_yaml_problem_add(problems, setup, "source of %s: setup needs type sql; change the type or remove setup",
                             of->label);
    }
}

/* Rows have their event times from a column, unless the view is static. */
static void check_source_time(struct view_check *of, const struct pil_yaml_node *source,
                              const struct pil_yaml_node *timestamp) {
    if (of->into->view->is_static && timestamp != NULL) {
        pil_yaml_problem_add(of->check->problems, timestamp,
                             "source of %s: timestamp_field is for rows with event times, and static: true says that "
                             "they have none; remove one of them",
                             of->label);
    } else if (!of->into->view->is_static && timestamp == NULL) {
        pil_yaml_problem_add(of->check->problems, source,
                             "source of %s: timestamp_field is missing; add it, or static: true to the view if its "
                             "rows have no event time",
                             of->label);
    }
}

/* Returns the value if it is a scalar. Otherwise reports it, unless it is missing. */
static const struct pil_yaml_node *one_value(struct view_check *of, const struct pil_yaml_node *value, const char *name,
                                             const char *fix) {
    if (value == NULL || value->kind == PIL_YAML_SCALAR) {
        return value;
    }
    pil_yaml_problem_add(of->check->problems, value, "source of %s: %s must be one value; %s", of->label, name, fix);
    return NULL;
}

/* Checks the fields of the source and returns its field_mapping, which is checked once the features are known. */
static const struct pil_yaml_node *check_source(struct view_check *of, const struct pil_yaml_node *node) {
    enum { TYPE, PATH, QUERY, SETUP, TIMESTAMP, CREATED, MAPPING, COUNT };
    enum { ANY = PIL_YAML_SCALAR | PIL_YAML_SEQUENCE | PIL_YAML_MAPPING };
    static const struct pil_yaml_key common[COUNT] = {
        [TYPE] = {"type", PIL_YAML_SCALAR, true},
        [PATH] = {"path", ANY, false},
        [QUERY] = {"query", ANY, false},
        [SETUP] = {"setup", PIL_YAML_SCALAR, false},
        [TIMESTAMP] = {"timestamp_field", PIL_YAML_SCALAR, false},
        [CREATED] = {"created_timestamp_column", PIL_YAML_SCALAR, false},
        [MAPPING] = {"field_mapping", PIL_YAML_MAPPING, false},
    };
    struct pil_yaml_key keys[COUNT + PIL_CSV_KEYS];
    const struct pil_yaml_node *values[COUNT + PIL_CSV_KEYS];
    struct pil_source *source = &of->into->source;
    char label[PIL_CHECK_LABEL_BYTES + 16];
    if (node == NULL) {
        return NULL;
    }
    snprintf(label, sizeof label, "source of %s", of->label);
    memcpy(keys, common, sizeof common);
    memcpy(keys + COUNT, pil_project_csv_keys, sizeof pil_project_csv_keys);
    pil_yaml_take(of->check->problems, node, label, keys, COUNT + PIL_CSV_KEYS, values);
    if (check_source_type(of, values[TYPE])) {
        check_source_place(of, node, values[PATH], values[QUERY], values[SETUP]);
        source->csv = pil_project_check_csv(of->check, source->type == PIL_SOURCE_CSV, label, values + COUNT);
    }
    check_source_time(of, node, values[TIMESTAMP]);
    values[PATH] = one_value(of, values[PATH], "path", "name a folder, or a glob such as data/*.parquet");
    values[QUERY] = one_value(of, values[QUERY], "query", "write one SELECT");
    source->path = pil_check_text(of->check, values[PATH], label, "path", PIL_CHECK_TEXT_BYTES_MAX);
    source->query = pil_check_text(of->check, values[QUERY], label, "query", PIL_CHECK_SQL_BYTES_MAX);
    source->setup = pil_check_text(of->check, values[SETUP], label, "setup", PIL_CHECK_SQL_BYTES_MAX);
    source->timestamp_field =
        pil_check_text(of->check, values[TIMESTAMP], label, "timestamp_field", PIL_CHECK_TEXT_BYTES_MAX);
    source->created_timestamp_column =
        pil_check_text(of->check, values[CREATED], label, "created_timestamp_column", PIL_CHECK_TEXT_BYTES_MAX);
    return values[MAPPING];
}

/* Columns map to features or join keys, at most one to each. */
static void check_field_mapping(struct view_check *of, const struct pil_yaml_node *node) {
    const struct pil_view *view = of->into->view;
    json_t *seen = json_object();
    of->into->source.field_mapping = check_text_map(of, node, "field_mapping", PIL_FEATURES_MAX + PIL_ENTITIES_MAX);
    uint32_t count = node != NULL ? node->child_count : 0;
    for (uint32_t i = 0; i + 1 < count && !of->check->problems->no_memory; i += 2) {
        const struct pil_yaml_node *target = &node->children[i + 1];
        if (target->text == NULL || target->text[0] == '\0') {
            continue; /* check_text_map has reported it */
        }
        bool known = pil_view_feature_find(view, pil_bytes_from_text(target->text)) >= 0;
        for (uint32_t k = 0; k < view->entity_count; k++) {
            known = known || strcmp(view->entities[k].join_key, target->text) == 0;
        }
        if (!known) {
            pil_yaml_problem_add(
                of->check->problems, target,
                "%s: field_mapping leads to '%s', which is neither a feature nor a join key; write column: name",
                of->label, PIL_YAML_QUOTE(target->text));
        } else if (!pil_check_is_new(of->check, &seen, target->text)) {
            pil_yaml_problem_add(of->check->problems, target, "%s: field_mapping leads to %s twice; keep one",
                                 of->label, PIL_YAML_QUOTE(target->text));
        }
    }
    json_decref(seen);
}

/* ---- View */

void pil_check_view(struct pil_check *check, const struct pil_yaml_node *node, struct pil_project_view *ret_view) {
    enum { NAME, DESCRIPTION, OWNER, ENTITIES, TTL, STATIC, SOURCE, FEATURES, TAGS, COUNT };
    static const struct pil_yaml_key keys[COUNT] = {
        [NAME] = {"name", PIL_YAML_SCALAR, true},      [DESCRIPTION] = {"description", PIL_YAML_SCALAR, false},
        [OWNER] = {"owner", PIL_YAML_SCALAR, false},   [ENTITIES] = {"entities", PIL_YAML_SEQUENCE, false},
        [TTL] = {"ttl", PIL_YAML_SCALAR, false},       [STATIC] = {"static", PIL_YAML_SCALAR, false},
        [SOURCE] = {"source", PIL_YAML_MAPPING, true}, [FEATURES] = {"features", PIL_YAML_SEQUENCE, true},
        [TAGS] = {"tags", PIL_YAML_MAPPING, false},
    };
    const struct pil_yaml_node *values[COUNT];
    struct view_check of = {.check = check, .into = ret_view};
    pil_check_label(node, "feature view", of.label);
    pil_yaml_take(check->problems, node, of.label, keys, COUNT, values);
    ret_view->view = pil_yaml_problems_alloc(check->problems, 1, sizeof *ret_view->view);
    if (ret_view->view == NULL) {
        return;
    }
    ret_view->view->project = pil_yaml_problems_copy(check->problems, check->project->name);
    ret_view->view->name = pil_check_name(check, values[NAME], of.label, "name");
    ret_view->description =
        pil_check_text(check, values[DESCRIPTION], of.label, "description", PIL_CHECK_TEXT_BYTES_MAX);
    ret_view->owner = pil_check_text(check, values[OWNER], of.label, "owner", PIL_CHECK_TEXT_BYTES_MAX);
    if (values[TTL] != NULL) {
        check_ttl(&of, values[TTL]);
    }
    check_static(&of, values[STATIC], values[TTL]);
    check_view_entities(&of, node, values[ENTITIES]);
    const struct pil_yaml_node *mapping = check_source(&of, values[SOURCE]);
    check_features(&of, values[FEATURES]);
    check_field_mapping(&of, mapping);
    if (values[ENTITIES] != NULL && values[FEATURES] != NULL &&
        values[ENTITIES]->child_count + values[FEATURES]->child_count == 0) {
        pil_yaml_problem_add(check->problems, values[FEATURES],
                             "%s: it has neither entities nor features; add some of either", of.label);
    }
    ret_view->tags = check_text_map(&of, values[TAGS], "tags", PIL_SCHEMA_TAGS_MAX);
    struct pil_error error;
    if (!check->problems->no_memory && pil_view_layout(ret_view->view, &error) != PIL_STATUS_OK) {
        pil_yaml_problem_add(check->problems, values[FEATURES] != NULL ? values[FEATURES] : node, "%s; split the view",
                             error.text);
    }
}
