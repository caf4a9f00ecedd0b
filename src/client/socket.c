/* SPDX-License-Identifier: Apache-2.0
 * Idle links, and plans on links (schemas/wire.md, PIL.PLAN). */
#include "client/socket.h"
#include "base/clock.h"
#include "base/panic.h"
#include "client/describe.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

enum { IDLE_MAX = 16 };

uint64_t pil_socket_deadline_ns(const struct pillion_client *client) {
    return pil_clock_monotonic_ns() + client->timeout_ms * 1000000ull;
}

/* ---- Idle links. */

/* Returns false in a forked child that has not adopted the client yet: the links are its parent's. */
static bool lock_links(struct pillion_client *client) {
    if (atomic_load(&client->slots->is_ours) != PIL_EPOCH_IS_OURS) {
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
        PIL_ASSERT((link == NULL) == (client->link_count == 0));
        if (link != NULL) {
            client->links = link->next;
            client->link_count--;
        }
        unlock_links(client);
    }
    return link;
}

static void give_back(struct pillion_client *client, struct pil_link *link) {
    PIL_ASSERT(link != NULL && link->fd >= 0);
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

static void end_links(struct pillion_client *client, void end(struct pil_link **link)) {
    struct pil_link *link = client->links;
    client->links = NULL;
    client->link_count = 0;
    atomic_store(&client->links_lock, 0);
    while (link != NULL) {
        struct pil_link *next = link->next;
        end(&link);
        link = next;
    }
}

void pil_socket_close(struct pillion_client *client) {
    end_links(client, pil_link_close);
}

void pil_socket_forget(struct pillion_client *client) {
    end_links(client, pil_link_forget);
}

/* ---- Plans on a link. */

enum { OPTION_WORDS_MAX = 8 };

/* Returns the number of words. */
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
    PIL_ASSERT(count <= OPTION_WORDS_MAX && (spec != NULL || plan->service != NULL));
    pil_link_begin(link, 1 + count + (spec != NULL ? spec->name_count : 1));
    pil_link_add(link, pil_bytes_from_text("PIL.PLAN"));
    for (size_t i = 0; i < count; i++) {
        pil_link_add(link, words[i]);
    }
    if (spec == NULL) {
        pil_link_add(link, pil_bytes_from_text(plan->service));
    }
    for (uint32_t i = 0; spec != NULL && i < spec->name_count; i++) {
        const char *view = spec->views[spec->names[i].view], *feature = spec->names[i].feature;
        size_t view_len = strlen(view), feature_len = strlen(feature);
        uint8_t *room = pil_link_add_room(link, view_len + 1 + feature_len);
        if (room != NULL) {
            memcpy(room, view, view_len);
            room[view_len] = ':';
            memcpy(room + view_len + 1, feature, feature_len);
        }
    }
}

/* Makes room for another plan on a link that has the maximum. */
static pil_status forget_one(struct pil_link *link, uint64_t until_ns, struct pil_error *error) {
    struct pil_bytes reply;
    uint32_t index = link->forget_next;
    PIL_ASSERT(index < PIL_LINK_PLANS && link->plans[index] != 0);
    link->forget_next = (index + 1) % PIL_LINK_PLANS;
    pil_link_begin(link, 2);
    pil_link_add(link, pil_bytes_from_text("PIL.FORGET"));
    pil_link_add_number(link, index + 1);
    link->plans[index] = 0;
    return pil_link_ask(link, PIL_LINK_SHORT_BYTES, until_ns, &reply, error);
}

static bool parse_number(struct pil_bytes text, uint32_t *ret_number) {
    uint32_t number = 0;
    for (size_t i = 0; i < text.len && number <= PIL_LINK_PLANS; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        number = number * 10 + (uint32_t)(text.data[i] - '0');
    }
    *ret_number = number;
    return number >= 1 && number <= PIL_LINK_PLANS;
}

/* The plan's number on this link; makes the plan there if it has none. */
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
    PIL_TRY(pil_link_ask(link, PIL_LINK_SHORT_BYTES, until_ns, &reply, error));
    if (!parse_number(reply, &number)) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "the server numbers a plan with something else than 1 to 64");
    }
    link->plans[number - 1] = plan->serial;
    *ret_number = number;
    return PIL_STATUS_OK;
}

/* ---- One exchange: on an idle link, or on a new one when the idle link turns out to be dead. */

static bool is_link_lost(pil_status status) {
    return status == PIL_STATUS_CLOSED || status == PIL_STATUS_TIMEOUT || status == PIL_STATUS_IO ||
           status == PIL_STATUS_CORRUPT || status == PIL_STATUS_NO_MEMORY; /* perhaps in the middle of a reply */
}

/* What is done on a link. */
typedef pil_status work(struct pil_link *link, uint64_t until_ns, void *context, struct pil_error *error);

static pil_status run(struct pillion_client *client, work *with, void *context, uint64_t until_ns,
                      struct pil_error *error) {
    struct pil_link *link = take_idle(client);
    pil_status status = PIL_STATUS_CLOSED;
    if (link != NULL) {
        status = with(link, until_ns, context, error);
    }
    if (status == PIL_STATUS_CLOSED) { /* the server restarted, or closed a link that was idle for too long */
        pil_link_close(&link);
        status = pil_link_open(client->resp, until_ns, &link, error);
        if (status == PIL_STATUS_OK) {
            status = with(link, until_ns, context, error);
        }
    }
    if (link != NULL && is_link_lost(status)) {
        pil_link_close(&link);
    } else if (link != NULL) {
        give_back(client, link);
    }
    return status;
}

