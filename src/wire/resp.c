/* SPDX-License-Identifier: Apache-2.0
 * Requests of RESP into arguments, and replies into bytes. */
#include "wire/resp.h"
#include "base/panic.h"
#include "base/character.h"

#include <stdio.h>

/* Longest "*…" or "$…" line that is accepted; the longest valid one has a sign, 18 digits and CR. A longer line is
 * refused before its CR arrives. */
enum { HEADER_BYTES_MAX = 32 };

/* The largest requests that are skipped as a whole, when they are over a limit: the bounds of Redis. */
enum { FRAMED_ARGS_MAX = 1 << 20, FRAMED_BULK_BYTES_MAX = 512 << 20 };

const struct pil_resp_limits pil_resp_limits_default = {
    .args_max = 16 << 10,
    .bulk_bytes_max = 1 << 20,
    .inline_bytes_max = 64 << 10,
    .request_bytes_max = 16 << 20,
};

static pil_status fail(struct pil_resp_request *request, pil_status status, const char *text) {
    snprintf(request->error, sizeof request->error, "Protocol error: %s", text);
    return status;
}

/* ---- Arrays of bulk strings. */

/* Parses a number as Redis's string2ll does (no plus sign, no leading zeros, no "-0", no other characters), but with at
 * most 18 digits. */
static bool parse_integer(const uint8_t *at, size_t len, int64_t *ret_value) {
    bool is_negative = len > 0 && at[0] == '-';
    size_t i = is_negative ? 1 : 0;
    if (i == len || len - i > 18 || (at[i] == '0' && len > 1)) {
        return false;
    }
    int64_t value = 0;
    for (; i < len; i++) {
        unsigned digit = at[i] - (unsigned)'0';
        if (digit > 9) {
            return false;
        }
        value = value * 10 + (int64_t)digit;
    }
    *ret_value = is_negative ? -value : value;
    return true;
}

/* Errors of a header line, in Redis's words. */
struct header_errors {
    const char *too_long;
    const char *invalid;
};

/* Reads the number between the type byte at *at and CRLF; on OK *at is after the line. */
static pil_status read_header(struct pil_bytes input, size_t *at, const struct header_errors *errors,
                              struct pil_resp_request *request, int64_t *ret_value) {
    const uint8_t *line = input.data + *at + 1;
    size_t available = input.len - *at - 1;
    size_t window = available < HEADER_BYTES_MAX ? available : HEADER_BYTES_MAX;
    size_t len = 0;
    while (len < window && line[len] != '\r') {
        len++;
    }
    if (len == window) {
        return window == HEADER_BYTES_MAX ? fail(request, PIL_STATUS_INVALID, errors->too_long) : PIL_STATUS_AGAIN;
    }
    if (len + 1 == available) {
        return PIL_STATUS_AGAIN;
    }
    if (line[len + 1] != '\n' || !parse_integer(line, len, ret_value)) {
        return fail(request, PIL_STATUS_INVALID, errors->invalid);
    }
    *at += 1 + len + 2;
    return PIL_STATUS_OK;
}

static pil_status read_array_header(struct pil_resp_cursor *cursor, struct pil_bytes input,
                                    const struct pil_resp_limits *limits, struct pil_resp_request *request) {
    static const struct header_errors errors = {"too big mbulk count string", "invalid multibulk length"};
    size_t at = cursor->at;
    int64_t count;
    PIL_TRY(read_header(input, &at, &errors, request, &count));
    if (count > FRAMED_ARGS_MAX) {
        return fail(request, PIL_STATUS_INVALID, errors.invalid);
    }
    cursor->at = at;
    cursor->args_total = count > 0 ? (uint32_t)count : 0;
    if (cursor->args_total > limits->args_max) {
        cursor->excess = PIL_RESP_EXCESS_ARGS;
        return fail(request, PIL_STATUS_TOO_LARGE, errors.invalid);
    }
    return PIL_STATUS_OK;
}

