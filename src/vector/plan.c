/* SPDX-License-Identifier: Apache-2.0
 * From names to offsets. */
#include "vector/plan.h"
#include "base/panic.h"
#include "base/text.h"
#include "cache/chain.h"
#include "schema/project.h"

#include <stdlib.h>

/* Does not return NULL for a count of 0. */
static void *allocate(size_t count, size_t bytes) {
    return calloc(count > 0 ? count : 1, bytes);
}

static pil_status no_memory(struct pil_error *error) {
    return pil_fail(error, PIL_STATUS_NO_MEMORY, "no memory for a plan");
}

/* NULL when memory is short. */
static char *copy_text(struct pil_bytes text) {
    char *copy = allocate(text.len + 1, 1);
    if (copy != NULL) {
        memcpy(copy, text.data, text.len);
    }
    return copy;
}

const char *pil_vector_dtype_text(pil_vector_dtype dtype) {
    switch (dtype) {
    case PIL_VECTOR_FLOAT32: return "float32";
    case PIL_VECTOR_FLOAT64: return "float64";
    }
    __builtin_unreachable();
}

/* ---- Names. */

static pil_status add_view(struct pil_vector_spec *spec, struct pil_bytes name, uint32_t *ret_slot,
                           struct pil_error *error) {
    for (uint32_t slot = 0; slot < spec->view_count; slot++) {
        if (pil_bytes_equal_text(name, spec->views[slot])) {
            *ret_slot = slot;
            return PIL_STATUS_OK;
        }
    }
    if (spec->view_count == PIL_VECTOR_VIEWS_MAX) {
        return pil_fail(error, PIL_STATUS_INVALID, "a vector has features of at most %d views", PIL_VECTOR_VIEWS_MAX);
    }
    char *copy = copy_text(name);
    if (copy == NULL) {
        return no_memory(error);
    }
    *ret_slot = spec->view_count;
    spec->views[spec->view_count++] = copy;
    return PIL_STATUS_OK;
}

static pil_status add_reference(struct pil_vector_spec *spec, struct pil_bytes reference, struct pil_error *error) {
    const uint8_t *colon = reference.len > 0 ? memchr(reference.data, ':', reference.len) : NULL;
    size_t view_len = colon != NULL ? (size_t)(colon - reference.data) : 0;
    if (view_len == 0 || view_len + 1 == reference.len) {
        return pil_fail(error, PIL_STATUS_INVALID, "'%.*s' is not view:feature",
                        (int)(reference.len < 256 ? reference.len : 256), (const char *)reference.data);
    }
    struct pil_vector_name *name = &spec->names[spec->name_count];
    PIL_TRY(add_view(spec, pil_bytes_from(reference.data, view_len), &name->view, error));
    name->feature = copy_text(pil_bytes_from(colon + 1, reference.len - view_len - 1));
    if (name->feature == NULL) {
        return no_memory(error);
    }
    spec->name_count++;
    return PIL_STATUS_OK;
}

pil_status pil_vector_spec_create(const struct pil_bytes *references, uint32_t count, struct pil_vector_spec **ret_spec,
                                  struct pil_error *ret_error) {
    if (count == 0 || count > PIL_SERVICE_FEATURES_MAX) {
        return pil_fail(ret_error, PIL_STATUS_INVALID, "%u features were given; a vector has 1 to %d", count,
                        PIL_SERVICE_FEATURES_MAX);
    }
    struct pil_vector_spec *spec = allocate(1, sizeof *spec);
    if (spec == NULL) {
        return no_memory(ret_error);
    }
    spec->names = allocate(count, sizeof spec->names[0]);
    if (spec->names == NULL) {
        pil_vector_spec_destroy(&spec);
        return no_memory(ret_error);
    }
    for (uint32_t i = 0; i < count; i++) {
        pil_status status = add_reference(spec, references[i], ret_error);
        if (status != PIL_STATUS_OK) {
            pil_vector_spec_destroy(&spec);
            return status;
        }
    }
    *ret_spec = spec;
    return PIL_STATUS_OK;
}

pil_status pil_vector_spec_of_service(const struct pil_project *project, const struct pil_service *service,
                                      struct pil_vector_spec **ret_spec, struct pil_error *ret_error) {
    struct pil_text text = {0};
    struct pil_bytes *references = allocate(service->feature_count, sizeof references[0]);
    if (references == NULL) {
        return no_memory(ret_error);
    }
    for (uint32_t i = 0; i < service->feature_count; i++) {
        const struct pil_view *view = project->views[service->features[i].view_index].view;
        size_t begin = text.len;
        pil_text_format(&text, "%s/%s:%s", project->name, view->name,
                        view->features[service->features[i].feature_index].name);
        references[i].len = text.len - begin;
    }
    if (text.failed) {
        free(references);
        return no_memory(ret_error);
    }
    const char *at = text.data; /* complete, so it does not move any more */
    for (uint32_t i = 0; i < service->feature_count; at += references[i++].len) {
        references[i].data = (const uint8_t *)at;
    }
    pil_status status = pil_vector_spec_create(references, service->feature_count, ret_spec, ret_error);
    free(references);
    pil_text_deinit(&text);
    return status == PIL_STATUS_OK ? status : pil_fail_in(ret_error, status, "service %s", service->name);
}

