/* SPDX-License-Identifier: Apache-2.0
 * Views from JSON. The text may be hostile: every member is checked before it is used, members that this version does
 * not know are ignored, and the layout must be the one that pil_view_layout computes. Runs in libpillion, too: no
 * allocation that fails ends the process. */
#include "schema/view_read.h"
#include "base/json_value.h"
#include "schema/internal.h"
#include "schema/name.h"

enum { VIEW_JSON_BYTES_MAX = 64 << 20 }; /* 4,096 features with defaults of full-size vectors stay below */

/* An object of the document, and its name in messages: "feature 3". */
struct part {
    struct pil_json_value json;
    char where[32];
};

static struct part part_of(const struct pil_json_value *json, const char *kind, uint32_t number) {
    struct part part = {.json = *json};
    snprintf(part.where, sizeof part.where, "%s %u", kind, number);
    return part;
}

static pil_status no_memory(struct pil_error *error) {
    return pil_fail(error, PIL_STATUS_NO_MEMORY, "schema: no memory");
}

/* ---- Members. */

static pil_status get(const struct part *part, const char *key, struct pil_json_value *ret_value,
                      struct pil_error *error) {
    *ret_value = pil_json_value_member(&part->json, key);
    return !ret_value->is_twice
               ? PIL_STATUS_OK
               : pil_fail(error, PIL_STATUS_CORRUPT, "schema: %s: duplicate member \"%s\"", part->where, key);
}

static pil_status get_text(const struct part *part, const char *key, struct pil_bytes *ret_text,
                           struct pil_error *error) {
    struct pil_json_value value;
    PIL_TRY(get(part, key, &value, error));
    struct pil_bytes text = pil_json_value_text(&value);
    if (!pil_json_value_is(&value, PIL_JSON_STRING) || memchr(text.data, '\0', text.len) != NULL) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "schema: %s: \"%s\" is missing or not text", part->where, key);
    }
    *ret_text = text;
    return PIL_STATUS_OK;
}

static pil_status copy_text(struct pil_bytes text, char **ret_copy, struct pil_error *error) {
    char *copy = malloc(text.len + 1);
    if (copy == NULL) {
        return no_memory(error);
    }
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    *ret_copy = copy;
    return PIL_STATUS_OK;
}

static pil_status get_name(const struct part *part, const char *key, char **ret_name, struct pil_error *error) {
    struct pil_bytes text;
    PIL_TRY(get_text(part, key, &text, error));
    if (!pil_name_is_valid(text)) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "schema: %s: \"%s\" is not a valid name", part->where, key);
    }
    return copy_text(text, ret_name, error);
}

/* An optional text; NULL when it is not there. */
static pil_status get_description(const struct part *part, char **ret_text, struct pil_error *error) {
    struct pil_bytes text;
    struct pil_json_value value;
    PIL_TRY(get(part, "description", &value, error));
    if (value.text.len == 0) {
        return PIL_STATUS_OK;
    }
    PIL_TRY(get_text(part, "description", &text, error));
    return copy_text(text, ret_text, error);
}

static pil_status get_array(const struct part *part, const char *key, uint32_t count_max,
                            struct pil_json_value *ret_array, struct pil_error *error) {
    struct pil_json_value value;
    PIL_TRY(get(part, key, &value, error));
    if (!pil_json_value_is(&value, PIL_JSON_ARRAY)) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "schema: %s: \"%s\" is missing or not a list", part->where, key);
    }
    size_t count = pil_json_value_count(&value);
    if (count > count_max) {
        return pil_fail(error, PIL_STATUS_TOO_LARGE, "schema: %s: \"%s\" has %zu elements; the limit is %u",
                        part->where, key, count, count_max);
    }
    *ret_array = value;
    return PIL_STATUS_OK;
}

static pil_status get_type(const struct part *part, struct pil_type *ret_type, struct pil_error *error) {
    struct pil_bytes text;
    PIL_TRY(get_text(part, "type", &text, error));
    if (pil_type_parse(text, ret_type, error) != PIL_STATUS_OK) {
        return pil_fail_in(error, PIL_STATUS_CORRUPT, "schema: %s: \"type\"", part->where);
    }
    return PIL_STATUS_OK;
}

static bool is_number_at(const struct pil_json_value *object, const char *key, uint32_t wanted) {
    struct pil_json_value value = pil_json_value_member(object, key);
    int64_t number = 0;
    return !value.is_twice && pil_json_value_integer(&value, &number) && number == wanted;
}

/* ---- Entities and features. */

