/* SPDX-License-Identifier: Apache-2.0
 * The JSON form of a view, both ways. What comes in may be hostile: every member is checked before it is used, members
 * that this version does not know are ignored, and the layout must be the one that pil_view_layout computes. */
#include "schema/view.h"
#include "schema/default.h"
#include "schema/internal.h"
#include "schema/name.h"

enum { VIEW_JSON_BYTES_MAX = 64 << 20 }; /* 4,096 features with defaults of full-size vectors stay below */

/* ---- Out */

static void set(json_t *object, const char *key, json_t *value) {
    PIL_ASSERT(value != NULL && json_object_set_new(object, key, value) == 0);
}

json_t *pil_view_entity_to_json(const struct pil_entity *entity) {
    json_t *json = json_object();
    set(json, "name", json_string(entity->name));
    set(json, "join_key", json_string(entity->join_key));
    set(json, "type", json_string(pil_scalar_text(entity->type)));
    if (entity->description != NULL) {
        set(json, "description", json_string(entity->description));
    }
    return json;
}

json_t *pil_view_feature_to_json(const struct pil_feature *feature) {
    char type[PIL_TYPE_TEXT_BYTES];
    pil_type_format(feature->type, type);
    json_t *json = json_object();
    set(json, "name", json_string(feature->name));
    set(json, "type", json_string(type));
    if (feature->default_value != NULL) {
        set(json, "default", json_deep_copy(feature->default_value));
    }
    if (feature->description != NULL && feature->description[0] != '\0') {
        set(json, "description", json_string(feature->description));
    }
    if (feature->tag_count > 0) {
        json_t *tags = json_array();
        for (uint32_t i = 0; i < feature->tag_count; i++) {
            PIL_ASSERT(json_array_append_new(tags, json_string(feature->tags[i])) == 0);
        }
        set(json, "tags", tags);
    }
    return json;
}

static json_t *layout_to_json(const struct pil_row_layout *layout) {
    json_t *json = json_object();
    set(json, "key_fixed", json_boolean(layout->key_is_fixed));
    set(json, "key_bytes", json_integer(layout->key_bytes));
    set(json, "event_ts_offset", json_integer(layout->event_ts_offset));
    set(json, "null_offset", json_integer(layout->null_offset));
    set(json, "null_bytes", json_integer(layout->null_bytes));
    set(json, "stride", json_integer(layout->stride));
    return json;
}

json_t *pil_view_to_json(const struct pil_view *view) {
    json_t *entities = json_array(), *features = json_array(), *json = json_object();
    for (uint32_t i = 0; i < view->entity_count; i++) {
        PIL_ASSERT(json_array_append_new(entities, pil_view_entity_to_json(&view->entities[i])) == 0);
    }
    for (uint32_t i = 0; i < view->feature_count; i++) {
        json_t *feature = pil_view_feature_to_json(&view->features[i]);
        set(feature, "offset", json_integer(view->features[i].offset));
        set(feature, "null_bit", json_integer(view->features[i].null_bit));
        PIL_ASSERT(json_array_append_new(features, feature) == 0);
    }
    set(json, "project", json_string(view->project));
    set(json, "name", json_string(view->name));
    set(json, "ttl_us", json_integer(view->ttl_us));
    set(json, "entities", entities);
    set(json, "features", features);
    set(json, "layout", layout_to_json(&view->layout));
    return json;
}

/* ---- In. `where` names the object in messages: "feature 3". */

static pil_status get_text(const json_t *object, const char *where, const char *key, const char **ret_text,
                           struct pil_error *ret_error) {
    const json_t *value = json_object_get(object, key);
    if (!json_is_string(value) || strlen(json_string_value(value)) != json_string_length(value)) {
        return pil_fail(ret_error, PIL_STATUS_CORRUPT, "schema: %s: \"%s\" is missing or not text", where, key);
    }
    *ret_text = json_string_value(value);
    return PIL_STATUS_OK;
}

static pil_status get_name(const json_t *object, const char *where, const char *key, char **ret_name,
                           struct pil_error *ret_error) {
    const char *text;
    PIL_TRY(get_text(object, where, key, &text, ret_error));
    if (!pil_name_is_valid(pil_bytes_from_text(text))) {
        return pil_fail(ret_error, PIL_STATUS_CORRUPT, "schema: %s: \"%s\" is not a valid name", where, key);
    }
    *ret_name = pil_schema_copy(text);
    return PIL_STATUS_OK;
}

