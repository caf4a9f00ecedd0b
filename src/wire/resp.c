/* SPDX-License-Identifier: Apache-2.0
 * Requests. Replies are in resp_reply.c. */
#include "wire/resp.h"

#include <stdio.h>

const struct pil_resp_limits pil_resp_limits_initial = {.args_max = 10, .bulk_bytes_max = 16384, .inline_bytes_max = 16384, .request_bytes_max = 16384};
const struct pil_resp_limits pil_resp_limits_default = {.args_max = 1 << 20, .bulk_bytes_max = 1 << 20, .inline_bytes_max = 65536, .request_bytes_max = 64 << 20};

enum { LENGTH_LINE_BYTES_MAX = 32 };

static pil_status refuse(struct pil_resp_request *request, pil_status status, const char *text) {
    snprintf(request->error, sizeof request->error, "Protocol error: %s", text);
    return status;
}

/* A line "<sign>digits\r\n" at `at` + 1. AGAIN when its end is not here; INVALID when it is no number. */
static pil_status read_length(struct pil_bytes input, size_t at, int64_t *ret_value, size_t *ret_next) {
    size_t i = at + 1;
    bool negative = i < input.len && input.data[i] == '-';
    int64_t value = 0;
    size_t digits = i += negative;
    for (; i < input.len && input.data[i] >= '0' && input.data[i] <= '9'; i++) {
        if (i - digits >= 18) {
            return PIL_STATUS_INVALID;
        }
        value = value * 10 + (input.data[i] - '0');
    }
    if (i == input.len) {
        return i - at > LENGTH_LINE_BYTES_MAX ? PIL_STATUS_INVALID : PIL_STATUS_AGAIN;
    }
    if (i == digits || input.data[i] != '\r') {
        return PIL_STATUS_INVALID;
    }
    if (i + 1 == input.len) {
        return PIL_STATUS_AGAIN;
    }
    if (input.data[i + 1] != '\n') {
        return PIL_STATUS_INVALID;
    }
    *ret_value = negative ? -value : value;
    *ret_next = i + 2;
    return PIL_STATUS_OK;
}

/* Steps over one bulk string; the cursor remembers each part that is read for good. */
static pil_status scan_bulk(struct pil_resp_cursor *cursor, struct pil_bytes input, const struct pil_resp_limits *limits, struct pil_resp_request *request) {
    if (!cursor->bulk_known) {
        size_t next = 0;
        int64_t len = 0;
        if (cursor->at == input.len) {
            return PIL_STATUS_AGAIN;
        }
        if (input.data[cursor->at] != '$') {
            uint8_t c = input.data[cursor->at];
            char text[32];
            snprintf(text, sizeof text, "expected '$', got '%c'", c >= 0x20 && c < 0x7f ? c : '?');
            return refuse(request, PIL_STATUS_INVALID, text);
        }
        pil_status status = read_length(input, cursor->at, &len, &next);
        if (status == PIL_STATUS_AGAIN) {
            return status;
        }
        if (status != PIL_STATUS_OK || len < 0) {
            return refuse(request, PIL_STATUS_INVALID, "invalid bulk length");
        }
        if (len > limits->bulk_bytes_max) {
            return refuse(request, PIL_STATUS_TOO_LARGE, "invalid bulk length");
        }
        cursor->at = next;
        cursor->bulk_bytes = len;
        cursor->bulk_known = true;
    }
    size_t len = (size_t)cursor->bulk_bytes;
    if (cursor->at + len + 2 > limits->request_bytes_max) {
        return refuse(request, PIL_STATUS_TOO_LARGE, "too big request");
    }
    if (input.len - cursor->at < len + 2) {
        return PIL_STATUS_AGAIN;
    }
    if (input.data[cursor->at + len] != '\r' || input.data[cursor->at + len + 1] != '\n') {
        return refuse(request, PIL_STATUS_INVALID, "bulk string without CRLF");
    }
    cursor->at += len + 2;
    cursor->bulk_known = false;
    cursor->args_done++;
    return PIL_STATUS_OK;
}

/* The request is known to be whole and well-formed: points the arguments into it. */
static void take_args(struct pil_bytes input, struct pil_resp_request *request, uint32_t count) {
    size_t at = 0;
    int64_t len = 0;
    if (read_length(input, 0, &len, &at) != PIL_STATUS_OK) {
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        size_t next = 0;
        if (read_length(input, at, &len, &next) != PIL_STATUS_OK) {
            return;
        }
        request->args[i] = pil_bytes_from(input.data + next, (size_t)len);
        at = next + (size_t)len + 2;
    }
}

