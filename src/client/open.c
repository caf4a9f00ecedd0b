/* SPDX-License-Identifier: Apache-2.0
 * Opening and closing a client, and pillion_info. */
#include "client/client.h"
#include "base/address.h"
#include "base/clock.h"
#include "base/panic.h"
#include "client/lock.h"
#include "client/socket.h"
#include "client/upkeep.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- Opening. */

static pillion_result check_options(const struct pillion_options *options, struct pillion_error *error) {
    if (options->mapped == NULL && options->resp == NULL) {
        return pil_result_fail(error, PILLION_INVALID, "neither mapped nor resp is given");
    }
    struct pil_address address = {.kind = PIL_ADDRESS_UNIX};
    if (options->mapped != NULL &&
        (pil_address_parse(options->mapped, &address, NULL) != PIL_STATUS_OK || address.kind != PIL_ADDRESS_UNIX)) {
        return pil_result_fail(error, PILLION_INVALID, "mapped: '%.256s' is not unix:PATH of at most 107 characters",
                               options->mapped);
    }
    return PILLION_OK;
}

/* Returns false when memory is short. NULL stays NULL. */
static bool copy_text(const char *text, char **ret_copy) {
    *ret_copy = text != NULL ? strdup(text) : NULL;
    return text == NULL || *ret_copy != NULL;
}

/* Initialises a client that is not connected yet. On failure the caller destroys it. */
static pil_status client_init(struct pillion_client *client, const struct pillion_options *options,
                              struct pil_error *error) {
    client->timeout_ms = options->timeout_ms != 0 ? options->timeout_ms : PIL_CLIENT_DEFAULT_TIMEOUT_MS;
    client->refresh_us = options->refresh_us != 0 ? options->refresh_us : PIL_CLIENT_DEFAULT_REFRESH_US;
    client->session.fd = -1;
    PIL_TRY(pil_epoch_create(&client->slots, error));
    if (!copy_text(options->mapped, &client->mapped) || !copy_text(options->resp, &client->resp) ||
        !copy_text(options->name != NULL ? options->name : program_invocation_short_name, &client->name)) {
        return pil_fail(error, PIL_STATUS_NO_MEMORY, "no memory for a client");
    }
    if (client->mapped == NULL) {
        snprintf(client->why_not_mapped, sizeof client->why_not_mapped, "no mapped listener was named");
    }
    return PIL_STATUS_OK;
}

static void client_destroy(struct pillion_client *client) {
    pil_epoch_destroy(&client->slots);
    free(client->mapped);
    free(client->resp);
    free(client->name);
    free(client);
}

static pillion_result client_create(const struct pillion_options *options, struct pillion_client **ret_client,
                                    struct pillion_error *error) {
    struct pil_error why = {{0}};
    struct pillion_client *client = calloc(1, sizeof *client);
    if (client == NULL) {
        return pil_result_fail(error, PILLION_NO_MEMORY, "no memory for a client");
    }
    pil_status status = client_init(client, options, &why);
    if (status != PIL_STATUS_OK) {
        client_destroy(client);
        return pil_result_fail_status(error, status, &why);
    }
    *ret_client = client;
    return PILLION_OK;
}

static pillion_result check_reachable(struct pillion_client *client, struct pillion_error *error) {
    struct pil_error why = {{0}};
    if (client->session.catalog_number != 0) {
        return PILLION_OK;
    }
    if (client->resp == NULL) {
        return pil_result_fail(error, pil_session_result(client), "%s", client->why_not_mapped);
    }
    pil_status status = pil_socket_try(client, &why);
    return status == PIL_STATUS_OK ? PILLION_OK
                                   : pil_result_fail(error, pil_result_from_status(status), "%s; not mapped: %s",
                                                     why.text, client->why_not_mapped);
}

