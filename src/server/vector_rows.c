/* SPDX-License-Identifier: Apache-2.0 */
#include "server/vector_rows.h"

enum { KEY_SLACK_BYTES = 24 }; /* a part's length, and a number in decimal */
PIL_STATIC_ASSERT((int)PIL_TENSOR_VIEWS_MAX == (int)PIL_VECTOR_VIEWS_MAX);
/* Counts are kept by Feast's names of statuses, which start at 0 here. */
PIL_STATIC_ASSERT((int)PIL_VECTOR_PRESENT - 1 == (int)PIL_FEAST_STATUS_PRESENT);
PIL_STATIC_ASSERT((int)PIL_VECTOR_NULL_VALUE - 1 == (int)PIL_FEAST_STATUS_NULL_VALUE);
PIL_STATIC_ASSERT((int)PIL_VECTOR_NOT_FOUND - 1 == (int)PIL_FEAST_STATUS_NOT_FOUND);
PIL_STATIC_ASSERT((int)PIL_VECTOR_OUTSIDE_MAX_AGE - 1 == (int)PIL_FEAST_STATUS_OUTSIDE_MAX_AGE);

/* ---- Keys. */

pil_status pil_vector_add_lookup(struct pil_worker *worker, struct pil_request *request, uint32_t slot,
                                 struct pil_bytes key) {
    const struct pil_planned *planned = request->planned;
    struct pil_lookup *lookup = pil_batch_lookup(worker, request);
    if (lookup == NULL) {
        return PIL_STATUS_TOO_LARGE;
    }
    *lookup = (struct pil_lookup){.release = planned->releases[slot],
                                  .key = key.data,
                                  .key_len = (uint32_t)key.len,
                                  .view_index = planned->views[slot]->index,
                                  .line_mask = planned->plan->views[slot].line_mask};
    return PIL_STATUS_OK;
}

pil_status pil_vector_add_key(struct pil_worker *worker, struct pil_request *request, uint32_t slot,
                              const struct pil_key_part *parts, uint32_t *ret_join_key) {
    const struct pil_vector_plan *plan = request->planned->plan;
    size_t room = 0, len = 0;
    for (uint32_t e = 0; e < plan->views[slot].view->entity_count; e++) {
        const struct pil_key_part *part = &parts[plan->views[slot].key_parts[e]];
        room += KEY_SLACK_BYTES + (part->kind == PIL_KEY_PART_TEXT ? part->text.len : 0);
    }
    uint8_t *buffer = pil_batch_scratch(worker->batch, room);
    if (buffer == NULL) {
        return PIL_STATUS_TOO_LARGE;
    }
    PIL_TRY(pil_vector_key_encode(plan, slot, parts, buffer, room, &len, ret_join_key));
    return pil_vector_add_lookup(worker, request, slot, pil_bytes_from(buffer, len));
}

/* ---- Rows. */

static pil_vector_status row_status(const struct pil_worker *worker, const struct pil_request *request, uint32_t slot,
                                    const uint8_t *row) {
    return pil_vector_row_status(request->planned->plan, slot, row, worker->now_wall_us, request->max_age_us);
}

void pil_vector_summarise(struct pil_worker *worker, const struct pil_request *request, uint32_t slot,
                          struct pil_tensor_view *ret_summary) {
    const struct pil_release *release = request->planned->releases[slot];
    struct pil_lookup *lookups = pil_vector_lookups(worker, request, slot);
    struct pil_tensor_view summary = {
        .generation = release->generation, .worst_age_us = -1, .created_us = release->created_us};
    bool hide_expired = request->connection->listener->hide_expired;
    int64_t oldest_us = INT64_MAX;
    memcpy(summary.release, release->id, sizeof summary.release);
    for (uint32_t i = 0; i < request->row_count; i++) {
        if (hide_expired && row_status(worker, request, slot, lookups[i].row) == PIL_VECTOR_OUTSIDE_MAX_AGE) {
            lookups[i].row = NULL;
        }
        if (lookups[i].row == NULL) {
            summary.not_found++;
            continue;
        }
        int64_t event_ts_us = pil_row_event_ts_us(release->view, lookups[i].row);
        oldest_us = event_ts_us < oldest_us ? event_ts_us : oldest_us;
    }
    if (summary.not_found < request->row_count) {
        int64_t age_us = 0;
        bool is_over = __builtin_sub_overflow(worker->now_wall_us, oldest_us, &age_us);
        summary.worst_age_us = is_over ? INT64_MAX : age_us < 0 ? 0 : age_us;
    }
    *ret_summary = summary;
}

void pil_vector_put_row_statuses(struct pil_worker *worker, const struct pil_request *request, uint32_t i,
                                 uint8_t *statuses) {
    const struct pil_vector_plan *plan = request->planned->plan;
    for (uint32_t slot = 0; slot < plan->view_count; slot++) {
        const struct pil_lookup *lookup = pil_vector_lookups(worker, request, slot) + i;
        pil_vector_status status = row_status(worker, request, slot, lookup->row);
        uint32_t nulls = pil_vector_put_statuses(plan, slot, lookup->row, status, statuses);
        uint64_t *counts = worker->values_by_status[lookup->view_index];
        counts[PIL_FEAST_STATUS_NULL_VALUE] += nulls;
        counts[status - 1] += plan->views[slot].column_count - nulls;
    }
}

void pil_vector_put_row_values(struct pil_worker *worker, const struct pil_request *request, uint32_t i,
                               uint8_t *values) {
    const struct pil_vector_plan *plan = request->planned->plan;
    for (uint32_t slot = 0; slot < plan->view_count; slot++) {
        const uint8_t *row = pil_vector_lookups(worker, request, slot)[i].row;
        pil_vector_put_values(plan, slot, row, request->use_defaults, values);
    }
}

bool pil_vector_place_init(struct pil_worker *worker, size_t bytes, struct pil_vector_place *ret_place) {
    *ret_place = (struct pil_vector_place){.bytes = bytes};
    if (bytes > PIL_SINK_RESERVE_MAX) {
        ret_place->scratch = pil_batch_scratch(worker->batch, bytes);
        return ret_place->scratch != NULL;
    }
    return true;
}
