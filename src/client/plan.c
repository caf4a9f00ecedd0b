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

static struct pillion_plan *plan_create(struct pillion_client *client, const struct pillion_plan_options *options) {
    struct pillion_plan *plan = calloc(1, sizeof *plan);
    PIL_ASSERT(plan != NULL);
    plan->client = client;
    plan->serial = ++client->plan_serial;
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
    free(plan->features);
    free(plan->service);
    free(plan);
}

/* Under the lock: what was not there when the catalog was read may be there now. */
static void renew_catalog(struct pillion_client *client, uint64_t until_ns) {
    struct pil_session *session = &client->session;
    pil_client_settle(client, until_ns, UINT64_MAX);
    if (session->state == PIL_SESSION_READY && session->request_count == 0 &&
        atomic_load_explicit(&session->page->control->catalog_generation, memory_order_acquire) !=
            session->catalog_generation) {
        pil_session_request_catalog(client);
        pil_client_settle(client, until_ns, UINT64_MAX);
    }
}

/* Under the lock: the names that are asked for, resolved by the catalog; without one, as the server resolves them. */
static pillion_result make_spec(struct pillion_client *client, const struct pillion_plan_options *options,
                                struct pillion_plan *plan, struct pillion_error *error) {
    struct pil_error why = {{0}};
    pil_status status = PIL_STATUS_OK;
    if (client->session.catalog != NULL) {
        status = pil_catalog_spec(client, options, &plan->spec, &why);
    } else if (client->resp == NULL) {
        return pil_client_fail(error, PILLION_UNAVAILABLE, "%s", client->why_not_mapped);
    } else if (options->service != NULL) {
        plan->service = strdup(options->service);
        PIL_ASSERT(plan->service != NULL);
    } else {
        struct pil_bytes *references = calloc(options->feature_count, sizeof references[0]);
        PIL_ASSERT(references != NULL);
        for (uint32_t i = 0; i < options->feature_count; i++) {
            references[i] = pil_bytes_from_text(options->features[i]);
        }
        status = pil_vector_spec_create(references, options->feature_count, &plan->spec, &why);
        free(references);
    }
    pillion_result result =
        status == PIL_STATUS_OK ? PILLION_OK : pil_client_fail(error, pil_client_result(status), "%s", why.text);
    if (result == PILLION_OK && client->session.catalog == NULL) {
        result = pil_socket_describe(plan, error);
    }
    if (result == PILLION_OK && options->min_release != NULL && plan->spec->view_count != 1) {
        result = pil_client_fail(error, PILLION_INVALID, "min_release is for plans of one view; this one has %u",
                                 plan->spec->view_count);
    }
    return result;
}

/* Under the lock, once the plan is compiled or refused. */
static pillion_result check_readable(struct pillion_plan *plan, struct pillion_error *error) {
    const struct pil_compiled *compiled = atomic_load(&plan->compiled);
    bool may_come = compiled->result == PILLION_NOT_READY && plan->min_release[0] != '\0';
    if (compiled->vector != NULL || may_come) {
        return PILLION_OK;
    }
    if (!compiled->is_final && plan->client->resp != NULL) {
        return plan->info.feature_count != 0 ? PILLION_OK : pil_socket_describe(plan, error);
    }
    return pil_client_fail(error, compiled->result, "%s", compiled->error.text);
}

static pillion_result make(struct pillion_client *client, const struct pillion_plan_options *options,
                           struct pillion_plan **ret_plan, struct pillion_error *error) {
    uint64_t until_ns = pil_clock_monotonic_ns() + client->timeout_ms * 1000000ull;
    renew_catalog(client, until_ns);
    struct pillion_plan *plan = plan_create(client, options);
    pillion_result result = make_spec(client, options, plan, error);
    if (result != PILLION_OK) {
        destroy_plan(plan);
        return result;
    }
    plan->next = client->plans;
    client->plans = plan;
    pil_client_settle(client, until_ns, UINT64_MAX);
    result = check_readable(plan, error);
    if (result != PILLION_OK) {
        unlink_plan(client, plan);
        destroy_plan(plan);
        return result;
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
    pil_world_update(client);
    (void)pil_world_reclaim(client);
    pil_mapping_unmap_all(client);
    pil_client_unlock(client);
}

/* ---- Describing. */

static void copy_name(char *to, size_t bytes, const char *from) {
    snprintf(to, bytes, "%s", from);
}

void pil_plan_note(struct pillion_plan *plan, const struct pil_vector_plan *vector) {
    struct pillion_plan_info *info = &plan->info;
    if (info->feature_count != 0) { /* only types may have changed */
        for (uint32_t i = 0; i < vector->feature_count; i++) {
            (void)pil_type_format(vector->columns[i].type, plan->features[i].type);
        }
        return;
    }
    info->feature_count = vector->feature_count;
    info->width = vector->width;
    info->view_count = vector->view_count;
    info->join_key_count = vector->join_key_count;
    for (uint32_t i = 0; i < vector->join_key_count; i++) {
        copy_name(info->join_keys[i], sizeof info->join_keys[i], vector->join_keys[i]->join_key);
        copy_name(info->join_key_types[i], sizeof info->join_key_types[i], pil_scalar_text(vector->join_keys[i]->type));
    }
    plan->features = calloc(vector->feature_count, sizeof plan->features[0]);
    PIL_ASSERT(plan->features != NULL);
    for (uint32_t i = 0; i < vector->feature_count; i++) {
        const struct pil_vector_column *column = &vector->columns[i];
        const struct pil_view *view = vector->views[column->view].view;
        struct pillion_feature_info *to = &plan->features[i];
        *to = (struct pillion_feature_info){.view_index = column->view, .first = column->first, .count = column->count};
        copy_name(to->view, sizeof to->view, plan->spec->views[column->view]);
        copy_name(to->feature, sizeof to->feature, view->features[column->feature].name);
        (void)pil_type_format(column->type, to->type);
    }
}

/* Under the lock: what a release may change. Over the socket only the server knows it; when it does not answer, what is
 * known stays. */
static void renew_types(struct pillion_plan *plan) {
    const struct pil_compiled *compiled = atomic_load(&plan->compiled);
    if (compiled->vector == NULL && !compiled->is_final && plan->client->resp != NULL) {
        (void)pil_socket_describe(plan, NULL);
    }
}

pillion_result pillion_plan_describe(struct pillion_plan *plan, struct pillion_plan_info *ret_info) {
    size_t size = ret_info->size;
    pil_client_lock(plan->client);
    bool is_known = plan->info.feature_count != 0;
    if (is_known) {
        memcpy(ret_info, &plan->info, size < sizeof plan->info ? size : sizeof plan->info);
    }
    pil_client_unlock(plan->client);
    ret_info->size = size;
    return is_known ? PILLION_OK : PILLION_NOT_READY;
}

pillion_result pillion_plan_features(struct pillion_plan *plan, struct pillion_feature_info *ret_features,
                                     uint32_t capacity) {
    pil_client_lock(plan->client);
    renew_types(plan);
    uint32_t count = plan->info.feature_count;
    pillion_result result = count == 0 ? PILLION_NOT_READY : capacity < count ? PILLION_INVALID : PILLION_OK;
    if (result == PILLION_OK) {
        memcpy(ret_features, plan->features, count * sizeof ret_features[0]);
    }
    pil_client_unlock(plan->client);
    return result;
}
