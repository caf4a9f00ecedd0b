/* SPDX-License-Identifier: Apache-2.0
 * Views: row layout, search by name, copy, destroy. Keys are in view_key.c, the JSON form is in view_read.c and
 * view_json.c. */
#include "schema/view.h"
#include "base/bounds.h"
#include "base/hash.h"
#include "schema/internal.h"

/* Row layout, format version 1. All offsets in bytes from the start of the row, align(x, a) = x rounded up to a
 * multiple of a.
 *
 *   key        at 0, key_bytes wide. If every entity's type is int32 (4), int64 (8) or unix_timestamp (8), the key is
 *              fixed: key_bytes is the sum of these widths, and the components follow one another without padding.
 *              Otherwise the field is a 16-byte reference to the canonical key bytes.
 *   event_ts   at align(key_bytes, 8), 8 bytes.
 *   nulls      at event_ts_offset + 8, ceil(feature_count / 8) bytes; feature i has bit i % 8 of byte i / 8.
 *   fields     start = nulls + their bytes; for alignment a in 8, 4, 2, 1: for each feature with that alignment in
 *              declared order: offset = align(start, a); start = offset + its bytes. Scalars align to their size;
 *              vectors to the size of an element; references (string, bytes, lists: 16 bytes) to 8.
 *   stride     end = start after the last field.
 *              end <= 64:  16, 32 or 64, the smallest that holds it, so that no row crosses a cache line;
 *              else:       align(end, 64) when that is at most end + floor(end / 16), else align(end, 8).
 *
 * All other bytes are zero. */
static uint64_t stride_of(uint64_t end) {
    if (end <= 16) {
        return 16;
    }
    if (end <= 64) {
        return end <= 32 ? 32 : 64;
    }
    uint64_t lines = pil_align_up(end, 64);
    return lines <= end + end / 16 ? lines : pil_align_up(end, 8);
}

static void set_packing(struct pil_view *view) {
    struct pil_row_packing packing = {.first_reference = -1, .bytes = view->layout.null_bytes};
    uint32_t count = 0, end = 0;
    for (uint32_t i = 0; i < view->feature_count; i++) {
        const struct pil_feature *feature = &view->features[i];
        uint32_t bytes = pil_type_row_bytes(feature->type);
        if (packing.first_reference < 0 && pil_type_is_reference(feature->type)) {
            packing.first_reference = (int32_t)i;
        }
        packing.bytes += bytes;
        if (count == 0 || feature->offset != end) {
            count++;
            if (count <= PIL_PACKING_RUNS_MAX) {
                packing.runs[count - 1].offset = feature->offset;
            }
        }
        if (count <= PIL_PACKING_RUNS_MAX) {
            packing.runs[count - 1].bytes += bytes;
        }
        end = feature->offset + bytes;
    }
    packing.run_count = count <= PIL_PACKING_RUNS_MAX ? count : 0;
    view->packing = packing;
}

pil_status pil_view_layout(struct pil_view *view, struct pil_error *ret_error) {
    struct pil_row_layout layout = {.key_is_fixed = true};
    for (uint32_t i = 0; i < view->entity_count; i++) {
        layout.key_is_fixed = layout.key_is_fixed && pil_entity_is_fixed(&view->entities[i]);
        layout.key_bytes += pil_scalar_bytes(view->entities[i].type);
    }
    if (!layout.key_is_fixed) {
        layout.key_bytes = PIL_REF_BYTES;
        layout.has_references = true;
    }
    layout.event_ts_offset = (uint32_t)pil_align_up(layout.key_bytes, 8);
    layout.null_offset = layout.event_ts_offset + 8;
    layout.null_bytes = (view->feature_count + 7) / 8;
    uint64_t end = (uint64_t)layout.null_offset + layout.null_bytes;
    for (uint32_t alignment = 8; alignment > 0; alignment /= 2) {
        for (uint32_t i = 0; i < view->feature_count; i++) {
            struct pil_feature *feature = &view->features[i];
            if (pil_type_alignment(feature->type) != alignment) {
                continue;
            }
            uint64_t offset = pil_align_up(end, alignment);
            end = offset + pil_type_row_bytes(feature->type);
            if (end > PIL_ROW_STRIDE_MAX) {
                break;
            }
            feature->offset = (uint32_t)offset;
            feature->null_bit = i;
            layout.has_references = layout.has_references || pil_type_is_reference(feature->type);
        }
    }
    if (stride_of(end) > PIL_ROW_STRIDE_MAX) {
        return pil_fail(ret_error, PIL_STATUS_TOO_LARGE, "a row of feature view %s would take more than %d bytes",
                        view->name, PIL_ROW_STRIDE_MAX);
    }
    layout.stride = (uint32_t)stride_of(end);
    view->layout = layout;
    set_packing(view);
    return PIL_STATUS_OK;
}

