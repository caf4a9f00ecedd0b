/* SPDX-License-Identifier: Apache-2.0
 * PIL.PLAN, PIL.VECTOR, PIL.VECTOR64, PIL.DESCRIBE, PIL.FORGET: whole vectors in one answer (schemas/wire.md). */
#include "base/text.h"
#include "server/redis.h"
#include "server/vector_rows.h"

#include <stdlib.h>

enum { PLANS_MAX = 64 };

/* The plans of a connection; the number of a plan is its index + 1. */
struct pil_vector_plans {
    struct owned {
        struct pil_planned *planned; /* NULL: free */
        int64_t max_age_us;
        bool use_defaults;
    } owned[PLANS_MAX];
};

void pil_vector_plans_destroy(struct pil_vector_plans **plans) {
    for (uint32_t i = 0; *plans != NULL && i < PLANS_MAX; i++) {
        pil_planned_destroy(&(*plans)->owned[i].planned);
    }
    free(*plans);
    *plans = NULL;
}

/* Requests in front in this batch may still use it: it is freed when they are answered. */
static void forget(struct pil_worker *worker, struct owned *owned) {
    if (owned->planned != NULL) {
        owned->planned->forgotten_next = worker->forgotten_plans;
        worker->forgotten_plans = owned->planned;
        owned->planned = NULL;
    }
}

void pil_vector_plans_forget(struct pil_worker *worker, struct pil_vector_plans *plans) {
    for (uint32_t i = 0; plans != NULL && i < PLANS_MAX; i++) {
        forget(worker, &plans->owned[i]);
    }
}

void pil_vector_plans_sweep(struct pil_worker *worker) {
    while (worker->forgotten_plans != NULL) {
        struct pil_planned *planned = worker->forgotten_plans;
        worker->forgotten_plans = planned->forgotten_next;
        pil_planned_destroy(&planned);
    }
}

static void set_error(struct pil_worker *worker, struct pil_request *request, pil_status status,
                      const struct pil_error *error) {
    request->error =
        pil_batch_text(worker->batch, "%s %s", status == PIL_STATUS_AGAIN ? "LOADING" : "ERR", error->text);
}

/* ---- PIL.PLAN */

struct plan_options {
    struct pil_plan_form form;
    int64_t max_age_us;
    bool use_defaults;
    uint32_t first_name; /* argument */
};

/* [FLOAT64] [DEFAULTS] [MAXAGE milliseconds]; feature references have a colon and services come alone, so that these
 * words are options only in front. */
static bool parse_options(const struct pil_request *request, struct plan_options *options) {
    uint32_t i = 1;
    options->form.need_tensor = true;
    for (; i + 1 < request->arg_count; i++) {
        if (pil_bytes_equal_nocase(request->args[i], "float64")) {
            options->form.dtype = PIL_VECTOR_FLOAT64;
        } else if (pil_bytes_equal_nocase(request->args[i], "defaults")) {
            options->use_defaults = true;
        } else if (pil_bytes_equal_nocase(request->args[i], "maxage")) {
            int64_t ms = 0;
            if (!pil_redis_parse_i64(request->args[++i], &ms) || ms <= 0 || ms > INT64_MAX / 1000) {
                return false;
            }
            options->max_age_us = ms * 1000;
        } else {
            break;
        }
    }
    options->first_name = i;
    return i < request->arg_count;
}

static pil_status make_spec(const struct pil_worker *worker, const struct pil_request *request, uint32_t first,
                            struct pil_vector_spec **ret_spec, struct pil_error *error) {
    struct pil_bytes name = request->args[first];
    if (first + 1 < request->arg_count || memchr(name.data, ':', name.len) != NULL) {
        return pil_vector_spec_create(&request->args[first], request->arg_count - first, ret_spec, error);
    }
    const struct pil_project *project = NULL;
    const struct pil_service *service = pil_service_find(worker, name, &project);
    if (service == NULL) {
        return pil_fail(error, PIL_STATUS_NOT_FOUND, "there is no feature service '%.*s'",
                        name.len < 128 ? (int)name.len : 128, (const char *)name.data);
    }
    return pil_vector_spec_of_service(project, service, ret_spec, error);
}

static struct owned *free_plan(struct pil_connection *connection, uint32_t *ret_number) {
    if (connection->vector_plans == NULL) {
        connection->vector_plans = calloc(1, sizeof *connection->vector_plans);
        PIL_ASSERT(connection->vector_plans != NULL);
    }
    for (uint32_t i = 0; i < PLANS_MAX; i++) {
        if (connection->vector_plans->owned[i].planned == NULL) {
            *ret_number = i + 1;
            return &connection->vector_plans->owned[i];
        }
    }
    return NULL;
}