pillion_result pillion_open(const struct pillion_options *options, struct pillion_client **ret_client,
                            struct pillion_error *ret_error) {
    struct pillion_options own = {0};
    memcpy(&own, options, options->size < sizeof own ? options->size : sizeof own);
    pillion_result result = check_options(&own, ret_error);
    if (result != PILLION_OK) {
        return result;
    }
    struct pillion_client *client = NULL;
    result = client_create(&own, &client, ret_error);
    if (result != PILLION_OK) {
        return result;
    }
    pil_lock_take(client);
    pil_upkeep_maintain(client, pil_clock_monotonic_ns() + client->timeout_ms * 1000000ull, UINT64_MAX);
    pil_lock_release(client);
    result = check_reachable(client, ret_error);
    if (result != PILLION_OK) {
        pillion_close(&client);
        return result;
    }
    *ret_client = client;
    return PILLION_OK;
}

void pillion_close(struct pillion_client **client_pointer) {
    struct pillion_client *client = *client_pointer;
    *client_pointer = NULL;
    if (client == NULL) {
        return;
    }
    pil_lock_take(client);
    while (client->plans != NULL) {
        struct pillion_plan *plan = client->plans;
        pil_lock_release(client);
        pillion_plan_free(&plan);
        pil_lock_take(client);
    }
    for (uint32_t i = 0; i < PIL_MAPPED_VIEWS_MAX; i++) {
        pil_mapping_release(&client->mappings, &client->views[i].mapping);
    }
    PIL_ASSERT(client->plans == NULL);
    pil_upkeep_clean(client);
    PIL_ASSERT(client->mappings.retired == NULL && client->mappings.unmapped == NULL);
    pil_session_close(client, PIL_STATUS_CLOSED, "closed");
    pil_socket_close(client);
    PIL_ASSERT_SLOW(pil_client_validate(client));
    pil_control_page_release(&client->session.page);
    pil_catalog_deinit(&client->session.catalog);
    client_destroy(client);
}

/* ---- Info. */

static void describe_view(const struct pil_client_view *view, struct pillion_view_info *ret_info) {
    memcpy(ret_info->name, view->name, sizeof ret_info->name);
    if (view->mapping != NULL) {
        const struct pil_release *release = view->mapping->release;
        memcpy(ret_info->release, release->id, sizeof release->id);
        ret_info->generation = view->mapping->generation;
        ret_info->mapped_bytes = release->bytes;
        ret_info->row_count = release->row_count;
        ret_info->is_mapped = 1;
    }
    memcpy(ret_info->why_not, view->why_not, sizeof ret_info->why_not);
}

pillion_result pillion_info(struct pillion_client *client, struct pillion_info *ret_info) {
    struct pillion_info info = {.size = ret_info->size};
    pil_lock_take(client);
    pil_upkeep_maintain(client, 0, UINT64_MAX);
    const struct pil_control_page *page = client->session.page;
    uint64_t now_ns = pil_clock_monotonic_ns();
    if (page != NULL) {
        uint64_t heartbeat_ns = atomic_load_explicit(&page->control->heartbeat_ns, memory_order_relaxed);
        uint64_t age_ns = heartbeat_ns < now_ns ? now_ns - heartbeat_ns : 0;
        bool is_fresh = age_ns <= pil_client_heartbeat_ns_max && client->session.state == PIL_SESSION_READY;
        info.is_connected = is_fresh;
        info.staleness_us = is_fresh ? 0 : (int64_t)(age_ns / 1000);
    }
    info.refreshes = client->refreshes;
    info.reconnects = client->reconnects;
    info.socket_calls = atomic_load_explicit(&client->socket_calls, memory_order_relaxed);
    info.view_count = client->view_count;
    memcpy(info.why_not_mapped, client->why_not_mapped, sizeof info.why_not_mapped);
    for (uint32_t i = 0; i < client->view_count; i++) {
        describe_view(&client->views[i], &info.views[i]);
    }
    pil_lock_release(client);
    memcpy(ret_info, &info, ret_info->size < sizeof info ? ret_info->size : sizeof info);
    return PILLION_OK;
}