static pil_status read_entity(const struct pil_json_value *json, struct pil_view *view, struct pil_error *error) {
    struct pil_entity *entity = &view->entities[view->entity_count++];
    struct part part = part_of(json, "entity", view->entity_count);
    struct pil_type type;
    PIL_TRY(get_name(&part, "name", &entity->name, error));
    PIL_TRY(get_name(&part, "join_key", &entity->join_key, error));
    PIL_TRY(get_type(&part, &type, error));
    PIL_TRY(get_description(&part, &entity->description, error));
    if (!pil_entity_can_be(type)) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "schema: %s: \"type\" is not one of keys", part.where);
    }
    entity->type = type.scalar;
    for (uint32_t i = 0; i + 1 < view->entity_count; i++) {
        if (strcmp(view->entities[i].join_key, entity->join_key) == 0) {
            return pil_fail(error, PIL_STATUS_CORRUPT, "schema: join key %s stands twice", entity->join_key);
        }
    }
    return PIL_STATUS_OK;
}

static pil_status read_tags(const struct part *part, struct pil_feature *feature, struct pil_error *error) {
    struct pil_json_value tags, tag;
    PIL_TRY(get(part, "tags", &tags, error));
    if (tags.text.len == 0) {
        return PIL_STATUS_OK;
    }
    PIL_TRY(get_array(part, "tags", PIL_SCHEMA_TAGS_MAX, &tags, error));
    feature->tags = calloc(pil_json_value_count(&tags) + 1, sizeof *feature->tags);
    if (feature->tags == NULL) {
        return no_memory(error);
    }
    struct pil_json_value_cursor cursor = pil_json_value_elements(&tags);
    while (pil_json_value_next(&cursor, &tag)) {
        struct pil_bytes text = pil_json_value_text(&tag);
        if (!pil_json_value_is(&tag, PIL_JSON_STRING) || memchr(text.data, '\0', text.len) != NULL) {
            return pil_fail(error, PIL_STATUS_CORRUPT, "schema: %s: a tag is not text", part->where);
        }
        PIL_TRY(copy_text(text, &feature->tags[feature->tag_count], error));
        feature->tag_count++;
    }
    return PIL_STATUS_OK;
}

static pil_status read_default(const struct part *part, struct pil_feature *feature, struct pil_error *error) {
    struct pil_json_value value;
    PIL_TRY(get(part, "default", &value, error));
    if (value.text.len == 0) {
        return PIL_STATUS_OK;
    }
    pil_status status = pil_default_parse(feature->type, value.text, &feature->default_value, error);
    if (status != PIL_STATUS_OK) {
        return pil_fail_in(error, status == PIL_STATUS_NO_MEMORY ? status : PIL_STATUS_CORRUPT,
                           "schema: %s: \"default\"", part->where);
    }
    return PIL_STATUS_OK;
}

static pil_status read_feature(const struct pil_json_value *json, struct pil_view *view, struct pil_error *error) {
    struct pil_feature *feature = &view->features[view->feature_count++];
    struct part part = part_of(json, "feature", view->feature_count);
    PIL_TRY(get_name(&part, "name", &feature->name, error));
    PIL_TRY(get_type(&part, &feature->type, error));
    PIL_TRY(get_description(&part, &feature->description, error));
    if (feature->description == NULL) {
        PIL_TRY(copy_text(pil_bytes_from("", 0), &feature->description, error));
    }
    PIL_TRY(read_default(&part, feature, error));
    return read_tags(&part, feature, error);
}

static pil_status read_entities(const struct pil_json_value *array, struct pil_view *view, struct pil_error *error) {
    struct pil_json_value_cursor cursor = pil_json_value_elements(array);
    struct pil_json_value element;
    view->entities = calloc(pil_json_value_count(array) + 1, sizeof *view->entities);
    if (view->entities == NULL) {
        return no_memory(error);
    }
    while (pil_json_value_next(&cursor, &element)) {
        PIL_TRY(read_entity(&element, view, error));
    }
    return view->entity_count > 0 ? PIL_STATUS_OK
                                  : pil_fail(error, PIL_STATUS_CORRUPT, "schema: view: \"entities\" is empty");
}

