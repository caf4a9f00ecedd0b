/* SPDX-License-Identifier: Apache-2.0
 * Checks the invariants of a client in one pass over plans, views and mappings. References are counted in the mappings
 * themselves (`seen`), so that the cost does not grow with plans times views. */
#include "client/client.h"

static bool is_session_valid(const struct pillion_client *client) {
    const struct pil_session *session = &client->session;
    const struct pil_session_grant *grant = &session->grant;
    bool is_bounded = session->request_count <= PIL_SESSION_REQUESTS_MAX &&
                      session->request_first < PIL_SESSION_REQUESTS_MAX && client->view_count <= PIL_MAPPED_VIEWS_MAX &&
                      grant->received <= grant->count && (grant->count > 0) == (grant->fds != NULL);
    switch (session->state) {
    case PIL_SESSION_CLOSED: return is_bounded && session->fd < 0 && session->request_count == 0 && grant->count == 0;
    case PIL_SESSION_WELCOMING:
        return is_bounded && session->fd >= 0 && session->request_count == 0 && grant->count == 0;
    case PIL_SESSION_READY: return is_bounded && session->fd >= 0 && session->page != NULL;
    }
    return false;
}

static bool is_compiled_valid(const struct pil_compiled *compiled) {
    bool is_readable = compiled->vector != NULL;
    bool valid = compiled->view_count > 0 && compiled->view_count <= PIL_VECTOR_VIEWS_MAX &&
                 is_readable == (compiled->result == PILLION_OK) && (!is_readable || compiled->page != NULL);
    for (uint32_t slot = 0; valid && slot < compiled->view_count; slot++) {
        const struct pil_mapping *mapping = compiled->views[slot].mapping;
        valid = mapping != NULL ? compiled->views[slot].generation == mapping->generation && mapping->references > 0
                                : !is_readable;
    }
    return valid;
}

static void clear_seen(const struct pil_compiled *compiled) {
    for (uint32_t slot = 0; slot < compiled->view_count; slot++) {
        if (compiled->views[slot].mapping != NULL) {
            compiled->views[slot].mapping->seen = 0;
        }
    }
}

/* Counts the references to mappings, and returns those to the page, which is the session's or an older one. */
static uint32_t count_seen(const struct pillion_client *client, const struct pil_compiled *compiled) {
    for (uint32_t slot = 0; slot < compiled->view_count; slot++) {
        if (compiled->views[slot].mapping != NULL) {
            compiled->views[slot].mapping->seen++;
        }
    }
    return compiled->page != NULL && compiled->page == client->session.page;
}

static bool agrees(const struct pil_compiled *compiled) {
    bool valid = true;
    for (uint32_t slot = 0; slot < compiled->view_count; slot++) {
        const struct pil_mapping *mapping = compiled->views[slot].mapping;
        valid = valid && (mapping == NULL || mapping->seen == mapping->references);
    }
    return valid;
}

/* Walks over the compiled plans: first those in use, then the retired ones. */
struct walk {
    const struct pillion_plan *plan;
    const struct pil_compiled *retired;
};

static const struct pil_compiled *next_compiled(struct walk *walk) {
    const struct pil_compiled *compiled = NULL;
    if (walk->plan != NULL) {
        compiled = atomic_load(&walk->plan->compiled);
        walk->plan = walk->plan->next;
    } else if (walk->retired != NULL) {
        compiled = walk->retired;
        walk->retired = compiled->next;
    }
    return compiled;
}

/* The next one that is counted in this process; NULL at the end. */
static const struct pil_compiled *next_counted(const struct pillion_client *client, struct walk *walk) {
    while (walk->plan != NULL || walk->retired != NULL) {
        const struct pil_compiled *compiled = next_compiled(walk);
        if (compiled != NULL && compiled->fork_generation == client->fork_generation) {
            return compiled;
        }
    }
    return NULL;
}

/* The references of a mapping: the plans that are compiled against it, and the view whose newest mapping it is. */
static bool are_references_valid(const struct pillion_client *client) {
    const struct walk begin = {.plan = client->plans, .retired = client->retired};
    const struct pil_compiled *compiled;
    struct walk walk = begin;
    bool valid = true;
    uint32_t page_references = client->session.page != NULL;
    while ((compiled = next_counted(client, &walk)) != NULL) {
        clear_seen(compiled);
    }
    for (uint32_t i = 0; i < PIL_MAPPED_VIEWS_MAX; i++) {
        if (client->views[i].mapping != NULL) {
            client->views[i].mapping->seen = 1;
        }
    }
    for (walk = begin; (compiled = next_counted(client, &walk)) != NULL;) {
        page_references += count_seen(client, compiled);
    }
    for (walk = begin; (compiled = next_counted(client, &walk)) != NULL;) {
        valid = valid && is_compiled_valid(compiled) && agrees(compiled);
    }
    for (uint32_t i = 0; i < PIL_MAPPED_VIEWS_MAX; i++) {
        const struct pil_mapping *mapping = client->views[i].mapping;
        valid = valid && (mapping == NULL || (mapping->seen == mapping->references && mapping->view == i));
    }
    return valid && (client->session.page == NULL || client->session.page->references == page_references);
}

static bool are_lists_valid(const struct pillion_client *client) {
    bool valid = true;
    for (const struct pil_mapping *at = client->mappings.retired; at != NULL; at = at->next) {
        valid = valid && at->references == 0 && at->release != NULL;
    }
    for (const struct pil_mapping *at = client->mappings.unmapped; at != NULL; at = at->next) {
        valid = valid && at->references == 0 && at->release == NULL;
    }
    for (const struct pillion_plan *plan = client->plans; plan != NULL; plan = plan->next) {
        valid = valid && plan->client == client && plan->serial != 0 && plan->serial <= client->plan_serial &&
                plan->spec != NULL && (plan->info.feature_count == 0) == (plan->features == NULL);
    }
    return valid;
}

bool pil_client_validate(const struct pillion_client *client) {
    return client->slots != NULL && is_session_valid(client) && are_references_valid(client) && are_lists_valid(client);
}
