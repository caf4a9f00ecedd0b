/* SPDX-License-Identifier: Apache-2.0
 * The command get: reads the features of some entities from a running pilliond, and prints them as a table or as one
 * JSON object on each line. */
#include "base/hash.h"
#include "base/number.h"
#include "base/utf8.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/served_names.h"
#include "cli/table.h"
#include "schema/json_text.h"

#include <stdio.h>
#include <stdlib.h>

enum { KEYS_PER_FLUSH = 256, VALUE_COLUMNS = 40 };

/* A growing list of column names. */
struct names {
    char **items;
    uint32_t count;
};

static uint32_t names_add(struct names *names, struct pil_bytes name) {
    for (uint32_t i = 0; i < names->count; i++) {
        if (pil_bytes_equal_text(name, names->items[i])) {
            return i;
        }
    }
    names->items = pil_report_need(realloc(names->items, (names->count + 1) * sizeof *names->items));
    names->items[names->count] = pil_report_need(strndup((const char *)name.data, name.len));
    return names->count++;
}

static void names_deinit(struct names *names) {
    for (uint32_t i = 0; i < names->count; i++) {
        free(names->items[i]);
    }
    free(names->items);
}

/* The answer for one key. */
struct answer {
    bool there;
    json_t *values; /* object: feature -> string or null */
};

struct query {
    const struct pil_invocation *invocation;
    struct pil_client client;
    struct names names; /* of the features that --features lists; without it, of those in the answers */
    bool all;           /* there is no --features */
    struct answer *answers;
    uint32_t key_count;
};

static const char *key_of(const struct query *query, uint32_t index) {
    return query->invocation->args[index + 1];
}

/* ---- Asking */

static void ask(struct query *query, uint32_t key_index) {
    struct pil_bytes *args = pil_report_need(calloc(query->names.count + 2, sizeof *args));
    struct pil_text key = {0};
    pil_text_format(&key, "%s:%s", query->invocation->args[0], key_of(query, key_index));
    args[0] = pil_bytes_from_text("EXISTS");
    args[1] = pil_bytes_from_text(pil_report_text(&key));
    pil_client_queue(&query->client, args, 2);
    args[0] = pil_bytes_from_text(query->all ? "HGETALL" : "HMGET");
    for (uint32_t i = 0; i < query->names.count && !query->all; i++) {
        args[i + 2] = pil_bytes_from_text(query->names.items[i]);
    }
    pil_client_queue(&query->client, args, query->all ? 2 : query->names.count + 2);
    pil_text_deinit(&key);
    free(args);
}

/* Reads the head of the next reply; returns an error reply of the server as INVALID. */
static pil_status next_reply(struct query *query, struct pil_bytes *ret_rest, struct pil_resp_value *ret_head,
                             struct pil_error *error) {
    PIL_TRY(pil_client_reply(&query->client, ret_rest, error));
    PIL_TRY(pil_resp_value_next(ret_rest, ret_head));
    if (ret_head->kind == PIL_RESP_KIND_ERROR) {
        return pil_fail(error, PIL_STATUS_INVALID, "the server says: %.*s", (int)ret_head->text.len,
                        (const char *)ret_head->text.data);
    }
    return PIL_STATUS_OK;
}

/* Bytes that are not UTF-8 become {"hex": …}. NULL when memory is short. */
static json_t *text_or_null(const struct pil_resp_value *value) {
    if (value->kind == PIL_RESP_KIND_NULL) {
        return json_null();
    }
    if (pil_utf8_is_valid(value->text)) {
        return json_stringn((const char *)value->text.data, value->text.len);
    }
    char *hex = pil_report_need(calloc(1, 2 * value->text.len + 1));
    pil_hex_encode(value->text, hex);
    json_t *text = json_pack("{s:s}", "hex", hex);
    free(hex);
    return text;
}

static pil_status read_values(struct query *query, struct answer *answer, struct pil_error *error) {
    struct pil_bytes rest;
    struct pil_resp_value head, name, value;
    PIL_TRY(next_reply(query, &rest, &head, error));
    bool array = head.kind == PIL_RESP_KIND_ARRAY || head.kind == PIL_RESP_KIND_MAP;
    if (!array || (query->all ? head.integer % 2 != 0 : head.integer != query->names.count)) {
        return pil_fail(error, PIL_STATUS_UNSUPPORTED,
                        "the server answers %s in another form than pilliond; is this a pilliond?",
                        query->all ? "HGETALL" : "HMGET");
    }
    int64_t count = query->all ? head.integer / 2 : head.integer;
    for (int64_t i = 0; i < count; i++) {
        uint32_t index = (uint32_t)i;
        if (query->all) {
            PIL_TRY(pil_resp_value_next(&rest, &name));
            index = names_add(&query->names, name.text);
        }
        PIL_TRY(pil_resp_value_next(&rest, &value));
        pil_json_set(&answer->values, query->names.items[index], text_or_null(&value));
    }
    return answer->values != NULL ? PIL_STATUS_OK : pil_fail(error, PIL_STATUS_NO_MEMORY, "no memory for the answer");
}

static pil_status fetch(struct query *query, struct pil_error *error) {
    for (uint32_t first = 0; first < query->key_count; first += KEYS_PER_FLUSH) {
        uint32_t end = first + KEYS_PER_FLUSH < query->key_count ? first + KEYS_PER_FLUSH : query->key_count;
        for (uint32_t i = first; i < end; i++) {
            ask(query, i);
        }
        PIL_TRY(pil_client_flush(&query->client, error));
        for (uint32_t i = first; i < end; i++) {
            struct pil_bytes rest;
            struct pil_resp_value head;
            PIL_TRY(next_reply(query, &rest, &head, error));
            query->answers[i].there = head.integer > 0;
            query->answers[i].values = json_object();
            PIL_TRY(read_values(query, &query->answers[i], error));
        }
    }
    return PIL_STATUS_OK;
}

