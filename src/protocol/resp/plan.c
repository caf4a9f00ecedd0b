/* SPDX-License-Identifier: Apache-2.0
 * PIL.PLAN and PIL.FORGET: the plans that a connection owns, and how PIL.VECTOR, PIL.COLUMNS and PIL.DESCRIBE find
 * their plan (schemas/wire.md). */
#include "protocol/resp/plan.h"
#include "protocol/resp/handlers.h"

#include "base/text.h"
#include "schema/project.h"
#include "vector/plan.h"

#include <stdio.h>
#include <stdlib.h>

enum { PLANS_MAX = 64 };

/* The plans of a connection; the number of a plan is its index + 1. */
struct pil_redis_plans {
    struct owned {
        struct pil_prepared *prepared;         /* NULL: free */
        struct pil_redis_forgotten *forgotten; /* allocated with the plan, so that forgetting the plan cannot fail */
        uint64_t bytes;                        /* kept (pil_connection_keep) */
        struct plan_options {
            struct pil_prepared_variant variant;
            int64_t max_age_us;
            bool use_defaults;
            char min_release[PIL_RELEASE_ID_CHARS + 1]; /* "": any */
        } options;
        int64_t min_created_us; /* when min_release was made; 0: not known yet */
    } owned[PLANS_MAX];
};

void pil_redis_plans_destroy(struct pil_redis_plans **plans) {
    for (uint32_t i = 0; *plans != NULL && i < PLANS_MAX; i++) {
        pil_prepared_destroy(&(*plans)->owned[i].prepared);
        free((*plans)->owned[i].forgotten);
    }
    free(*plans);
    *plans = NULL;
}

/* A forgotten plan that earlier requests of the same batch may still use; freed when they are answered. */
struct pil_redis_forgotten {
    struct pil_redis_forgotten *next;
    struct pil_prepared *prepared;
    uint64_t batch_number;
};

static void forget(struct pil_turn *turn, struct pil_redis_connection *connection, struct owned *owned) {
    struct pil_redis_worker *worker = pil_redis_worker_of(turn, connection);
    if (owned->prepared != NULL) {
        *owned->forgotten = (struct pil_redis_forgotten){
            .next = worker->forgotten, .prepared = owned->prepared, .batch_number = turn->batch->number};
        worker->forgotten = owned->forgotten;
        pil_connection_unkeep(turn, connection->base, owned->bytes);
        owned->prepared = NULL;
        owned->forgotten = NULL;
    }
}

void pil_redis_plans_forget(struct pil_turn *turn, struct pil_redis_connection *connection) {
    for (uint32_t i = 0; connection->plans != NULL && i < PLANS_MAX; i++) {
        forget(turn, connection, &connection->plans->owned[i]);
    }
}

static void free_forgotten(struct pil_redis_worker *worker, uint64_t batch_number) {
    struct pil_redis_forgotten **at = &worker->forgotten;
    while (*at != NULL) {
        struct pil_redis_forgotten *forgotten = *at;
        if (forgotten->batch_number == batch_number) {
            at = &forgotten->next;
            continue;
        }
        *at = forgotten->next;
        pil_prepared_destroy(&forgotten->prepared);
        free(forgotten);
    }
}

void pil_redis_plans_sweep(struct pil_turn *turn, struct pil_redis_worker *worker) {
    free_forgotten(worker, turn->batch->number);
}

void pil_redis_forgotten_destroy(struct pil_redis_worker *worker) {
    free_forgotten(worker, 0); /* no batch has this number */
}

/* The first word of an error tells programs what kind of error it is: schemas/wire.md, "Errors". */
static const char *code_of(struct pil_turn *turn, pil_status status) {
    switch (status) {
    case PIL_STATUS_NOT_FOUND:
    case PIL_STATUS_CONFLICT: return "NOTFOUND"; /* a service's release lacks the feature */
    case PIL_STATUS_UNSUPPORTED: return "UNSUPPORTED";
    case PIL_STATUS_TOO_LARGE: return "TOOLARGE";
    case PIL_STATUS_AGAIN: return pil_redis_is_loading(turn) ? "LOADING" : "NOTREADY";
    case PIL_STATUS_BUSY: return "NOTREADY";
    case PIL_STATUS_DENIED: return "NOPERM";
    case PIL_STATUS_NO_MEMORY: return "OOM";
    case PIL_STATUS_OK:
    case PIL_STATUS_INVALID:
    case PIL_STATUS_CORRUPT:
    case PIL_STATUS_EXISTS:
    case PIL_STATUS_NO_SPACE:
    case PIL_STATUS_CLOSED:
    case PIL_STATUS_TIMEOUT:
    case PIL_STATUS_IO:
    case PIL_STATUS_SYSTEM:
    case PIL_STATUS_COUNT: break;
    }
    return "ERR";
}

