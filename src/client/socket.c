/* SPDX-License-Identifier: Apache-2.0
 * Plans and gets over the resp listener (schemas/wire.md), for plans that cannot be read in this process. */
#include "base/clock.h"
#include "base/panic.h"
#include "base/text.h"
#include "client/internal.h"
#include "wire/resp.h"
#include "wire/tensor.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

enum { IDLE_MAX = 16 };

static uint64_t deadline_ns(const struct pillion_client *client) {
    return pil_clock_monotonic_ns() + client->timeout_ms * 1000000ull;
}

/* ---- Idle links. */

/* false in a forked child that has not adopted the client yet: what it sees is not its own. */
static bool lock_links(struct pillion_client *client) {
    if (atomic_load(&client->slots->is_ours) != 1) {
        return false;
    }
    while (atomic_exchange(&client->links_lock, 1) != 0) {
        sched_yield();
    }
    return true;
}

static void unlock_links(struct pillion_client *client) {
    atomic_store(&client->links_lock, 0);
}

static struct pil_link *take_idle(struct pillion_client *client) {
    struct pil_link *link = NULL;
    if (lock_links(client)) {
        link = client->links;
        if (link != NULL) {
            client->links = link->next;
            client->link_count--;
        }
        unlock_links(client);
    }
    return link;
}

static void give_back(struct pillion_client *client, struct pil_link *link) {
    if (lock_links(client)) {
        if (client->link_count < IDLE_MAX) {
            link->next = client->links;
            client->links = link;
            client->link_count++;
            link = NULL;
        }
        unlock_links(client);
    }
    pil_link_close(&link);
}

pil_status pil_socket_try(struct pillion_client *client, struct pil_error *ret_error) {
    struct pil_link *link = NULL;
    PIL_TRY(pil_link_open(client->resp, deadline_ns(client), &link, ret_error));
    give_back(client, link);
    return PIL_STATUS_OK;
}

void pil_socket_close(struct pillion_client *client, bool is_child) {
    struct pil_link *link = client->links;
    client->links = NULL;
    client->link_count = 0;
    atomic_store(&client->links_lock, 0);
    while (link != NULL) {
        struct pil_link *next = link->next;
        if (is_child) {
            pil_link_forget(&link);
        } else {
            pil_link_close(&link);
        }
        link = next;
    }
}

/* ---- Plans of a link. */

static void request_plan(const struct pillion_plan *plan, struct pil_link *link) {
    const struct pil_vector_spec *spec = plan->spec;
    size_t count = spec != NULL ? 1 + (size_t)spec->name_count : 2;
    count += plan->dtype == PILLION_FLOAT64 ? 1 : 0;
    count += (plan->flags & PILLION_USE_DEFAULTS) != 0 ? 1 : 0;
    count += plan->max_age_us != 0 ? 2 : 0;
    pil_link_begin(link, count);
    pil_link_add(link, pil_bytes_from_text("PIL.PLAN"));
    if (plan->dtype == PILLION_FLOAT64) {
        pil_link_add(link, pil_bytes_from_text("FLOAT64"));
    }
    if ((plan->flags & PILLION_USE_DEFAULTS) != 0) {
        pil_link_add(link, pil_bytes_from_text("DEFAULTS"));
    }
    if (plan->max_age_us != 0) {
        char ms[24];
        int len =
            snprintf(ms, sizeof ms, "%lld", (long long)(plan->max_age_us / 1000 + (plan->max_age_us % 1000 != 0)));
        pil_link_add(link, pil_bytes_from_text("MAXAGE"));
        pil_link_add(link, pil_bytes_from(ms, (size_t)len));
    }
    if (spec == NULL) {
        pil_link_add(link, pil_bytes_from_text(plan->service));
    }
    struct pil_text name = {0};
    for (uint32_t i = 0; spec != NULL && i < spec->name_count; i++) {
        pil_text_clear(&name);
        pil_text_format(&name, "%s:%s", spec->views[spec->names[i].view], spec->names[i].feature);
        pil_link_add(link, pil_text_bytes(&name));
    }
    pil_text_deinit(&name);
}

