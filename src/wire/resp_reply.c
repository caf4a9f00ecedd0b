/* SPDX-License-Identifier: Apache-2.0
 * Replies of RESP2 and RESP3 into values, for clients. Aggregates are not built as trees: a header says how many values
 * follow, so counting finds the end of a reply of any depth. */
#include "wire/resp.h"

enum {
    LINE_BYTES_MAX = 64 << 10, /* no server sends a longer line */
};
static const int64_t values_max = INT64_C(1) << 31;
static const int64_t bulk_bytes_max = INT64_C(512) << 20; /* as Redis's proto-max-bulk-len */

static bool parse_integer(struct pil_bytes text, int64_t *ret_value) {
    bool is_negative = text.len > 0 && text.data[0] == '-';
    size_t i = text.len > 0 && (is_negative || text.data[0] == '+') ? 1 : 0;
    if (i == text.len) {
        return false;
    }
    int64_t value = 0;
    for (; i < text.len; i++) {
        int digit = text.data[i] - '0';
        if (digit < 0 || digit > 9 || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_sub_overflow(value, digit, &value)) { /* accumulates the negative value, because INT64_MIN has no
                                                             * positive counterpart */
            return false;
        }
    }
    if (!is_negative && value == INT64_MIN) {
        return false;
    }
    *ret_value = is_negative ? value : -value;
    return true;
}

/* The line at the front of the input without its type byte and CRLF. */
static pil_status read_line(struct pil_bytes input, struct pil_bytes *ret_line, size_t *ret_taken) {
    size_t window = input.len < LINE_BYTES_MAX ? input.len : LINE_BYTES_MAX;
    const uint8_t *newline = memchr(input.data, '\n', window);
    if (newline == NULL) {
        return window == LINE_BYTES_MAX ? PIL_STATUS_INVALID : PIL_STATUS_AGAIN;
    }
    size_t len = (size_t)(newline - input.data);
    if (len < 2 || input.data[len - 1] != '\r') {
        return PIL_STATUS_INVALID;
    }
    *ret_line = pil_bytes_from(input.data + 1, len - 2);
    *ret_taken = len + 1;
    return PIL_STATUS_OK;
}

/* Bulk and verbatim strings: *taken is the length of the header on entry; a verbatim string begins with "txt:". */
static pil_status read_bulk(struct pil_bytes input, struct pil_bytes line, size_t *taken,
                            struct pil_resp_value *value) {
    bool is_verbatim = input.data[0] == '=';
    int64_t bytes;
    if (!parse_integer(line, &bytes) || bytes < -1 || bytes > bulk_bytes_max || (is_verbatim && bytes < 4)) {
        return PIL_STATUS_INVALID;
    }
    if (bytes == -1) {
        value->kind = PIL_RESP_KIND_NULL;
        return PIL_STATUS_OK;
    }
    size_t len = (size_t)bytes;
    if (input.len - *taken < len + 2) {
        return PIL_STATUS_AGAIN;
    }
    const uint8_t *data = input.data + *taken;
    if (data[len] != '\r' || data[len + 1] != '\n') {
        return PIL_STATUS_INVALID;
    }
    size_t prefix = is_verbatim ? 4 : 0;
    value->kind = PIL_RESP_KIND_BULK;
    value->text = pil_bytes_from(data + prefix, len - prefix);
    *taken += len + 2;
    return PIL_STATUS_OK;
}

static pil_status read_aggregate(struct pil_bytes line, pil_resp_kind kind, struct pil_resp_value *value) {
    int64_t count;
    if (!parse_integer(line, &count) || count < -1 || count > values_max) {
        return PIL_STATUS_INVALID;
    }
    value->kind = count < 0 ? PIL_RESP_KIND_NULL : kind;
    value->integer = count < 0 ? 0 : kind == PIL_RESP_KIND_MAP ? count * 2 : count;
    return PIL_STATUS_OK;
}

static pil_status read_value(struct pil_bytes input, struct pil_bytes line, size_t *taken,
                             struct pil_resp_value *value) {
    value->text = line;
    switch (input.data[0]) {
    case '+': value->kind = PIL_RESP_KIND_SIMPLE; return PIL_STATUS_OK;
    case '-': value->kind = PIL_RESP_KIND_ERROR; return PIL_STATUS_OK;
    case ':':
        value->kind = PIL_RESP_KIND_INTEGER;
        return parse_integer(line, &value->integer) ? PIL_STATUS_OK : PIL_STATUS_INVALID;
    case '$':
    case '=': return read_bulk(input, line, taken, value);
    case '_': value->kind = PIL_RESP_KIND_NULL; return line.len == 0 ? PIL_STATUS_OK : PIL_STATUS_INVALID;
    case '#':
        value->kind = PIL_RESP_KIND_BOOLEAN;
        value->integer = pil_bytes_equal_text(line, "t");
        return line.len == 1 && (line.data[0] == 't' || line.data[0] == 'f') ? PIL_STATUS_OK : PIL_STATUS_INVALID;
    case ',':
    case '(': value->kind = PIL_RESP_KIND_DOUBLE; return line.len > 0 ? PIL_STATUS_OK : PIL_STATUS_INVALID;
    case '*':
    case '>': return read_aggregate(line, PIL_RESP_KIND_ARRAY, value);
    case '~': return read_aggregate(line, PIL_RESP_KIND_SET, value);
    case '%': return read_aggregate(line, PIL_RESP_KIND_MAP, value);
    }
    return PIL_STATUS_INVALID;
}

pil_status pil_resp_value_next(struct pil_bytes *input, struct pil_resp_value *ret_value) {
    struct pil_bytes line;
    size_t taken;
    struct pil_resp_value value = {0};
    if (input->len == 0) {
        return PIL_STATUS_AGAIN;
    }
    PIL_TRY(read_line(*input, &line, &taken));
    PIL_TRY(read_value(*input, line, &taken, &value));
    *ret_value = value;
    *input = pil_bytes_from(input->data + taken, input->len - taken);
    return PIL_STATUS_OK;
}

pil_status pil_resp_reply_length(struct pil_resp_reply_cursor *cursor, struct pil_bytes input, size_t *ret_len) {
    if (cursor->values_open == 0) {
        cursor->values_open = 1;
    }
    while (cursor->values_open > 0) {
        if (cursor->at == input.len) {
            return PIL_STATUS_AGAIN;
        }
        struct pil_bytes rest = pil_bytes_from(input.data + cursor->at, input.len - cursor->at);
        struct pil_resp_value value;
        PIL_TRY(pil_resp_value_next(&rest, &value));
        cursor->at = input.len - rest.len;
        bool is_aggregate =
            value.kind == PIL_RESP_KIND_ARRAY || value.kind == PIL_RESP_KIND_SET || value.kind == PIL_RESP_KIND_MAP;
        cursor->values_open += (is_aggregate ? (uint64_t)value.integer : 0) - 1;
        if (cursor->values_open > (uint64_t)values_max * 2) {
            return PIL_STATUS_INVALID;
        }
    }
    *ret_len = cursor->at;
    *cursor = (struct pil_resp_reply_cursor){0};
    return PIL_STATUS_OK;
}
