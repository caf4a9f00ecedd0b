/* SPDX-License-Identifier: Apache-2.0
 * RESP requests and replies; and the raw bytes protocol, with requests and replies of fixed sizes. */
#include "load/load.h"

#include "wire/resp.h"
#include "wire/tensor.h"

static void put_bulk(struct pil_text *text, const char *bulk) {
    pil_text_append(text, "$", 1);
    load_put_u64(text, strlen(bulk));
    pil_text_format(text, "\r\n%s\r\n", bulk);
}

/* PIL.VECTOR64 service blob: the keys follow as one bulk string. */
static void prepare_vector(struct load_plan *plan) {
    pil_text_format(&plan->head, "*3\r\n");
    put_bulk(&plan->head, "PIL.VECTOR64");
    put_bulk(&plan->head, plan->service);
    pil_text_format(&plan->head, "$%u\r\n", plan->entities * 8);
    pil_text_format(&plan->tail, "\r\n");
}

static void resp_prepare(struct load_plan *plan) {
    if (plan->command == LOAD_VECTOR) {
        prepare_vector(plan);
        return;
    }
    static const char *const names[] = {"HMGET", "HGETALL", "GET", "MGET"};
    uint32_t fields = plan->command == LOAD_HMGET ? plan->features : 0;
    pil_text_format(&plan->head, "*%u\r\n", 1 + plan->entities + fields);
    put_bulk(&plan->head, names[plan->command]);
    for (uint32_t i = 0; i < fields; i++) {
        char name[16];
        snprintf(name, sizeof name, "f%u", i);
        put_bulk(&plan->tail, name);
    }
}

static void resp_put(struct load_plan *plan, uint64_t *random, struct pil_text *request) {
    char digits[24];
    size_t prefix_len = strlen(plan->key_prefix);
    pil_text_append(request, plan->head.data, plan->head.len);
    for (uint32_t i = 0; i < plan->entities; i++) {
        uint64_t key = load_key_next(&plan->keys, random);
        if (plan->command == LOAD_VECTOR) {
            pil_text_append(request, &key, sizeof key);
            continue;
        }
        int len = snprintf(digits, sizeof digits, "%llu\r\n", (unsigned long long)key);
        pil_text_append(request, "$", 1);
        load_put_u64(request, prefix_len + (size_t)len - 2);
        pil_text_append(request, "\r\n", 2);
        pil_text_append(request, plan->key_prefix, prefix_len);
        pil_text_append(request, digits, (size_t)len);
    }
    pil_text_append(request, pil_text_chars(&plan->tail), plan->tail.len);
}

static pil_status resp_frame(const struct load_plan *plan, struct pil_bytes input, size_t *ret_len) {
    (void)plan;
    struct pil_resp_reply_cursor cursor = {0};
    return pil_resp_reply_length(&cursor, input, ret_len);
}

static bool next_value(struct pil_bytes *reply, struct pil_resp_value *ret_value) {
    return pil_resp_value_next(reply, ret_value) == PIL_STATUS_OK;
}

/* Checks a packed row: little-endian floats in declared order, then null bits. */
static void check_packed(struct load_check *check, const struct load_plan *plan, uint64_t key,
                         const struct pil_resp_value *value) {
    if (value->kind == PIL_RESP_KIND_NULL) {
        check->is_missing = true;
        return;
    }
    if (value->kind != PIL_RESP_KIND_BULK || value->text.len < plan->features * sizeof(float)) {
        check->is_wrong = true;
        return;
    }
    for (uint32_t f = 0; f < plan->features; f++) {
        load_check_value(check, plan, key, f, pil_load_f32(value->text.data + f * sizeof(float)));
    }
}