/* Makes room for one plan more on a link that holds all that it may. */
static pil_status forget_one(struct pil_link *link, uint64_t until_ns, struct pil_error *error) {
    char text[16];
    struct pil_bytes reply;
    uint32_t index = link->forget_next;
    int len = snprintf(text, sizeof text, "%u", index + 1);
    link->forget_next = (index + 1) % PIL_LINK_PLANS;
    pil_link_begin(link, 2);
    pil_link_add(link, pil_bytes_from_text("PIL.FORGET"));
    pil_link_add(link, pil_bytes_from(text, (size_t)len));
    link->plans[index] = 0;
    return pil_link_ask(link, until_ns, &reply, error);
}

static bool parse_number(struct pil_bytes text, uint32_t *ret_number) {
    uint32_t number = 0;
    for (size_t i = 0; i < text.len && number <= PIL_LINK_PLANS; i++) {
        number = number * 10 + (uint32_t)(text.data[i] - '0');
    }
    *ret_number = number;
    return number >= 1 && number <= PIL_LINK_PLANS;
}

/* The plan's number on this link, made when it has none. */
static pil_status plan_on(struct pil_link *link, const struct pillion_plan *plan, uint64_t until_ns,
                          uint32_t *ret_number, struct pil_error *error) {
    uint32_t used = 0, number = 0;
    struct pil_bytes reply;
    for (uint32_t i = 0; i < PIL_LINK_PLANS; i++) {
        if (link->plans[i] == plan->serial) {
            *ret_number = i + 1;
            return PIL_STATUS_OK;
        }
        used += link->plans[i] != 0;
    }
    if (used == PIL_LINK_PLANS) {
        PIL_TRY(forget_one(link, until_ns, error));
    }
    request_plan(plan, link);
    PIL_TRY(pil_link_ask(link, until_ns, &reply, error));
    if (!parse_number(reply, &number)) {
        return pil_fail(error, PIL_STATUS_IO, "the server gives a plan a number that is none");
    }
    link->plans[number - 1] = plan->serial;
    *ret_number = number;
    return PIL_STATUS_OK;
}

/* ---- One exchange: on an idle link, or on a new one when that turns out to be dead. */

typedef pil_status exchange(struct pil_link *link, uint32_t number, uint64_t until_ns, void *context,
                            struct pil_error *error);

static bool is_link_lost(pil_status status) {
    return status == PIL_STATUS_CLOSED || status == PIL_STATUS_TIMEOUT || status == PIL_STATUS_IO;
}

static pil_status exchange_on(struct pil_link *link, const struct pillion_plan *plan, uint64_t until_ns, exchange *with,
                              void *context, struct pil_error *error) {
    uint32_t number = 0;
    PIL_TRY(plan_on(link, plan, until_ns, &number, error));
    return with(link, number, until_ns, context, error);
}

static pillion_result run(const struct pillion_plan *plan, exchange *with, void *context, struct pillion_error *error) {
    struct pillion_client *client = plan->client;
    struct pil_error why = {{0}};
    uint64_t until_ns = deadline_ns(client);
    struct pil_link *link = take_idle(client);
    pil_status status = PIL_STATUS_CLOSED;
    if (link != NULL) {
        status = exchange_on(link, plan, until_ns, with, context, &why);
    }
    if (status == PIL_STATUS_CLOSED) { /* the server was another one, or has closed what was idle for long */
        pil_link_close(&link);
        status = pil_link_open(client->resp, until_ns, &link, &why);
        if (status == PIL_STATUS_OK) {
            status = exchange_on(link, plan, until_ns, with, context, &why);
        }
    }
    if (link != NULL && is_link_lost(status)) {
        pil_link_close(&link);
    } else if (link != NULL) {
        give_back(client, link);
    }
    return status == PIL_STATUS_OK ? PILLION_OK : pil_client_fail(error, pil_client_result(status), "%s", why.text);
}

/* ---- Describing. */