/* Adds a feature to the table of names, unless its name is there. */
static void index_name(struct pil_view *view, uint32_t index) {
    struct pil_bytes name = pil_bytes_from_text(view->features[index].name);
    view->features[index].name_len = (uint32_t)name.len;
    if (pil_view_feature_find(view, name) >= 0) {
        return;
    }
    uint32_t slot = (uint32_t)pil_hash_index(name, 0) & view->index_mask;
    while (view->feature_index_by_name[slot] != 0) {
        slot = (slot + 1) & view->index_mask;
    }
    view->feature_index_by_name[slot] = index + 1;
}

/* Adds a feature to the table of fields; one whose field is there is only marked, as the other one is. */
static void index_field(struct pil_view *view, uint32_t index) {
    char text[2 * PIL_NAME_BYTES_MAX + 2];
    struct pil_feature *feature = &view->features[index];
    int len = snprintf(text, sizeof text, "%s:%s", view->name, feature->name);
    feature->field = pil_hash_field(pil_bytes_from(text, len < (int)sizeof text ? (size_t)len : sizeof text - 1));
    int32_t found = pil_view_feature_find_field(view, feature->field);
    feature->shares_field = found >= 0;
    if (found >= 0) {
        view->features[found].shares_field = true;
        return;
    }
    uint32_t slot = feature->field & view->index_mask;
    while (view->feature_index_by_field[slot] != 0) {
        slot = (slot + 1) & view->index_mask;
    }
    view->feature_index_by_field[slot] = index + 1;
}

bool pil_view_index_build(struct pil_view *view) {
    uint32_t slots = 4;
    while (slots < 2 * view->feature_count) {
        slots *= 2;
    }
    PIL_ASSERT(slots >= 2 * view->feature_count); /* so that the searches end */
    uint32_t *tables = calloc(2 * (size_t)slots, sizeof tables[0]);
    if (tables == NULL) {
        return false;
    }
    free(view->feature_index_by_name);
    view->feature_index_by_name = tables;
    view->feature_index_by_field = tables + slots;
    view->index_mask = slots - 1;
    for (uint32_t i = 0; i < view->feature_count; i++) {
        index_name(view, i);
        index_field(view, i);
    }
    return true;
}

bool pil_view_feature_is_pii(const struct pil_feature *feature) {
    for (uint32_t i = 0; i < feature->tag_count; i++) {
        if (strcmp(feature->tags[i], "pii") == 0) {
            return true;
        }
    }
    return false;
}

int32_t pil_view_feature_find(const struct pil_view *view, struct pil_bytes name) {
    PIL_ASSERT(view->feature_index_by_name != NULL);
    /* At most half of the slots are taken, so the search ends. */
    for (uint32_t slot = (uint32_t)pil_hash_index(name, 0);; slot++) {
        uint32_t entry = view->feature_index_by_name[slot & view->index_mask];
        if (entry == 0) {
            return -1;
        }
        const struct pil_feature *feature = &view->features[entry - 1];
        if (pil_bytes_equal(name, pil_bytes_from(feature->name, feature->name_len))) {
            return (int32_t)(entry - 1);
        }
    }
}

