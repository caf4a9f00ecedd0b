/* SPDX-License-Identifier: Apache-2.0
 * Links to the resp listener, and plans there (schemas/wire.md), for plans that cannot be read in this process. Each
 * call has a link for itself, so that none waits for another. */
#include "base/clock.h"
#include "base/panic.h"
#include "base/text.h"
#include "client/internal.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

enum { IDLE_MAX = 16 };

uint64_t pil_socket_deadline_ns(const struct pillion_client *client) {
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
    PIL_TRY(pil_link_open(client->resp, pil_socket_deadline_ns(client), &link, ret_error));
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

enum { OPTION_WORDS_MAX = 8 };

/* Returns how many words there are. */
static size_t option_words(const struct pillion_plan *plan, char max_age[24],
                           struct pil_bytes ret_words[OPTION_WORDS_MAX]) {
    size_t count = 0;
    if ((plan->flags & PILLION_COLUMNS) != 0) {
        ret_words[count++] = pil_bytes_from_text("COLUMNS");
    }
    if (plan->dtype == PILLION_FLOAT64) {
        ret_words[count++] = pil_bytes_from_text("FLOAT64");
    }
    if ((plan->flags & PILLION_USE_DEFAULTS) != 0) {
        ret_words[count++] = pil_bytes_from_text("DEFAULTS");
    }
    if (plan->max_age_us != 0) {
        snprintf(max_age, 24, "%lld", (long long)plan->max_age_us);
        ret_words[count++] = pil_bytes_from_text("MAXAGEUS");
        ret_words[count++] = pil_bytes_from_text(max_age);
    }
    if (plan->min_release[0] != '\0') {
        ret_words[count++] = pil_bytes_from_text("MINRELEASE");
        ret_words[count++] = pil_bytes_from_text(plan->min_release);
    }
    return count;
}

static void request_plan(const struct pillion_plan *plan, struct pil_link *link) {
    const struct pil_vector_spec *spec = plan->spec;
    char max_age[24];
    struct pil_bytes words[OPTION_WORDS_MAX];
    size_t count = option_words(plan, max_age, words);
    pil_link_begin(link, 1 + count + (spec != NULL ? spec->name_count : 1));
    pil_link_add(link, pil_bytes_from_text("PIL.PLAN"));
    for (size_t i = 0; i < count; i++) {
        pil_link_add(link, words[i]);
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
    struct pil_bytes reply;
    uint32_t index = link->forget_next;
    link->forget_next = (index + 1) % PIL_LINK_PLANS;
    pil_link_begin(link, 2);
    pil_link_add(link, pil_bytes_from_text("PIL.FORGET"));
    pil_link_add_number(link, index + 1);
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

static bool is_link_lost(pil_status status) {
    return status == PIL_STATUS_CLOSED || status == PIL_STATUS_TIMEOUT || status == PIL_STATUS_IO ||
           status == PIL_STATUS_CORRUPT;
}

static pil_status exchange_on(struct pil_link *link, const struct pillion_plan *plan, uint64_t until_ns,
                              pil_exchange *with, void *context, struct pil_error *error) {
    uint32_t number = 0;
    PIL_TRY(plan_on(link, plan, until_ns, &number, error));
    return with(link, number, until_ns, context, error);
}

pillion_result pil_socket_run(const struct pillion_plan *plan, pil_exchange *with, void *context, uint64_t until_ns,
                              struct pillion_error *error) {
    struct pillion_client *client = plan->client;
    struct pil_error why = {{0}};
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

/* All else of a plan never changes. */
static void note_types(struct pillion_plan *plan, const json_t *features) {
    for (uint32_t i = 0; i < plan->info.feature_count && i < json_array_size(features); i++) {
        copy(plan->features[i].type, sizeof plan->features[i].type, json_array_get(features, i), "type");
    }
}

static pil_status note(struct pillion_plan *plan, const json_t *json, struct pil_error *error) {
    const json_t *keys = json_object_get(json, "join_keys"), *views = json_object_get(json, "views"),
                 *features = json_object_get(json, "features");
    size_t count = json_array_size(features);
    if (count == 0 || count > PIL_SERVICE_FEATURES_MAX || json_array_size(keys) > PILLION_KEYS_MAX ||
        json_array_size(views) > PILLION_VIEWS_MAX) {
        return pil_fail(error, PIL_STATUS_IO, "the server describes the plan in another form than is known");
    }
    if (plan->info.feature_count != 0) {
        note_types(plan, features);
        return PIL_STATUS_OK;
    }
    plan->info = (struct pillion_plan_info){.feature_count = (uint32_t)count,
                                            .width = number_at(json, "width"),
                                            .view_count = (uint32_t)json_array_size(views),
                                            .join_key_count = (uint32_t)json_array_size(keys)};
    for (uint32_t i = 0; i < plan->info.join_key_count; i++) {
        copy(plan->info.join_keys[i], sizeof plan->info.join_keys[i], json_array_get(keys, i), "name");
        copy(plan->info.join_key_types[i], sizeof plan->info.join_key_types[i], json_array_get(keys, i), "type");
    }
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
    pil_link_begin(link, 2);
    pil_link_add(link, pil_bytes_from_text("PIL.DESCRIBE"));
    pil_link_add_number(link, number);
    PIL_TRY(pil_link_ask(link, until_ns, &reply, error));
    json_error_t mistake;
    json_t *json = json_loadb((const char *)reply.data, reply.len, 0, &mistake);
    pil_status status = note(plan, json, error);
    json_decref(json);
    return status == PIL_STATUS_OK && plan->spec == NULL ? make_spec(plan, error) : status;
}

pillion_result pil_socket_describe(struct pillion_plan *plan, struct pillion_error *error) {
    return pil_socket_run(plan, describe, plan, pil_socket_deadline_ns(plan->client), error);
}