static void copy(char *to, size_t bytes, const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    snprintf(to, bytes, "%s", text != NULL ? text : "");
}

static uint32_t number_at(const json_t *object, const char *key) {
    json_int_t value = json_integer_value(json_object_get(object, key));
    return value >= 0 && value <= UINT32_MAX ? (uint32_t)value : 0;
}

static pil_status note(struct pillion_plan *plan, const json_t *json, struct pil_error *error) {
    const json_t *keys = json_object_get(json, "join_keys"), *views = json_object_get(json, "views"),
                 *features = json_object_get(json, "features");
    size_t count = json_array_size(features);
    if (count == 0 || count > PIL_SERVICE_FEATURES_MAX || json_array_size(keys) > PILLION_KEYS_MAX ||
        json_array_size(views) > PILLION_VIEWS_MAX) {
        return pil_fail(error, PIL_STATUS_IO, "the server describes the plan in another form than is known");
    }
    plan->info = (struct pillion_plan_info){.feature_count = (uint32_t)count,
                                            .width = number_at(json, "width"),
                                            .view_count = (uint32_t)json_array_size(views),
                                            .join_key_count = (uint32_t)json_array_size(keys)};
    for (uint32_t i = 0; i < plan->info.join_key_count; i++) {
        copy(plan->info.join_keys[i], sizeof plan->info.join_keys[i], json_array_get(keys, i), "name");
        copy(plan->info.join_key_types[i], sizeof plan->info.join_key_types[i], json_array_get(keys, i), "type");
    }
    free(plan->features);
    plan->features = calloc(count, sizeof plan->features[0]);
    PIL_ASSERT(plan->features != NULL);
    for (size_t i = 0; i < count; i++) {
        const json_t *from = json_array_get(features, i);
        struct pillion_feature_info *to = &plan->features[i];
        to->view_index = number_at(from, "view");
        to->first = number_at(from, "first");
        to->count = number_at(from, "count");
        copy(to->view, sizeof to->view, json_array_get(views, to->view_index), "name");
        copy(to->feature, sizeof to->feature, from, "name");
        copy(to->type, sizeof to->type, from, "type");
    }
    return PIL_STATUS_OK;
}

/* A service is known by its features from now on. */
static pil_status make_spec(struct pillion_plan *plan, struct pil_error *error) {
    struct pil_bytes *references = calloc(plan->info.feature_count, sizeof references[0]);
    struct pil_text text = {0};
    PIL_ASSERT(references != NULL);
    for (uint32_t i = 0; i < plan->info.feature_count; i++) {
        size_t begin = text.len;
        pil_text_format(&text, "%s:%s", plan->features[i].view, plan->features[i].feature);
        references[i].len = text.len - begin;
    }
    const char *at = text.data; /* which does not move any more */
    for (uint32_t i = 0; i < plan->info.feature_count; at += references[i++].len) {
        references[i].data = (const uint8_t *)at;
    }
    pil_status status = pil_vector_spec_create(references, plan->info.feature_count, &plan->spec, error);
    free(references);
    pil_text_deinit(&text);
    return status;
}

static pil_status describe(struct pil_link *link, uint32_t number, uint64_t until_ns, void *context,
                           struct pil_error *error) {
    struct pillion_plan *plan = context;
    struct pil_bytes reply;
    char text[16];
    int len = snprintf(text, sizeof text, "%u", number);
    pil_link_begin(link, 2);
    pil_link_add(link, pil_bytes_from_text("PIL.DESCRIBE"));
    pil_link_add(link, pil_bytes_from(text, (size_t)len));
    PIL_TRY(pil_link_ask(link, until_ns, &reply, error));
    json_error_t mistake;
    json_t *json = json_loadb((const char *)reply.data, reply.len, 0, &mistake);
    pil_status status = note(plan, json, error);
    json_decref(json);
    return status == PIL_STATUS_OK && plan->spec == NULL ? make_spec(plan, error) : status;
}

pillion_result pil_socket_describe(struct pillion_plan *plan, struct pillion_error *error) {
    if ((plan->flags & PILLION_COLUMNS) != 0) {
        return pil_client_fail(error, PILLION_UNSUPPORTED, "columns are read from mapped memory only");
    }
    return run(plan, describe, plan, error);
}

