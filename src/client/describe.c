/* SPDX-License-Identifier: Apache-2.0 */
#include "client/describe.h"
#include "base/panic.h"
#include "client/spec.h"

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

uint32_t pil_describe_width(struct pil_type type) {
    return pil_type_is_reference(type) ? 0 : type.shape == PIL_SHAPE_VECTOR ? type.dimension : 1;
}

/* ---- From a compiled plan. */

static bool has_same_keys(const struct pillion_plan_info *info, const struct pil_vector_plan *vector) {
    bool is_same = true;
    for (uint32_t i = 0; i < vector->join_key_count && is_same; i++) {
        is_same = strcmp(info->join_keys[i], vector->join_keys[i]->join_key) == 0;
    }
    return is_same;
}

static bool has_same_places(const struct pillion_plan *plan, const struct pil_vector_plan *vector) {
    bool is_same = plan->info.view_count == vector->view_count && plan->info.feature_count == vector->feature_count;
    for (uint32_t i = 0; is_same && i < vector->feature_count; i++) {
        const struct pil_vector_column *column = &vector->columns[i];
        const struct pillion_feature_info *feature = &plan->features[i];
        is_same =
            feature->view_index == column->view && feature->first == column->first && feature->count == column->count;
    }
    return is_same;
}

pil_status pil_describe_fits(const struct pillion_plan *plan, const struct pil_vector_plan *vector,
                             struct pil_error *ret_error) {
    const struct pillion_plan_info *info = &plan->info;
    if (info->feature_count == 0) {
        return PIL_STATUS_OK;
    }
    if (vector->join_key_count != info->join_key_count) {
        return pil_fail(ret_error, PIL_STATUS_INVALID,
                        "the plan was made for %u join keys, the release has %u: plan anew", info->join_key_count,
                        vector->join_key_count);
    }
    if (vector->width != info->width) {
        return pil_fail(ret_error, PIL_STATUS_INVALID,
                        "the plan was made for rows of %u elements, the release has %u: plan anew", info->width,
                        vector->width);
    }
    if (!has_same_keys(info, vector)) {
        return pil_fail(ret_error, PIL_STATUS_INVALID,
                        "the plan was made for other join keys than the release has: plan anew");
    }
    return has_same_places(plan, vector) ? PIL_STATUS_OK
                                         : pil_fail(ret_error, PIL_STATUS_INVALID,
                                                    "the release has features in other places of a row than the plan "
                                                    "was made for: plan anew");
}

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
        PIL_ASSERT(plan->info.feature_count == vector->feature_count); /* pil_describe_fits has compared them */
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

/* The parts of a document, and their numbers. */
struct description {
    struct pil_json_value keys, views, features;
    size_t key_count, view_count, feature_count;
    uint32_t width;
};

static pil_status fail_form(struct pil_error *error) {
    return pil_fail(error, PIL_STATUS_CORRUPT, "the server describes the plan in a form that is not known here");
}

static pil_status fail_other(struct pil_error *error) {
    return pil_fail(error, PIL_STATUS_CORRUPT, "the server describes another plan than was asked for");
}

static uint32_t number_member(const struct pil_json_value *object, const char *name) {
    struct pil_json_value value = pil_json_value_member(object, name);
    return pil_json_value_number(&value);
}

/* Returns false if the member is not a string of 1 to `bytes` - 1 characters. */
static bool read_text(const struct pil_json_value *object, const char *name, char *to, size_t bytes) {
    struct pil_json_value value = pil_json_value_member(object, name);
    struct pil_bytes text = pil_json_value_text(&value);
    if (text.len == 0 || text.len >= bytes || memchr(text.data, '\0', text.len) != NULL) {
        return false;
    }
    memcpy(to, text.data, text.len);
    to[text.len] = '\0';
    return true;
}