void pil_vector_spec_destroy(struct pil_vector_spec **spec_pointer) {
    struct pil_vector_spec *spec = *spec_pointer;
    if (spec == NULL) {
        return;
    }
    for (uint32_t i = 0; i < spec->view_count; i++) {
        free(spec->views[i]);
    }
    for (uint32_t i = 0; i < spec->name_count; i++) {
        free(spec->names[i].feature);
    }
    free(spec->names);
    free(spec);
    *spec_pointer = NULL;
}

/* ---- Columns. */

static bool has_place_in_tensor(struct pil_type type) {
    return !pil_type_is_reference(type);
}

static pil_status set_columns(struct pil_vector_plan *plan, const struct pil_vector_spec *spec, bool need_tensor,
                              struct pil_error *error) {
    for (uint32_t i = 0; i < spec->name_count; i++) {
        const struct pil_vector_name *name = &spec->names[i];
        const struct pil_view *view = plan->views[name->view].view;
        int32_t index = pil_view_feature_find(view, pil_bytes_from_text(name->feature));
        if (index < 0) {
            return pil_fail(error, PIL_STATUS_NOT_FOUND, "view %s has no feature %s", spec->views[name->view],
                            name->feature);
        }
        const struct pil_feature *feature = &view->features[index];
        bool is_element = has_place_in_tensor(feature->type);
        char type[PIL_TYPE_TEXT_BYTES];
        if (need_tensor && !is_element) {
            (void)pil_type_format(feature->type, type);
            return pil_fail(error, PIL_STATUS_UNSUPPORTED, "%s:%s is %s, which has no place in a tensor of numbers",
                            spec->views[name->view], name->feature, type);
        }
        uint32_t count = !is_element ? 0 : feature->type.shape == PIL_SHAPE_VECTOR ? feature->type.dimension : 1;
        if (count > PIL_VECTOR_WIDTH_MAX - plan->width) {
            return pil_fail(error, PIL_STATUS_TOO_LARGE, "the vector has over %d elements", PIL_VECTOR_WIDTH_MAX);
        }
        plan->columns[i] = (struct pil_vector_column){.view = name->view,
                                                      .feature = (uint32_t)index,
                                                      .offset = feature->offset,
                                                      .null_bit = feature->null_bit,
                                                      .first = is_element ? plan->width : 0,
                                                      .count = count,
                                                      .type = feature->type};
        plan->width += count;
    }
    return PIL_STATUS_OK;
}

/* Groups the columns by view, and finds the null bytes and lines of a row that each view's columns need. */
static pil_status set_views(struct pil_vector_plan *plan, struct pil_error *error) {
    uint32_t *features = allocate(plan->feature_count, sizeof features[0]), next = 0;
    if (features == NULL) {
        return no_memory(error);
    }
    for (uint32_t slot = 0; slot < plan->view_count; slot++) {
        struct pil_vector_view *view = &plan->views[slot];
        view->column_first = next;
        view->null_first = UINT32_MAX;
        for (uint32_t i = 0; i < plan->feature_count; i++) {
            const struct pil_vector_column *column = &plan->columns[i];
            if (column->view != slot) {
                continue;
            }
            uint32_t null_byte = view->view->layout.null_offset + column->null_bit / 8;
            view->null_first = null_byte < view->null_first ? null_byte : view->null_first;
            view->null_end = null_byte + 1 > view->null_end ? null_byte + 1 : view->null_end;
            features[view->column_count++] = column->feature;
            plan->by_view[next++] = i;
        }
        view->line_mask = pil_chain_line_mask(view->view, features, view->column_count);
    }
    free(features);
    return PIL_STATUS_OK;
}

static void set_runs(struct pil_vector_plan *plan) {
    uint32_t next = 0;
    for (uint32_t slot = 0; slot < plan->view_count; slot++) {
        struct pil_vector_view *view = &plan->views[slot];
        struct pil_vector_run *run = NULL;
        view->run_first = next;
        for (uint32_t i = 0; i < view->column_count; i++) {
            const struct pil_vector_column *column = &plan->columns[plan->by_view[view->column_first + i]];
            if (column->count == 0) {
                continue;
            }
            pil_scalar scalar = column->type.scalar;
            if (run != NULL && run->scalar == scalar && run->first + run->count == column->first &&
                run->offset + run->count * pil_scalar_bytes(scalar) == column->offset) {
                run->count += column->count;
                continue;
            }
            run = &plan->runs[next++];
            *run = (struct pil_vector_run){
                .scalar = scalar, .offset = column->offset, .first = column->first, .count = column->count};
        }
        view->run_count = next - view->run_first;
    }
}

