/* SPDX-License-Identifier: Apache-2.0
 * Feast's HTTP API: POST /get-online-features, and its column-oriented answer. */
#include "load/load.h"

#include "wire/http.h"
#include "base/json.h"

#include <stdlib.h>

static const struct pil_http_limits limits = {.head_bytes_max = 32768, .fields_max = 100, .body_bytes_max = 256 << 20};

/* head: the request up to the list of keys; tail: the rest. */
static void feast_prepare(struct load_plan *plan) {
    pil_text_format(&plan->head, "{\"entities\":{\"%s\":[", plan->join_key);
    if (plan->service != NULL) {
        pil_text_format(&plan->tail, "]},\"feature_service\":\"%s\"}", plan->service);
        return;
    }
    pil_text_format(&plan->tail, "]},\"features\":[");
    for (uint32_t i = 0; i < plan->features; i++) {
        pil_text_format(&plan->tail, "%s\"%s:f%u\"", i > 0 ? "," : "", plan->view, i);
    }
    pil_text_format(&plan->tail, "]}");
}

static void feast_put(struct load_plan *plan, uint64_t *random, struct pil_text *request) {
    struct pil_text body = {0};
    pil_text_append(&body, plan->head.data, plan->head.len);
    for (uint32_t i = 0; i < plan->entities; i++) {
        if (i > 0) {
            pil_text_append(&body, ",", 1);
        }
        load_put_u64(&body, load_key_next(&plan->keys, random));
    }
    pil_text_append(&body, plan->tail.data, plan->tail.len);
    pil_text_format(
        request, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
        plan->path, body.len);
    pil_text_append(request, body.data, body.len);
    pil_text_deinit(&body);
}

static pil_status feast_frame(const struct load_plan *plan, struct pil_bytes input, size_t *ret_len) {
    (void)plan;
    struct pil_http_response response;
    PIL_TRY(pil_http_decode_response(input, &limits, &response));
    *ret_len = response.consumed;
    return PIL_STATUS_OK;
}

/* Finds a member of the object at the start of `object`; *ret_raw is its text. */
static bool find_member(struct pil_bytes object, const char *wanted, struct pil_bytes *ret_raw) {
    struct pil_json json;
    struct pil_bytes name, raw;
    bool first = true, more = false;
    pil_json_init(&json, object, NULL, 0);
    if (pil_json_enter(&json, PIL_JSON_OBJECT) != PIL_STATUS_OK) {
        return false;
    }
    while (pil_json_next_member(&json, &first, &name, &more) == PIL_STATUS_OK && more &&
           pil_json_skip(&json, &raw) == PIL_STATUS_OK) {
        if (pil_bytes_equal_text(name, wanted)) {
            *ret_raw = raw;
            return true;
        }
    }
    return false;
}

/* Checks one list of a column: numbers (values) or words (statuses). */
static void check_list(struct load_check *check, const struct load_plan *plan, uint64_t random, struct pil_json *json,
                       int64_t feature) {
    bool first = true, more = false;
    uint32_t count = 0;
    check->is_wrong |= pil_json_enter(json, PIL_JSON_ARRAY) != PIL_STATUS_OK;
    while (!check->is_wrong) {
        struct pil_json_number number;
        check->is_wrong |= pil_json_next_element(json, &first, &more) != PIL_STATUS_OK;
        if (!more || check->is_wrong) {
            break;
        }
        count++;
        uint64_t key = load_key_next(&plan->keys, &random);
        struct pil_bytes raw;
        if (pil_json_peek(json) == PIL_JSON_NULL) {
            check->is_missing = true;
            check->is_wrong |= pil_json_skip(json, &raw) != PIL_STATUS_OK;
        } else if (pil_json_read_number(json, &number) != PIL_STATUS_OK) {
            check->is_wrong = true;
        } else if (feature >= 0) {
            load_check_text(check, plan, key, (uint32_t)feature, number.text);
        } else {
            check->is_wrong |= !number.is_integral || number.integer != (int64_t)key;
        }
    }
    check->is_wrong |= count != plan->entities;
}

