/* SPDX-License-Identifier: Apache-2.0
 * What a peer may expect of the bytes that it got: as many answers as requests, in their order, each well formed, each
 * from one release of a view. Requests are decoded again here, from all that the peer has sent. */
#pragma once

#include "fuzz/turn_world.h"

#include "base/json.h"
#include "wire/http.h"
#include "wire/resp.h"

/* ---- Which releases values are of. */

struct origins {
    uint32_t variants[WORLD_VIEWS]; /* one bit each */
};

static void note_number(struct origins *origins, double number) {
    double offset = number - WORLD_NUMBER;
    if (!(offset >= 0 && offset < WORLD_VARIANTS * 1000) || offset != (double)(uint32_t)offset) {
        return;
    }
    uint32_t view = (uint32_t)offset / 100 % 10, feature = (uint32_t)offset % 100;
    if (view < WORLD_VIEWS && feature < 5) {
        origins->variants[view] |= 1u << (uint32_t)offset / 1000;
    }
}

/* Numbers of seven digits. */
static void note_text(struct origins *origins, struct pil_bytes text) {
    uint64_t number = 0;
    size_t digits = 0;
    for (size_t i = 0; i <= text.len; i++) {
        bool is_digit = i < text.len && text.data[i] >= '0' && text.data[i] <= '9';
        if (is_digit) {
            number = digits < 8 ? number * 10 + (uint64_t)(text.data[i] - '0') : 0;
            digits++;
            continue;
        }
        if (digits == 7) {
            note_number(origins, (double)number);
        }
        number = digits = 0;
    }
}

/* Numbers as they lie in memory. */
static void note_binary(struct origins *origins, struct pil_bytes bytes, size_t step) {
    for (size_t i = 0; i + 4 <= bytes.len; i += step) {
        note_number(origins, (double)pil_load_f32(bytes.data + i));
        note_number(origins, pil_load_i32(bytes.data + i));
        if (i + 8 <= bytes.len) {
            note_number(origins, pil_load_f64(bytes.data + i));
        }
    }
}

/* A float32 or float64 in a Value of Feast's Redis layout. */
static void note_feast_value(struct origins *origins, struct pil_bytes value) {
    if (value.len == 5 && value.data[0] == 0x35) {
        note_number(origins, (double)pil_load_f32(value.data + 1));
    } else if (value.len == 9 && value.data[0] == 0x29) {
        note_number(origins, pil_load_f64(value.data + 1));
    }
}

static bool has_origin(const struct origins *origins) {
    return (origins->variants[0] | origins->variants[1]) != 0;
}

/* Values tell their release unless requests hold such numbers themselves, which answers may repeat. */
static bool values_have_origins(struct pil_bytes input) {
    struct origins origins = {0};
    note_text(&origins, input);
    note_binary(&origins, input, 1);
    return !has_origin(&origins);
}

static void check_one_release(const struct origins *origins) {
    for (uint32_t view = 0; view < WORLD_VIEWS; view++) {
        PIL_ASSERT((origins->variants[view] & (origins->variants[view] - 1)) == 0);
    }
}

static void check_one_moment(const struct origins *origins) {
    bool was_live = world.is_forgetful;
    for (uint32_t i = 0; i < world.moment_count && !was_live; i++) {
        was_live = true;
        for (uint32_t view = 0; view < WORLD_VIEWS; view++) {
            int8_t variant = world.moments[i][view];
            was_live = was_live && (origins->variants[view] == 0 ||
                                    (variant >= 0 && origins->variants[view] == 1u << (uint32_t)variant));
        }
    }
    PIL_ASSERT(was_live);
}

/* ---- The answers of one connection. */

struct answers {
    const struct world_peer *peer;
    struct pil_bytes in, out; /* what is not looked at yet */
    bool has_origins;         /* values tell their release: no request holds such numbers itself */
    bool is_repeatable;       /* no answer depends on when it was given */
    struct pil_text lasting;  /* the answers, without those that only say "go on" */
};

/* All that was sent was read and answered, or a request said that it is the last. */
static bool is_whole(const struct world_peer *peer) {
    return !peer->is_cut && !peer->is_reset && (peer->reason == PIL_CLOSE_PEER || peer->reason == PIL_CLOSE_QUIT);
}

static void skip(struct pil_bytes *bytes, size_t len) {
    *bytes = pil_bytes_from(bytes->data + len, bytes->len - len);
}