int32_t pil_view_feature_find_field(const struct pil_view *view, uint32_t field) {
    PIL_ASSERT(view->feature_index_by_field != NULL);
    for (uint32_t slot = field;; slot++) {
        uint32_t entry = view->feature_index_by_field[slot & view->index_mask];
        if (entry == 0 || view->features[entry - 1].field == field) {
            return (int32_t)entry - 1;
        }
    }
}

bool pil_entity_clone(const struct pil_entity *entity, struct pil_entity *ret_copy) {
    *ret_copy = (struct pil_entity){.type = entity->type};
    return pil_schema_copy(entity->name, &ret_copy->name) && pil_schema_copy(entity->join_key, &ret_copy->join_key) &&
           pil_schema_copy(entity->description, &ret_copy->description);
}

void pil_entity_deinit(struct pil_entity *entity) {
    free(entity->name);
    free(entity->join_key);
    free(entity->description);
}

/* Returns false if memory is short; the parts copied so far must be freed with feature_deinit. */
static bool feature_clone(const struct pil_feature *feature, struct pil_feature *ret_copy) {
    struct pil_feature *copy = ret_copy;
    *copy = *feature;
    copy->name = copy->description = NULL;
    copy->tag_count = 0;
    copy->default_value = pil_default_copy(feature->default_value);
    copy->tags = pil_schema_alloc(feature->tag_count, sizeof *copy->tags);
    bool is_whole = (copy->default_value != NULL || feature->default_value == NULL) && copy->tags != NULL &&
                    pil_schema_copy(feature->name, &copy->name) &&
                    pil_schema_copy(feature->description != NULL ? feature->description : "", &copy->description);
    for (uint32_t i = 0; is_whole && i < feature->tag_count; i++) {
        is_whole = pil_schema_copy(feature->tags[i], &copy->tags[copy->tag_count++]);
    }
    return is_whole;
}

static void feature_deinit(struct pil_feature *feature) {
    free(feature->name);
    free(feature->description);
    free(feature->default_value);
    for (uint32_t i = 0; i < feature->tag_count; i++) {
        free(feature->tags[i]);
    }
    free(feature->tags);
}

/* Copies names and lists into a view that has none. Returns false if memory is short. */
static bool view_clone_into(struct pil_view *copy, const struct pil_view *view) {
    bool is_whole = pil_schema_copy(view->project, &copy->project) && pil_schema_copy(view->name, &copy->name);
    copy->entities = pil_schema_alloc(view->entity_count, sizeof *copy->entities);
    copy->features = pil_schema_alloc(view->feature_count, sizeof *copy->features);
    is_whole = is_whole && copy->entities != NULL && copy->features != NULL;
    for (uint32_t i = 0; is_whole && i < view->entity_count; i++) {
        is_whole = pil_entity_clone(&view->entities[i], &copy->entities[copy->entity_count++]);
    }
    for (uint32_t i = 0; is_whole && i < view->feature_count; i++) {
        is_whole = feature_clone(&view->features[i], &copy->features[copy->feature_count++]);
    }
    return is_whole && pil_view_index_build(copy);
}

struct pil_view *pil_view_clone(const struct pil_view *view) {
    struct pil_view *copy = pil_schema_alloc(1, sizeof *copy);
    if (copy == NULL) {
        return NULL;
    }
    *copy = *view;
    copy->project = copy->name = NULL;
    copy->entities = NULL;
    copy->features = NULL;
    copy->entity_count = copy->feature_count = 0;
    copy->feature_index_by_name = copy->feature_index_by_field = NULL;
    if (!view_clone_into(copy, view)) {
        pil_view_destroy(&copy);
    }
    return copy;
}

void pil_view_destroy(struct pil_view **view) {
    struct pil_view *old = *view;
    *view = NULL;
    if (old == NULL) {
        return;
    }
    for (uint32_t i = 0; old->entities != NULL && i < old->entity_count; i++) {
        pil_entity_deinit(&old->entities[i]);
    }
    for (uint32_t i = 0; old->features != NULL && i < old->feature_count; i++) {
        feature_deinit(&old->features[i]);
    }
    free(old->project);
    free(old->name);
    free(old->entities);
    free(old->features);
    free(old->feature_index_by_name);
    free(old);
}
