/* SPDX-License-Identifier: Apache-2.0
 * PIL.PLAN, PIL.VECTOR, PIL.VECTOR64, PIL.DESCRIBE, PIL.FORGET, and the keys of PIL.COLUMNS: whole vectors in one
 * answer (schemas/wire.md). */
#include "base/text.h"
#include "server/redis.h"
#include "server/vector_rows.h"

#include <stdio.h>
#include <stdlib.h>

enum { PLANS_MAX = 64 };

/* The plans of a connection; the number of a plan is its index + 1. */
struct pil_vector_plans {
    struct owned {
        struct pil_planned *planned; /* NULL: free */
        struct plan_options {
            struct pil_plan_form form;
            int64_t max_age_us;
            bool use_defaults;
            char min_release[PIL_RELEASE_ID_CHARS + 1]; /* "": any */
        } options;
        int64_t min_created_us; /* when min_release was made; 0: not known yet */
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

/* The first word of an error tells programs what to do about it: schemas/wire.md, "Errors". */
static const char *code_of(pil_status status) {
    switch (status) {
    case PIL_STATUS_NOT_FOUND:
    case PIL_STATUS_CONFLICT: return "NOTFOUND"; /* of a service: its release lacks the feature */
    case PIL_STATUS_UNSUPPORTED: return "UNSUPPORTED";
    case PIL_STATUS_TOO_LARGE: return "TOOLARGE";
    case PIL_STATUS_AGAIN: return "LOADING";
    case PIL_STATUS_BUSY: return "NOTREADY";
    case PIL_STATUS_OK:
    case PIL_STATUS_INVALID:
    case PIL_STATUS_CORRUPT:
    case PIL_STATUS_EXISTS:
    case PIL_STATUS_DENIED:
    case PIL_STATUS_NO_MEMORY:
    case PIL_STATUS_NO_SPACE:
    case PIL_STATUS_CLOSED:
    case PIL_STATUS_TIMEOUT:
    case PIL_STATUS_IO:
    case PIL_STATUS_SYSTEM:
    case PIL_STATUS_COUNT: break;
    }
    return "ERR";
}

static void set_error(struct pil_worker *worker, struct pil_request *request, pil_status status,
                      const struct pil_error *error) {
    request->error = pil_batch_text(worker->batch, "%s %s", code_of(status), error->text);
}

/* ---- PIL.PLAN */

static bool parse_age(struct pil_bytes text, int64_t unit_us, int64_t *ret_us) {
    int64_t count = 0;
    return pil_redis_parse_i64(text, &count) && count > 0 && !__builtin_mul_overflow(count, unit_us, ret_us);
}

static bool parse_release(struct pil_bytes text, char ret_id[PIL_RELEASE_ID_CHARS + 1]) {
    snprintf(ret_id, PIL_RELEASE_ID_CHARS + 1, "%.*s", (int)(text.len < 64 ? text.len : 64), (const char *)text.data);
    return text.len == PIL_RELEASE_ID_CHARS && strspn(ret_id, "0123456789abcdef") == PIL_RELEASE_ID_CHARS;
}

/* Feature references have a colon and services come alone, so that these words are options only in front. Returns the
 * first argument that is no option; 0: one of them is wrong. */
static uint32_t parse_options(const struct pil_request *request, struct plan_options *options) {
    uint32_t i = 1;
    for (; i + 1 < request->arg_count; i++) {
        struct pil_bytes word = request->args[i];
        if (pil_bytes_equal_nocase(word, "columns")) {
            options->form.need_tensor = false;
        } else if (pil_bytes_equal_nocase(word, "float64")) {
            options->form.dtype = PIL_VECTOR_FLOAT64;
        } else if (pil_bytes_equal_nocase(word, "defaults")) {
            options->use_defaults = true;
        } else if (pil_bytes_equal_nocase(word, "maxage") || pil_bytes_equal_nocase(word, "maxageus")) {
            if (!parse_age(request->args[++i], word.len == strlen("maxage") ? 1000 : 1, &options->max_age_us)) {
                return 0;
            }
        } else if (pil_bytes_equal_nocase(word, "minrelease")) {
            if (!parse_release(request->args[++i], options->min_release)) {
                return 0;
            }
        } else {
            break;
        }
    }
    options->form.need_defaults = options->use_defaults && !options->form.need_tensor;
    return i < request->arg_count ? i : 0;
}

/* What a plan means by the name of a view: that of the project where one is given, else the only one of that name. */
static pil_status find_view(const struct pil_worker *worker, struct pil_bytes name,
                            const struct pil_cache_view **ret_view, struct pil_error *error) {
    struct pil_cache *cache = worker->server->cache;
    const struct pil_cache_view *found = pil_cache_view_find(cache, name);
    bool is_bare = memchr(name.data, '/', name.len) == NULL;
    for (uint32_t i = 0; found == NULL && is_bare && i < pil_cache_view_count(cache); i++) {
        const struct pil_cache_view *view = pil_cache_view_at(cache, i);
        found = pil_bytes_equal_text(name, view->name) ? view : NULL;
        for (uint32_t k = i + 1; found != NULL && k < pil_cache_view_count(cache); k++) {
            if (pil_bytes_equal_text(name, pil_cache_view_at(cache, k)->name)) {
                return pil_fail(error, PIL_STATUS_INVALID, "view %s is ambiguous: say project/view", view->name);
            }
        }
    }
    *ret_view = found;
    return found != NULL ? PIL_STATUS_OK
                         : pil_fail(error, PIL_STATUS_NOT_FOUND, "view %.*s is not served here", pil_redis_shown(name),
                                    (const char *)name.data);
}

/* "project/view:feature" of each reference, one after another, so that one view is one view however it is called. */
static pil_status name_in_full(const struct pil_worker *worker, const struct pil_bytes *references, uint32_t count,
                               struct pil_text *text, struct pil_bytes *ret_names, struct pil_error *error) {
    for (uint32_t i = 0; i < count; i++) {
        const struct pil_cache_view *view = NULL;
        struct pil_bytes given = references[i];
        const uint8_t *colon = given.len > 0 ? memchr(given.data, ':', given.len) : NULL;
        size_t view_len = colon != NULL ? (size_t)(colon - given.data) : 0, begin = text->len;
        if (view_len == 0 || view_len + 1 == given.len) {
            return pil_fail(error, PIL_STATUS_INVALID, "'%.*s' is not view:feature", pil_redis_shown(given),
                            (const char *)given.data);
        }
        PIL_TRY(find_view(worker, pil_bytes_from(given.data, view_len), &view, error));
        pil_text_format(text, "%s/%s", view->project, view->name);
        pil_text_append(text, colon, given.len - view_len);
        ret_names[i].len = text->len - begin;
    }
    const uint8_t *at = (const uint8_t *)text->data; /* which does not move any more */
    for (uint32_t i = 0; i < count; at += ret_names[i++].len) {
        ret_names[i].data = at;
    }
    return PIL_STATUS_OK;
}

static pil_status spec_of_features(const struct pil_worker *worker, const struct pil_bytes *references, uint32_t count,
                                   struct pil_vector_spec **ret_spec, struct pil_error *error) {
    struct pil_text text = {0};
    struct pil_bytes *names = calloc(count, sizeof names[0]);
    PIL_ASSERT(names != NULL);
    pil_status status = name_in_full(worker, references, count, &text, names, error);
    if (status == PIL_STATUS_OK) {
        status = pil_vector_spec_create(names, count, ret_spec, error);
    }
    free(names);
    pil_text_deinit(&text);
    return status;
}

/* Whether another project has a service of this name, too. */
static bool is_ambiguous(const struct pil_worker *worker, struct pil_bytes name, const struct pil_project *project) {
    const struct pil_settings *settings = worker->server->settings;
    for (uint32_t i = 0; i < settings->view_count && memchr(name.data, '/', name.len) == NULL; i++) {
        const struct pil_project *other = pil_project_find(worker, settings->views[i].project);
        if (other != NULL && other != project && pil_project_service_find(other, name) != NULL) {
            return true;
        }
    }
    return false;
}

static pil_status make_spec(const struct pil_worker *worker, const struct pil_request *request, uint32_t first,
                            struct pil_vector_spec **ret_spec, struct pil_error *error) {
    struct pil_bytes name = request->args[first];
    if (first + 1 < request->arg_count || (name.len > 0 && memchr(name.data, ':', name.len) != NULL)) {
        return spec_of_features(worker, &request->args[first], request->arg_count - first, ret_spec, error);
    }
    const struct pil_project *project = NULL;
    const struct pil_service *service = pil_service_find(worker, name, &project);
    if (service == NULL) {
        return pil_fail(error, PIL_STATUS_NOT_FOUND, "there is no feature service '%.*s'", pil_redis_shown(name),
                        (const char *)name.data);
    }
    if (is_ambiguous(worker, name, project)) {
        return pil_fail(error, PIL_STATUS_INVALID, "service %s is ambiguous: say project/service", service->name);
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
    struct plan_options options = {.form = {.need_tensor = true}};
    struct pil_vector_spec *spec = NULL;
    struct pil_planned *planned = NULL;
    struct pil_error error = {{0}};
    uint32_t first_name = parse_options(request, &options);
    if (first_name == 0) {
        request->error = "ERR syntax: PIL.PLAN [COLUMNS] [FLOAT64] [DEFAULTS] [MAXAGE milliseconds | MAXAGEUS "
                         "microseconds] [MINRELEASE release] service | view:feature ...";
        return;
    }
    struct owned *owned = free_plan(request->connection, &request->plan_number);
    if (owned == NULL) {
        request->error = "ERR a connection holds at most 64 plans; PIL.FORGET one";
        return;
    }
    pil_status status = make_spec(worker, request, first_name, &spec, &error);
    if (status == PIL_STATUS_OK && options.min_release[0] != '\0' && spec->view_count != 1) {
        status = pil_fail(&error, PIL_STATUS_INVALID, "min_release is for plans of one view; this one has %u",
                          spec->view_count);
    }
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
    *owned = (struct owned){.planned = planned, .options = options};
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

/* Whether the live release is the one that the plan waits for, or was made after it. */
static pil_status check_release(struct owned *owned, struct pil_error *error) {
    const struct pil_release *live = owned->planned->releases[0];
    const char *wanted = owned->options.min_release;
    if (wanted[0] == '\0' || strcmp(wanted, live->id) == 0) {
        return PIL_STATUS_OK;
    }
    if (owned->min_created_us == 0) {
        (void)pil_release_locate(live, pil_bytes_from_text(wanted), &owned->min_created_us);
    }
    if (owned->min_created_us != 0 && live->created_us >= owned->min_created_us) {
        return PIL_STATUS_OK;
    }
    const struct pil_cache_view *view = owned->planned->views[0];
    return pil_fail(error, PIL_STATUS_BUSY, "view %s/%s is at release %s, which is not %s nor made after it",
                    view->project, view->name, live->id, wanted);
}

/* A plan has one kind of answer; PIL.DESCRIBE is about both. */
static pil_status check_kind(const struct pil_request *request, const struct owned *owned, struct pil_error *error) {
    bool has_columns = !owned->options.form.need_tensor;
    if (request->command->reply == pil_redis_reply_columns && !has_columns) {
        return pil_fail(error, PIL_STATUS_INVALID, "the plan is for PIL.VECTOR: make it with COLUMNS");
    }
    return request->command->reply == pil_redis_reply_vector && has_columns
               ? pil_fail(error, PIL_STATUS_INVALID, "the plan is for PIL.COLUMNS")
               : PIL_STATUS_OK;
}

static pil_status refresh_owned(struct pil_worker *worker, struct pil_request *request, struct owned *owned,
                                struct pil_error *error) {
    request->max_age_us = owned->options.max_age_us;
    request->use_defaults = owned->options.use_defaults;
    PIL_TRY(check_kind(request, owned, error));
    PIL_TRY(pil_planned_refresh(worker, owned->planned, error));
    return request->command->reply == pil_redis_reply_describe ? PIL_STATUS_OK : check_release(owned, error);
}

static bool find_plan(struct pil_worker *worker, struct pil_request *request) {
    struct pil_error error = {{0}};
    struct pil_bytes name = request->args[1];
    struct owned *owned = find_owned(request);
    struct pil_planned *planned = owned != NULL ? owned->planned : NULL;
    bool is_number = name.len > 0 && name.data[0] >= '0' && name.data[0] <= '9';
    pil_status status;
    if (owned != NULL) {
        status = refresh_owned(worker, request, owned, &error);
    } else if (is_number) {
        status = pil_fail(&error, PIL_STATUS_NOT_FOUND, "this connection has no plan %.*s; PIL.PLAN makes one",
                          name.len < 20 ? (int)name.len : 20, (const char *)name.data);
    } else {
        struct pil_plan_form form = {.dtype = PIL_VECTOR_FLOAT32,
                                     .need_tensor = request->command->reply == pil_redis_reply_vector};
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
        request->error = "NOTFOUND this connection has no such plan";
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
                                        "TOOLARGE key %u is longer than %d bytes, or the keys of this "
                                        "request together are too long",
                                        row, PIL_KEY_BYTES_MAX);
    }
    return status == PIL_STATUS_OK || (request->error == NULL && fail_key(worker, request, row, bad));
}

static bool set_rows(struct pil_worker *worker, struct pil_request *request, size_t rows) {
    uint32_t limit = worker->server->settings->limits.keys_per_request_max;
    uint32_t views = request->planned->plan->view_count;
    if (rows > limit / views) {
        request->error = pil_batch_text(worker->batch,
                                        "TOOLARGE %zu keys of %u views are more than %u keys in one request; ask for "
                                        "them in several",
                                        rows, views, limit);
        return false;
    }
    request->row_count = (uint32_t)rows;
    return true;
}

PIL_PREPARE(pil_redis_prepare_vector) {
    if (!find_plan(worker, request) || !set_rows(worker, request, request->arg_count - 2)) {
        return;
    }
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
    if (bytes % row_bytes != 0) {
        request->error = pil_batch_text(worker->batch, "ERR %zu bytes of keys; a row has %u int64 keys, %zu bytes",
                                        bytes, plan->join_key_count, row_bytes);
        return;
    }
    if (!set_rows(worker, request, bytes / row_bytes)) {
        return;
    }
    for (uint32_t slot = 0; slot < plan->view_count; slot++) {
        for (uint32_t row = 0; row < request->row_count; row++) {
            if (!add_packed_row(worker, request, slot, row)) {
                return;
            }
        }
    }
}

/* ---- The answer. */

void pil_redis_put_zeros(struct pil_sink *sink, uint64_t count) {
    static const uint8_t zeros[PIL_TENSOR_ALIGNMENT];
    for (; count > 0; count -= count < sizeof zeros ? count : sizeof zeros) {
        pil_sink_write(sink, zeros, count < sizeof zeros ? count : sizeof zeros);
    }
}

void pil_redis_refuse_answer(struct pil_worker *worker, struct pil_request *request, uint64_t bytes,
                             struct pil_sink *sink) {
    request->error = pil_batch_text(worker->batch, "TOOLARGE the answer would have %llu bytes; ask for fewer keys",
                                    (unsigned long long)bytes);
    pil_resp_put_error(sink, request->error);
}

static void put_statuses(struct pil_worker *worker, const struct pil_request *request,
                         const struct pil_vector_place *place, struct pil_sink *sink) {
    for (uint32_t i = 0; i < request->row_count; i++) {
        pil_vector_put_row_statuses(worker, request, i, pil_vector_row_begin(place, sink));
        pil_vector_row_end(place, sink);
    }
}

void pil_redis_put_times(struct pil_worker *worker, const struct pil_request *request, struct pil_sink *sink) {
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
        pil_redis_refuse_answer(worker, request, head.bytes, sink);
        return;
    }
    pil_sink_put(sink, '$');
    pil_sink_write_u64(sink, head.bytes);
    pil_sink_write(sink, "\r\n", 2);
    pil_sink_write(sink, head_bytes, pil_tensor_put_head(&head, head_bytes));
    put_statuses(worker, request, &statuses, sink);
    pil_redis_put_zeros(sink, head.times_at - head.statuses_at - (uint64_t)head.rows * head.features);
    pil_redis_put_times(worker, request, sink);
    pil_redis_put_zeros(sink, head.values_at - head.times_at - 8ull * head.rows * head.view_count);
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