static void set_error(struct pil_turn *turn, struct pil_redis_call *call, pil_status status,
                      const struct pil_error *error) {
    call->error = pil_batch_text(turn->batch, "%s %s", code_of(turn, status), error->text);
}

/* ---- PIL.PLAN */

static bool parse_age(struct pil_bytes text, int64_t unit_us, int64_t *ret_us) {
    int64_t count = 0;
    return pil_number_parse_i64(text, &count) && count > 0 && !__builtin_mul_overflow(count, unit_us, ret_us);
}

static bool parse_release(struct pil_bytes text, char ret_id[PIL_RELEASE_ID_CHARS + 1]) {
    snprintf(ret_id, PIL_RELEASE_ID_CHARS + 1, "%.*s", (int)(text.len < 64 ? text.len : 64), (const char *)text.data);
    return text.len == PIL_RELEASE_ID_CHARS && strspn(ret_id, "0123456789abcdef") == PIL_RELEASE_ID_CHARS;
}

/* Parses the options, which must come first: feature references contain a colon and a service comes alone, so neither
 * is mistaken for one. Returns the index of the first argument that is not an option; 0 when an option is wrong. */
static uint32_t parse_options(const struct pil_redis_call *call, struct plan_options *options) {
    uint32_t i = 1;
    for (; i + 1 < call->arg_count; i++) {
        struct pil_bytes word = call->args[i];
        if (pil_bytes_equal_nocase(word, "columns")) {
            options->variant.need_tensor = false;
        } else if (pil_bytes_equal_nocase(word, "float64")) {
            options->variant.dtype = PIL_VECTOR_FLOAT64;
        } else if (pil_bytes_equal_nocase(word, "defaults")) {
            options->use_defaults = true;
        } else if (pil_bytes_equal_nocase(word, "maxage") || pil_bytes_equal_nocase(word, "maxageus")) {
            if (!parse_age(call->args[++i], word.len == strlen("maxage") ? 1000 : 1, &options->max_age_us)) {
                return 0;
            }
        } else if (pil_bytes_equal_nocase(word, "minrelease")) {
            if (!parse_release(call->args[++i], options->min_release)) {
                return 0;
            }
        } else {
            break;
        }
    }
    return i < call->arg_count ? i : 0;
}

/* Writes each reference as "project/view:feature", so that a view counts once however it is spelled. */
static pil_status name_in_full(struct pil_turn *turn, const struct pil_bytes *references, uint32_t count,
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
        struct pil_bytes name = pil_bytes_from(given.data, view_len);
        pil_status status = pil_scope_view(&turn->scope, name, &view);
        if (status != PIL_STATUS_OK) {
            return pil_scope_explain(status, name, error);
        }
        pil_text_format(text, "%s/%s", view->project, view->name);
        pil_text_append(text, colon, given.len - view_len);
        ret_names[i].len = text->len - begin;
    }
    if (text->failed) {
        return pil_fail(error, PIL_STATUS_NO_MEMORY, "no memory for a plan");
    }
    const uint8_t *at = (const uint8_t *)text->data; /* the text does not move any more */
    for (uint32_t i = 0; i < count; at += ret_names[i++].len) {
        ret_names[i].data = at;
    }
    return PIL_STATUS_OK;
}

static pil_status spec_of_features(struct pil_turn *turn, const struct pil_bytes *references, uint32_t count,
                                   struct pil_vector_spec **ret_spec, struct pil_error *error) {
    struct pil_text text = {0};
    struct pil_bytes *names = calloc(count, sizeof names[0]);
    if (names == NULL) {
        return pil_fail(error, PIL_STATUS_NO_MEMORY, "no memory for a plan");
    }
    pil_status status = name_in_full(turn, references, count, &text, names, error);
    if (status == PIL_STATUS_OK) {
        status = pil_vector_spec_create(names, count, ret_spec, error);
    }
    free(names);
    pil_text_deinit(&text);
    return status;
}