/* ---- Getting. */

struct get {
    struct pillion_plan *plan;
    const struct pillion_keys *keys;
    const struct pillion_output *output;
    struct pillion_answer *answer;
};

static bool is_packed(const struct pillion_keys *keys) {
    for (uint32_t i = 0; i < keys->column_count; i++) {
        if (keys->columns[i].kind != PILLION_KEY_INT64 && keys->columns[i].kind != PILLION_KEY_INT32) {
            return false;
        }
    }
    return true;
}

static void add_packed(struct pil_link *link, const struct pillion_keys *keys) {
    if (keys->column_count == 1 && keys->columns[0].kind == PILLION_KEY_INT64) {
        pil_link_add(link, pil_bytes_from(keys->columns[0].values, keys->count * 8));
        return;
    }
    size_t bytes = keys->count * keys->column_count * 8;
    uint8_t *blob = malloc(bytes), *at = blob;
    PIL_ASSERT(blob != NULL);
    for (size_t row = 0; row < keys->count; row++) {
        for (uint32_t i = 0; i < keys->column_count; i++, at += 8) {
            struct pil_key_part part;
            (void)pil_keys_part(&keys->columns[i], row, &part); /* integers always are there */
            pil_store_i64(at, part.integer);
        }
    }
    pil_link_add(link, pil_bytes_from(blob, bytes));
    free(blob);
}

static void append_escaped(struct pil_text *text, struct pil_bytes part) {
    for (size_t i = 0; i < part.len; i++) {
        if (part.data[i] == '|' || part.data[i] == '\\') {
            pil_text_append(text, "\\", 1);
        }
        pil_text_append(text, &part.data[i], 1);
    }
}

static pil_status add_texts(struct pil_link *link, const struct pillion_keys *keys, struct pil_error *error) {
    struct pil_text text = {0};
    pil_status status = PIL_STATUS_OK;
    for (size_t row = 0; row < keys->count && status == PIL_STATUS_OK; row++) {
        pil_text_clear(&text);
        for (uint32_t i = 0; i < keys->column_count; i++) {
            struct pil_key_part part;
            if (!pil_keys_part(&keys->columns[i], row, &part)) {
                status = pil_fail(error, PIL_STATUS_INVALID, "key column %u, row %zu: its offsets fall", i, row);
                break;
            }
            if (i > 0) {
                pil_text_append(&text, "|", 1);
            }
            if (part.kind == PIL_KEY_PART_INT) {
                pil_text_format(&text, "%lld", (long long)part.integer);
            } else if (keys->column_count > 1) {
                append_escaped(&text, part.text);
            } else {
                pil_text_append(&text, part.text.data, part.text.len);
            }
        }
        pil_link_add(link, pil_text_bytes(&text));
    }
    pil_text_deinit(&text);
    return status;
}