static pil_status read_bulk_header(struct pil_resp_cursor *cursor, struct pil_bytes input,
                                   struct pil_resp_request *request) {
    static const struct header_errors errors = {"too big bulk count string", "invalid bulk length"};
    size_t at = cursor->at;
    if (at == input.len) {
        return PIL_STATUS_AGAIN;
    }
    uint8_t type = input.data[at];
    if (type != '$') {
        char text[] = "expected '$', got '?'";
        text[sizeof text - 3] = type == '\r' || type == '\n' ? ' ' : (char)(type == '\0' ? '?' : type);
        return fail(request, PIL_STATUS_INVALID, text);
    }
    int64_t bytes;
    PIL_TRY(read_header(input, &at, &errors, request, &bytes));
    if (bytes < 0 || bytes > FRAMED_BULK_BYTES_MAX) {
        return fail(request, PIL_STATUS_INVALID, errors.invalid);
    }
    cursor->at = at;
    cursor->bulk_bytes = bytes;
    cursor->bulk_known = true;
    return PIL_STATUS_OK;
}

static pil_status read_bulk(struct pil_resp_cursor *cursor, struct pil_bytes input,
                            const struct pil_resp_limits *limits, struct pil_resp_request *request) {
    if (!cursor->bulk_known) {
        PIL_TRY(read_bulk_header(cursor, input, request));
    }
    if (cursor->bulk_bytes > limits->bulk_bytes_max ||
        cursor->at + (size_t)cursor->bulk_bytes + 2 > limits->request_bytes_max) {
        cursor->excess = PIL_RESP_EXCESS_BYTES;
        return fail(request, PIL_STATUS_TOO_LARGE, "invalid bulk length");
    }
    size_t bytes = (size_t)cursor->bulk_bytes, available = input.len - cursor->at;
    const uint8_t *data = input.data + cursor->at;
    if ((available > bytes && data[bytes] != '\r') || (available > bytes + 1 && data[bytes + 1] != '\n')) {
        return fail(request, PIL_STATUS_INVALID, "expected CRLF after bulk string");
    }
    if (available < bytes + 2) {
        return PIL_STATUS_AGAIN;
    }
    request->args[cursor->args_done++] = pil_bytes_from(data, bytes);
    cursor->at += bytes + 2;
    cursor->bulk_known = false;
    return PIL_STATUS_OK;
}

static pil_status decode_array(struct pil_resp_cursor *cursor, struct pil_bytes input,
                               const struct pil_resp_limits *limits, struct pil_resp_request *request) {
    if (cursor->at == 0) {
        PIL_TRY(read_array_header(cursor, input, limits, request));
    }
    while (cursor->args_done < cursor->args_total) {
        PIL_TRY(read_bulk(cursor, input, limits, request));
    }
    request->arg_count = cursor->args_total;
    request->consumed = cursor->at;
    return PIL_STATUS_OK;
}

/* ---- Inline commands: words with the quoting of Redis's sdssplitargs. */

