/* SPDX-License-Identifier: Apache-2.0
 * Reads views from JSON. The text may be hostile: every member is checked before it is used, unknown members are
 * ignored, and the layout must be the one that pil_view_layout computes. Also runs in libpillion, so a failed
 * allocation must not end the process. */
#include "schema/view_read.h"
#include "base/json_value.h"
#include "schema/internal.h"
#include "schema/name.h"

enum { VIEW_JSON_BYTES_MAX = 64 << 20 }; /* 4,096 features whose defaults are full-size vectors stay below this */

/* The objects of the document, and the members of each that are read. */
enum { MEMBERS_MAX = 7 };
static const char *const members_of_view[MEMBERS_MAX] = {"project",  "name",     "ttl_us", "static",
                                                         "entities", "features", "layout"};
static const char *const members_of_entity[MEMBERS_MAX] = {"name", "join_key", "type", "description"};
static const char *const members_of_feature[MEMBERS_MAX] = {"name", "type",   "description", "default",
                                                            "tags", "offset", "null_bit"};
static const char *const members_of_layout[MEMBERS_MAX] = {"key_fixed",   "key_bytes",  "event_ts_offset",
                                                           "null_offset", "null_bytes", "stride"};

/* An object, and its name in messages: "feature 3". */
struct part {
    const char *const *keys; /* [MEMBERS_MAX]; NULL after the last */
    struct pil_json_value members[MEMBERS_MAX];
    char where[32];
};

static pil_status no_memory(struct pil_error *error) {
    return pil_fail(error, PIL_STATUS_NO_MEMORY, "schema: no memory");
}

/* ---- Members. */

/* Reads all members in one pass, because a view may have thousands of features. `number` 0: the object has no number.
 */
static pil_status take_part(const struct pil_json_value *json, const char *kind, uint32_t number,
                            const char *const keys[MEMBERS_MAX], struct part *ret_part, struct pil_error *error) {
    size_t count = 0;
    while (count < MEMBERS_MAX && keys[count] != NULL) {
        count++;
    }
    ret_part->keys = keys;
    snprintf(ret_part->where, sizeof ret_part->where, number > 0 ? "%s %u" : "%s", kind, number);
    pil_json_value_members(json, keys, count, ret_part->members);
    for (size_t i = 0; i < count; i++) {
        if (ret_part->members[i].is_twice) {
            return pil_fail(error, PIL_STATUS_CORRUPT, "schema: %s: duplicate member \"%s\"", ret_part->where, keys[i]);
        }
    }
    return PIL_STATUS_OK;
}

static const struct pil_json_value *get(const struct part *part, const char *key) {
    size_t i = 0;
    while (strcmp(part->keys[i], key) != 0) {
        i++;
        PIL_ASSERT(i < MEMBERS_MAX && part->keys[i] != NULL);
    }
    return &part->members[i];
}

static pil_status get_text(const struct part *part, const char *key, struct pil_bytes *ret_text,
                           struct pil_error *error) {
    const struct pil_json_value *value = get(part, key);
    struct pil_bytes text = pil_json_value_text(value);
    if (!pil_json_value_is(value, PIL_JSON_STRING) || memchr(text.data, '\0', text.len) != NULL) {
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

/* Copies the optional description; leaves *ret_text as it is if there is none. */
static pil_status get_description(const struct part *part, char **ret_text, struct pil_error *error) {
    struct pil_bytes text;
    if (get(part, "description")->text.len == 0) {
        return PIL_STATUS_OK;
    }
    PIL_TRY(get_text(part, "description", &text, error));
    return copy_text(text, ret_text, error);
}

static pil_status get_array(const struct part *part, const char *key, uint32_t count_max, size_t *ret_count,
                            struct pil_error *error) {
    const struct pil_json_value *value = get(part, key);
    if (!pil_json_value_is(value, PIL_JSON_ARRAY)) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "schema: %s: \"%s\" is missing or not a list", part->where, key);
    }
    size_t count = pil_json_value_count(value);
    if (count > count_max) {
        return pil_fail(error, PIL_STATUS_TOO_LARGE, "schema: %s: \"%s\" has %zu elements; the limit is %u",
                        part->where, key, count, count_max);
    }
    *ret_count = count;
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

static bool is_number_at(const struct part *part, const char *key, uint32_t wanted) {
    int64_t number = 0;
    return pil_json_value_integer(get(part, key), &number) && number == wanted;
}

/* ---- Entities and features. */

static pil_status read_entity(const struct pil_json_value *json, struct pil_view *view, struct pil_error *error) {
    struct pil_entity *entity = &view->entities[view->entity_count++];
    struct part part;
    struct pil_type type;
    PIL_TRY(take_part(json, "entity", view->entity_count, members_of_entity, &part, error));
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
    const struct pil_json_value *tags = get(part, "tags");
    struct pil_json_value tag;
    size_t count = 0;
    if (tags->text.len == 0) {
        return PIL_STATUS_OK;
    }
    PIL_TRY(get_array(part, "tags", PIL_SCHEMA_TAGS_MAX, &count, error));
    feature->tags = calloc(count + 1, sizeof *feature->tags);
    if (feature->tags == NULL) {
        return no_memory(error);
    }
    struct pil_json_value_cursor cursor = pil_json_value_elements(tags);
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
    struct pil_bytes text = get(part, "default")->text;
    if (text.len == 0) {
        return PIL_STATUS_OK;
    }
    pil_status status = pil_default_parse(feature->type, text, &feature->default_value, error);
    if (status != PIL_STATUS_OK) {
        return pil_fail_in(error, status == PIL_STATUS_NO_MEMORY ? status : PIL_STATUS_CORRUPT,
                           "schema: %s: \"default\"", part->where);
    }
    return PIL_STATUS_OK;
}

static pil_status read_feature(const struct pil_json_value *json, struct pil_view *view, struct pil_error *error) {
    struct pil_feature *feature = &view->features[view->feature_count++];
    struct part part;
    PIL_TRY(take_part(json, "feature", view->feature_count, members_of_feature, &part, error));
    PIL_TRY(get_name(&part, "name", &feature->name, error));
    PIL_TRY(get_type(&part, &feature->type, error));
    PIL_TRY(get_description(&part, &feature->description, error));
    if (feature->description == NULL) {
        PIL_TRY(copy_text(pil_bytes_from("", 0), &feature->description, error));
    }
    PIL_TRY(read_default(&part, feature, error));
    return read_tags(&part, feature, error);
}

static pil_status read_entities(const struct part *part, struct pil_view *view, struct pil_error *error) {
    size_t count = 0;
    PIL_TRY(get_array(part, "entities", PIL_ENTITIES_MAX, &count, error));
    struct pil_json_value_cursor cursor = pil_json_value_elements(get(part, "entities"));
    struct pil_json_value element;
    view->entities = calloc(count + 1, sizeof *view->entities);
    if (view->entities == NULL) {
        return no_memory(error);
    }
    while (pil_json_value_next(&cursor, &element)) {
        PIL_TRY(read_entity(&element, view, error));
    }
    return PIL_STATUS_OK;
}

static pil_status read_features(const struct part *part, struct pil_view *view, struct pil_error *error) {
    size_t count = 0;
    PIL_TRY(get_array(part, "features", PIL_FEATURES_MAX, &count, error));
    struct pil_json_value_cursor cursor = pil_json_value_elements(get(part, "features"));
    struct pil_json_value element;
    view->features = calloc(count + 1, sizeof *view->features);
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

static pil_status read_static(const struct part *part, struct pil_view *view, struct pil_error *error) {
    const struct pil_json_value *value = get(part, "static");
    view->is_static = pil_bytes_equal_text(value->text, "true");
    if (value->text.len != 0 && !view->is_static && !pil_bytes_equal_text(value->text, "false")) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "schema: view: \"static\" is not true or false");
    }
    return view->is_static && view->ttl_us != 0
               ? pil_fail(error, PIL_STATUS_CORRUPT, "schema: view: it is static and has a \"ttl_us\"")
               : PIL_STATUS_OK;
}

