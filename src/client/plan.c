/* SPDX-License-Identifier: Apache-2.0
 * Creating, describing and freeing plans for the caller. */
#include "base/clock.h"
#include "base/panic.h"
#include "client/lock.h"
#include "client/socket.h"
#include "client/upkeep.h"

#include <stdlib.h>

static pillion_result check_options(const struct pillion_plan_options *options, struct pillion_error *error) {
    bool has_features = options->features != NULL && options->feature_count > 0;
    if ((options->service != NULL) == has_features) {
        return pil_result_fail(error, PILLION_INVALID, "a plan is of a service or of features: give one of them");
    }
    if (options->dtype != PILLION_FLOAT32 && options->dtype != PILLION_FLOAT64) {
        return pil_result_fail(error, PILLION_INVALID, "dtype %u is neither float32 nor float64", options->dtype);
    }
    if ((options->flags & ~(uint32_t)(PILLION_USE_DEFAULTS | PILLION_COLUMNS)) != 0) {
        return pil_result_fail(error, PILLION_UNSUPPORTED, "flags %#x are not known to this version", options->flags);
    }
    if (options->max_age_us < 0) {
        return pil_result_fail(error, PILLION_INVALID, "max_age_us is negative");
    }
    const char *release = options->min_release;
    if (release != NULL &&
        (strlen(release) != PIL_RELEASE_ID_CHARS || strspn(release, "0123456789abcdef") != PIL_RELEASE_ID_CHARS)) {
        return pil_result_fail(error, PILLION_INVALID, "min_release '%.64s' is not 16 hex digits", release);
    }
    return PILLION_OK;
}