static pil_status read_parts(const struct pil_json_value *document, struct description *ret_description,
                             struct pil_error *error) {
    struct description parts = {.keys = pil_json_value_member(document, "join_keys"),
                                .views = pil_json_value_member(document, "views"),
                                .features = pil_json_value_member(document, "features"),
                                .width = number_member(document, "width")};
    parts.key_count = pil_json_value_count(&parts.keys);
    parts.view_count = pil_json_value_count(&parts.views);
    parts.feature_count = pil_json_value_count(&parts.features);
    if (parts.feature_count == 0 || parts.feature_count > PIL_SERVICE_FEATURES_MAX ||
        !pil_json_value_is(&parts.keys, PIL_JSON_ARRAY) || parts.key_count > PILLION_KEYS_MAX ||
        parts.view_count == 0 || parts.view_count > PILLION_VIEWS_MAX || parts.width > PIL_VECTOR_WIDTH_MAX) {
        return fail_form(error);
    }
    *ret_description = parts;
    return PIL_STATUS_OK;
}

/* "project/view" of each view. */
struct view_names {
    char names[PILLION_VIEWS_MAX][2 * PILLION_NAME_BYTES];
};

static bool read_view_names(const struct pil_json_value *views, struct view_names *ret_names) {
    struct pil_json_value_cursor cursor = pil_json_value_elements(views);
    struct pil_json_value view;
    for (uint32_t i = 0; pil_json_value_next(&cursor, &view); i++) {
        char *name = ret_names->names[i];
        if (!read_text(&view, "name", name, sizeof ret_names->names[i]) || strchr(name, '/') == NULL) {
            return false;
        }
    }
    return true;
}

/* ---- Names. */

/* Whether "view" or "project/view", as asked for, is this "project/view". */
static bool is_view(const char *asked, const char *full) {
    return strcmp(asked, full) == 0 || (strchr(asked, '/') == NULL && strcmp(asked, strchr(full, '/') + 1) == 0);
}

static pil_status add_names(const struct pillion_plan *plan, const struct description *parts,
                            const struct view_names *views, struct pil_spec_builder *builder, struct pil_error *error) {
    const struct pil_vector_spec *asked = plan->spec;
    struct pil_json_value_cursor cursor = pil_json_value_elements(&parts->features);
    struct pil_json_value feature;
    for (uint32_t i = 0; pil_json_value_next(&cursor, &feature); i++) {
        char name[PILLION_NAME_BYTES];
        uint32_t view = number_member(&feature, "view");
        if (view >= parts->view_count || !read_text(&feature, "name", name, sizeof name)) {
            return fail_form(error);
        }
        if (asked != NULL && (strcmp(name, asked->names[i].feature) != 0 ||
                              !is_view(asked->views[asked->names[i].view], views->names[view]))) {
            return fail_other(error);
        }
        pil_spec_add(builder, views->names[view], pil_bytes_from_text(name));
    }
    return PIL_STATUS_OK;
}

pil_status pil_describe_names(const struct pillion_plan *plan, const struct pil_json_value *document,
                              struct pil_vector_spec **ret_spec, struct pil_error *ret_error) {
    struct description parts;
    struct view_names views;
    struct pil_spec_builder builder;
    PIL_TRY(read_parts(document, &parts, ret_error));
    if (!read_view_names(&parts.views, &views)) {
        return fail_form(ret_error);
    }
    if (plan->spec != NULL && parts.feature_count != plan->spec->name_count) {
        return fail_other(ret_error);
    }
    PIL_TRY(pil_spec_begin(&builder, (uint32_t)parts.feature_count, ret_error));
    pil_status status = add_names(plan, &parts, &views, &builder, ret_error);
    if (status != PIL_STATUS_OK) {
        pil_spec_abandon(&builder);
        return status;
    }
    return pil_spec_finish(&builder, ret_spec, ret_error);
}

/* ---- The description. */

static bool read_join_keys(const struct pil_json_value *keys, struct pillion_plan_info *info) {
    struct pil_json_value_cursor cursor = pil_json_value_elements(keys);
    struct pil_json_value key;
    for (; pil_json_value_next(&cursor, &key); info->join_key_count++) {
        uint32_t i = info->join_key_count;
        if (!read_text(&key, "name", info->join_keys[i], sizeof info->join_keys[i]) ||
            !read_text(&key, "type", info->join_key_types[i], sizeof info->join_key_types[i])) {
            return false;
        }
    }
    return true;
}

/* Whether the feature takes the elements behind those of the features before it, as many as its type has. A type that
 * only newer servers know is taken as it is said. */