/* Reads names, ttl, entities and features, and computes the layout. After a failure the caller destroys the view. */
static pil_status read_members(const struct part *part, struct pil_view *view, struct pil_error *error) {
    PIL_TRY(get_name(part, "project", &view->project, error));
    PIL_TRY(get_name(part, "name", &view->name, error));
    if (!pil_json_value_integer(get(part, "ttl_us"), &view->ttl_us) || view->ttl_us < 0) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "schema: view: \"ttl_us\" is missing or not a whole number from 0");
    }
    PIL_TRY(read_static(part, view, error));
    PIL_TRY(read_entities(part, view, error));
    PIL_TRY(read_features(part, view, error));
    return pil_view_layout(view, error);
}

static pil_status compare_features(const struct part *part, const struct pil_view *view, struct pil_error *error) {
    struct pil_json_value_cursor cursor = pil_json_value_elements(get(part, "features"));
    struct pil_json_value json;
    for (uint32_t i = 0; pil_json_value_next(&cursor, &json); i++) {
        struct part feature;
        PIL_ASSERT(i < view->feature_count);
        PIL_TRY(take_part(&json, "feature", i + 1, members_of_feature, &feature, error));
        if (!is_number_at(&feature, "offset", view->features[i].offset) ||
            !is_number_at(&feature, "null_bit", view->features[i].null_bit)) {
            return pil_fail(error, PIL_STATUS_CORRUPT,
                            "schema: feature %s: \"offset\" or \"null_bit\" is not what the layout gives",
                            view->features[i].name);
        }
    }
    return PIL_STATUS_OK;
}

/* Compares the layout in the JSON with the one computed from the types. */
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
    struct part stated;
    PIL_TRY(take_part(get(part, "layout"), "layout", 0, members_of_layout, &stated, error));
    bool is_fixed_right =
        pil_bytes_equal_text(get(&stated, "key_fixed")->text, layout->key_is_fixed ? "true" : "false");
    const char *wrong = is_fixed_right ? NULL : "key_fixed";
    for (size_t i = 0; wrong == NULL && i < sizeof numbers / sizeof numbers[0]; i++) {
        wrong = is_number_at(&stated, numbers[i].key, numbers[i].number) ? NULL : numbers[i].key;
    }
    return wrong == NULL
               ? PIL_STATUS_OK
               : pil_fail(error, PIL_STATUS_CORRUPT, "schema: layout: \"%s\" is not what the types give", wrong);
}

static pil_status read_view(const struct pil_json_value *json, struct pil_view **ret_view, struct pil_error *error) {
    struct part part;
    PIL_TRY(take_part(json, "view", 0, members_of_view, &part, error));
    struct pil_view *view = calloc(1, sizeof *view);
    if (view == NULL) {
        return no_memory(error);
    }
    pil_status status = read_members(&part, view, error);
    if (status == PIL_STATUS_OK) {
        status = compare_features(&part, view, error);
    }
    if (status == PIL_STATUS_OK) {
        status = compare_layout(&part, view, error);
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
    struct pil_json_value document = {.text = text, .scratch = scratch, .scratch_bytes = text.len + 1};
    if (scratch == NULL) {
        return no_memory(ret_error);
    }
    pil_status status = pil_json_value_check(&document, ret_error);
    status =
        status == PIL_STATUS_OK ? read_view(&document, ret_view, ret_error) : pil_fail_in(ret_error, status, "schema");
    free(scratch);
    return status;
}