static pil_status read_features(const struct pil_json_value *array, struct pil_view *view, struct pil_error *error) {
    struct pil_json_value_cursor cursor = pil_json_value_elements(array);
    struct pil_json_value element;
    view->features = calloc(pil_json_value_count(array) + 1, sizeof *view->features);
    if (view->features == NULL) {
        return no_memory(error);
    }
    while (pil_json_value_next(&cursor, &element)) {
        PIL_TRY(read_feature(&element, view, error));
    }
    if (!pil_view_index_build(view)) {
        return no_memory(error);
    }
    for (uint32_t i = 0; i < view->feature_count; i++) {
        if (pil_view_feature_find(view, pil_bytes_from_text(view->features[i].name)) != (int32_t)i) {
            return pil_fail(error, PIL_STATUS_CORRUPT, "schema: feature %s stands twice", view->features[i].name);
        }
    }
    return PIL_STATUS_OK;
}

/* ---- The whole. */

/* Entities and features as far as they are good; what is in the view on failure is destroyed by the caller. */
static pil_status read_members(const struct part *part, struct pil_view *view, struct pil_error *error) {
    struct pil_json_value ttl, entities, features;
    PIL_TRY(get_name(part, "project", &view->project, error));
    PIL_TRY(get_name(part, "name", &view->name, error));
    PIL_TRY(get(part, "ttl_us", &ttl, error));
    if (!pil_json_value_integer(&ttl, &view->ttl_us) || view->ttl_us < 0) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "schema: view: \"ttl_us\" is missing or not a whole number from 0");
    }
    PIL_TRY(get_array(part, "entities", PIL_ENTITIES_MAX, &entities, error));
    PIL_TRY(get_array(part, "features", PIL_FEATURES_MAX, &features, error));
    PIL_TRY(read_entities(&entities, view, error));
    PIL_TRY(read_features(&features, view, error));
    return pil_view_layout(view, error);
}

static pil_status compare_features(const struct part *part, const struct pil_view *view, struct pil_error *error) {
    struct pil_json_value features = pil_json_value_member(&part->json, "features"), feature;
    struct pil_json_value_cursor cursor = pil_json_value_elements(&features);
    for (uint32_t i = 0; pil_json_value_next(&cursor, &feature); i++) {
        PIL_ASSERT(i < view->feature_count);
        if (!is_number_at(&feature, "offset", view->features[i].offset) ||
            !is_number_at(&feature, "null_bit", view->features[i].null_bit)) {
            return pil_fail(error, PIL_STATUS_CORRUPT,
                            "schema: feature %s: \"offset\" or \"null_bit\" is not what the layout gives",
                            view->features[i].name);
        }
    }
    return PIL_STATUS_OK;
}

/* The layout that the JSON states against the one computed from types. */
static pil_status compare_layout(const struct part *part, const struct pil_view *view, struct pil_error *error) {
    const struct pil_row_layout *layout = &view->layout;
    const struct {
        const char *key;
        uint32_t number;
    } numbers[] = {{"key_bytes", layout->key_bytes},
                   {"event_ts_offset", layout->event_ts_offset},
                   {"null_offset", layout->null_offset},
                   {"null_bytes", layout->null_bytes},
                   {"stride", layout->stride}};
    struct pil_json_value stated = pil_json_value_member(&part->json, "layout");
    struct pil_json_value fixed = pil_json_value_member(&stated, "key_fixed");
    const char *wrong = pil_bytes_equal_text(fixed.text, layout->key_is_fixed ? "true" : "false") && !fixed.is_twice
                            ? NULL
                            : "key_fixed";
    for (size_t i = 0; wrong == NULL && i < sizeof numbers / sizeof numbers[0]; i++) {
        wrong = is_number_at(&stated, numbers[i].key, numbers[i].number) ? NULL : numbers[i].key;
    }
    return wrong == NULL
               ? PIL_STATUS_OK
               : pil_fail(error, PIL_STATUS_CORRUPT, "schema: layout: \"%s\" is not what the types give", wrong);
}

static pil_status read_view(const struct part *part, struct pil_view **ret_view, struct pil_error *error) {
    struct pil_view *view = calloc(1, sizeof *view);
    if (view == NULL) {
        return no_memory(error);
    }
    pil_status status = read_members(part, view, error);
    if (status == PIL_STATUS_OK) {
        status = compare_features(part, view, error);
    }
    if (status == PIL_STATUS_OK) {
        status = compare_layout(part, view, error);
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
    uint8_t *scratch = malloc(text.len + 1);
    struct part part = {.json = {.text = text, .scratch = scratch, .scratch_bytes = text.len + 1}, .where = "view"};
    if (scratch == NULL) {
        return no_memory(ret_error);
    }
    pil_status status = pil_json_value_check(&part.json, ret_error);
    status = status == PIL_STATUS_OK ? read_view(&part, ret_view, ret_error) : pil_fail_in(ret_error, status, "schema");
    free(scratch);
    return status;
}