static pil_status get_array(const json_t *object, const char *where, const char *key, uint32_t count_max,
                            const json_t **ret_array, struct pil_error *ret_error) {
    const json_t *value = json_object_get(object, key);
    if (!json_is_array(value)) {
        return pil_fail(ret_error, PIL_STATUS_CORRUPT, "schema: %s: \"%s\" is missing or not a list", where, key);
    }
    if (json_array_size(value) > count_max) {
        return pil_fail(ret_error, PIL_STATUS_TOO_LARGE, "schema: %s: \"%s\" has %zu elements; the limit is %u", where,
                        key, json_array_size(value), count_max);
    }
    *ret_array = value;
    return PIL_STATUS_OK;
}

static pil_status get_type(const json_t *object, const char *where, struct pil_type *ret_type,
                           struct pil_error *ret_error) {
    const char *text;
    PIL_TRY(get_text(object, where, "type", &text, ret_error));
    if (pil_type_parse(pil_bytes_from_text(text), ret_type, ret_error) != PIL_STATUS_OK) {
        return pil_fail_in(ret_error, PIL_STATUS_CORRUPT, "schema: %s: \"type\"", where);
    }
    return PIL_STATUS_OK;
}

/* An optional text: NULL when it is not there. */
static pil_status get_description(const json_t *object, const char *where, char **ret_text,
                                  struct pil_error *ret_error) {
    const char *text = NULL;
    if (json_object_get(object, "description") != NULL) {
        PIL_TRY(get_text(object, where, "description", &text, ret_error));
    }
    *ret_text = pil_schema_copy(text);
    return PIL_STATUS_OK;
}

static pil_status read_entity(const json_t *json, struct pil_view *view, struct pil_error *ret_error) {
    struct pil_entity *entity = &view->entities[view->entity_count++];
    char where[32];
    struct pil_type type;
    snprintf(where, sizeof where, "entity %u", view->entity_count);
    PIL_TRY(get_name(json, where, "name", &entity->name, ret_error));
    PIL_TRY(get_name(json, where, "join_key", &entity->join_key, ret_error));
    PIL_TRY(get_type(json, where, &type, ret_error));
    PIL_TRY(get_description(json, where, &entity->description, ret_error));
    if (!pil_entity_can_be(type)) {
        return pil_fail(ret_error, PIL_STATUS_CORRUPT, "schema: %s: \"type\" is not one of keys", where);
    }
    entity->type = type.scalar;
    for (uint32_t i = 0; i + 1 < view->entity_count; i++) {
        if (strcmp(view->entities[i].join_key, entity->join_key) == 0) {
            return pil_fail(ret_error, PIL_STATUS_CORRUPT, "schema: join key %s stands twice", entity->join_key);
        }
    }
    return PIL_STATUS_OK;
}

static pil_status read_tags(const json_t *json, const char *where, struct pil_feature *feature,
                            struct pil_error *ret_error) {
    const json_t *tags;
    if (json_object_get(json, "tags") == NULL) {
        return PIL_STATUS_OK;
    }
    PIL_TRY(get_array(json, where, "tags", PIL_SCHEMA_TAGS_MAX, &tags, ret_error));
    feature->tags = pil_schema_alloc(json_array_size(tags), sizeof *feature->tags);
    for (size_t i = 0; i < json_array_size(tags); i++) {
        const json_t *tag = json_array_get(tags, i);
        if (!json_is_string(tag) || strlen(json_string_value(tag)) != json_string_length(tag)) {
            return pil_fail(ret_error, PIL_STATUS_CORRUPT, "schema: %s: a tag is not text", where);
        }
        feature->tags[feature->tag_count++] = pil_schema_copy(json_string_value(tag));
    }
    return PIL_STATUS_OK;
}

static pil_status read_feature(const json_t *json, struct pil_view *view, struct pil_error *ret_error) {
    struct pil_feature *feature = &view->features[view->feature_count++];
    const json_t *value = json_object_get(json, "default");
    char where[32];
    snprintf(where, sizeof where, "feature %u", view->feature_count);
    PIL_TRY(get_name(json, where, "name", &feature->name, ret_error));
    PIL_TRY(get_type(json, where, &feature->type, ret_error));
    PIL_TRY(get_description(json, where, &feature->description, ret_error));
    if (feature->description == NULL) {
        feature->description = pil_schema_copy("");
    }
    if (value != NULL &&
        pil_default_normalize(feature->type, value, &feature->default_value, ret_error) != PIL_STATUS_OK) {
        return pil_fail_in(ret_error, PIL_STATUS_CORRUPT, "schema: %s: \"default\"", where);
    }
    return read_tags(json, where, feature, ret_error);
}

