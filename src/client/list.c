/* SPDX-License-Identifier: Apache-2.0
 * Names of services and views: from the catalog, or from the server where there is none. */
#include "base/clock.h"
#include "base/json_value.h"
#include "client/lock.h"
#include "client/socket.h"
#include "client/upkeep.h"

#include <stdio.h>
#include <stdlib.h>

/* The caller's array; `count` also counts names that it has no room for. */
struct names {
    pillion_name *names;
    uint32_t capacity, count;
};

static void add(struct names *names, const char *name) {
    if (names->count < names->capacity) {
        snprintf(names->names[names->count], sizeof names->names[0], "%s", name);
    }
    names->count++;
}

static void add_service(void *context, const char *project, struct pil_bytes name) {
    char full[sizeof(pillion_name)];
    snprintf(full, sizeof full, "%s/%.*s", project, (int)name.len, (const char *)name.data);
    add(context, full);
}

/* Returns false if there is no catalog. */
static bool list_catalog(struct pillion_client *client, uint32_t kind, struct names *names) {
    pil_lock_take(client);
    pil_upkeep_renew_catalog(client, pil_socket_deadline_ns(client));
    bool has_catalog = client->session.catalog.text != NULL;
    if (has_catalog && kind == PILLION_SERVICES) {
        pil_catalog_services(client, add_service, names);
    }
    for (uint32_t i = 0; has_catalog && kind == PILLION_VIEWS && i < client->view_count; i++) {
        if (client->views[i].project_len > 0) { /* else it is no longer served, or this client may not read it */
            add(names, client->views[i].name);
        }
    }
    pil_lock_release(client);
    return has_catalog;
}

/* Returns false if the value is not a list of names. */
static bool add_list(const struct pil_json_value *list, struct names *names) {
    struct pil_json_value_cursor cursor = pil_json_value_elements(list);
    struct pil_json_value name;
    while (pil_json_value_next(&cursor, &name)) {
        char full[sizeof(pillion_name)];
        struct pil_bytes text = pil_json_value_text(&name);
        if (text.len == 0 || text.len >= sizeof full) {
            return false;
        }
        pil_json_value_copy(&name, full, sizeof full);
        add(names, full);
    }
    return pil_json_value_is(list, PIL_JSON_ARRAY);
}

static pil_status read_list(struct pil_bytes text, struct names *names, struct pil_error *error) {
    struct pil_json_value list = {.text = text, .scratch = malloc(text.len + 1), .scratch_bytes = text.len + 1};
    if (list.scratch == NULL) {
        return pil_fail(error, PIL_STATUS_NO_MEMORY, "no memory for a list");
    }
    pil_status status = pil_json_value_check(&list, error);
    if (status == PIL_STATUS_OK && !add_list(&list, names)) {
        status = pil_fail(error, PIL_STATUS_CORRUPT, "the server's reply is not a list of names");
    }
    free(list.scratch);
    return status;
}

static pillion_result list_socket(struct pillion_client *client, uint32_t kind, struct names *names,
                                  struct pillion_error *error) {
    struct pil_error why = {{0}};
    struct pil_buffer reply = {0};
    pil_status status = pil_socket_list(client, kind == PILLION_SERVICES ? "SERVICES" : "VIEWS", &reply, &why);
    if (status == PIL_STATUS_OK) {
        status = read_list(pil_bytes_from(reply.data, reply.len), names, &why);
    }
    pil_buffer_deinit(&reply);
    return status == PIL_STATUS_OK ? PILLION_OK : pil_result_fail_status(error, status, &why);
}

pillion_result pillion_list(struct pillion_client *client, uint32_t kind, pillion_name *ret_names, uint32_t capacity,
                            uint32_t *ret_count, struct pillion_error *ret_error) {
    struct names names = {.names = ret_names, .capacity = capacity};
    if (kind != PILLION_SERVICES && kind != PILLION_VIEWS) {
        return pil_result_fail(ret_error, PILLION_UNSUPPORTED, "a list of kind %u is not known to this version", kind);
    }
    if (!list_catalog(client, kind, &names)) {
        if (client->resp == NULL) {
            return pil_result_fail(ret_error, PILLION_UNAVAILABLE, "%s", client->why_not_mapped);
        }
        pillion_result result = list_socket(client, kind, &names, ret_error);
        if (result != PILLION_OK) {
            return result;
        }
    }
    *ret_count = names.count;
    return names.count <= capacity ? PILLION_OK
                                   : pil_result_fail(ret_error, PILLION_TOO_LARGE,
                                                     "there are %u names, and room for %u", names.count, capacity);
}
