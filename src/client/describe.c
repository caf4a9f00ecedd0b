/* SPDX-License-Identifier: Apache-2.0 */
#include "client/describe.h"
#include "base/panic.h"

#include <stdio.h>
#include <stdlib.h>

static void copy_name(char *to, size_t bytes, const char *from) {
    snprintf(to, bytes, "%s", from);
}

/* ---- From a compiled plan. */

static void describe_feature(const struct pillion_plan *plan, const struct pil_vector_plan *vector, uint32_t i,
                             struct pillion_feature_info *to) {
    const struct pil_vector_column *column = &vector->columns[i];
    const struct pil_view *view = vector->views[column->view].view;
    *to = (struct pillion_feature_info){.view_index = column->view, .first = column->first, .count = column->count};
    copy_name(to->view, sizeof to->view, plan->spec->views[column->view]);
    copy_name(to->feature, sizeof to->feature, view->features[column->feature].name);
    (void)pil_type_format(column->type, to->type);
}

pil_status pil_describe_vector(struct pillion_plan *plan, const struct pil_vector_plan *vector) {
    struct pillion_plan_info *info = &plan->info;
    if (info->feature_count != 0) {
        PIL_ASSERT(info->feature_count == vector->feature_count);
        for (uint32_t i = 0; i < vector->feature_count; i++) {
            (void)pil_type_format(vector->columns[i].type, plan->features[i].type);
        }
        return PIL_STATUS_OK;
    }
    PIL_ASSERT(plan->features == NULL && vector->join_key_count <= PILLION_KEYS_MAX);
    plan->features = calloc(vector->feature_count, sizeof plan->features[0]);
    if (plan->features == NULL) {
        return PIL_STATUS_NO_MEMORY;
    }
    info->feature_count = vector->feature_count;
    info->width = vector->width;
    info->view_count = vector->view_count;
    info->join_key_count = vector->join_key_count;
    for (uint32_t i = 0; i < vector->join_key_count; i++) {
        copy_name(info->join_keys[i], sizeof info->join_keys[i], vector->join_keys[i]->join_key);
        copy_name(info->join_key_types[i], sizeof info->join_key_types[i], pil_scalar_text(vector->join_keys[i]->type));
    }
    for (uint32_t i = 0; i < vector->feature_count; i++) {
        describe_feature(plan, vector, i, &plan->features[i]);
    }
    return PIL_STATUS_OK;
}

/* ---- From the server's description. */

static void copy_member(const struct pil_document *object, const char *name, char *to, size_t bytes) {
    struct pil_document value = pil_document_member(object, name);
    pil_document_copy(&value, to, bytes);
}

static uint32_t number_member(const struct pil_document *object, const char *name) {
    struct pil_document value = pil_document_member(object, name);
    return pil_document_number(&value);
}

static void read_join_keys(const struct pil_document *keys, struct pillion_plan_info *info) {
    struct pil_document_cursor cursor = pil_document_elements(keys);
    struct pil_document key;
    for (; pil_document_next(&cursor, &key); info->join_key_count++) {
        uint32_t i = info->join_key_count;
        PIL_ASSERT(i < PILLION_KEYS_MAX);
        copy_member(&key, "name", info->join_keys[i], sizeof info->join_keys[i]);
        copy_member(&key, "type", info->join_key_types[i], sizeof info->join_key_types[i]);
    }
}

/* Views first, since features name theirs by number. */
static void read_features(const struct pil_document *features, const struct pil_document *views,
                          struct pillion_feature_info *to) {
    char names[PILLION_VIEWS_MAX][2 * PILLION_NAME_BYTES] = {{0}};
    struct pil_document_cursor cursor = pil_document_elements(views);
    struct pil_document element;
    for (uint32_t i = 0; pil_document_next(&cursor, &element); i++) {
        PIL_ASSERT(i < PILLION_VIEWS_MAX);
        copy_member(&element, "name", names[i], sizeof names[i]);
    }
    cursor = pil_document_elements(features);
    for (; pil_document_next(&cursor, &element); to++) {
        to->view_index = number_member(&element, "view");
        to->first = number_member(&element, "first");
        to->count = number_member(&element, "count");
        copy_name(to->view, sizeof to->view, to->view_index < PILLION_VIEWS_MAX ? names[to->view_index] : "");
        copy_member(&element, "name", to->feature, sizeof to->feature);
        copy_member(&element, "type", to->type, sizeof to->type);
    }
}

static void read_types(const struct pil_document *features, struct pillion_plan *plan) {
    struct pil_document_cursor cursor = pil_document_elements(features);
    struct pil_document feature;
    for (uint32_t i = 0; i < plan->info.feature_count && pil_document_next(&cursor, &feature); i++) {
        copy_member(&feature, "type", plan->features[i].type, sizeof plan->features[i].type);
    }
}

pil_status pil_describe_document(struct pillion_plan *plan, const struct pil_document *document,
                                 struct pil_error *ret_error) {
    struct pil_document keys = pil_document_member(document, "join_keys");
    struct pil_document views = pil_document_member(document, "views");
    struct pil_document features = pil_document_member(document, "features");
    size_t count = pil_document_count(&features), view_count = pil_document_count(&views);
    if (count == 0 || count > PIL_SERVICE_FEATURES_MAX || pil_document_count(&keys) > PILLION_KEYS_MAX ||
        view_count > PILLION_VIEWS_MAX || (plan->spec != NULL && count != plan->spec->name_count)) {
        return pil_fail(ret_error, PIL_STATUS_IO, "the server describes the plan in a form that is not known here");
    }
    if (plan->info.feature_count != 0) {
        read_types(&features, plan);
        return PIL_STATUS_OK;
    }
    PIL_ASSERT(plan->features == NULL);
    plan->features = calloc(count, sizeof plan->features[0]);
    if (plan->features == NULL) {
        return pil_fail(ret_error, PIL_STATUS_NO_MEMORY, "no memory for the description of %zu features", count);
    }
    plan->info = (struct pillion_plan_info){.feature_count = (uint32_t)count,
                                            .width = number_member(document, "width"),
                                            .view_count = (uint32_t)view_count};
    read_join_keys(&keys, &plan->info);
    read_features(&features, &views, plan->features);
    return PIL_STATUS_OK;
}
