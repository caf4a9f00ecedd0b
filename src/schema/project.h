/* SPDX-License-Identifier: Apache-2.0
 * A project: the content of the project file, checked and immutable (schema/project_read.h), and its JSON form, which
 * `pillion apply` puts into the store. */
#pragma once

#include "schema/view.h"

#include <jansson.h>

typedef enum pil_source_type { PIL_SOURCE_PARQUET, PIL_SOURCE_CSV, PIL_SOURCE_SQL } pil_source_type;

/* The source from which a view is built; the builder's front end interprets it. */
struct pil_source {
    pil_source_type type;
    char *path;            /* file, folder or glob, relative to the project file; NULL for sql */
    char *query;           /* DuckDB SQL; NULL unless sql */
    char *setup;           /* DuckDB statements that run before the query (INSTALL, ATTACH …); NULL when none */
    char *timestamp_field; /* NULL for static views */
    char *created_timestamp_column; /* NULL when none */
    json_t *field_mapping;          /* object: column in the source → name in the view; never NULL */
    json_t *csv;                    /* object: options of csv files that differ from the defaults, by key; never NULL */
};

struct pil_project_view {
    struct pil_view *view;
    struct pil_source source;
    char *description; /* NULL when none, as is the owner */
    char *owner;
    json_t *tags; /* object of strings; never NULL */
};

struct pil_service_feature {
    uint32_t view_index;    /* in the project */
    uint32_t feature_index; /* in the view */
};
struct pil_service {
    char *name;
    char *description;                    /* NULL when none */
    struct pil_service_feature *features; /* in declared order */
    uint32_t feature_count;
};

struct pil_project {
    char *name;
    struct pil_entity *entities;
    uint32_t entity_count;
    struct pil_project_view *views;
    uint32_t view_count;
    struct pil_service *services;
    uint32_t service_count;
};

/* The JSON form, with the content and the keys of the YAML file (schemas/project.schema.json); ttl is in seconds, and
 * services list each view:feature. Canonical when dumped with JSON_SORT_KEYS | JSON_COMPACT. NULL when memory is short.
 * Owns: caller. */
json_t *pil_project_to_json(const struct pil_project *project);
void pil_project_destroy(struct pil_project **project);

/* Both return NULL if there is none with that name. */
const struct pil_project_view *pil_project_view_find(const struct pil_project *project, const char *name);
const struct pil_service *pil_project_service_find(const struct pil_project *project, struct pil_bytes name);