static void check_json(struct pil_bytes text) {
    struct pil_json json;
    struct pil_bytes raw;
    uint8_t *scratch = fixture_alloc(text.len);
    pil_json_init(&json, text, scratch, text.len);
    PIL_ASSERT(pil_json_skip(&json, &raw) == PIL_STATUS_OK && pil_json_finish(&json) == PIL_STATUS_OK);
    free(scratch);
}

/* One request: RESP's or HTTP's. */
struct question {
    struct pil_resp_request resp;
    struct pil_http_request http;
    bool is_bad;  /* these bytes are no request: an error, and the end */
    bool is_over; /* a limit of RESP: an error, and the connection goes on */
    bool is_last; /* the connection ends behind it */
};

/* ---- RESP. */

/* false: there is no whole one left. */
static bool next_command(struct answers *answers, struct question *ret_question) {
    enum { ARGS_MAX = 32768, INLINE_MAX = 65536 };
    static struct pil_bytes args[ARGS_MAX];
    static uint8_t scratch[INLINE_MAX];
    const struct pil_limits *worlds = &world.settings.limits;
    struct pil_resp_limits limits = {.args_max = worlds->arguments_max,
                                     .bulk_bytes_max = worlds->request_bytes_max,
                                     .inline_bytes_max = INLINE_MAX,
                                     .request_bytes_max = worlds->request_bytes_max};
    PIL_ASSERT(limits.args_max <= ARGS_MAX);
    for (pil_status status = PIL_STATUS_OK; status == PIL_STATUS_OK && answers->in.len > 0;) {
        struct pil_resp_cursor cursor = {0};
        *ret_question = (struct question){.resp = {.args = args, .scratch = scratch}};
        status = pil_resp_decode(&cursor, answers->in, &limits, &ret_question->resp);
        if (cursor.excess != PIL_RESP_EXCESS_NONE) {
            status = pil_resp_skip(&cursor, answers->in, &ret_question->resp, &ret_question->resp.consumed);
            ret_question->is_over = status == PIL_STATUS_OK;
        }
        ret_question->is_bad = status != PIL_STATUS_OK;
        if (status == PIL_STATUS_OK) {
            skip(&answers->in, ret_question->resp.consumed);
        }
        if (status != PIL_STATUS_AGAIN &&
            (ret_question->is_bad || ret_question->is_over || ret_question->resp.arg_count > 0)) {
            ret_question->is_last =
                ret_question->is_bad || (!ret_question->is_over && pil_bytes_equal_nocase(args[0], "quit"));
            return true;
        }
    }
    return false;
}

/* The next reply or push. false: it has not come. */
static bool take_message(struct answers *answers, struct pil_bytes *ret_reply) {
    struct pil_resp_reply_cursor cursor = {0};
    size_t len = 0;
    pil_status status = pil_resp_reply_length(&cursor, answers->out, &len);
    if (status == PIL_STATUS_AGAIN) {
        return false;
    }
    PIL_ASSERT(status == PIL_STATUS_OK);
    *ret_reply = pil_bytes_from(answers->out.data, len);
    pil_text_append(&answers->lasting, answers->out.data, len);
    skip(&answers->out, len);
    return true;
}

static void skip_pushes(struct answers *answers) {
    static const char forget[] = ">2\r\n$10\r\ninvalidate\r\n_\r\n";
    struct pil_bytes push;
    while (answers->out.len > 0 && answers->out.data[0] == '>' && take_message(answers, &push)) {
        PIL_ASSERT(pil_bytes_equal_text(push, forget));
    }
}

/* false: it has not come. */
static bool take_reply(struct answers *answers, struct pil_bytes *ret_reply) {
    skip_pushes(answers);
    return take_message(answers, ret_reply);
}

static bool is_one_of(struct pil_bytes word, const char *const *names) {
    for (; *names != NULL; names++) {
        if (pil_bytes_equal_nocase(word, *names)) {
            return true;
        }
    }
    return false;
}

