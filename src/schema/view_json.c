/* SPDX-License-Identifier: Apache-2.0
 * Writes the JSON form of a view, for documents of the control plane. view_read.c reads it. */
#include "schema/view_json.h"
#include "schema/internal.h"
#include "schema/json_text.h"

json_t *pil_view_entity_to_json(const struct pil_entity *entity) {
    json_t *json = json_object();
    pil_json_set(&json, "name", json_string(entity->name));
    pil_json_set(&json, "join_key", json_string(entity->join_key));
    pil_json_set(&json, "type", json_string(pil_scalar_text(entity->type)));
    if (entity->description != NULL) {
        pil_json_set(&json, "description", json_string(entity->description));
    }
    return json;
}

/* Floats become reals, made from the numbers: jansson may refuse the text, such as a whole number of 20 digits. */
static json_t *reals_of(struct pil_type type, const struct pil_default *value) {
    json_t *reals = type.shape == PIL_SHAPE_SCALAR ? json_real(value->numbers[0]) : json_array();
    for (uint32_t i = 0; type.shape != PIL_SHAPE_SCALAR && i < value->count; i++) {
        pil_json_append(&reals, json_real(value->numbers[i]));
    }
    return reals;
}

/* The default as a JSON value whose dump is canonical. */
static json_t *default_to_json(struct pil_type type, const struct pil_default *value) {
    json_t *json = NULL;
    if (pil_scalar_is_float(type.scalar)) {
        return reals_of(type, value);
    }
    pil_ignore(pil_json_load(pil_default_text(value), JSON_DECODE_ANY, &json, NULL), "NULL says it");
    return json;
}

json_t *pil_view_feature_to_json(const struct pil_feature *feature) {
    char type[PIL_TYPE_TEXT_BYTES];
    pil_type_format(feature->type, type);
    json_t *json = json_object();
    pil_json_set(&json, "name", json_string(feature->name));
    pil_json_set(&json, "type", json_string(type));
    if (feature->default_value != NULL) {
        pil_json_set(&json, "default", default_to_json(feature->type, feature->default_value));
    }
    if (feature->description != NULL && feature->description[0] != '\0') {
        pil_json_set(&json, "description", json_string(feature->description));
    }
    if (feature->tag_count > 0) {
        json_t *tags = json_array();
        for (uint32_t i = 0; i < feature->tag_count; i++) {
            pil_json_append(&tags, json_string(feature->tags[i]));
        }
        pil_json_set(&json, "tags", tags);
    }
    return json;
}

static json_t *layout_to_json(const struct pil_row_layout *layout) {
    json_t *json = json_object();
    pil_json_set(&json, "key_fixed", json_boolean(layout->key_is_fixed));
    pil_json_set(&json, "key_bytes", json_integer(layout->key_bytes));
    pil_json_set(&json, "event_ts_offset", json_integer(layout->event_ts_offset));
    pil_json_set(&json, "null_offset", json_integer(layout->null_offset));
    pil_json_set(&json, "null_bytes", json_integer(layout->null_bytes));
    pil_json_set(&json, "stride", json_integer(layout->stride));
    return json;
}

json_t *pil_view_to_json(const struct pil_view *view) {
    json_t *entities = json_array(), *features = json_array(), *json = json_object();
    for (uint32_t i = 0; i < view->entity_count; i++) {
        pil_json_append(&entities, pil_view_entity_to_json(&view->entities[i]));
    }
    for (uint32_t i = 0; i < view->feature_count; i++) {
        json_t *feature = pil_view_feature_to_json(&view->features[i]);
        pil_json_set(&feature, "offset", json_integer(view->features[i].offset));
        pil_json_set(&feature, "null_bit", json_integer(view->features[i].null_bit));
        pil_json_append(&features, feature);
    }
    pil_json_set(&json, "project", json_string(view->project));
    pil_json_set(&json, "name", json_string(view->name));
    pil_json_set(&json, "ttl_us", json_integer(view->ttl_us));
    if (view->is_static) { /* the JSON of other views stays as it was, and so do the ids of their releases */
        pil_json_set(&json, "static", json_true());
    }
    pil_json_set(&json, "entities", entities);
    pil_json_set(&json, "features", features);
    pil_json_set(&json, "layout", layout_to_json(&view->layout));
    return json;
}