/* Entities and features as far as they are good; what is in the view on failure is destroyed by the caller. */
static pil_status read_members(const json_t *json, struct pil_view *view, struct pil_error *ret_error) {
    const json_t *ttl = json_object_get(json, "ttl_us"), *entities, *features;
    PIL_TRY(get_name(json, "view", "project", &view->project, ret_error));
    PIL_TRY(get_name(json, "view", "name", &view->name, ret_error));
    if (!json_is_integer(ttl) || json_integer_value(ttl) < 0) {
        return pil_fail(ret_error, PIL_STATUS_CORRUPT,
                        "schema: view: \"ttl_us\" is missing or not a whole number from 0");
    }
    view->ttl_us = json_integer_value(ttl);
    PIL_TRY(get_array(json, "view", "entities", PIL_ENTITIES_MAX, &entities, ret_error));
    PIL_TRY(get_array(json, "view", "features", PIL_FEATURES_MAX, &features, ret_error));
    if (json_array_size(entities) == 0) {
        return pil_fail(ret_error, PIL_STATUS_CORRUPT, "schema: view: \"entities\" is empty");
    }
    view->entities = pil_schema_alloc(json_array_size(entities), sizeof *view->entities);
    for (size_t i = 0; i < json_array_size(entities); i++) {
        PIL_TRY(read_entity(json_array_get(entities, i), view, ret_error));
    }
    view->features = pil_schema_alloc(json_array_size(features), sizeof *view->features);
    for (size_t i = 0; i < json_array_size(features); i++) {
        PIL_TRY(read_feature(json_array_get(features, i), view, ret_error));
    }
    pil_view_index_build(view);
    for (uint32_t i = 0; i < view->feature_count; i++) {
        if (pil_view_feature_find(view, pil_bytes_from_text(view->features[i].name)) != (int32_t)i) {
            return pil_fail(ret_error, PIL_STATUS_CORRUPT, "schema: feature %s stands twice", view->features[i].name);
        }
    }
    return pil_view_layout(view, ret_error);
}

static bool is_number(const json_t *object, const char *key, uint32_t number) {
    const json_t *value = json_object_get(object, key);
    return json_is_integer(value) && json_integer_value(value) == number;
}

/* The layout that the JSON states against the one computed from types. */
static pil_status compare_layout(const json_t *json, const struct pil_view *view, struct pil_error *ret_error) {
    const json_t *features = json_object_get(json, "features"), *stated = json_object_get(json, "layout");
    for (uint32_t i = 0; i < view->feature_count; i++) {
        const json_t *feature = json_array_get(features, i);
        if (!is_number(feature, "offset", view->features[i].offset) ||
            !is_number(feature, "null_bit", view->features[i].null_bit)) {
            return pil_fail(ret_error, PIL_STATUS_CORRUPT,
                            "schema: feature %s: \"offset\" or \"null_bit\" is not what the layout gives",
                            view->features[i].name);
        }
    }
    json_t *computed = layout_to_json(&view->layout);
    const char *key;
    json_t *value;
    pil_status status = PIL_STATUS_OK;
    json_object_foreach(computed, key, value) {
        if (!json_equal(value, json_object_get(stated, key))) {
            status = pil_fail(ret_error, PIL_STATUS_CORRUPT, "schema: layout: \"%s\" is not what the types give", key);
            break;
        }
    }
    json_decref(computed);
    return status;
}

pil_status pil_view_from_json(const json_t *json, struct pil_view **ret_view, struct pil_error *ret_error) {
    struct pil_view *view = pil_schema_alloc(1, sizeof *view);
    pil_status status = read_members(json, view, ret_error);
    if (status == PIL_STATUS_OK) {
        status = compare_layout(json, view, ret_error);
    }
    if (status != PIL_STATUS_OK) {
        pil_view_destroy(&view);
        return status;
    }
    *ret_view = view;
    return PIL_STATUS_OK;
}

pil_status pil_view_from_json_bytes(struct pil_bytes text, struct pil_view **ret_view, struct pil_error *ret_error) {
    if (text.len > VIEW_JSON_BYTES_MAX) {
        return pil_fail(ret_error, PIL_STATUS_TOO_LARGE, "schema: %zu bytes; the limit is %d", text.len,
                        VIEW_JSON_BYTES_MAX);
    }
    json_error_t error;
    json_t *json = json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, &error);
    if (json == NULL) {
        return pil_fail(ret_error, PIL_STATUS_CORRUPT, "schema: at byte %d: %s", error.position, error.text);
    }
    pil_status status = pil_view_from_json(json, ret_view, ret_error);
    json_decref(json);
    return status;
}