static void check_values(const struct answers *answers, struct pil_bytes reply, bool is_exec) {
    struct origins origins = {0};
    struct pil_resp_value value;
    while (reply.len > 0) {
        PIL_ASSERT(pil_resp_value_next(&reply, &value) == PIL_STATUS_OK);
        if (value.kind == PIL_RESP_KIND_BULK || value.kind == PIL_RESP_KIND_DOUBLE) {
            note_text(&origins, value.text);
            note_binary(&origins, value.text, 4);
            note_feast_value(&origins, value.text);
        }
    }
    if (answers->has_origins) {
        check_one_release(&origins);
    }
    if (answers->has_origins && is_exec) {
        check_one_moment(&origins);
    }
}

static void check_command(struct answers *answers, const struct question *question, struct pil_bytes reply,
                          bool *is_open) {
    static const char *const about_now[] = {"client", "hello", "info", "latency", "slowlog", NULL};
    static const char *const ends[] = {"exec", "discard", "reset", NULL};
    bool is_refused = question->is_bad || question->is_over;
    struct pil_bytes name = is_refused ? (struct pil_bytes){0} : question->resp.args[0];
    bool is_error = reply.data[0] == '-';
    PIL_ASSERT(is_error || !is_refused);
    check_values(answers, reply, pil_bytes_equal_nocase(name, "exec"));
    answers->is_repeatable = answers->is_repeatable && !is_one_of(name, about_now);
    if (pil_bytes_equal_nocase(name, "echo") && question->resp.arg_count == 2 && !*is_open) {
        struct pil_resp_value value;
        PIL_ASSERT(pil_resp_value_next(&reply, &value) == PIL_STATUS_OK && value.kind == PIL_RESP_KIND_BULK);
        PIL_ASSERT(pil_bytes_equal(value.text, question->resp.args[1]));
    }
    bool is_end = is_one_of(name, ends) && question->resp.arg_count == 1; /* else it is refused, and nothing ends */
    *is_open = (*is_open && !is_end) || (!is_error && pil_bytes_equal_nocase(name, "multi"));
}

static void check_commands(struct answers *answers) {
    struct question question = {0};
    struct pil_bytes reply;
    bool is_open = false;
    while (!question.is_last && next_command(answers, &question)) {
        if (!take_reply(answers, &reply)) {
            PIL_ASSERT(!is_whole(answers->peer));
            return;
        }
        check_command(answers, &question, reply, &is_open);
    }
    /* Our limits for a request that never became whole may be wider than the worker's. */
    bool is_refused = answers->peer->reason == PIL_CLOSE_PROTOCOL || answers->peer->reason == PIL_CLOSE_REQUEST_BYTES;
    if (is_refused && !question.is_last && take_reply(answers, &reply)) {
        PIL_ASSERT(reply.data[0] == '-');
    }
    skip_pushes(answers);
    PIL_ASSERT(answers->out.len == 0);
}

/* ---- HTTP. */

static bool next_http(struct answers *answers, struct question *ret_question) {
    struct pil_http_cursor cursor = {0};
    struct pil_http_limits limits = pil_http_limits_default;
    limits.body_bytes_max = world.settings.limits.request_bytes_max;
    *ret_question = (struct question){0};
    pil_status status = pil_http_decode(&cursor, answers->in, &limits, &ret_question->http);
    if (status == PIL_STATUS_AGAIN) {
        return false;
    }
    ret_question->is_bad = status != PIL_STATUS_OK;
    ret_question->is_last = ret_question->is_bad || !ret_question->http.keep_alive;
    skip(&answers->in, ret_question->is_bad ? answers->in.len : ret_question->http.consumed);
    return true;
}

/* The answer to HEAD is a head without a length, which the decoder of whole responses refuses. */
static bool take_head(struct answers *answers, struct pil_http_response *ret_response) {
    static const char interim[] = "HTTP/1.1 100 Continue\r\n\r\n";
    if (answers->out.len >= sizeof interim - 1 && memcmp(answers->out.data, interim, sizeof interim - 1) == 0) {
        skip(&answers->out, sizeof interim - 1);
    }
    struct pil_bytes out = answers->out, field;
    const uint8_t *first = out.len > 0 ? memmem(out.data, out.len, "\r\n", 2) : NULL;
    const uint8_t *end = out.len > 0 ? memmem(out.data, out.len, "\r\n\r\n", 4) : NULL;
    if (end == NULL) {
        return false;
    }
    PIL_ASSERT(memcmp(out.data, "HTTP/1.1 ", 9) == 0);
    *ret_response = (struct pil_http_response){.status = (int)strtol((const char *)out.data + 9, NULL, 10),
                                               .fields = pil_bytes_from(first + 2, (size_t)(end - first)),
                                               .body = pil_bytes_from(end, 0),
                                               .consumed = (size_t)(end - out.data) + 4};
    ret_response->keep_alive =
        !pil_http_field(ret_response->fields, "connection", &field) || !pil_bytes_equal_text(field, "close");
    PIL_ASSERT(!pil_http_field(ret_response->fields, "content-length", &field));
    skip(&answers->out, ret_response->consumed);
    pil_text_append(&answers->lasting, out.data, ret_response->consumed);
    return true;
}