PIL_PREPARE(pil_redis_prepare_plan) {
    struct plan_options options = {0};
    struct pil_vector_spec *spec = NULL;
    struct pil_planned *planned = NULL;
    struct pil_error error = {{0}};
    if (!parse_options(request, &options)) {
        request->error = "ERR syntax: PIL.PLAN [FLOAT64] [DEFAULTS] [MAXAGE milliseconds] service | view:feature ...";
        return;
    }
    struct owned *owned = free_plan(request->connection, &request->plan_number);
    if (owned == NULL) {
        request->error = "ERR a connection holds at most 64 plans; PIL.FORGET one";
        return;
    }
    pil_status status = make_spec(worker, request, options.first_name, &spec, &error);
    if (status == PIL_STATUS_OK) {
        status = pil_planned_create(worker, &spec, options.form, &planned, &error);
    }
    if (status == PIL_STATUS_OK) {
        status = pil_planned_refresh(worker, planned, &error);
    }
    pil_vector_spec_destroy(&spec);
    if (status != PIL_STATUS_OK) {
        pil_planned_destroy(&planned);
        set_error(worker, request, status, &error);
        return;
    }
    *owned = (struct owned){.planned = planned, .max_age_us = options.max_age_us, .use_defaults = options.use_defaults};
}

PIL_REPLY(pil_redis_reply_plan) {
    (void)worker;
    pil_resp_put_integer(sink, request->plan_number);
}

/* The plan of args[1]: a number of this connection's, or the name of a service. Refreshed. */
static struct owned *find_owned(const struct pil_request *request) {
    int64_t number = 0;
    struct pil_vector_plans *plans = request->connection->vector_plans;
    if (plans == NULL || !pil_redis_parse_i64(request->args[1], &number) || number < 1 || number > PLANS_MAX) {
        return NULL;
    }
    struct owned *owned = &plans->owned[number - 1];
    return owned->planned != NULL ? owned : NULL;
}

static bool find_plan(struct pil_worker *worker, struct pil_request *request) {
    struct pil_error error = {{0}};
    struct pil_bytes name = request->args[1];
    struct owned *owned = find_owned(request);
    struct pil_planned *planned = owned != NULL ? owned->planned : NULL;
    bool is_number = name.len > 0 && name.data[0] >= '0' && name.data[0] <= '9';
    pil_status status;
    if (owned != NULL) {
        request->max_age_us = owned->max_age_us;
        request->use_defaults = owned->use_defaults;
        status = pil_planned_refresh(worker, planned, &error);
    } else if (is_number) {
        status = pil_fail(&error, PIL_STATUS_NOT_FOUND, "this connection has no plan %.*s; PIL.PLAN makes one",
                          name.len < 20 ? (int)name.len : 20, (const char *)name.data);
    } else {
        struct pil_plan_form form = {.dtype = PIL_VECTOR_FLOAT32, .need_tensor = true};
        status = pil_plan_cache_service(worker, name, form, &planned, &error);
    }
    if (status != PIL_STATUS_OK) {
        set_error(worker, request, status, &error);
        return false;
    }
    request->planned = planned;
    request->view = planned->views[0];
    request->field_count = planned->plan->feature_count;
    return true;
}

PIL_PREPARE(pil_redis_prepare_forget) {
    struct owned *owned = find_owned(request);
    if (owned == NULL) {
        request->error = "ERR this connection has no such plan";
    } else {
        forget(worker, owned);
    }
}

PIL_REPLY(pil_redis_reply_forget) {
    (void)worker, (void)request;
    pil_resp_put_simple(sink, "OK");
}

/* ---- Keys. */

static bool fail_key(struct pil_worker *worker, struct pil_request *request, uint32_t row, uint32_t key) {
    const struct pil_vector_plan *plan = request->planned->plan;
    if (key >= plan->join_key_count) {
        request->error =
            pil_batch_text(worker->batch, "ERR key %u: it must have %u parts, joined by |", row, plan->join_key_count);
    } else {
        request->error = pil_batch_text(worker->batch, "ERR key %u cannot be read: %s must be %s", row,
                                        plan->join_keys[key]->join_key, pil_scalar_text(plan->join_keys[key]->type));
    }
    return false;
}