/* The server answers null for a feature that a view does not have. Asks about those that no answer has. */
static pil_status check_names(const struct query *query, struct pil_error *error) {
    for (uint32_t n = 0; n < query->names.count && !query->all; n++) {
        bool is_known = false;
        for (uint32_t i = 0; i < query->key_count && !is_known; i++) {
            is_known = !json_is_null(json_object_get(query->answers[i].values, query->names.items[n]));
        }
        if (!is_known) {
            PIL_TRY(pil_served_feature_check(query->invocation->values[PIL_OPTION_SOCKET], query->invocation->args[0],
                                             query->names.items[n], error));
        }
    }
    return PIL_STATUS_OK;
}

static int report(const struct query *query, pil_status status, struct pil_error *error) {
    struct pil_text hint = {0};
    struct pil_error whole;
    if (status == PIL_STATUS_INVALID) { /* the server refused */
        pil_served_view_hint(query->invocation->values[PIL_OPTION_SOCKET], query->invocation->args[0], &hint);
    }
    status = pil_fail(&whole, status, "%s%s", error->text, pil_text_chars(&hint));
    pil_text_deinit(&hint);
    return pil_report_failure(status, &whole);
}

/* ---- Printing */

static void print_json(const struct query *query) {
    for (uint32_t i = 0; i < query->key_count; i++) {
        for (uint32_t n = 0; n < query->names.count; n++) { /* HGETALL leaves out nulls */
            if (json_object_get(query->answers[i].values, query->names.items[n]) == NULL) {
                pil_json_set(&query->answers[i].values, query->names.items[n], json_null());
            }
        }
        pil_report_json(json_incref(query->answers[i].values));
    }
}

static void add_cell(struct pil_table *table, const struct answer *answer, const char *name) {
    const json_t *value = json_object_get(answer->values, name), *hex = json_object_get(value, "hex");
    const json_t *text = hex != NULL ? hex : value;
    struct pil_text cell = {0};
    if (!json_is_string(text)) {
        pil_table_add(table, PIL_STYLE_DIM, answer->there ? "null" : "");
        return;
    }
    pil_text_append_printable(&cell, pil_bytes_from(json_string_value(text), json_string_length(text)), VALUE_COLUMNS);
    pil_table_add(table, PIL_STYLE_PLAIN, pil_report_text(&cell));
    pil_text_deinit(&cell);
}

static void print_table(const struct query *query) {
    struct pil_table table;
    uint32_t missing = 0;
    pil_table_init(&table, query->names.count + 1, 0);
    pil_table_add(&table, PIL_STYLE_BOLD, "KEY");
    for (uint32_t i = 0; i < query->names.count; i++) {
        pil_table_add(&table, PIL_STYLE_BOLD, query->names.items[i]);
    }
    for (uint32_t i = 0; i < query->key_count; i++) {
        const struct answer *answer = &query->answers[i];
        struct pil_text key = {0};
        pil_text_append_printable(&key, pil_bytes_from_text(key_of(query, i)), VALUE_COLUMNS);
        pil_text_format(&key, answer->there ? "" : " (not found)");
        pil_table_add(&table, answer->there ? PIL_STYLE_PLAIN : PIL_STYLE_BAD, pil_report_text(&key));
        for (uint32_t n = 0; n < query->names.count; n++) {
            add_cell(&table, answer, query->names.items[n]);
        }
        missing += !answer->there;
        pil_text_deinit(&key);
    }
    pil_table_print(&table, 0);
    pil_table_deinit(&table);
    if (missing > 0) {
        pil_report_note("%u of %u key%s not found", missing, query->key_count,
                        query->key_count == 1 ? " was" : "s were");
    }
}

static void split_features(struct names *names, const char *text) {
    while (*text != '\0') {
        size_t len = strcspn(text, ",");
        if (len > 0) {
            names_add(names, pil_bytes_from(text, len));
        }
        text += len + (text[len] == ',');
    }
}

int pil_cli_get(const struct pil_invocation *invocation) {
    const char *features = invocation->values[PIL_OPTION_FEATURES];
    struct query query = {.invocation = invocation, .all = features == NULL, .key_count = invocation->arg_count - 1};
    struct pil_error error = {0};
    split_features(&query.names, features != NULL ? features : "");
    if (!query.all && query.names.count == 0) {
        return pil_report_usage("--features: names, separated by commas");
    }
    query.answers = pil_report_need(calloc(query.key_count, sizeof *query.answers));
    pil_status status = pil_client_open(invocation->values[PIL_OPTION_SOCKET], &query.client, &error);
    bool connected = status == PIL_STATUS_OK;
    if (connected) {
        status = fetch(&query, &error);
        pil_client_close(&query.client);
        status = status == PIL_STATUS_OK ? check_names(&query, &error) : status;
    }
    int exit_code = PIL_EXIT_OK;
    if (status != PIL_STATUS_OK) {
        exit_code = status == PIL_STATUS_INVALID && !connected ? pil_report_usage("%s", error.text)
                                                               : report(&query, status, &error);
    } else if (pil_invocation_has(invocation, PIL_OPTION_JSON)) {
        print_json(&query);
    } else {
        print_table(&query);
    }
    for (uint32_t i = 0; i < query.key_count; i++) {
        json_decref(query.answers[i].values);
    }
    free(query.answers);
    names_deinit(&query.names);
    return exit_code;
}