static void set_defaults(struct pil_vector_plan *plan) {
    uint32_t next = 0;
    for (uint32_t i = 0; i < plan->feature_count; i++) {
        struct pil_vector_column *column = &plan->columns[i];
        const struct pil_default *value = plan->views[column->view].view->features[column->feature].default_value;
        if (value == NULL || column->count == 0) {
            continue;
        }
        PIL_ASSERT(value->count == column->count);
        column->has_default = true;
        column->default_first = next;
        for (uint32_t k = 0; k < column->count; k++) {
            plan->defaults[next++] = value->numbers[k];
        }
    }
}

static pil_status set_join_keys(struct pil_vector_plan *plan, struct pil_error *error) {
    for (uint32_t slot = 0; slot < plan->view_count; slot++) {
        const struct pil_view *view = plan->views[slot].view;
        for (uint32_t e = 0; e < view->entity_count; e++) {
            uint32_t key = 0;
            while (key < plan->join_key_count &&
                   strcmp(plan->join_keys[key]->join_key, view->entities[e].join_key) != 0) {
                key++;
            }
            if (key == PIL_VECTOR_KEYS_MAX) {
                return pil_fail(error, PIL_STATUS_TOO_LARGE, "the views have over %d join keys", PIL_VECTOR_KEYS_MAX);
            }
            if (key == plan->join_key_count) {
                plan->join_keys[plan->join_key_count++] = &view->entities[e];
            }
            plan->views[slot].key_parts[e] = key;
        }
    }
    return PIL_STATUS_OK;
}

static pil_status make_plan(struct pil_vector_plan *plan, const struct pil_vector_spec *spec, bool need_tensor,
                            struct pil_error *error) {
    plan->columns = allocate(spec->name_count, sizeof plan->columns[0]);
    plan->by_view = allocate(spec->name_count, sizeof plan->by_view[0]);
    plan->runs = allocate(spec->name_count, sizeof plan->runs[0]);
    if (plan->columns == NULL || plan->by_view == NULL || plan->runs == NULL) {
        return no_memory(error);
    }
    PIL_TRY(set_columns(plan, spec, need_tensor, error));
    PIL_TRY(set_join_keys(plan, error));
    PIL_TRY(set_views(plan, error));
    plan->defaults = allocate(plan->width, sizeof plan->defaults[0]);
    if (plan->defaults == NULL) {
        return no_memory(error);
    }
    set_runs(plan);
    set_defaults(plan);
    return PIL_STATUS_OK;
}

pil_status pil_vector_plan_create(const struct pil_vector_spec *spec, const struct pil_view *const *views,
                                  pil_vector_dtype dtype, bool need_tensor, struct pil_vector_plan **ret_plan,
                                  struct pil_error *ret_error) {
    struct pil_vector_plan *plan = allocate(1, sizeof *plan);
    if (plan == NULL) {
        return no_memory(ret_error);
    }
    plan->dtype = dtype;
    plan->feature_count = spec->name_count;
    plan->view_count = spec->view_count;
    for (uint32_t slot = 0; slot < spec->view_count; slot++) {
        plan->views[slot].view = views[slot];
    }
    pil_status status = make_plan(plan, spec, need_tensor, ret_error);
    if (status != PIL_STATUS_OK) {
        pil_vector_plan_destroy(&plan);
        return status;
    }
    *ret_plan = plan;
    return PIL_STATUS_OK;
}

void pil_vector_plan_destroy(struct pil_vector_plan **plan_pointer) {
    struct pil_vector_plan *plan = *plan_pointer;
    if (plan == NULL) {
        return;
    }
    free(plan->columns);
    free(plan->by_view);
    free(plan->runs);
    free(plan->defaults);
    free(plan);
    *plan_pointer = NULL;
}

pil_status pil_vector_key_encode(const struct pil_vector_plan *plan, uint32_t slot, const struct pil_key_part *parts,
                                 uint8_t *buffer, size_t buffer_bytes, size_t *ret_len, uint32_t *ret_join_key) {
    const struct pil_vector_view *view = &plan->views[slot];
    struct pil_key_part own[PIL_ENTITIES_MAX] PIL_UNINITIALIZED;
    uint32_t entity = 0;
    for (uint32_t e = 0; e < view->view->entity_count; e++) {
        own[e] = parts[view->key_parts[e]];
    }
    pil_status status =
        pil_view_key_encode(view->view, own, view->view->entity_count, buffer, buffer_bytes, ret_len, &entity);
    if (status != PIL_STATUS_OK) {
        *ret_join_key = view->key_parts[entity < view->view->entity_count ? entity : 0];
    }
    return status;
}