/* The parts of a key text, one for each join key. */
static bool split(struct pil_worker *worker, struct pil_request *request, uint32_t row, struct pil_bytes text,
                  struct pil_key_part parts[PIL_VECTOR_KEYS_MAX]) {
    uint32_t count = request->planned->plan->join_key_count;
    bool is_last = count == 1;
    if (is_last) {
        parts[0] = (struct pil_key_part){.kind = PIL_KEY_PART_TEXT, .text = text};
        return true;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *buffer = pil_batch_scratch(worker->batch, text.len);
        parts[i].kind = PIL_KEY_PART_TEXT;
        if (is_last || buffer == NULL ||
            pil_view_key_text_next(&text, buffer, text.len, &parts[i].text, &is_last) != PIL_STATUS_OK) {
            return fail_key(worker, request, row, count);
        }
    }
    return is_last || fail_key(worker, request, row, count);
}

static bool add_parts(struct pil_worker *worker, struct pil_request *request, uint32_t slot, uint32_t row,
                      const struct pil_key_part *parts) {
    uint32_t bad = 0;
    pil_status status = pil_vector_add_key(worker, request, slot, parts, &bad);
    if (status == PIL_STATUS_TOO_LARGE && request->error == NULL) {
        request->error = pil_batch_text(worker->batch,
                                        "ERR key %u is longer than %d bytes, or the keys of this "
                                        "request together are too long",
                                        row, PIL_KEY_BYTES_MAX);
    }
    return status == PIL_STATUS_OK || (request->error == NULL && fail_key(worker, request, row, bad));
}

PIL_PREPARE(pil_redis_prepare_vector) {
    if (!find_plan(worker, request)) {
        return;
    }
    request->row_count = request->arg_count - 2;
    for (uint32_t slot = 0; slot < request->planned->plan->view_count; slot++) {
        for (uint32_t row = 0; row < request->row_count; row++) {
            struct pil_key_part parts[PIL_VECTOR_KEYS_MAX];
            if (!split(worker, request, row, request->args[2 + row], parts) ||
                !add_parts(worker, request, slot, row, parts)) {
                return;
            }
        }
    }
}

/* Whether a key of this slot is one int64 as it stands in the blob. */
static bool is_plain(const struct pil_vector_plan *plan, uint32_t slot) {
    const struct pil_view *view = plan->views[slot].view;
    return plan->join_key_count == 1 && view->entity_count == 1 && view->entities[0].type == PIL_SCALAR_INT64;
}

static bool add_packed_row(struct pil_worker *worker, struct pil_request *request, uint32_t slot, uint32_t row) {
    const struct pil_vector_plan *plan = request->planned->plan;
    const uint8_t *from = request->args[2].data + (size_t)row * plan->join_key_count * 8;
    if (is_plain(plan, slot)) {
        return pil_vector_add_lookup(worker, request, slot, pil_bytes_from(from, 8)) == PIL_STATUS_OK;
    }
    struct pil_key_part parts[PIL_VECTOR_KEYS_MAX];
    for (uint32_t i = 0; i < plan->join_key_count; i++) {
        parts[i] = (struct pil_key_part){.kind = PIL_KEY_PART_INT, .integer = pil_load_i64(from + (size_t)i * 8)};
    }
    return add_parts(worker, request, slot, row, parts);
}

PIL_PREPARE(pil_redis_prepare_vector64) {
    if (!find_plan(worker, request)) {
        return;
    }
    const struct pil_vector_plan *plan = request->planned->plan;
    size_t row_bytes = (size_t)plan->join_key_count * 8, bytes = request->args[2].len;
    if (bytes == 0 || bytes % row_bytes != 0 || bytes / row_bytes > UINT32_MAX) {
        request->error = pil_batch_text(worker->batch, "ERR %zu bytes of keys; a row has %u int64 keys, %zu bytes",
                                        bytes, plan->join_key_count, row_bytes);
        return;
    }
    request->row_count = (uint32_t)(bytes / row_bytes);
    for (uint32_t slot = 0; slot < plan->view_count; slot++) {
        for (uint32_t row = 0; row < request->row_count; row++) {
            if (!add_packed_row(worker, request, slot, row)) {
                return;
            }
        }
    }
}

/* ---- The answer. */

static void put_zeros(struct pil_sink *sink, uint64_t count) {
    static const uint8_t zeros[PIL_TENSOR_ALIGNMENT];
    pil_sink_write(sink, zeros, count);
}

static void put_statuses(struct pil_worker *worker, const struct pil_request *request,
                         const struct pil_vector_place *place, struct pil_sink *sink) {
    for (uint32_t i = 0; i < request->row_count; i++) {
        pil_vector_put_row_statuses(worker, request, i, pil_vector_row_begin(place, sink));
        pil_vector_row_end(place, sink);
    }
}

