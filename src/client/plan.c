/* SPDX-License-Identifier: Apache-2.0
 * Plans as the caller sees them: made once, described, freed. What they are compiled to is in world.c. */
#include "client/internal.h"
#include "base/clock.h"
#include "base/panic.h"

#include <stdio.h>
#include <stdlib.h>

static pillion_result check_options(const struct pillion_plan_options *options, struct pillion_error *error) {
    bool has_features = options->features != NULL && options->feature_count > 0;
    if ((options->service != NULL) == has_features) {
        return pil_client_fail(error, PILLION_INVALID, "a plan is of a service or of features: give one of them");
    }
    if (options->dtype != PILLION_FLOAT32 && options->dtype != PILLION_FLOAT64) {
        return pil_client_fail(error, PILLION_INVALID, "dtype %u is neither float32 nor float64", options->dtype);
    }
    if ((options->flags & ~(uint32_t)(PILLION_USE_DEFAULTS | PILLION_COLUMNS)) != 0) {
        return pil_client_fail(error, PILLION_UNSUPPORTED, "flags %#x are not known to this version", options->flags);
    }
    if (options->max_age_us < 0) {
        return pil_client_fail(error, PILLION_INVALID, "max_age_us is negative");
    }
    const char *release = options->min_release;
    if (release != NULL &&
        (strlen(release) != PIL_RELEASE_ID_CHARS || strspn(release, "0123456789abcdef") != PIL_RELEASE_ID_CHARS)) {
        return pil_client_fail(error, PILLION_INVALID, "min_release '%.64s' is not 16 hex digits", release);
    }
    return PILLION_OK;
}

static struct pillion_plan *plan_create(struct pillion_client *client, const struct pillion_plan_options *options,
                                        struct pil_vector_spec *spec) {
    struct pillion_plan *plan = calloc(1, sizeof *plan);
    PIL_ASSERT(plan != NULL);
    plan->client = client;
    plan->spec = spec;
    plan->dtype = options->dtype;
    plan->flags = options->flags;
    plan->max_age_us = options->max_age_us;
    if (options->min_release != NULL) {
        memcpy(plan->min_release, options->min_release, PIL_RELEASE_ID_CHARS);
    }
    return plan;
}

/* Under the lock. The list is whole at any time: a fork may happen. */
static void unlink_plan(struct pillion_client *client, const struct pillion_plan *plan) {
    struct pillion_plan **link = &client->plans;
    while (*link != plan) {
        link = &(*link)->next;
    }
    *link = plan->next;
    for (uint32_t i = 0; i < PIL_CLIENT_REQUESTS_MAX; i++) {
        struct pil_request *request = &client->session.requests[i];
        request->plan = request->plan == plan ? NULL : request->plan;
    }
}

static void destroy_plan(struct pillion_plan *plan) {
    struct pil_compiled *compiled = atomic_load(&plan->compiled);
    if (compiled != NULL) {
        pil_world_destroy(plan->client, compiled);
    }
    pil_vector_spec_destroy(&plan->spec);
    free(plan);
}

/* Under the lock: what was not there when the catalog was read may be there now. */
static void renew_catalog(struct pillion_client *client, uint64_t until_ns) {
    struct pil_session *session = &client->session;
    pil_client_settle(client, until_ns);
    if (session->state == PIL_SESSION_READY && session->request_count == 0 &&
        atomic_load_explicit(&session->page->control->catalog_generation, memory_order_acquire) !=
            session->catalog_generation) {
        pil_session_request_catalog(client);
        pil_client_settle(client, until_ns);
    }
}

static pillion_result make(struct pillion_client *client, const struct pillion_plan_options *options,
                           struct pillion_plan **ret_plan, struct pillion_error *error) {
    uint64_t until_ns = pil_clock_monotonic_ns() + client->timeout_ms * 1000000ull;
    struct pil_vector_spec *spec = NULL;
    struct pil_error why = {{0}};
    renew_catalog(client, until_ns);
    if (client->session.catalog == NULL) {
        return pil_client_fail(error, PILLION_UNAVAILABLE, "%s", client->why_not_mapped);
    }
    pil_status status = pil_catalog_spec(client, options, &spec, &why);
    if (status == PIL_STATUS_OK && options->min_release != NULL && spec->view_count != 1) {
        status = pil_fail(&why, PIL_STATUS_INVALID, "min_release is for plans of one view; this one has %u",
                          spec->view_count);
        pil_vector_spec_destroy(&spec);
    }
    if (status != PIL_STATUS_OK) {
        return pil_client_fail(error, pil_client_result(status), "%s", why.text);
    }
    struct pillion_plan *plan = plan_create(client, options, spec);
    plan->next = client->plans;
    client->plans = plan;
    pil_client_settle(client, until_ns);
    const struct pil_compiled *compiled = atomic_load(&plan->compiled);
    bool may_come = compiled->result == PILLION_NOT_READY && options->min_release != NULL;
    if (compiled->vector == NULL && !may_come) {
        pillion_result result = pil_client_fail(error, compiled->result, "%s", compiled->error.text);
        unlink_plan(client, plan);
        destroy_plan(plan);
        return result;
    }
    if (compiled->vector != NULL) {
        plan->width = compiled->vector->width;
        plan->join_key_count = compiled->vector->join_key_count;
    }
    *ret_plan = plan;
    return PILLION_OK;
}