static void check_fields(struct load_check *check, const struct load_plan *plan, uint64_t key, int64_t count,
                         struct pil_bytes reply) {
    bool named = plan->command == LOAD_HGETALL;
    if (count == 0 && named) {
        check->is_missing = true;
        return;
    }
    check->is_wrong |= count != (int64_t)plan->features * (named ? 2 : 1);
    for (uint32_t i = 0; i < plan->features && !check->is_wrong; i++) {
        struct pil_resp_value value;
        uint32_t feature = i;
        if (named && !(next_value(&reply, &value) && load_feature_number(plan, value.text, &feature))) {
            check->is_wrong = true;
        } else if (!next_value(&reply, &value)) {
            check->is_wrong = true;
        } else if (value.kind == PIL_RESP_KIND_NULL) {
            check->is_missing = true;
        } else {
            load_check_text(check, plan, key, feature, value.text);
        }
    }
}

static void check_tensor(struct load_check *check, const struct load_plan *plan, uint64_t random,
                         const struct pil_resp_value *value) {
    struct pil_tensor_head head;
    if (value->kind != PIL_RESP_KIND_BULK || pil_tensor_decode(value->text, &head, NULL) != PIL_STATUS_OK ||
        head.rows != plan->entities || head.width != plan->features || head.element_bytes != sizeof(float)) {
        check->is_wrong = true;
        return;
    }
    check->is_missing = head.views[0].not_found > 0;
    const uint8_t *at = value->text.data + head.values_at;
    for (uint32_t i = 0; i < plan->entities && !check->is_missing; i++) {
        uint64_t key = load_key_next(&plan->keys, &random);
        for (uint32_t f = 0; f < plan->features; f++, at += sizeof(float)) {
            load_check_value(check, plan, key, f, pil_load_f32(at));
        }
    }
}

static load_verdict resp_check(const struct load_plan *plan, uint64_t random, struct pil_bytes reply) {
    struct pil_resp_value value;
    if (!next_value(&reply, &value)) {
        return LOAD_REPLY_WRONG;
    }
    if (value.kind == PIL_RESP_KIND_ERROR) {
        return LOAD_REPLY_ERROR;
    }
    if (plan->seed_count == 0) {
        return value.kind == PIL_RESP_KIND_NULL ? LOAD_REPLY_MISSING : LOAD_REPLY_OK;
    }
    struct load_check check = load_check_begin(plan);
    if (plan->command == LOAD_GET) {
        check_packed(&check, plan, load_key_next(&plan->keys, &random), &value);
    } else if (plan->command == LOAD_VECTOR) {
        check_tensor(&check, plan, random, &value);
    } else if (plan->command == LOAD_MGET) {
        check.is_wrong = value.kind != PIL_RESP_KIND_ARRAY || value.integer != plan->entities;
        for (uint32_t i = 0; i < plan->entities && !check.is_wrong; i++) {
            check.is_wrong = !next_value(&reply, &value);
            check_packed(&check, plan, load_key_next(&plan->keys, &random), &value);
        }
    } else {
        check_fields(&check, plan, load_key_next(&plan->keys, &random), value.integer, reply);
    }
    return load_check_end(&check);
}

const struct load_protocol load_protocol_resp = {resp_prepare, resp_put, resp_frame, resp_check};

static void bytes_prepare(struct load_plan *plan) {
    for (uint32_t i = 0; i < plan->request_bytes; i++) {
        pil_text_append(&plan->head, "x", 1);
    }
}

static void bytes_put(struct load_plan *plan, uint64_t *random, struct pil_text *request) {
    (void)random;
    pil_text_append(request, plan->head.data, plan->head.len);
}

static pil_status bytes_frame(const struct load_plan *plan, struct pil_bytes input, size_t *ret_len) {
    if (input.len < plan->reply_bytes) {
        return PIL_STATUS_AGAIN;
    }
    *ret_len = plan->reply_bytes;
    return PIL_STATUS_OK;
}

static load_verdict bytes_check(const struct load_plan *plan, uint64_t random, struct pil_bytes reply) {
    (void)plan;
    (void)random;
    (void)reply;
    return LOAD_REPLY_OK;
}

const struct load_protocol load_protocol_bytes = {bytes_prepare, bytes_put, bytes_frame, bytes_check};