static struct pillion_plan *plan_create(struct pillion_client *client, const struct pillion_plan_options *options) {
    struct pillion_plan *plan = calloc(1, sizeof *plan);
    if (plan == NULL) {
        return NULL;
    }
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

/* Under the lock. The list is consistent at any time, because another thread may fork. */
static void link_plan(struct pillion_client *client, struct pillion_plan *plan) {
    PIL_ASSERT(pil_client_is_locked(client) && plan->spec != NULL);
    plan->next = client->plans;
    client->plans = plan;
}

static void unlink_plan(struct pillion_client *client, const struct pillion_plan *plan) {
    PIL_ASSERT(pil_client_is_locked(client));
    struct pillion_plan **link = &client->plans;
    while (*link != plan) {
        PIL_ASSERT(*link != NULL);
        link = &(*link)->next;
    }
    *link = plan->next;
    pil_session_forget_plan(client, plan);
}

static void destroy_plan(struct pillion_plan *plan) {
    struct pil_compiled *compiled = atomic_load(&plan->compiled);
    if (compiled != NULL) {
        pil_compile_destroy(plan->client, compiled);
    }
    pil_vector_spec_destroy(&plan->spec);
    free(plan->features);
    free(plan->service);
    free(plan);
}

/* When there is no catalog, the server resolves the names. */
static pil_status take_names(const struct pillion_plan_options *options, struct pillion_plan *plan,
                             struct pil_error *error) {
    if (options->service != NULL) {
        plan->service = strdup(options->service);
        return plan->service != NULL ? PIL_STATUS_OK
                                     : pil_fail(error, PIL_STATUS_NO_MEMORY, "no memory for the name of a service");
    }
    struct pil_bytes *references = calloc(options->feature_count, sizeof references[0]);
    if (references == NULL) {
        return pil_fail(error, PIL_STATUS_NO_MEMORY, "no memory for %u names", options->feature_count);
    }
    for (uint32_t i = 0; i < options->feature_count; i++) {
        references[i] = pil_bytes_from_text(options->features[i]);
    }
    pil_status status = pil_vector_spec_create(references, options->feature_count, &plan->spec, error);
    free(references);
    return status;
}

/* Under the lock. */
static pillion_result make_spec(struct pillion_client *client, const struct pillion_plan_options *options,
                                struct pillion_plan *plan, struct pillion_error *error) {
    struct pil_error why = {{0}};
    bool has_catalog = client->session.catalog.text != NULL;
    if (!has_catalog && client->resp == NULL) {
        return pil_result_fail(error, pil_session_result(client), "%s", client->why_not_mapped);
    }
    pil_status status =
        has_catalog ? pil_catalog_spec(client, options, &plan->spec, &why) : take_names(options, plan, &why);
    if (status != PIL_STATUS_OK) {
        return pil_result_fail_status(error, status, &why);
    }
    pillion_result result = has_catalog ? PILLION_OK : pil_socket_describe(plan, error);
    if (result == PILLION_OK && options->min_release != NULL && plan->spec->view_count != 1) {
        result = pil_result_fail(error, PILLION_INVALID, "min_release is for plans of one view; this one has %u",
                                 plan->spec->view_count);
    }
    return result;
}

/* Under the lock, after the plan was compiled or refused. */
static pillion_result check_readable(struct pillion_plan *plan, struct pillion_error *error) {
    const struct pil_compiled *compiled = atomic_load(&plan->compiled);
    if (compiled == NULL) {
        return pil_result_fail(error, PILLION_NO_MEMORY, "no memory to compile the plan");
    }
    bool may_come = compiled->result == PILLION_NOT_READY && plan->min_release[0] != '\0';
    if (compiled->vector != NULL || may_come) {
        return PILLION_OK;
    }
    if (!compiled->is_final && plan->client->resp != NULL) {
        return plan->info.feature_count != 0 ? PILLION_OK : pil_socket_describe(plan, error);
    }
    return pil_result_fail(error, compiled->result, "%s", compiled->error.text);
}

/* Under the lock, for a plan on the client's list: frees the plan and what only this plan needed. */
static void end_plan(struct pillion_client *client, struct pillion_plan *plan) {
    unlink_plan(client, plan);
    destroy_plan(plan);
    pil_upkeep_clean(client);
}

static pillion_result make(struct pillion_client *client, const struct pillion_plan_options *options,
                           struct pillion_plan **ret_plan, struct pillion_error *error) {
    uint64_t until_ns = pil_clock_monotonic_ns() + client->timeout_ms * 1000000ull;
    pil_upkeep_renew_catalog(client, until_ns);
    struct pillion_plan *plan = plan_create(client, options);
    if (plan == NULL) {
        return pil_result_fail(error, PILLION_NO_MEMORY, "no memory for a plan");
    }
    pillion_result result = make_spec(client, options, plan, error);
    if (result != PILLION_OK) {
        destroy_plan(plan);
        return result;
    }
    link_plan(client, plan);
    pil_upkeep_maintain(client, until_ns, UINT64_MAX);
    result = check_readable(plan, error);
    if (result != PILLION_OK) {
        end_plan(client, plan);
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
    pil_lock_take(client);
    result = make(client, &own, ret_plan, ret_error);
    pil_lock_release(client);
    return result;
}

void pillion_plan_free(struct pillion_plan **plan_pointer) {
    struct pillion_plan *plan = *plan_pointer;
    *plan_pointer = NULL;
    if (plan == NULL) {
        return;
    }
    struct pillion_client *client = plan->client;
    pil_lock_take(client);
    end_plan(client, plan);
    pil_lock_release(client);
}

/* ---- Describing. */

/* Under the lock: a release may change the types of features. For a plan that is not mapped, only the server knows
 * them; when it does not answer, the known types stay. */
static void renew_types(struct pillion_plan *plan) {
    const struct pil_compiled *compiled = atomic_load(&plan->compiled);
    if (compiled->vector == NULL && !compiled->is_final && plan->client->resp != NULL) {
        (void)pil_socket_describe(plan, NULL);
    }
}

pillion_result pillion_plan_describe(struct pillion_plan *plan, struct pillion_plan_info *ret_info) {
    size_t size = ret_info->size;
    pil_lock_take(plan->client);
    bool is_known = plan->info.feature_count != 0;
    if (is_known) {
        memcpy(ret_info, &plan->info, size < sizeof plan->info ? size : sizeof plan->info);
    }
    pil_lock_release(plan->client);
    ret_info->size = size;
    return is_known ? PILLION_OK : PILLION_NOT_READY;
}

pillion_result pillion_plan_features(struct pillion_plan *plan, struct pillion_feature_info *ret_features,
                                     uint32_t capacity) {
    pil_lock_take(plan->client);
    renew_types(plan);
    uint32_t count = plan->info.feature_count;
    pillion_result result = count == 0 ? PILLION_NOT_READY : capacity < count ? PILLION_INVALID : PILLION_OK;
    if (result == PILLION_OK) {
        memcpy(ret_features, plan->features, count * sizeof ret_features[0]);
    }
    pil_lock_release(plan->client);
    return result;
}
