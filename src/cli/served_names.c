/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/served_names.h"

#include "cli/client.h"
#include "cli/report.h"
#include "schema/json_text.h"

#include <stdio.h>
#include <stdlib.h>

/* Sends one request, and reads the head of its reply. The reply's bytes stay in the client. */
static pil_status ask(struct pil_client *client, const struct pil_bytes *args, uint32_t count,
                      struct pil_resp_value *ret_head, struct pil_error *error) {
    struct pil_bytes rest;
    pil_client_queue(client, args, count);
    PIL_TRY(pil_client_flush(client, error));
    PIL_TRY(pil_client_reply(client, &rest, error));
    return pil_resp_value_next(&rest, ret_head);
}

static pil_status ask_json(struct pil_client *client, const char *command, const char *argument, json_t **ret_answer) {
    const struct pil_bytes args[] = {pil_bytes_from_text(command), pil_bytes_from_text(argument)};
    struct pil_resp_value head;
    PIL_TRY(ask(client, args, 2, &head, NULL));
    return head.kind == PIL_RESP_KIND_BULK ? pil_json_load(head.text, 0, ret_answer, NULL) : PIL_STATUS_INVALID;
}

/* The names of the list's elements, or of their members "name". Owns: caller; they point into the list. */
static const char **names_of(const json_t *list, uint32_t *ret_count) {
    const char **names = pil_report_need(calloc(json_array_size(list) + 1, sizeof *names));
    size_t index;
    const json_t *element;
    *ret_count = 0;
    json_array_foreach(list, index, element) {
        const char *name = json_string_value(json_is_object(element) ? json_object_get(element, "name") : element);
        if (name != NULL) {
            names[(*ret_count)++] = name;
        }
    }
    return names;
}

/* ---- Features */

static bool is_not_found(struct pil_bytes text) {
    static const char code[] = "NOTFOUND ";
    return text.len >= sizeof code - 1 && memcmp(text.data, code, sizeof code - 1) == 0;
}

static void hint_feature(struct pil_client *client, const char *view, const char *word, struct pil_text *room) {
    const struct pil_bytes args[] = {pil_bytes_from_text("PIL.PLAN"), pil_bytes_from_text("COLUMNS"),
                                     pil_bytes_from_text(view)};
    struct pil_resp_value head;
    char plan[24];
    json_t *answer = NULL;
    if (ask(client, args, 3, &head, NULL) != PIL_STATUS_OK || head.kind != PIL_RESP_KIND_INTEGER) {
        return;
    }
    snprintf(plan, sizeof plan, "%lld", (long long)head.integer);
    if (ask_json(client, "PIL.DESCRIBE", plan, &answer) == PIL_STATUS_OK) {
        uint32_t count;
        const char **names = names_of(json_object_get(answer, "features"), &count);
        pil_report_hint(word, names, count, room);
        free(names);
    }
    json_decref(answer);
}

static pil_status check_feature(struct pil_client *client, const char *view, const char *name,
                                struct pil_error *error) {
    struct pil_text reference = {0}, hint = {0};
    struct pil_resp_value head = {0};
    pil_text_format(&reference, "%s:%s", view, name);
    const struct pil_bytes args[] = {pil_bytes_from_text("PIL.PLAN"), pil_bytes_from_text("COLUMNS"),
                                     pil_bytes_from_text(pil_report_text(&reference))};
    pil_status status = ask(client, args, 3, &head, error);
    if (status == PIL_STATUS_OK && head.kind == PIL_RESP_KIND_ERROR && is_not_found(head.text)) {
        hint_feature(client, view, name, &hint);
        status =
            pil_fail(error, PIL_STATUS_NOT_FOUND, "view %s has no feature '%s'%s", view, name, pil_text_chars(&hint));
    }
    pil_text_deinit(&reference);
    pil_text_deinit(&hint);
    return status;
}

pil_status pil_served_feature_check(const char *address, const char *view, const char *name,
                                    struct pil_error *ret_error) {
    struct pil_client client;
    PIL_TRY(pil_client_open(address, &client, ret_error));
    pil_status status = check_feature(&client, view, name, ret_error);
    pil_client_close(&client);
    return status;
}

/* ---- Views */

const char *pil_served_view_hint(const char *address, const char *view, struct pil_text *room) {
    struct pil_client client;
    json_t *list = NULL;
    pil_text_clear(room);
    if (pil_client_open(address, &client, NULL) != PIL_STATUS_OK) {
        return "";
    }
    if (ask_json(&client, "PIL.LIST", "VIEWS", &list) == PIL_STATUS_OK) {
        uint32_t count;
        const char **names = names_of(list, &count);
        for (uint32_t i = 0; i < count && strchr(view, '/') == NULL; i++) { /* as short as what was typed */
            const char *slash = strchr(names[i], '/');
            names[i] = slash != NULL ? slash + 1 : names[i];
        }
        bool is_served = false;
        for (uint32_t i = 0; i < count; i++) {
            is_served = is_served || strcmp(names[i], view) == 0;
        }
        if (!is_served) {
            pil_report_hint(view, names, count, room);
        }
        free(names);
    }
    json_decref(list);
    pil_client_close(&client);
    return pil_report_text(room);
}