struct planned {
    const struct pillion_plan *plan;
    pil_exchange *with;
    void *context;
};

static pil_status exchange_on(struct pil_link *link, uint64_t until_ns, void *context, struct pil_error *error) {
    const struct planned *planned = context;
    uint32_t number = 0;
    PIL_TRY(plan_on(link, planned->plan, until_ns, &number, error));
    return planned->with(link, number, until_ns, planned->context, error);
}

pillion_result pil_socket_run(const struct pillion_plan *plan, pil_exchange *with, void *context, uint64_t until_ns,
                              struct pillion_error *error) {
    struct pil_error why = {{0}};
    struct planned planned = {.plan = plan, .with = with, .context = context};
    pil_status status = run(plan->client, exchange_on, &planned, until_ns, &why);
    return status == PIL_STATUS_OK ? PILLION_OK : pil_result_fail_status(error, status, &why);
}

enum { LIST_BYTES_MAX = 16 << 20 }; /* what the documents of 64 projects can list, and more */

struct listed {
    const char *what;
    struct pil_buffer *reply;
};

static pil_status list_on(struct pil_link *link, uint64_t until_ns, void *context, struct pil_error *error) {
    const struct listed *listed = context;
    struct pil_bytes reply;
    pil_link_begin(link, 2);
    pil_link_add(link, pil_bytes_from_text("PIL.LIST"));
    pil_link_add(link, pil_bytes_from_text(listed->what));
    PIL_TRY(pil_link_ask(link, LIST_BYTES_MAX, until_ns, &reply, error));
    pil_buffer_append(listed->reply, reply.data, reply.len);
    return listed->reply->failed ? pil_fail(error, PIL_STATUS_NO_MEMORY, "no memory for a list") : PIL_STATUS_OK;
}

pil_status pil_socket_list(struct pillion_client *client, const char *what, struct pil_buffer *reply,
                           struct pil_error *ret_error) {
    struct listed listed = {.what = what, .reply = reply};
    return run(client, list_on, &listed, pil_socket_deadline_ns(client), ret_error);
}

/* ---- Describing. */

/* What reads the document that a request of PIL.DESCRIBE was answered with. */
typedef pil_status pil_read_description(struct pillion_plan *plan, const struct pil_json_value *document,
                                        struct pil_error *error);

/* The most that a description of 4,096 features has, with room for members that only newer servers write. */
enum { DESCRIPTION_BYTES_MAX = PIL_SERVICE_FEATURES_MAX * 1024 };

static pil_status ask_description(struct pil_link *link, uint32_t number, uint64_t until_ns, struct pillion_plan *plan,
                                  pil_read_description *read, struct pil_error *error) {
    struct pil_bytes text;
    pil_link_begin(link, 2);
    pil_link_add(link, pil_bytes_from_text("PIL.DESCRIBE"));
    pil_link_add_number(link, number);
    PIL_TRY(pil_link_ask(link, DESCRIPTION_BYTES_MAX, until_ns, &text, error));
    uint8_t *scratch = malloc(text.len + 1);
    struct pil_json_value document = {.text = text, .scratch = scratch, .scratch_bytes = text.len};
    if (scratch == NULL) {
        return pil_fail(error, PIL_STATUS_NO_MEMORY, "no memory to read a description of %zu bytes", text.len);
    }
    pil_status status = pil_json_value_check(&document, error);
    if (status == PIL_STATUS_OK) {
        status = read(plan, &document, error);
    }
    free(scratch);
    return status;
}

/* From now on the plan is known by the full names of its features. On links it is another one: the server counts the
 * views of a plan as they are named, so that a view with two names counts twice. */
static pil_status take_names(struct pillion_plan *plan, const struct pil_json_value *document,
                             struct pil_error *error) {
    struct pil_vector_spec *spec = NULL;
    PIL_TRY(pil_describe_names(plan, document, &spec, error));
    pil_vector_spec_destroy(&plan->spec);
    plan->spec = spec;
    plan->serial = ++plan->client->plan_serial;
    return PIL_STATUS_OK;
}

static pil_status resolve(struct pil_link *link, uint32_t number, uint64_t until_ns, void *context,
                          struct pil_error *error) {
    return ask_description(link, number, until_ns, context, take_names, error);
}

static pil_status describe(struct pil_link *link, uint32_t number, uint64_t until_ns, void *context,
                           struct pil_error *error) {
    return ask_description(link, number, until_ns, context, pil_describe_json, error);
}

static bool has_full_names(const struct pil_vector_spec *spec) {
    bool is_full = spec != NULL;
    for (uint32_t i = 0; is_full && i < spec->view_count; i++) {
        is_full = strchr(spec->views[i], '/') != NULL;
    }
    return is_full;
}

pillion_result pil_socket_describe(struct pillion_plan *plan, struct pillion_error *error) {
    uint64_t until_ns = pil_socket_deadline_ns(plan->client);
    PIL_ASSERT(pil_client_is_locked(plan->client));
    if (!has_full_names(plan->spec)) {
        pillion_result result = pil_socket_run(plan, resolve, plan, until_ns, error);
        if (result != PILLION_OK) {
            return result;
        }
    }
    return pil_socket_run(plan, describe, plan, until_ns, error);
}
