/* SPDX-License-Identifier: Apache-2.0
 * PIL.VECTOR, PIL.VECTOR64, PIL.DESCRIBE, PIL.LIST, and the keys of PIL.COLUMNS: whole vectors in one answer
 * (schemas/wire.md). */
#include "protocol/resp/handlers.h"

#include "base/number.h"
#include "base/text.h"
#include "protocol/resp/plan.h"
#include "schema/project.h"
#include "schema/view.h"
#include "snapshot/reader.h"
#include "vector/plan.h"
#include "wire/tensor.h"

/* ---- Keys. */

static bool fail_key(struct pil_turn *turn, struct pil_redis_call *call, uint32_t row, uint32_t key,
                     const struct pil_key_part *part) {
    const struct pil_entity *entity = pil_tensor_plan(&call->rows)->join_keys[key];
    const struct pil_key_place place = {.join_key = entity->join_key, .type = entity->type, .row = row};
    char problem[PIL_KEY_PROBLEM_BYTES];
    call->error = pil_batch_text(turn->batch, "ERR %s", pil_key_part_explain(part, place, problem));
    return false;
}

static bool fail_parts(struct pil_turn *turn, struct pil_redis_call *call, uint32_t row) {
    uint32_t count = pil_tensor_plan(&call->rows)->join_key_count;
    call->error =
        count > 0 ? pil_batch_text(turn->batch, "ERR row %u: the key must have %u parts, joined by |", row, count)
                  : pil_batch_text(turn->batch, "ERR row %u: the plan has no join keys; the key must be empty", row);
    return false;
}

/* Splits a key text into its parts, one for each join key; without join keys it must be empty. */
static bool split(struct pil_turn *turn, struct pil_redis_call *call, uint32_t row, struct pil_bytes text,
                  struct pil_key_part parts[PIL_VECTOR_KEYS_MAX]) {
    uint32_t count = pil_tensor_plan(&call->rows)->join_key_count;
    bool is_last = count == 0 && text.len == 0;
    if (count == 1) {
        parts[0] = (struct pil_key_part){.kind = PIL_KEY_PART_TEXT, .text = text};
        return true;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *buffer = pil_arena_alloc(&turn->batch->arena, text.len, 1);
        parts[i] = (struct pil_key_part){.kind = PIL_KEY_PART_TEXT};
        if (is_last || buffer == NULL ||
            pil_view_key_text_next(&text, buffer, text.len, &parts[i].text, &is_last) != PIL_STATUS_OK) {
            return fail_parts(turn, call, row);
        }
    }
    return is_last || fail_parts(turn, call, row);
}

static bool add_lookup(struct pil_turn *turn, struct pil_redis_call *call, uint32_t slot, struct pil_bytes key) {
    struct pil_lookup *lookup = pil_batch_lookup(turn, call->request);
    if (lookup != NULL) {
        pil_tensor_lookup(&call->rows, slot, key, lookup);
    }
    return lookup != NULL;
}

static bool add_parts(struct pil_turn *turn, struct pil_redis_call *call, uint32_t slot, uint32_t row,
                      const struct pil_key_part *parts) {
    struct pil_bytes key;
    uint32_t bad = 0;
    pil_status status = pil_tensor_key(&turn->batch->arena, pil_tensor_plan(&call->rows), slot, parts, &key, &bad);
    if (status == PIL_STATUS_OK) {
        return add_lookup(turn, call, slot, key);
    }
    if (status == PIL_STATUS_TOO_LARGE) {
        call->error = pil_batch_text(turn->batch,
                                     "TOOLARGE key %u is longer than %d bytes, or the keys of this request together "
                                     "are too long",
                                     row, PIL_KEY_BYTES_MAX);
        return false;
    }
    return fail_key(turn, call, row, bad, &parts[bad]);
}

static bool set_rows(struct pil_turn *turn, struct pil_redis_call *call, size_t rows) {
    uint32_t limit = turn->settings->limits.keys_per_request_max;
    uint32_t views = pil_tensor_plan(&call->rows)->view_count;
    if (rows > limit / views) {
        call->error = pil_batch_text(turn->batch,
                                     "TOOLARGE %zu keys of %u view%s are over limits.keys_per_request, %u; ask for "
                                     "them in several requests",
                                     rows, views, pil_number_plural(views), limit);
        return false;
    }
    call->rows.row_count = (uint32_t)rows;
    call->rows.lookups = pil_request_lookups(turn, call->request);
    return true;
}

