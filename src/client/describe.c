/* SPDX-License-Identifier: Apache-2.0 */
#include "client/describe.h"
#include "base/panic.h"

#include <stdio.h>
#include <stdlib.h>

static void copy_name(char *to, size_t bytes, const char *from) {
    snprintf(to, bytes, "%s", from);
}

/* Sets the count last: another thread may fork at any time, and the child takes a description with a count for
 * complete. */
static void set_description(struct pillion_plan *plan, const struct pillion_plan_info *info_without_count,
                            struct pillion_feature_info *features, uint32_t count) {
    PIL_ASSERT(plan->features == NULL && plan->info.feature_count == 0 && info_without_count->feature_count == 0);
    plan->features = features;
    plan->info = *info_without_count;
    __atomic_store_n(&plan->info.feature_count, count, __ATOMIC_RELEASE);
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
    if (plan->info.feature_count != 0) {
        PIL_ASSERT(plan->info.feature_count == vector->feature_count);
        for (uint32_t i = 0; i < vector->feature_count; i++) {
            (void)pil_type_format(vector->columns[i].type, plan->features[i].type);
        }
        return PIL_STATUS_OK;
    }
    PIL_ASSERT(vector->join_key_count <= PILLION_KEYS_MAX);
    struct pillion_feature_info *features = calloc(vector->feature_count, sizeof features[0]);
    if (features == NULL) {
        return PIL_STATUS_NO_MEMORY;
    }
    struct pillion_plan_info info = {
        .width = vector->width, .view_count = vector->view_count, .join_key_count = vector->join_key_count};
    for (uint32_t i = 0; i < vector->join_key_count; i++) {
        copy_name(info.join_keys[i], sizeof info.join_keys[i], vector->join_keys[i]->join_key);
        copy_name(info.join_key_types[i], sizeof info.join_key_types[i], pil_scalar_text(vector->join_keys[i]->type));
    }
    for (uint32_t i = 0; i < vector->feature_count; i++) {
        describe_feature(plan, vector, i, &features[i]);
    }
    set_description(plan, &info, features, vector->feature_count);
    return PIL_STATUS_OK;
}

/* ---- From the server's description. */

static void copy_member(const struct pil_json_value *object, const char *name, char *to, size_t bytes) {
    struct pil_json_value value = pil_json_value_member(object, name);
    pil_json_value_copy(&value, to, bytes);
}

static uint32_t number_member(const struct pil_json_value *object, const char *name) {
    struct pil_json_value value = pil_json_value_member(object, name);
    return pil_json_value_number(&value);
}

static void read_join_keys(const struct pil_json_value *keys, struct pillion_plan_info *info) {
    struct pil_json_value_cursor cursor = pil_json_value_elements(keys);
    struct pil_json_value key;
    for (; pil_json_value_next(&cursor, &key); info->join_key_count++) {
        uint32_t i = info->join_key_count;
        PIL_ASSERT(i < PILLION_KEYS_MAX);
        copy_member(&key, "name", info->join_keys[i], sizeof info->join_keys[i]);
        copy_member(&key, "type", info->join_key_types[i], sizeof info->join_key_types[i]);
    }
}

/* Reads views first, since features name their view by number. Returns false if a feature has no view or lies outside
 * the row. */
static bool read_features(const struct pil_json_value *features, const struct pil_json_value *views,
                          const struct pillion_plan_info *info, struct pillion_feature_info *to) {
    char names[PILLION_VIEWS_MAX][2 * PILLION_NAME_BYTES] = {{0}};
    struct pil_json_value_cursor cursor = pil_json_value_elements(views);
    struct pil_json_value element;
    for (uint32_t i = 0; pil_json_value_next(&cursor, &element); i++) {
        PIL_ASSERT(i < PILLION_VIEWS_MAX);
        copy_member(&element, "name", names[i], sizeof names[i]);
    }
    cursor = pil_json_value_elements(features);
    for (; pil_json_value_next(&cursor, &element); to++) {
        to->view_index = number_member(&element, "view");
        to->first = number_member(&element, "first");
        to->count = number_member(&element, "count");
        if (to->view_index >= info->view_count || (uint64_t)to->first + to->count > info->width) {
            return false;
        }
        copy_name(to->view, sizeof to->view, names[to->view_index]);
        copy_member(&element, "name", to->feature, sizeof to->feature);
        copy_member(&element, "type", to->type, sizeof to->type);
    }
    return true;
}

static void read_types(const struct pil_json_value *features, struct pillion_plan *plan) {
    struct pil_json_value_cursor cursor = pil_json_value_elements(features);
    struct pil_json_value feature;
    for (uint32_t i = 0; i < plan->info.feature_count && pil_json_value_next(&cursor, &feature); i++) {
        copy_member(&feature, "type", plan->features[i].type, sizeof plan->features[i].type);
    }
}

static pil_status fail_form(struct pil_error *error) {
    return pil_fail(error, PIL_STATUS_IO, "the server describes the plan in a form that is not known here");
}

pil_status pil_describe_json(struct pillion_plan *plan, const struct pil_json_value *document,
                             struct pil_error *ret_error) {
    struct pil_json_value keys = pil_json_value_member(document, "join_keys");
    struct pil_json_value views = pil_json_value_member(document, "views");
    struct pil_json_value features = pil_json_value_member(document, "features");
    size_t count = pil_json_value_count(&features), view_count = pil_json_value_count(&views);
    size_t key_count = pil_json_value_count(&keys);
    struct pillion_plan_info info = {.width = number_member(document, "width"), .view_count = (uint32_t)view_count};
    if (count == 0 || count > PIL_SERVICE_FEATURES_MAX || key_count == 0 || key_count > PILLION_KEYS_MAX ||
        view_count == 0 || view_count > PILLION_VIEWS_MAX || info.width > PIL_VECTOR_WIDTH_MAX ||
        (plan->spec != NULL && count != plan->spec->name_count)) {
        return fail_form(ret_error);
    }
    if (plan->info.feature_count != 0) {
        read_types(&features, plan);
        return PIL_STATUS_OK;
    }
    struct pillion_feature_info *read = calloc(count, sizeof read[0]);
    if (read == NULL) {
        return pil_fail(ret_error, PIL_STATUS_NO_MEMORY, "no memory for the description of %zu features", count);
    }
    read_join_keys(&keys, &info);
    if (!read_features(&features, &views, &info, read)) {
        free(read);
        return fail_form(ret_error);
    }
    set_description(plan, &info, read, (uint32_t)count);
    return PIL_STATUS_OK;
}
