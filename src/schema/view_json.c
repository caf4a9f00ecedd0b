/* SPDX-License-Identifier: Apache-2.0
 * The JSON form of a view as documents of the control plane. Reading is view_read.c. */
#include "schema/view_json.h"
#include "schema/internal.h"

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

/* Floats as reals, from the numbers: the text may be one that jansson does not take, as a whole number of 20 digits. */
static json_t *reals_of(struct pil_type type, const struct pil_default *value) {
    json_t *reals = type.shape == PIL_SHAPE_SCALAR ? json_real(value->numbers[0]) : json_array();
    for (uint32_t i = 0; type.shape != PIL_SHAPE_SCALAR && i < value->count; i++) {
        PIL_ASSERT(json_array_append_new(reals, json_real(value->numbers[i])) == 0);
    }
    return reals;
}

/* As the JSON that its bytes are canonical for. */
static json_t *default_to_json(struct pil_type type, const struct pil_default *value) {
    struct pil_bytes text = pil_default_text(value);
    json_t *json = pil_scalar_is_float(type.scalar)
                       ? reals_of(type, value)
                       : json_loadb((const char *)text.data, text.len, JSON_DECODE_ANY, NULL);
    PIL_ASSERT(json != NULL);
    return json;
}

json_t *pil_view_feature_to_json(const struct pil_feature *feature) {
    char type[PIL_TYPE_TEXT_BYTES];
    pil_type_format(feature->type, type);
    json_t *json = json_object();
    set(json, "name", json_string(feature->name));
    set(json, "type", json_string(type));
    if (feature->default_value != NULL) {
        set(json, "default", default_to_json(feature->type, feature->default_value));
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