static void prepare_texts(struct pil_turn *turn, struct pil_redis_call *call, pil_redis_answer answer) {
    if (!pil_redis_find_plan(turn, call, answer) || !set_rows(turn, call, call->arg_count - 2)) {
        return;
    }
    for (uint32_t slot = 0; slot < pil_tensor_plan(&call->rows)->view_count; slot++) {
        for (uint32_t row = 0; row < call->rows.row_count; row++) {
            struct pil_key_part parts[PIL_VECTOR_KEYS_MAX] PIL_UNINITIALIZED;
            if (!split(turn, call, row, call->args[2 + row], parts) || !add_parts(turn, call, slot, row, parts)) {
                return;
            }
        }
    }
}

/* Whether a key of this slot is a single int64 and can be used in place, as the request has it. */
static bool is_plain(const struct pil_vector_plan *plan, uint32_t slot) {
    const struct pil_view *view = plan->views[slot].view;
    return plan->join_key_count == 1 && view->entity_count == 1 && view->entities[0].type == PIL_SCALAR_INT64;
}

static bool add_packed_row(struct pil_turn *turn, struct pil_redis_call *call, uint32_t slot, uint32_t row) {
    const struct pil_vector_plan *plan = pil_tensor_plan(&call->rows);
    const uint8_t *from = call->args[2].data + (size_t)row * plan->join_key_count * 8;
    if (is_plain(plan, slot)) {
        return add_lookup(turn, call, slot, pil_bytes_from(from, 8));
    }
    struct pil_key_part parts[PIL_VECTOR_KEYS_MAX] PIL_UNINITIALIZED;
    for (uint32_t i = 0; i < plan->join_key_count; i++) {
        parts[i] = (struct pil_key_part){.kind = PIL_KEY_PART_INT, .integer = pil_load_i64(from + (size_t)i * 8)};
    }
    return add_parts(turn, call, slot, row, parts);
}

static void prepare_packed(struct pil_turn *turn, struct pil_redis_call *call, pil_redis_answer answer) {
    if (!pil_redis_find_plan(turn, call, answer)) {
        return;
    }
    const struct pil_vector_plan *plan = pil_tensor_plan(&call->rows);
    size_t row_bytes = (size_t)plan->join_key_count * 8, bytes = call->args[2].len;
    if (row_bytes > 0 ? bytes % row_bytes != 0 : bytes > 0) {
        call->error = pil_batch_text(turn->batch, "ERR %zu bytes of keys; a row has %u int64 keys, %zu bytes", bytes,
                                     plan->join_key_count, row_bytes);
        return;
    }
    if (!set_rows(turn, call, row_bytes > 0 ? bytes / row_bytes : 0)) {
        return;
    }
    for (uint32_t slot = 0; slot < plan->view_count; slot++) {
        for (uint32_t row = 0; row < call->rows.row_count; row++) {
            if (!add_packed_row(turn, call, slot, row)) {
                return;
            }
        }
    }
}

PIL_PREPARE(pil_redis_prepare_vector) {
    prepare_texts(turn, call, PIL_REDIS_ANSWER_TENSOR);
}

PIL_PREPARE(pil_redis_prepare_vector64) {
    prepare_packed(turn, call, PIL_REDIS_ANSWER_TENSOR);
}

PIL_PREPARE(pil_redis_prepare_columns) {
    prepare_texts(turn, call, PIL_REDIS_ANSWER_COLUMNS);
}

PIL_PREPARE(pil_redis_prepare_columns64) {
    prepare_packed(turn, call, PIL_REDIS_ANSWER_COLUMNS);
}

/* ---- The answer. */

void pil_redis_put_zeros(struct pil_sink *sink, uint64_t count) {
    static const uint8_t zeros[PIL_TENSOR_ALIGNMENT];
    for (; count > 0; count -= count < sizeof zeros ? count : sizeof zeros) {
        pil_sink_write(sink, zeros, count < sizeof zeros ? count : sizeof zeros);
    }
}

