/* SPDX-License-Identifier: Apache-2.0 */
#include "selection/tensor_rows.h"

#include "cache/freshness.h"
#include "snapshot/reader.h"

enum { KEY_SLACK_BYTES = 24 }; /* for the length of a part, or a number in decimal */
PIL_STATIC_ASSERT((int)PIL_TENSOR_VIEWS_MAX == (int)PIL_VECTOR_VIEWS_MAX);

/* ---- Keys. */

void pil_tensor_lookup(const struct pil_tensor_rows *rows, uint32_t slot, struct pil_bytes key,
                       struct pil_lookup *ret_lookup) {
    const struct pil_selection_view *view = &rows->prepared->selection.views[slot];
    *ret_lookup = pil_lookup_make(&view->serving->chain, key, view->view->index, view->line_mask);
}

pil_status pil_tensor_key(struct pil_arena *arena, const struct pil_vector_plan *plan, uint32_t slot,
                          const struct pil_key_part *parts, struct pil_bytes *ret_key, uint32_t *ret_join_key) {
    size_t room = 0, len = 0, mark = pil_arena_mark(arena);
    for (uint32_t e = 0; e < plan->views[slot].view->entity_count; e++) {
        const struct pil_key_part *part = &parts[plan->views[slot].key_parts[e]];
        room += KEY_SLACK_BYTES + (part->kind == PIL_KEY_PART_TEXT ? part->text.len : 0);
    }
    uint8_t *buffer = pil_arena_alloc(arena, room, 1);
    if (buffer == NULL) {
        return PIL_STATUS_TOO_LARGE;
    }
    PIL_TRY(pil_vector_key_encode(plan, slot, parts, buffer, room, &len, ret_join_key));
    pil_arena_rewind(arena, mark + len);
    *ret_key = pil_bytes_from(buffer, len);
    return PIL_STATUS_OK;
}

/* ---- Rows. */

void pil_tensor_summarise(const struct pil_tensor_rows *rows, uint32_t slot, int64_t now_us,
                          struct pil_tensor_view *ret_summary) {
    const struct pil_release *release = rows->prepared->selection.views[slot].serving->release;
    const struct pil_lookup *lookups = pil_tensor_lookups(rows, slot);
    struct pil_tensor_view summary = {.generation = release->generation, .created_us = release->created_us};
    int64_t oldest_us = INT64_MAX;
    memcpy(summary.release, release->id, sizeof summary.release);
    for (uint32_t i = 0; i < rows->row_count; i++) {
        if (lookups[i].row.fields == NULL) {
            summary.not_found++;
            continue;
        }
        oldest_us = pil_freshness_oldest_us(&lookups[i].row, oldest_us);
    }
    summary.worst_age_us = pil_freshness_worst_us(oldest_us, now_us);
    *ret_summary = summary;
}

void pil_tensor_put_statuses(const struct pil_tensor_rows *rows, uint32_t i, uint64_t (*counts)[PIL_VALUE_STATUS_COUNT],
                             uint8_t *statuses) {
    const struct pil_vector_plan *plan = pil_tensor_plan(rows);
    for (uint32_t slot = 0; slot < plan->view_count; slot++) {
        const struct pil_lookup *lookup = pil_tensor_lookups(rows, slot) + i;
        uint32_t nulls = pil_vector_put_statuses(plan, slot, lookup->row.fields, lookup->status, statuses);
        counts[lookup->view_index][PIL_VALUE_NULL_VALUE] += nulls;
        counts[lookup->view_index][lookup->status] += plan->views[slot].column_count - nulls;
    }
}

void pil_tensor_put_values(const struct pil_tensor_rows *rows, uint32_t i, uint8_t *values) {
    const struct pil_vector_plan *plan = pil_tensor_plan(rows);
    for (uint32_t slot = 0; slot < plan->view_count; slot++) {
        pil_vector_put_values(plan, slot, pil_tensor_lookups(rows, slot)[i].row.fields, rows->use_defaults, values);
    }
}

bool pil_tensor_place_init(struct pil_arena *arena, size_t bytes, struct pil_tensor_place *ret_place) {
    *ret_place = (struct pil_tensor_place){.bytes = bytes};
    if (bytes > PIL_SINK_RESERVE_MAX) {
        ret_place->buffer = pil_arena_alloc(arena, bytes, 1);
        return ret_place->buffer != NULL;
    }
    return true;
}