static pil_status decode_array(struct pil_resp_cursor *cursor, struct pil_bytes input, const struct pil_resp_limits *limits, struct pil_resp_request *request) {
    if (cursor->args_total == 0) {
        int64_t count = 0;
        size_t next = 0;
        pil_status status = read_length(input, 0, &count, &next);
        if (status == PIL_STATUS_AGAIN) {
            return status;
        }
        if (status != PIL_STATUS_OK) {
            return refuse(request, PIL_STATUS_INVALID, "invalid multibulk length");
        }
        if (count > limits->args_max) {
            return refuse(request, PIL_STATUS_TOO_LARGE, "invalid multibulk length");
        }
        if (count <= 0) { /* Redis skips these, too */
            request->arg_count = 0;
            request->consumed = next;
            *cursor = (struct pil_resp_cursor){0};
            return PIL_STATUS_OK;
        }
        cursor->args_total = (uint32_t)count;
        cursor->at = next;
    }
    while (cursor->args_done < cursor->args_total) {
        PIL_TRY(scan_bulk(cursor, input, limits, request));
    }
    take_args(input, request, cursor->args_total);
    request->arg_count = cursor->args_total;
    request->consumed = cursor->at;
    *cursor = (struct pil_resp_cursor){0};
    return PIL_STATUS_OK;
}

/* ---- Inline commands: a line of words, with the quoting of Redis's sdssplitargs. */

static bool is_space(uint8_t c) {
    return c == ' ' || (c >= '\t' && c <= '\r') || c == '\0';
}

static int hex_value(uint8_t c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* One character behind a backslash in double quotes; moves *at behind it. */
static uint8_t unescape(struct pil_bytes line, size_t *at) {
    uint8_t c = line.data[*at];
    if (c == 'x' && *at + 2 < line.len && hex_value(line.data[*at + 1]) >= 0 && hex_value(line.data[*at + 2]) >= 0) {
        uint8_t value = (uint8_t)(hex_value(line.data[*at + 1]) << 4 | hex_value(line.data[*at + 2]));
        *at += 3;
        return value;
    }
    ++*at;
    return c == 'n' ? '\n' : c == 'r' ? '\r' : c == 't' ? '\t' : c == 'b' ? '\b' : c == 'a' ? '\a' : c;
}

/* A quoted part from its opening quote; false when it does not end, or when more than white space follows. */
static bool take_quoted(struct pil_bytes line, size_t *at, uint8_t *to, size_t *used) {
    uint8_t quote = line.data[(*at)++];
    while (*at < line.len && line.data[*at] != quote) {
        if (line.data[*at] == '\\' && *at + 1 < line.len && (quote == '"' || line.data[*at + 1] == '\'')) {
            ++*at;
            to[(*used)++] = quote == '"' ? unescape(line, at) : line.data[(*at)++];
        } else {
            to[(*used)++] = line.data[(*at)++];
        }
    }
    if (*at == line.len) {
        return false;
    }
    ++*at;
    return *at == line.len || is_space(line.data[*at]);
}

static pil_status split_line(struct pil_bytes line, const struct pil_resp_limits *limits, struct pil_resp_request *request) {
    size_t used = 0;
    request->arg_count = 0;
    for (size_t at = 0;;) {
        while (at < line.len && is_space(line.data[at])) {
            at++;
        }
        if (at == line.len) {
            return PIL_STATUS_OK;
        }
        if (request->arg_count == limits->args_max) {
            return refuse(request, PIL_STATUS_TOO_LARGE, "too many arguments in inline request");
        }
        size_t begin = used;
        while (at < line.len && !is_space(line.data[at])) {
            if (line.data[at] != '"' && line.data[at] != '\'') {
                request->scratch[used++] = line.data[at++];
            } else if (!take_quoted(line, &at, request->scratch, &used)) {
                return refuse(request, PIL_STATUS_INVALID, "unbalanced quotes in request");
            }
        }
        request->args[request->arg_count++] = pil_bytes_from(request->scratch + begin, used - begin);
    }
}

static pil_status decode_inline(struct pil_resp_cursor *cursor, struct pil_bytes input, const struct pil_resp_limits *limits, struct pil_resp_request *request) {
    const uint8_t *newline = memchr(input.data + cursor->at, '\n', input.len - cursor->at);
    size_t len = newline != NULL ? (size_t)(newline - input.data) : input.len;
    if (len > limits->inline_bytes_max) {
        return refuse(request, PIL_STATUS_TOO_LARGE, "too big inline request");
    }
    if (newline == NULL) {
        cursor->at = input.len;
        return PIL_STATUS_AGAIN;
    }
    struct pil_bytes line = pil_bytes_from(input.data, len - (len > 0 && input.data[len - 1] == '\r'));
    *cursor = (struct pil_resp_cursor){0};
    request->consumed = len + 1;
    return split_line(line, limits, request);
}

pil_status pil_resp_decode(struct pil_resp_cursor *cursor, struct pil_bytes input, const struct pil_resp_limits *limits, struct pil_resp_request *request) {
    if (input.len == 0) {
        return PIL_STATUS_AGAIN;
    }
    return input.data[0] == '*' ? decode_array(cursor, input, limits, request) : decode_inline(cursor, input, limits, request);
}