/* Checks {"values":[…],"statuses":[…],"event_timestamps":[…]}; feature -1 is the column of the join key. */
static void check_column(struct load_check *check, const struct load_plan *plan, uint64_t random, struct pil_json *json,
                         int64_t feature) {
    bool first = true, more = false, has_values = false;
    struct pil_bytes name, raw;
    check->is_wrong |= pil_json_enter(json, PIL_JSON_OBJECT) != PIL_STATUS_OK;
    while (!check->is_wrong) {
        check->is_wrong |= pil_json_next_member(json, &first, &name, &more) != PIL_STATUS_OK;
        if (!more || check->is_wrong) {
            break;
        }
        if (pil_bytes_equal_text(name, "values")) {
            has_values = true;
            check_list(check, plan, random, json, feature);
        } else {
            check->is_wrong |= pil_json_skip(json, &raw) != PIL_STATUS_OK;
        }
    }
    check->is_wrong |= !has_values;
}

static void check_columns(struct load_check *check, const struct load_plan *plan, uint64_t random,
                          struct pil_bytes results_text, struct pil_bytes names_text) {
    struct pil_json results, names;
    bool first_result = true, first_name = true, more_results = false, more_names = false;
    uint32_t features = 0;
    pil_json_init(&results, results_text, NULL, 0);
    pil_json_init(&names, names_text, NULL, 0);
    check->is_wrong |= pil_json_enter(&results, PIL_JSON_ARRAY) != PIL_STATUS_OK ||
                       pil_json_enter(&names, PIL_JSON_ARRAY) != PIL_STATUS_OK;
    while (!check->is_wrong) {
        struct pil_bytes name;
        uint32_t feature = 0;
        check->is_wrong |= pil_json_next_element(&results, &first_result, &more_results) != PIL_STATUS_OK ||
                           pil_json_next_element(&names, &first_name, &more_names) != PIL_STATUS_OK ||
                           more_results != more_names;
        if (!more_results || check->is_wrong) {
            break;
        }
        if (pil_json_read_string(&names, &name) != PIL_STATUS_OK) {
            check->is_wrong = true;
        } else if (pil_bytes_equal_text(name, plan->join_key)) {
            check_column(check, plan, random, &results, -1);
        } else if (load_feature_number(plan, name, &feature)) {
            features++;
            check_column(check, plan, random, &results, feature);
        } else {
            check->is_wrong = true;
        }
    }
    check->is_wrong |= features != plan->features;
}

static load_verdict feast_check(const struct load_plan *plan, uint64_t random, struct pil_bytes reply) {
    struct pil_http_response response;
    if (pil_http_decode_response(reply, &limits, &response) != PIL_STATUS_OK || response.status != 200) {
        return LOAD_REPLY_ERROR;
    }
    if (plan->seed_count == 0) {
        return LOAD_REPLY_OK;
    }
    struct load_check check = load_check_begin(plan);
    struct pil_bytes results, metadata, names;
    if (!find_member(response.body, "results", &results) || !find_member(response.body, "metadata", &metadata) ||
        !find_member(metadata, "feature_names", &names)) {
        return LOAD_REPLY_WRONG;
    }
    check_columns(&check, plan, random, results, names);
    return load_check_end(&check);
}

const struct load_protocol load_protocol_feast = {feast_prepare, feast_put, feast_frame, feast_check};

const struct load_protocol *load_protocol_of(load_command command) {
    switch (command) {
    case LOAD_HMGET:
    case LOAD_HGETALL:
    case LOAD_GET:
    case LOAD_MGET:
    case LOAD_VECTOR: return &load_protocol_resp;
    case LOAD_FEAST: return &load_protocol_feast;
    case LOAD_BYTES: return &load_protocol_bytes;
    }
    abort();
}