static pil_status make_spec(struct pil_turn *turn, const struct pil_redis_call *call, uint32_t first,
                            struct pil_vector_spec **ret_spec, struct pil_error *error) {
    struct pil_bytes name = call->args[first];
    if (first + 1 < call->arg_count || (name.len > 0 && memchr(name.data, ':', name.len) != NULL)) {
        return spec_of_features(turn, &call->args[first], call->arg_count - first, ret_spec, error);
    }
    return pil_prepared_spec(&turn->scope, name, ret_spec, error);
}

static pil_status free_plan(struct pil_redis_connection *connection, uint32_t *ret_number, struct pil_error *error) {
    if (connection->plans == NULL) {
        connection->plans = calloc(1, sizeof *connection->plans);
    }
    if (connection->plans == NULL) {
        return pil_fail(error, PIL_STATUS_NO_MEMORY, "no memory for a plan");
    }
    for (uint32_t i = 0; i < PLANS_MAX; i++) {
        if (connection->plans->owned[i].prepared == NULL) {
            *ret_number = i + 1;
            return PIL_STATUS_OK;
        }
    }
    return pil_fail(error, PIL_STATUS_INVALID, "a connection holds at most %d plans; PIL.FORGET one", PLANS_MAX);
}

static pil_status make_plan(struct pil_turn *turn, const struct pil_redis_call *call, uint32_t first_name,
                            struct owned *owned, struct pil_error *error) {
    struct pil_vector_spec *spec = NULL;
    PIL_TRY(make_spec(turn, call, first_name, &spec, error));
    pil_status status = PIL_STATUS_OK;
    if (owned->options.min_release[0] != '\0' && spec->view_count != 1) {
        status = pil_fail(error, PIL_STATUS_INVALID, "min_release is for plans of one view; this one has %u",
                          spec->view_count);
    }
    if (status == PIL_STATUS_OK) {
        status = pil_prepared_create(&turn->scope, &spec, owned->options.variant, &owned->prepared, error);
    }
    pil_vector_spec_destroy(&spec);
    PIL_TRY(status);
    PIL_TRY(pil_prepared_may_read(&turn->scope, owned->prepared, error));
    PIL_TRY(pil_prepared_refresh(&turn->scope, owned->prepared, error));
    owned->forgotten = malloc(sizeof *owned->forgotten);
    owned->bytes = pil_prepared_bytes(owned->prepared);
    if (owned->forgotten == NULL || !pil_connection_keep(turn, call->connection->base, owned->bytes)) {
        free(owned->forgotten);
        return pil_fail(error, PIL_STATUS_NO_MEMORY,
                        "no memory for a plan: this client holds its share of limits.client_memory (%llu); forget "
                        "plans (PIL.FORGET) or take answers",
                        (unsigned long long)turn->settings->limits.client_memory_max);
    }
    return PIL_STATUS_OK;
}

PIL_PREPARE(pil_redis_prepare_plan) {
    struct owned owned = {.options = {.variant = {.need_tensor = true}}};
    struct pil_error error = {{0}};
    uint32_t first_name = parse_options(call, &owned.options);
    pil_redis_plans_sweep(turn, pil_redis_worker_of(turn, call->connection));
    if (first_name == 0) {
        call->error = "ERR syntax: PIL.PLAN [COLUMNS] [FLOAT64] [DEFAULTS] [MAXAGE milliseconds | MAXAGEUS "
                      "microseconds] [MINRELEASE release] service | view | view:feature ...";
        return;
    }
    pil_status status = free_plan(call->connection, &call->plan_number, &error);
    if (status == PIL_STATUS_OK) {
        status = make_plan(turn, call, first_name, &owned, &error);
    }
    if (status != PIL_STATUS_OK) {
        pil_prepared_destroy(&owned.prepared);
        set_error(turn, call, status, &error);
        return;
    }
    call->connection->plans->owned[call->plan_number - 1] = owned;
}

PIL_REPLY(pil_redis_reply_plan) {
    (void)turn;
    pil_resp_put_integer(sink, call->plan_number);
}

/* The plan of this connection with the number args[1]; NULL when there is none. */
static struct owned *find_owned(const struct pil_redis_call *call) {
    int64_t number = 0;
    struct pil_redis_plans *plans = call->connection->plans;
    if (plans == NULL || !pil_number_parse_i64(call->args[1], &number) || number < 1 || number > PLANS_MAX) {
        return NULL;
    }
    struct owned *owned = &plans->owned[number - 1];
    return owned->prepared != NULL ? owned : NULL;
}