pillion_result pillion_plan(struct pillion_client *client, const struct pillion_plan_options *options,
                            struct pillion_plan **ret_plan, struct pillion_error *ret_error) {
    struct pillion_plan_options own = {0};
    memcpy(&own, options, options->size < sizeof own ? options->size : sizeof own);
    pillion_result result = check_options(&own, ret_error);
    if (result != PILLION_OK) {
        return result;
    }
    pil_client_lock(client);
    result = make(client, &own, ret_plan, ret_error);
    pil_client_unlock(client);
    return result;
}

void pillion_plan_free(struct pillion_plan **plan_pointer) {
    struct pillion_plan *plan = *plan_pointer;
    *plan_pointer = NULL;
    if (plan == NULL) {
        return;
    }
    struct pillion_client *client = plan->client;
    pil_client_lock(client);
    unlink_plan(client, plan);
    destroy_plan(plan);
    (void)pil_world_reclaim(client);
    pil_client_unlock(client);
}

/* ---- Describing. */

static void copy_name(char *to, size_t bytes, const char *from) {
    snprintf(to, bytes, "%s", from);
}

pillion_result pillion_plan_describe(struct pillion_plan *plan, struct pillion_plan_info *ret_info) {
    struct pillion_plan_info info = {.size = ret_info->size};
    struct pil_slot *slot = NULL;
    const struct pil_compiled *compiled = pil_world_enter(plan, false, &slot);
    if (compiled == NULL) {
        return PILLION_SYSTEM;
    }
    pillion_result result = compiled->result;
    const struct pil_vector_plan *vector = compiled->vector;
    if (vector != NULL) {
        info.feature_count = vector->feature_count;
        info.width = vector->width;
        info.view_count = vector->view_count;
        info.join_key_count = vector->join_key_count;
        for (uint32_t i = 0; i < vector->join_key_count; i++) {
            copy_name(info.join_keys[i], sizeof info.join_keys[i], vector->join_keys[i]->join_key);
            copy_name(info.join_key_types[i], sizeof info.join_key_types[i],
                      pil_scalar_text(vector->join_keys[i]->type));
        }
        memcpy(ret_info, &info, ret_info->size < sizeof info ? ret_info->size : sizeof info);
    }
    pil_world_leave(slot);
    return result;
}

pillion_result pillion_plan_features(struct pillion_plan *plan, struct pillion_feature_info *ret_features,
                                     uint32_t capacity) {
    struct pil_slot *slot = NULL;
    const struct pil_compiled *compiled = pil_world_enter(plan, false, &slot);
    if (compiled == NULL) {
        return PILLION_SYSTEM;
    }
    pillion_result result = compiled->result;
    const struct pil_vector_plan *vector = compiled->vector;
    if (vector != NULL && capacity < vector->feature_count) {
        result = PILLION_INVALID;
    }
    for (uint32_t i = 0; vector != NULL && result == PILLION_OK && i < vector->feature_count; i++) {
        const struct pil_vector_column *column = &vector->columns[i];
        const struct pil_view *view = vector->views[column->view].view;
        const struct pil_feature *feature = &view->features[column->feature];
        struct pillion_feature_info *info = &ret_features[i];
        *info = (struct pillion_feature_info){.view_index = column->view,
                                              .first = column->first,
                                              .count = column->count,
                                              .has_default = feature->default_value != NULL};
        copy_name(info->view, sizeof info->view, view->name);
        copy_name(info->feature, sizeof info->feature, feature->name);
        (void)pil_type_format(column->type, info->type);
    }
    pil_world_leave(slot);
    return result;
}
