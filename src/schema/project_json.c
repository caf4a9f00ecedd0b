/* SPDX-License-Identifier: Apache-2.0
 * The JSON form of a project: the keys of the YAML file with all defaults filled in, ttl in seconds and services listed
 * as view:feature. The same rules check it and the YAML file (pil_project_from_json). */
#include "schema/internal.h"
#include "schema/json_text.h"
#include "schema/project.h"

static void set_text(json_t **object, const char *key, const char *text) {
    if (text != NULL) {
        pil_json_set(object, key, json_string(text));
    }
}

/* Shares the map, which is immutable, instead of copying it. */
static void set_map(json_t **object, const char *key, json_t *map) {
    if (json_object_size(map) > 0) {
        pil_json_set(object, key, json_incref(map));
    }
}

static json_t *source_to_json(const struct pil_source *source) {
    static const char *const types[] = {
        [PIL_SOURCE_PARQUET] = "parquet", [PIL_SOURCE_CSV] = "csv", [PIL_SOURCE_SQL] = "sql"};
    json_t *json = json_object();
    set_text(&json, "type", types[source->type]);
    set_text(&json, "path", source->path);
    set_text(&json, "query", source->query);
    set_text(&json, "setup", source->setup);
    set_text(&json, "timestamp_field", source->timestamp_field);
    set_text(&json, "created_timestamp_column", source->created_timestamp_column);
    set_map(&json, "field_mapping", source->field_mapping);
    const char *key;
    json_t *option;
    json_object_foreach(source->csv, key, option) {
        pil_json_set(&json, key, json_incref(option));
    }
    return json;
}

static json_t *view_to_json(const struct pil_project_view *of) {
    json_t *json = json_object(), *entities = json_array(), *features = json_array();
    for (uint32_t i = 0; i < of->view->entity_count; i++) {
        pil_json_append(&entities, json_string(of->view->entities[i].name));
    }
    for (uint32_t i = 0; i < of->view->feature_count; i++) {
        pil_json_append(&features, pil_view_feature_to_json(&of->view->features[i]));
    }
    set_text(&json, "name", of->view->name);
    set_text(&json, "description", of->description);
    set_text(&json, "owner", of->owner);
    pil_json_set(&json, "entities", entities);
    pil_json_set(&json, "ttl", json_integer(of->view->ttl_us / 1000000)); /* ttls are whole seconds */
    if (of->view->is_static) {
        pil_json_set(&json, "static", json_true());
    }
    pil_json_set(&json, "source", source_to_json(&of->source));
    pil_json_set(&json, "features", features);
    set_map(&json, "tags", of->tags);
    return json;
}

static json_t *service_to_json(const struct pil_project *project, const struct pil_service *service) {
    json_t *json = json_object(), *features = json_array();
    for (uint32_t i = 0; i < service->feature_count; i++) {
        PIL_ASSERT(service->features[i].view_index < project->view_count);
        const struct pil_view *view = project->views[service->features[i].view_index].view;
        PIL_ASSERT(service->features[i].feature_index < view->feature_count);
        pil_json_append(&features,
                        json_sprintf("%s:%s", view->name, view->features[service->features[i].feature_index].name));
    }
    set_text(&json, "name", service->name);
    set_text(&json, "description", service->description);
    pil_json_set(&json, "features", features);
    return json;
}

json_t *pil_project_to_json(const struct pil_project *project) {
    json_t *json = json_object(), *entities = json_array(), *views = json_array(), *services = json_array();
    for (uint32_t i = 0; i < project->entity_count; i++) {
        pil_json_append(&entities, pil_view_entity_to_json(&project->entities[i]));
    }
    for (uint32_t i = 0; i < project->view_count; i++) {
        pil_json_append(&views, view_to_json(&project->views[i]));
    }
    for (uint32_t i = 0; i < project->service_count; i++) {
        pil_json_append(&services, service_to_json(project, &project->services[i]));
    }
    set_text(&json, "project", project->name);
    pil_json_set(&json, "entities", entities);
    pil_json_set(&json, "feature_views", views);
    pil_json_set(&json, "feature_services", services);
    return json;
}