/* The next response, and before it "100 Continue" once at most. false: it has not come. */
static bool take_response(struct answers *answers, struct pil_http_response *ret_response) {
    struct pil_http_limits limits = pil_http_limits_default;
    limits.body_bytes_max = SIZE_MAX / 2;
    for (bool is_first = true;; is_first = false) {
        pil_status status = pil_http_decode_response(answers->out, &limits, ret_response);
        if (status == PIL_STATUS_AGAIN) {
            return false;
        }
        PIL_ASSERT(status == PIL_STATUS_OK);
        skip(&answers->out, ret_response->consumed);
        if (ret_response->status >= 200) {
            pil_text_append(&answers->lasting, answers->out.data - ret_response->consumed, ret_response->consumed);
            return true;
        }
        PIL_ASSERT(is_first && ret_response->status == 100);
    }
}

static void check_response(struct answers *answers, const struct question *question,
                           const struct pil_http_response *response) {
    struct origins origins = {0};
    struct pil_bytes field, json = response->body;
    bool is_binary = pil_http_field(response->fields, "inference-header-content-length", &field);
    PIL_ASSERT(response->status == 200 || response->status >= 400);
    PIL_ASSERT(!question->is_bad || response->status == question->http.error_status);
    PIL_ASSERT(question->is_last == !response->keep_alive);
    if (is_binary) {
        json.len = strtoul((const char *)field.data, NULL, 10);
        PIL_ASSERT(json.len <= response->body.len);
    }
    bool is_json =
        pil_http_field(response->fields, "content-type", &field) && pil_bytes_equal_text(field, "application/json");
    if ((is_json || is_binary) && response->body.len > 0) {
        check_json(json);
    }
    if (answers->has_origins && response->status == 200) {
        note_text(&origins, json);
        if (response->body.len > json.len) { /* the answer to HEAD has no bytes at all */
            note_binary(&origins, pil_bytes_from(json.data + json.len, response->body.len - json.len), 1);
        }
        check_one_release(&origins);
    }
}

static void check_http(struct answers *answers) {
    struct question question = {0};
    struct pil_http_response response;
    while (!question.is_last && answers->in.len > 0 && next_http(answers, &question)) {
        bool is_head = !question.is_bad && question.http.method == PIL_HTTP_METHOD_HEAD;
        if (is_head ? !take_head(answers, &response) : !take_response(answers, &response)) {
            PIL_ASSERT(!is_whole(answers->peer));
            return;
        }
        check_response(answers, &question, &response);
    }
    /* "100 Continue" for a request that never came. */
    PIL_ASSERT(answers->out.len == 0 || (!take_response(answers, &response) && answers->out.len == 0));
}

/* Why a connection was closed, where it is not for what came over it. */
static void check_reason(const struct answers *answers) {
    const struct world_peer *peer = answers->peer;
    PIL_ASSERT(peer->reason != PIL_CLOSE_STALL || peer->is_cut);
    PIL_ASSERT(peer->reason != PIL_CLOSE_REQUEST_TIMEOUT || answers->in.len > 0);
    PIL_ASSERT(peer->reason != PIL_CLOSE_IDLE && peer->reason != PIL_CLOSE_DRAIN);
}

/* Checks all answers of a peer whose connection has ended. */
static void check_answers(struct answers *answers, const struct world_peer *peer, bool has_origins) {
    *answers = (struct answers){.peer = peer,
                                .in = pil_bytes_from(peer->in.data, peer->in_at),
                                .out = pil_text_bytes(&peer->out),
                                .has_origins = has_origins,
                                .is_repeatable = is_whole(peer)};
    if (peer->protocol == PIL_PROTOCOL_RESP) {
        check_commands(answers);
    } else {
        check_http(answers);
    }
    check_reason(answers);
}