static bool has_its_place(const struct pillion_plan *plan, const struct pillion_feature_info *feature, uint64_t at) {
    struct pil_type type;
    bool is_known = pil_type_parse(pil_bytes_from_text(feature->type), &type, NULL) == PIL_STATUS_OK;
    bool is_in_tensor = feature->count > 0, is_for_columns = (plan->flags & PILLION_COLUMNS) != 0;
    return (!is_known || feature->count == pil_describe_width(type)) && (is_in_tensor || is_for_columns) &&
           feature->first == (is_in_tensor ? at : 0);
}

/* The features must be those of the spec, in its order, and fill the row. */
static bool read_features(const struct pillion_plan *plan, const struct description *parts,
                          struct pillion_feature_info *to) {
    const struct pil_vector_spec *spec = plan->spec;
    struct pil_json_value_cursor cursor = pil_json_value_elements(&parts->features);
    struct pil_json_value feature;
    uint64_t at = 0;
    for (uint32_t i = 0; pil_json_value_next(&cursor, &feature); i++, to++) {
        to->view_index = number_member(&feature, "view");
        to->first = number_member(&feature, "first");
        to->count = number_member(&feature, "count");
        if (!read_text(&feature, "name", to->feature, sizeof to->feature) ||
            !read_text(&feature, "type", to->type, sizeof to->type) || to->view_index != spec->names[i].view ||
            strcmp(to->feature, spec->names[i].feature) != 0 || !has_its_place(plan, to, at)) {
            return false;
        }
        copy_name(to->view, sizeof to->view, spec->views[to->view_index]);
        at += to->count;
    }
    return at == parts->width;
}

static bool has_views_of(const struct pil_vector_spec *spec, const struct view_names *views) {
    bool is_same = true;
    for (uint32_t i = 0; i < spec->view_count && is_same; i++) {
        is_same = strcmp(views->names[i], spec->views[i]) == 0;
    }
    return is_same;
}

/* Takes the types of a later description if it says the same as the first otherwise. */
static pil_status renew_types(struct pillion_plan *plan, const struct pillion_plan_info *info,
                              const struct pillion_feature_info *features, struct pil_error *error) {
    bool is_same = info->width == plan->info.width && info->join_key_count == plan->info.join_key_count &&
                   memcmp(info->join_keys, plan->info.join_keys, sizeof info->join_keys) == 0;
    for (uint32_t i = 0; is_same && i < plan->info.feature_count; i++) {
        is_same = features[i].first == plan->features[i].first && features[i].count == plan->features[i].count;
    }
    if (!is_same) {
        return pil_fail(error, PIL_STATUS_INVALID,
                        "the release has another shape than the plan was made for: plan anew");
    }
    for (uint32_t i = 0; i < plan->info.feature_count; i++) {
        memcpy(plan->features[i].type, features[i].type, sizeof features[i].type);
    }
    return PIL_STATUS_OK;
}

pil_status pil_describe_json(struct pillion_plan *plan, const struct pil_json_value *document,
                             struct pil_error *ret_error) {
    struct description parts;
    struct view_names views;
    PIL_ASSERT(plan->spec != NULL);
    PIL_TRY(read_parts(document, &parts, ret_error));
    struct pillion_plan_info info = {.width = parts.width, .view_count = (uint32_t)parts.view_count};
    if (!read_view_names(&parts.views, &views) || !read_join_keys(&parts.keys, &info)) {
        return fail_form(ret_error);
    }
    if (parts.feature_count != plan->spec->name_count || parts.view_count != plan->spec->view_count ||
        !has_views_of(plan->spec, &views)) {
        return fail_other(ret_error);
    }
    struct pillion_feature_info *read = calloc(parts.feature_count, sizeof read[0]);
    if (read == NULL) {
        return pil_fail(ret_error, PIL_STATUS_NO_MEMORY, "no memory for the description of %zu features",
                        parts.feature_count);
    }
    pil_status status = read_features(plan, &parts, read) ? PIL_STATUS_OK : fail_other(ret_error);
    if (status == PIL_STATUS_OK && plan->info.feature_count == 0) {
        set_description(plan, &info, read, (uint32_t)parts.feature_count);
        return PIL_STATUS_OK;
    }
    status = status == PIL_STATUS_OK ? renew_types(plan, &info, read, ret_error) : status;
    free(read);
    return status;
}
