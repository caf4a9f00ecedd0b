/* SPDX-License-Identifier: Apache-2.0
 * Replies: into bytes for the server, out of bytes for clients. */
#include "wire/resp.h"
#include "base/decimal.h"

static void put_line(struct pil_sink *sink, uint8_t kind, const char *text) {
    pil_sink_put(sink, kind);
    for (const char *at = text; *at != '\0'; at++) {
        pil_sink_put(sink, *at == '\r' || *at == '\n' ? ' ' : (uint8_t)*at);
    }
    pil_sink_write(sink, "\r\n", 2);
}

static void put_count(struct pil_sink *sink, uint8_t kind, uint64_t count) {
    pil_sink_put(sink, kind);
    pil_sink_write_u64(sink, count);
    pil_sink_write(sink, "\r\n", 2);
}

void pil_resp_put_simple(struct pil_sink *sink, const char *text) {
    put_line(sink, '+', text);
}

void pil_resp_put_error(struct pil_sink *sink, const char *text) {
    put_line(sink, '-', text);
}

void pil_resp_put_integer(struct pil_sink *sink, int64_t value) {
    pil_sink_put(sink, ':');
    pil_sink_write_i64(sink, value);
    pil_sink_write(sink, "\r\n", 2);
}

void pil_resp_put_bulk(struct pil_sink *sink, struct pil_bytes bytes) {
    put_count(sink, '$', bytes.len);
    pil_sink_write_bytes(sink, bytes);
    pil_sink_write(sink, "\r\n", 2);
}

void pil_resp_put_bulk_text(struct pil_sink *sink, const char *text) {
    pil_resp_put_bulk(sink, pil_bytes_from_text(text));
}

void pil_resp_put_null(struct pil_sink *sink, pil_resp_protocol protocol) {
    if (protocol == PIL_RESP_3) {
        pil_sink_write(sink, "_\r\n", 3);
    } else {
        pil_sink_write(sink, "$-1\r\n", 5);
    }
}

void pil_resp_put_array(struct pil_sink *sink, uint64_t count) {
    put_count(sink, '*', count);
}

void pil_resp_put_map(struct pil_sink *sink, pil_resp_protocol protocol, uint64_t pairs) {
    put_count(sink, protocol == PIL_RESP_3 ? '%' : '*', protocol == PIL_RESP_3 ? pairs : 2 * pairs);
}

void pil_resp_put_set(struct pil_sink *sink, pil_resp_protocol protocol, uint64_t count) {
    put_count(sink, protocol == PIL_RESP_3 ? '~' : '*', count);
}

void pil_resp_put_double(struct pil_sink *sink, pil_resp_protocol protocol, double value) {
    char text[PIL_DECIMAL_BYTES];
    int len = pil_decimal_f64(value, text);
    if (protocol == PIL_RESP_3) {
        pil_sink_put(sink, ',');
        pil_sink_write(sink, text, (size_t)len);
        pil_sink_write(sink, "\r\n", 2);
    } else {
        pil_resp_put_bulk(sink, pil_bytes_from(text, (size_t)len));
    }
}

void pil_resp_put_boolean(struct pil_sink *sink, pil_resp_protocol protocol, bool value) {
    if (protocol == PIL_RESP_3) {
        pil_sink_write(sink, value ? "#t\r\n" : "#f\r\n", 4);
    } else {
        pil_resp_put_integer(sink, value);
    }
}

void pil_resp_put_verbatim(struct pil_sink *sink, pil_resp_protocol protocol, struct pil_bytes text) {
    if (protocol == PIL_RESP_2) {
        pil_resp_put_bulk(sink, text);
        return;
    }
    put_count(sink, '=', text.len + 4);
    pil_sink_write(sink, "txt:", 4);
    pil_sink_write_bytes(sink, text);
    pil_sink_write(sink, "\r\n", 2);
}

void pil_resp_put_request(struct pil_sink *sink, const struct pil_bytes *args, uint32_t arg_count) {
    put_count(sink, '*', arg_count);
    for (uint32_t i = 0; i < arg_count; i++) {
        pil_resp_put_bulk(sink, args[i]);
    }
}

/* ---- Clients. */

/* The line at the start of input, without its CRLF. */
static pil_status take_line(struct pil_bytes input, struct pil_bytes *ret_line) {
    const uint8_t *newline = input.len > 1 ? memchr(input.data + 1, '\n', input.len - 1) : NULL;
    if (newline == NULL) {
        return PIL_STATUS_AGAIN;
    }
    size_t len = (size_t)(newline - input.data);
    if (len < 2 || newline[-1] != '\r') {
        return PIL_STATUS_INVALID;
    }
    *ret_line = pil_bytes_from(input.data, len - 1);
    return PIL_STATUS_OK;
}

static bool parse_integer(struct pil_bytes text, int64_t *ret_value) {
    bool negative = text.len > 0 && text.data[0] == '-';
    int64_t value = 0;
    if (text.len == (negative ? 1u : 0u)) {
        return false;
    }
    for (size_t i = negative; i < text.len; i++) {
        int digit = text.data[i] - '0';
        if (digit < 0 || digit > 9 || __builtin_mul_overflow(value, 10, &value) ||
            (negative ? __builtin_sub_overflow(value, digit, &value) : __builtin_add_overflow(value, digit, &value))) {
            return false;
        }
    }
    *ret_value = value;
    return true;
}