static void put_times(struct pil_worker *worker, const struct pil_request *request, struct pil_sink *sink) {
    const struct pil_vector_plan *plan = request->planned->plan;
    for (uint32_t i = 0; i < request->row_count; i++) {
        uint8_t *at = pil_sink_reserve(sink, plan->view_count * 8);
        for (uint32_t slot = 0; slot < plan->view_count; slot++) {
            const uint8_t *row = pil_vector_lookups(worker, request, slot)[i].row;
            pil_store_i64(at + (size_t)slot * 8,
                          row == NULL ? INT64_MIN : pil_row_event_ts_us(plan->views[slot].view, row));
        }
        pil_sink_advance(sink, plan->view_count * 8);
    }
}

static void put_values(struct pil_worker *worker, const struct pil_request *request,
                       const struct pil_vector_place *place, struct pil_sink *sink) {
    for (uint32_t i = 0; i < request->row_count; i++) {
        pil_vector_put_row_values(worker, request, i, pil_vector_row_begin(place, sink));
        pil_vector_row_end(place, sink);
    }
}

PIL_REPLY(pil_redis_reply_vector) {
    const struct pil_vector_plan *plan = request->planned->plan;
    struct pil_tensor_head head = {.element_bytes = pil_vector_dtype_bytes(plan->dtype),
                                   .rows = request->row_count,
                                   .features = plan->feature_count,
                                   .width = plan->width,
                                   .view_count = plan->view_count,
                                   .now_us = worker->now_wall_us};
    uint8_t head_bytes[PIL_TENSOR_HEAD_BYTES_MAX];
    struct pil_vector_place statuses, values;
    for (uint32_t slot = 0; slot < plan->view_count; slot++) {
        pil_vector_summarise(worker, request, slot, &head.views[slot]);
    }
    pil_tensor_layout(&head);
    size_t scratch_used = worker->batch->scratch_used;
    if (head.bytes >= worker->server->settings->limits.output_bytes_max ||
        !pil_vector_place_init(worker, head.features, &statuses) ||
        !pil_vector_place_init(worker, (size_t)head.width * head.element_bytes, &values)) {
        request->error = pil_batch_text(worker->batch, "ERR the answer would have %llu bytes; ask for fewer keys",
                                        (unsigned long long)head.bytes);
        pil_resp_put_error(sink, request->error);
        return;
    }
    pil_sink_put(sink, '$');
    pil_sink_write_u64(sink, head.bytes);
    pil_sink_write(sink, "\r\n", 2);
    pil_sink_write(sink, head_bytes, pil_tensor_put_head(&head, head_bytes));
    put_statuses(worker, request, &statuses, sink);
    put_zeros(sink, head.times_at - head.statuses_at - (uint64_t)head.rows * head.features);
    put_times(worker, request, sink);
    put_zeros(sink, head.values_at - head.times_at - 8ull * head.rows * head.view_count);
    put_values(worker, request, &values, sink);
    pil_sink_write(sink, "\r\n", 2);
    worker->batch->scratch_used = scratch_used;
}

/* ---- PIL.DESCRIBE */

PIL_PREPARE(pil_redis_prepare_describe) {
    (void)find_plan(worker, request);
}

/* JSON, as schemas/wire.md has it. Allocates: it is asked once for a plan. Names need no escapes: their letters are
 * checked. */
PIL_REPLY(pil_redis_reply_describe) {
    (void)worker;
    const struct pil_vector_plan *plan = request->planned->plan;
    struct pil_text text = {0};
    pil_text_format(&text, "{\"dtype\":\"%s\",\"width\":%u,\"join_keys\":[",
                    plan->dtype == PIL_VECTOR_FLOAT64 ? "float64" : "float32", plan->width);
    for (uint32_t i = 0; i < plan->join_key_count; i++) {
        pil_text_format(&text, "%s{\"name\":\"%s\",\"type\":\"%s\"}", i > 0 ? "," : "", plan->join_keys[i]->join_key,
                        pil_scalar_text(plan->join_keys[i]->type));
    }
    pil_text_format(&text, "],\"views\":[");
    for (uint32_t i = 0; i < plan->view_count; i++) {
        pil_text_format(&text, "%s{\"name\":\"%s/%s\",\"release\":\"%s\",\"generation\":%llu}", i > 0 ? "," : "",
                        plan->views[i].view->project, plan->views[i].view->name, request->planned->releases[i]->id,
                        (unsigned long long)request->planned->releases[i]->generation);
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
    pil_resp_put_bulk(sink, pil_text_bytes(&text));
    pil_text_deinit(&text);
}