void pil_redis_refuse_answer(struct pil_turn *turn, struct pil_redis_call *call, uint64_t bytes,
                             struct pil_sink *sink) {
    call->error = pil_batch_text(
        turn->batch, "TOOLARGE the answer would have %llu bytes, over limits.output_bytes, %u; ask for fewer keys",
        (unsigned long long)bytes, turn->settings->limits.output_bytes_max);
    pil_resp_put_error(sink, call->error);
}

static void put_statuses(struct pil_turn *turn, const struct pil_tensor_rows *rows,
                         const struct pil_tensor_place *place, struct pil_sink *sink) {
    for (uint32_t i = 0; i < rows->row_count; i++) {
        pil_tensor_put_statuses(rows, i, turn->value_counts, pil_tensor_row_begin(place, sink));
        pil_tensor_row_end(place, sink);
    }
}

void pil_redis_put_times(const struct pil_tensor_rows *rows, struct pil_sink *sink) {
    const struct pil_vector_plan *plan = pil_tensor_plan(rows);
    for (uint32_t i = 0; i < rows->row_count; i++) {
        uint8_t *at = pil_sink_reserve(sink, plan->view_count * 8);
        for (uint32_t slot = 0; slot < plan->view_count; slot++) {
            const uint8_t *row = pil_tensor_lookups(rows, slot)[i].row.fields;
            pil_store_i64(at + (size_t)slot * 8,
                          row == NULL ? INT64_MIN : pil_row_event_ts_us(plan->views[slot].view, row));
        }
        pil_sink_advance(sink, plan->view_count * 8);
    }
}

static void put_values(const struct pil_tensor_rows *rows, const struct pil_tensor_place *place,
                       struct pil_sink *sink) {
    for (uint32_t i = 0; i < rows->row_count; i++) {
        pil_tensor_put_values(rows, i, pil_tensor_row_begin(place, sink));
        pil_tensor_row_end(place, sink);
    }
}

static void put_tensor(struct pil_turn *turn, const struct pil_tensor_rows *rows, const struct pil_tensor_head *head,
                       const struct pil_tensor_place *statuses, const struct pil_tensor_place *values,
                       struct pil_sink *sink) {
    uint8_t head_bytes[PIL_TENSOR_HEAD_BYTES_MAX];
    pil_sink_put(sink, '$');
    pil_sink_write_u64(sink, head->bytes);
    pil_sink_write(sink, "\r\n", 2);
    pil_sink_write(sink, head_bytes, pil_tensor_put_head(head, head_bytes));
    put_statuses(turn, rows, statuses, sink);
    pil_redis_put_zeros(sink, head->times_at - head->statuses_at - (uint64_t)head->rows * head->features);
    pil_redis_put_times(rows, sink);
    pil_redis_put_zeros(sink, head->values_at - head->times_at - 8ull * head->rows * head->view_count);
    put_values(rows, values, sink);
    pil_sink_write(sink, "\r\n", 2);
}

PIL_REPLY(pil_redis_reply_vector) {
    const struct pil_vector_plan *plan = pil_tensor_plan(&call->rows);
    struct pil_arena *arena = &turn->batch->arena;
    struct pil_tensor_head head = {.element_bytes = pil_vector_dtype_bytes(plan->dtype),
                                   .rows = call->rows.row_count,
                                   .features = plan->feature_count,
                                   .width = plan->width,
                                   .view_count = plan->view_count,
                                   .now_us = turn->wall_us};
    struct pil_tensor_place statuses, values;
    size_t mark = pil_arena_mark(arena);
    for (uint32_t slot = 0; slot < plan->view_count; slot++) {
        pil_tensor_summarise(&call->rows, slot, turn->wall_us, &head.views[slot]);
    }
    pil_tensor_layout(&head);
    if (head.bytes > turn->settings->limits.output_bytes_max ||
        !pil_tensor_place_init(arena, head.features, &statuses) ||
        !pil_tensor_place_init(arena, (size_t)head.width * head.element_bytes, &values)) {
        pil_redis_refuse_answer(turn, call, head.bytes, sink);
        return;
    }
    put_tensor(turn, &call->rows, &head, &statuses, &values, sink);
    pil_arena_rewind(arena, mark);
}