static bool is_space(uint8_t byte) {
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

/* Decodes the escape that begins with the backslash at `at`, inside double quotes; returns the bytes read, backslash
 * included. */
static size_t unescape(const uint8_t *at, size_t len, uint8_t *ret_byte) {
    if (len >= 4 && at[1] == 'x' && pil_character_hex_digit(at[2]) >= 0 && pil_character_hex_digit(at[3]) >= 0) {
        *ret_byte = (uint8_t)(pil_character_hex_digit(at[2]) * 16 + pil_character_hex_digit(at[3]));
        return 4;
    }
    static const char letters[] = "nrtba", bytes[] = "\n\r\t\b\a";
    const char *found = memchr(letters, at[1], sizeof letters - 1);
    *ret_byte = found != NULL ? (uint8_t)bytes[found - letters] : at[1];
    return 2;
}

/* Decodes the quoted part that starts at line[*at], a quote; returns false if the quote is not closed, or is closed in
 * the middle of a word. */
static bool read_quoted(struct pil_bytes line, size_t *at, uint8_t **to) {
    uint8_t quote = line.data[(*at)++];
    for (size_t i = *at; i < line.len;) {
        uint8_t byte = line.data[i];
        if (byte == quote) {
            *at = i + 1;
            return *at == line.len || is_space(line.data[*at]); /* a closing quote ends the word */
        }
        size_t taken = 1;
        bool has_next = i + 1 < line.len;
        if (byte == '\\' && quote == '"' && has_next) {
            taken = unescape(line.data + i, line.len - i, &byte);
        } else if (byte == '\\' && has_next && line.data[i + 1] == '\'') {
            byte = '\'';
            taken = 2;
        }
        *(*to)++ = byte;
        i += taken;
    }
    return false;
}

/* Reads one word from line[*at] on; it points into the line unless it has quotes. */
static bool read_word(struct pil_bytes line, size_t *at, uint8_t **scratch, struct pil_bytes *ret_word) {
    size_t begin = *at, i = begin;
    while (i < line.len && !is_space(line.data[i]) && line.data[i] != '"' && line.data[i] != '\'') {
        i++;
    }
    *at = i;
    if (i == line.len || is_space(line.data[i])) {
        *ret_word = pil_bytes_from(line.data + begin, i - begin);
        return true;
    }
    uint8_t *to = *scratch;
    memcpy(to, line.data + begin, i - begin);
    to += i - begin;
    if (!read_quoted(line, at, &to)) {
        return false;
    }
    *ret_word = pil_bytes_from(*scratch, (size_t)(to - *scratch));
    *scratch = to;
    return true;
}

static pil_status split_line(struct pil_bytes line, const struct pil_resp_limits *limits,
                             struct pil_resp_request *request) {
    uint8_t *scratch = request->scratch;
    uint32_t count = 0;
    for (size_t at = 0;;) {
        while (at < line.len && is_space(line.data[at])) {
            at++;
        }
        if (at == line.len) {
            request->arg_count = count;
            return PIL_STATUS_OK;
        }
        if (count == limits->args_max) {
            return fail(request, PIL_STATUS_TOO_LARGE, "too many arguments in request");
        }
        if (!read_word(line, &at, &scratch, &request->args[count])) {
            return fail(request, PIL_STATUS_INVALID, "unbalanced quotes in request");
        }
        count++;
    }
}

static pil_status decode_inline(struct pil_resp_cursor *cursor, struct pil_bytes input,
                                const struct pil_resp_limits *limits, struct pil_resp_request *request) {
    size_t window = input.len < limits->inline_bytes_max ? input.len : limits->inline_bytes_max;
    const uint8_t *newline = memchr(input.data + cursor->at, '\n', window - cursor->at);
    if (newline == NULL) {
        cursor->at = window;
        return window == limits->inline_bytes_max ? fail(request, PIL_STATUS_TOO_LARGE, "too big inline request")
                                                  : PIL_STATUS_AGAIN;
    }
    size_t len = (size_t)(newline - input.data);
    request->consumed = len + 1;
    return split_line(pil_bytes_from(input.data, len), limits, request);
}

pil_status pil_resp_decode(struct pil_resp_cursor *cursor, struct pil_bytes input, const struct pil_resp_limits *limits,
                           struct pil_resp_request *request) {
    PIL_ASSERT(cursor->args_total <= limits->args_max && cursor->excess == PIL_RESP_EXCESS_NONE);
    if (input.len == 0) {
        return PIL_STATUS_AGAIN;
    }
    bool is_array = input.data[0] == '*';
    bool is_resumed = cursor->args_done > 0;
    pil_status status =
        is_array ? decode_array(cursor, input, limits, request) : decode_inline(cursor, input, limits, request);
    if (status != PIL_STATUS_OK) {
        return status;
    }
    *cursor = (struct pil_resp_cursor){0};
    if (is_resumed) {
        /* The input may have moved, so that arguments of earlier calls are stale: decode all of them again, once. */
        struct pil_resp_cursor again = {0};
        status = decode_array(&again, input, limits, request);
    }
    return status;
}

/* Skips what there is of a bulk string and, when it is whole, its CRLF. AGAIN: there is more of it to come. */
static pil_status skip_bulk(struct pil_resp_cursor *cursor, struct pil_bytes input, struct pil_resp_request *request) {
    if (!cursor->bulk_known) {
        PIL_TRY(read_bulk_header(cursor, input, request));
    }
    size_t available = input.len - cursor->at, bytes = (size_t)cursor->bulk_bytes;
    size_t skipped = bytes < available ? bytes : available;
    cursor->at += skipped;
    cursor->bulk_bytes -= (int64_t)skipped;
    if (available - skipped < 2) {
        return PIL_STATUS_AGAIN;
    }
    if (input.data[cursor->at] != '\r' || input.data[cursor->at + 1] != '\n') {
        return fail(request, PIL_STATUS_INVALID, "expected CRLF after bulk string");
    }
    cursor->at += 2;
    cursor->args_done++;
    cursor->bulk_known = false;
    return PIL_STATUS_OK;
}

pil_status pil_resp_skip(struct pil_resp_cursor *cursor, struct pil_bytes input, struct pil_resp_request *request,
                         size_t *ret_done) {
    pil_status status = PIL_STATUS_OK;
    PIL_ASSERT(cursor->excess != PIL_RESP_EXCESS_NONE && cursor->at <= input.len);
    while (cursor->args_done < cursor->args_total && status == PIL_STATUS_OK) {
        status = skip_bulk(cursor, input, request);
    }
    if (status == PIL_STATUS_OK || status == PIL_STATUS_AGAIN) {
        *ret_done = cursor->at;
        cursor->at = 0;
    }
    if (status == PIL_STATUS_OK) {
        *cursor = (struct pil_resp_cursor){0};
    }
    return status;
}

/* ---- Replies. */

/* Writes the type byte, a number, CRLF. */
static void put_header(struct pil_sink *sink, char type, uint64_t value) {
    pil_sink_put(sink, (uint8_t)type);
    pil_sink_write_u64(sink, value);
    pil_sink_write(sink, "\r\n", 2);
}

/* CR and LF inside the line become spaces. */
static void put_line(struct pil_sink *sink, char type, const char *text) {
    pil_sink_put(sink, (uint8_t)type);
    for (; *text != '\0'; text++) {
        pil_sink_put(sink, (uint8_t)(*text == '\r' || *text == '\n' ? ' ' : *text));
    }
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

void pil_resp_put_bulk_head(struct pil_sink *sink, uint64_t len) {
    put_header(sink, '$', len);
}

void pil_resp_put_bulk(struct pil_sink *sink, struct pil_bytes bytes) {
    put_header(sink, '$', bytes.len);
    pil_sink_write_bytes(sink, bytes);
    pil_sink_write(sink, "\r\n", 2);
}

void pil_resp_put_bulk_text(struct pil_sink *sink, const char *text) {
    pil_resp_put_bulk(sink, pil_bytes_from_text(text));
}

void pil_resp_put_null(struct pil_sink *sink, pil_resp_protocol protocol) {
    pil_sink_write_text(sink, protocol == PIL_RESP_3 ? "_\r\n" : "$-1\r\n");
}

void pil_resp_put_null_array(struct pil_sink *sink, pil_resp_protocol protocol) {
    pil_sink_write_text(sink, protocol == PIL_RESP_3 ? "_\r\n" : "*-1\r\n");
}

void pil_resp_put_array(struct pil_sink *sink, uint64_t count) {
    put_header(sink, '*', count);
}

void pil_resp_put_map(struct pil_sink *sink, pil_resp_protocol protocol, uint64_t pairs) {
    put_header(sink, protocol == PIL_RESP_3 ? '%' : '*', protocol == PIL_RESP_3 ? pairs : pairs * 2);
}

void pil_resp_put_set(struct pil_sink *sink, pil_resp_protocol protocol, uint64_t count) {
    put_header(sink, protocol == PIL_RESP_3 ? '~' : '*', count);
}

void pil_resp_put_push(struct pil_sink *sink, uint64_t count) {
    put_header(sink, '>', count);
}

void pil_resp_put_verbatim(struct pil_sink *sink, pil_resp_protocol protocol, struct pil_bytes text) {
    if (protocol == PIL_RESP_2) {
        pil_resp_put_bulk(sink, text);
        return;
    }
    put_header(sink, '=', text.len + 4);
    pil_sink_write(sink, "txt:", 4);
    pil_sink_write_bytes(sink, text);
    pil_sink_write(sink, "\r\n", 2);
}

void pil_resp_put_request(struct pil_sink *sink, const struct pil_bytes *args, uint32_t arg_count) {
    pil_resp_put_array(sink, arg_count);
    for (uint32_t i = 0; i < arg_count; i++) {
        pil_resp_put_bulk(sink, args[i]);
    }
}