/* Checks that the live release is the plan's min_release or was made after it. */
static pil_status check_release(struct owned *owned, struct pil_error *error) {
    const struct pil_release *live = owned->prepared->selection.views[0].serving->release;
    const char *wanted = owned->options.min_release;
    if (wanted[0] == '\0' || strcmp(wanted, live->id) == 0) {
        return PIL_STATUS_OK;
    }
    if (owned->min_created_us == 0) {
        (void)pil_cache_release_time(live, pil_bytes_from_text(wanted), &owned->min_created_us);
    }
    if (owned->min_created_us != 0 && live->created_us >= owned->min_created_us) {
        return PIL_STATUS_OK;
    }
    const struct pil_cache_view *view = owned->prepared->selection.views[0].view;
    return pil_fail(error, PIL_STATUS_BUSY, "view %s/%s is at release %s, which is not %s nor made after it",
                    view->project, view->name, live->id, wanted);
}

/* A plan is made either for tensors or for columns. */
static pil_status check_answer(const struct owned *owned, pil_redis_answer answer, struct pil_error *error) {
    bool has_columns = !owned->options.variant.need_tensor;
    if (answer == PIL_REDIS_ANSWER_COLUMNS && !has_columns) {
        return pil_fail(error, PIL_STATUS_INVALID, "the plan is for PIL.VECTOR: make it with COLUMNS");
    }
    return answer == PIL_REDIS_ANSWER_TENSOR && has_columns
               ? pil_fail(error, PIL_STATUS_INVALID, "the plan is for PIL.COLUMNS")
               : PIL_STATUS_OK;
}

static pil_status refresh_owned(struct pil_turn *turn, struct pil_redis_call *call, struct owned *owned,
                                pil_redis_answer answer, struct pil_error *error) {
    call->request->max_age_us = owned->options.max_age_us;
    call->rows.use_defaults = owned->options.use_defaults;
    PIL_TRY(check_answer(owned, answer, error));
    PIL_TRY(pil_prepared_may_read(&turn->scope, owned->prepared, error));
    PIL_TRY(pil_prepared_refresh(&turn->scope, owned->prepared, error));
    call->rows.prepared = owned->prepared;
    return answer == PIL_REDIS_ANSWER_DESCRIPTION ? PIL_STATUS_OK : check_release(owned, error);
}

static pil_status find_plan(struct pil_turn *turn, struct pil_redis_call *call, pil_redis_answer answer,
                            struct pil_error *error) {
    struct pil_bytes name = call->args[1];
    struct owned *owned = find_owned(call);
    if (owned != NULL) {
        return refresh_owned(turn, call, owned, answer, error);
    }
    if (name.len > 0 && name.data[0] >= '0' && name.data[0] <= '9') {
        return pil_fail(error, PIL_STATUS_NOT_FOUND, "this connection has no plan %.*s; PIL.PLAN makes one",
                        name.len < 20 ? (int)name.len : 20, (const char *)name.data);
    }
    struct pil_prepared_variant variant = {.dtype = PIL_VECTOR_FLOAT32,
                                           .need_tensor = answer == PIL_REDIS_ANSWER_TENSOR};
    return pil_prepared_service(turn->prepared, &turn->scope, name, variant, &call->rows.prepared, error);
}

bool pil_redis_find_plan(struct pil_turn *turn, struct pil_redis_call *call, pil_redis_answer answer) {
    struct pil_error error = {{0}};
    pil_status status = find_plan(turn, call, answer, &error);
    if (status != PIL_STATUS_OK) {
        set_error(turn, call, status, &error);
        return false;
    }
    call->request->view = call->rows.prepared->selection.views[0].view;
    call->request->selection = &call->rows.prepared->selection;
    call->field_count = pil_tensor_plan(&call->rows)->feature_count;
    return true;
}

PIL_PREPARE(pil_redis_prepare_forget) {
    struct owned *owned = find_owned(call);
    pil_redis_plans_sweep(turn, pil_redis_worker_of(turn, call->connection));
    if (owned == NULL) {
        call->error = "NOTFOUND this connection has no such plan";
    } else {
        forget(turn, call->connection, owned);
    }
}

PIL_REPLY(pil_redis_reply_forget) {
    (void)turn, (void)call;
    pil_resp_put_simple(sink, "OK");
}