/* ---- PIL.DESCRIBE */

PIL_PREPARE(pil_redis_prepare_describe) {
    (void)pil_redis_find_plan(turn, call, PIL_REDIS_ANSWER_DESCRIPTION);
}

/* JSON as in schemas/wire.md. Allocates, which is acceptable because clients ask once for a plan. Names need no
 * escapes: their characters were checked. */
PIL_REPLY(pil_redis_reply_describe) {
    (void)turn;
    const struct pil_vector_plan *plan = pil_tensor_plan(&call->rows);
    struct pil_text text = {0};
    pil_text_format(&text, "{\"dtype\":\"%s\",\"width\":%u,\"join_keys\":[", pil_vector_dtype_text(plan->dtype),
                    plan->width);
    for (uint32_t i = 0; i < plan->join_key_count; i++) {
        pil_text_format(&text, "%s{\"name\":\"%s\",\"type\":\"%s\"}", i > 0 ? "," : "", plan->join_keys[i]->join_key,
                        pil_scalar_text(plan->join_keys[i]->type));
    }
    pil_text_format(&text, "],\"views\":[");
    for (uint32_t i = 0; i < plan->view_count; i++) {
        const struct pil_release *release = call->rows.prepared->selection.views[i].serving->release;
        pil_text_format(&text, "%s{\"name\":\"%s/%s\",\"release\":\"%s\",\"generation\":%llu}", i > 0 ? "," : "",
                        plan->views[i].view->project, plan->views[i].view->name, release->id,
                        (unsigned long long)release->generation);
    }
    pil_text_format(&text, "],\"features\":[");
    for (uint32_t i = 0; i < plan->feature_count; i++) {
        const struct pil_vector_column *column = &plan->columns[i];
        char type[PIL_TYPE_TEXT_BYTES];
        (void)pil_type_format(column->type, type);
        pil_text_format(&text, "%s{\"view\":%u,\"name\":\"%s\",\"type\":\"%s\",\"first\":%u,\"count\":%u}",
                        i > 0 ? "," : "", column->view, plan->views[column->view].view->features[column->feature].name,
                        type, column->first, column->count);
    }
    pil_text_format(&text, "]}");
    if (text.failed) {
        pil_resp_put_error(sink, "OOM no memory for a description");
    } else {
        pil_resp_put_bulk(sink, pil_text_bytes(&text));
    }
    pil_text_deinit(&text);
}

/* ---- PIL.LIST */

static void append_name(struct pil_text *text, const char *project, const char *name) {
    pil_text_format(text, "%s\"%s/%s\"", text->len > 1 ? "," : "", project, name);
}

/* Allocates like PIL.DESCRIBE. */
PIL_REPLY(pil_redis_reply_list) {
    struct pil_scope *scope = &turn->scope;
    struct pil_text text = {0};
    bool has_services = pil_redis_is(call, 1, "services");
    if (!has_services && !pil_redis_is(call, 1, "views")) {
        pil_resp_put_error(sink, "ERR syntax: PIL.LIST SERVICES | VIEWS");
        return;
    }
    pil_text_format(&text, "[");
    for (uint32_t i = 0; i < pil_cache_view_count(scope->cache); i++) {
        const struct pil_cache_view *view = pil_cache_view_at(scope->cache, i);
        const struct pil_project *project = has_services ? pil_scope_project_at(scope, i) : NULL;
        for (uint32_t s = 0; project != NULL && s < project->service_count; s++) {
            if (pil_scope_may_read_service(scope, project, &project->services[s])) {
                append_name(&text, project->name, project->services[s].name);
            }
        }
        if (!has_services && pil_scope_may_read(scope, view)) {
            append_name(&text, view->project, view->name);
        }
    }
    pil_text_format(&text, "]");
    if (text.failed) {
        pil_resp_put_error(sink, "OOM no memory for a list");
    } else {
        pil_resp_put_bulk(sink, pil_text_bytes(&text));
    }
    pil_text_deinit(&text);
}