/* A bulk or verbatim string of `len` bytes behind its line. */
static pil_status take_bulk(struct pil_bytes *input, size_t line_bytes, int64_t len, bool is_verbatim, struct pil_resp_value *value) {
    if (len == -1) {
        value->kind = PIL_RESP_KIND_NULL;
        *input = pil_bytes_from(input->data + line_bytes, input->len - line_bytes);
        return PIL_STATUS_OK;
    }
    if (len < 0 || (is_verbatim && len < 4)) {
        return PIL_STATUS_INVALID;
    }
    if (input->len - line_bytes < 2 || input->len - line_bytes - 2 < (uint64_t)len) {
        return PIL_STATUS_AGAIN;
    }
    const uint8_t *begin = input->data + line_bytes;
    if (begin[len] != '\r' || begin[len + 1] != '\n') {
        return PIL_STATUS_INVALID;
    }
    value->kind = PIL_RESP_KIND_BULK;
    value->text = pil_bytes_from(begin + (is_verbatim ? 4 : 0), (size_t)len - (is_verbatim ? 4 : 0));
    *input = pil_bytes_from(begin + len + 2, input->len - line_bytes - (size_t)len - 2);
    return PIL_STATUS_OK;
}

static pil_status set_aggregate(struct pil_resp_value *value, int64_t count) {
    if (count == -1) {
        value->kind = PIL_RESP_KIND_NULL;
        return PIL_STATUS_OK;
    }
    if (count < 0 || count > INT64_MAX / 2) {
        return PIL_STATUS_INVALID;
    }
    value->integer = value->kind == PIL_RESP_KIND_MAP ? 2 * count : count;
    return PIL_STATUS_OK;
}

/* Everything but strings: the line says all. */
static pil_status read_line_value(uint8_t kind, struct pil_bytes text, int64_t number, bool is_number, struct pil_resp_value *value) {
    value->text = text;
    switch (kind) {
    case '+': value->kind = PIL_RESP_KIND_SIMPLE; return PIL_STATUS_OK;
    case '-': value->kind = PIL_RESP_KIND_ERROR; return PIL_STATUS_OK;
    case ',': case '(': value->kind = PIL_RESP_KIND_DOUBLE; return PIL_STATUS_OK;
    case '_': value->kind = PIL_RESP_KIND_NULL; return text.len == 0 ? PIL_STATUS_OK : PIL_STATUS_INVALID;
    case '#':
        value->kind = PIL_RESP_KIND_BOOLEAN;
        value->integer = text.len == 1 && text.data[0] == 't';
        return text.len == 1 && (text.data[0] == 't' || text.data[0] == 'f') ? PIL_STATUS_OK : PIL_STATUS_INVALID;
    case ':':
        value->kind = PIL_RESP_KIND_INTEGER;
        value->integer = number;
        return is_number ? PIL_STATUS_OK : PIL_STATUS_INVALID;
    case '*': case '>': value->kind = PIL_RESP_KIND_ARRAY; break;
    case '~': value->kind = PIL_RESP_KIND_SET; break;
    case '%': value->kind = PIL_RESP_KIND_MAP; break;
    default: return PIL_STATUS_INVALID;
    }
    return is_number ? set_aggregate(value, number) : PIL_STATUS_INVALID;
}

pil_status pil_resp_value_next(struct pil_bytes *input, struct pil_resp_value *ret_value) {
    struct pil_resp_value value = {0};
    struct pil_bytes line;
    PIL_TRY(take_line(*input, &line));
    struct pil_bytes text = pil_bytes_from(line.data + 1, line.len - 1);
    int64_t number = 0;
    bool is_number = parse_integer(text, &number);
    size_t line_bytes = line.len + 2;
    if (line.data[0] == '$' || line.data[0] == '=') {
        if (!is_number) {
            return PIL_STATUS_INVALID;
        }
        PIL_TRY(take_bulk(input, line_bytes, number, line.data[0] == '=', &value));
        *ret_value = value;
        return PIL_STATUS_OK;
    }
    PIL_TRY(read_line_value(line.data[0], text, number, is_number, &value));
    *input = pil_bytes_from(input->data + line_bytes, input->len - line_bytes);
    *ret_value = value;
    return PIL_STATUS_OK;
}

pil_status pil_resp_reply_length(struct pil_resp_reply_cursor *cursor, struct pil_bytes input, size_t *ret_len) {
    uint64_t open = cursor->values_open != 0 ? cursor->values_open : 1;
    struct pil_bytes rest = pil_bytes_from(input.data + cursor->at, input.len - cursor->at);
    while (open > 0) {
        struct pil_resp_value value;
        pil_status status = pil_resp_value_next(&rest, &value);
        if (status != PIL_STATUS_OK) {
            cursor->at = input.len - rest.len;
            cursor->values_open = open;
            return status;
        }
        bool is_aggregate = value.kind == PIL_RESP_KIND_ARRAY || value.kind == PIL_RESP_KIND_SET || value.kind == PIL_RESP_KIND_MAP;
        open--;
        if (is_aggregate && __builtin_add_overflow(open, (uint64_t)value.integer, &open)) {
            return PIL_STATUS_INVALID;
        }
    }
    *ret_len = input.len - rest.len;
    *cursor = (struct pil_resp_reply_cursor){0};
    return PIL_STATUS_OK;
}