static pil_status put_answer(const struct get *get, struct pil_bytes reply, struct pil_error *error) {
    struct pil_tensor_head head;
    PIL_TRY(pil_tensor_decode(reply, &head, error));
    const struct pillion_plan_info *info = &get->plan->info;
    uint32_t element_bytes = get->plan->dtype == PILLION_FLOAT64 ? 8 : 4;
    if (head.rows != get->keys->count || head.features != info->feature_count || head.width != info->width ||
        head.view_count != info->view_count || head.element_bytes != element_bytes) {
        return pil_fail(error, PIL_STATUS_INVALID,
                        "the answer has %u rows of %u features, %u elements of %u bytes, the plan another shape: plan "
                        "anew",
                        head.rows, head.features, head.width, head.element_bytes);
    }
    if (get->output->values != NULL) {
        memcpy(get->output->values, reply.data + head.values_at, reply.len - head.values_at);
    }
    if (get->output->statuses != NULL) {
        memcpy(get->output->statuses, reply.data + head.statuses_at, (size_t)head.rows * head.features);
    }
    if (get->output->event_ts_us != NULL) {
        memcpy(get->output->event_ts_us, reply.data + head.times_at, (size_t)head.rows * head.view_count * 8);
    }
    const char *wanted = get->plan->min_release;
    int64_t created_us = get->plan->min_created_us;
    if (wanted[0] != '\0' && strcmp(wanted, head.views[0].release) != 0 &&
        (created_us == 0 || head.views[0].created_us < created_us)) {
        return pil_fail(error, PIL_STATUS_AGAIN, "the server is at release %s, which is not known to follow %s",
                        head.views[0].release, wanted);
    }
    for (uint32_t i = 0; get->answer != NULL && i < head.view_count; i++) {
        const struct pil_tensor_view *view = &head.views[i];
        struct pillion_view_answer *to = &get->answer->views[i];
        *to = (struct pillion_view_answer){.generation = view->generation,
                                           .worst_age_us = view->worst_age_us,
                                           .not_found = view->not_found,
                                           .created_us = view->created_us};
        memcpy(to->release, view->release, sizeof view->release);
    }
    return PIL_STATUS_OK;
}

static pil_status ask_vectors(struct pil_link *link, uint32_t number, uint64_t until_ns, void *context,
                              struct pil_error *error) {
    const struct get *get = context;
    struct pil_bytes reply;
    char text[16];
    int len = snprintf(text, sizeof text, "%u", number);
    bool packed = is_packed(get->keys);
    pil_link_begin(link, packed ? 3 : 2 + get->keys->count);
    pil_link_add(link, pil_bytes_from_text(packed ? "PIL.VECTOR64" : "PIL.VECTOR"));
    pil_link_add(link, pil_bytes_from(text, (size_t)len));
    if (packed) {
        add_packed(link, get->keys);
    } else {
        PIL_TRY(add_texts(link, get->keys, error));
    }
    PIL_TRY(pil_link_ask(link, until_ns, &reply, error));
    return put_answer(get, reply, error);
}

static pillion_result check(const struct get *get, struct pillion_error *error) {
    const struct pillion_plan_info *info = &get->plan->info;
    const struct pillion_keys *keys = get->keys;
    if (keys->column_count != info->join_key_count) {
        return pil_client_fail(error, PILLION_INVALID, "%u key columns were given; the plan has %u join keys",
                               keys->column_count, info->join_key_count);
    }
    size_t rows_max = is_packed(keys) ? pil_resp_limits_default.bulk_bytes_max / (8u * keys->column_count)
                                      : pil_resp_limits_default.args_max - 2;
    if (keys->count > rows_max) {
        return pil_client_fail(error, PILLION_TOO_LARGE, "%zu rows; a call over the socket has at most %zu",
                               keys->count, rows_max);
    }
    size_t row_bytes = (size_t)info->width * (get->plan->dtype == PILLION_FLOAT64 ? 8 : 4);
    if (get->output->values != NULL && keys->count * row_bytes > get->output->value_bytes) {
        return pil_client_fail(error, PILLION_TOO_LARGE, "%zu rows of %zu bytes do not fit into %zu bytes", keys->count,
                               row_bytes, get->output->value_bytes);
    }
    return PILLION_OK;
}

pillion_result pil_socket_get(struct pillion_plan *plan, const struct pillion_keys *keys,
                              const struct pillion_output *output, struct pillion_answer *answer) {
    struct get get = {.plan = plan, .keys = keys, .output = output, .answer = answer};
    struct pillion_error *error = answer != NULL ? &answer->error : NULL;
    pillion_result result = pil_keys_check_columns(keys, error);
    if (result == PILLION_OK) {
        result = check(&get, error);
    }
    if (answer != NULL) {
        answer->is_mapped = 0;
        answer->view_count = plan->info.view_count;
        answer->staleness_us = 0;
    }
    if (result != PILLION_OK || keys->count == 0) {
        return result;
    }
    atomic_fetch_add_explicit(&plan->client->socket_calls, 1, memory_order_relaxed);
    return run(plan, ask_vectors, &get, error);
}
